//! Judging a trained model: retrieval, zero-shot classification, linear probes, search, and pictures of what it finds.
//!
//! - [`test_report`]: all test sets of a run in one go, for the screen, `eval.json` and `retrieval.png`
//! - [`Encoder`]: images and texts to embeddings; [`SetEmbeddings`] for a set with captions
//! - [`retrieval()`]: recall, median and mean rank, both ways, with any number of right answers per query; [`ranks`]
//!   and [`top_k`] stream, so that memory does not grow with images times captions
//! - [`rerank()`]: the second stage of an ALBEF; [`counterparts`]: captions against false ones of the same words
//! - [`ZeroShotClassifier`]: classes from names and [`Templates`]
//! - [`LinearProbeConfig::fit`]: logistic regression on frozen features
//! - [`EmbeddingFile`]: embeddings to `.npy` or `.safetensors`
//! - [`retrieval_picture`], [`contact_sheet()`]: pictures to look at

mod canvas;
mod class_folders;
mod config;
mod contact_sheet;
mod embedding_file;
mod encoder;
mod error;
mod linear_probe;
mod partial_file;
mod picture;
mod progress;
mod relevance;
mod report;
mod rerank;
mod retrieval;
mod set_embeddings;
mod strip;
mod templates;
mod test_run;
mod topk;
mod zero_shot;

pub use canvas::{save_png, to_dynamic};
pub use class_folders::ClassFolders;
pub use config::EvalConfig;
pub use contact_sheet::{SheetEntry, contact_sheet};
pub use embedding_file::{EmbeddingFile, EmbeddingFormat, TENSOR_NAME, index_path};
pub use encoder::{Encoder, ImageFeatures};
pub use error::EvalError;
pub use linear_probe::{BestProbe, LabelledFeatures, LinearProbe, LinearProbeConfig};
pub use partial_file::{PartialFile, write_whole};
pub use picture::{PICTURE_HITS, PictureHit, PictureRow, PictureSection, pick_queries, retrieval_picture};
pub use progress::{progress_bar, spinner};
pub use relevance::{DistinctCaptions, Relevance};
pub use report::{ClassesReport, Method, ReportTable, SetReport, TestReport, Weights};
pub use rerank::{CounterpartReport, EncodedTexts, RerankReport, counterparts, match_scores, rerank, reranked};
pub use retrieval::{DirectionReport, RECALL_KS, Recall, RetrievalReport, pair_retrieval, retrieval};
pub use set_embeddings::SetEmbeddings;
pub use strip::Chunking;
pub use templates::{ClassList, Templates};
pub use test_run::{ProbePlan, TestOutcome, TestPlan, TestSet, data_config, data_name, test_report};
pub use topk::{Hit, ranks, top_k};
pub use zero_shot::{ClassAccuracy, ClassificationReport, ZERO_SHOT_SCALE, ZeroShotClassifier};
