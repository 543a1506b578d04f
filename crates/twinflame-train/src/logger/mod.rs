//! Where the metrics of a run go beside the dashboard: `metrics.jsonl`, TensorBoard event files, and
//! plain lines when there is no terminal.

mod jsonl;
mod plain;
mod tensorboard;
mod values;

pub use jsonl::{JsonlLogger, truncate_after};
pub use plain::{PlainRenderer, Plan};
pub use tensorboard::TensorBoardLogger;
