//! Judging a trained model: retrieval, zero-shot classification, linear probes, search, and pictures of what it finds.
//!
//! - [`retrieval()`]: recall, median and mean rank, both ways, with any number of right answers per query; [`ranks`] and [`top_k`]
//!   stream, so that memory does not grow with images times captions
//! - [`ZeroShotClassifier`]: classes from names and [`Templates`]
//! - [`LinearProbeConfig::fit`]: logistic regression on frozen features
//! - [`retrieval_picture`], [`contact_sheet()`]: pictures to look at

mod canvas;
mod config;
mod contact_sheet;
mod embedding_file;
mod error;
mod linear_probe;
mod partial_file;
mod picture;
mod relevance;
mod retrieval;
mod templates;
mod topk;
mod zero_shot;

pub use canvas::save_png;
pub use config::EvalConfig;
pub use contact_sheet::{SheetEntry, contact_sheet};
pub use embedding_file::{EmbeddingFile, TENSOR_NAME, index_path};
pub use error::EvalError;
pub use linear_probe::{LabelledFeatures, LinearProbe, LinearProbeConfig, Sweep};
pub use picture::{PICTURE_HITS, PictureHit, PictureRow, PictureSection, pick_queries, retrieval_picture};
pub use relevance::{DistinctCaptions, Relevance};
pub use retrieval::{DirectionReport, RECALL_KS, Recall, RetrievalReport, pair_retrieval, retrieval};
pub use templates::{ClassList, Templates};
pub use topk::{Chunking, Hit, ranks, top_k};
pub use zero_shot::{ClassAccuracy, ClassificationReport, ZERO_SHOT_SCALE, ZeroShotClassifier};
