//! Where the metrics of a run go beside the dashboard: `metrics.jsonl`, TensorBoard event files, and
//! plain lines when there is no terminal.

mod fault;
mod jsonl;
mod plain;
mod tensorboard;
mod values;

pub use fault::{LogFault, settle};
pub use jsonl::{JsonlLogger, keep_lines};
pub use plain::{PlainRenderer, Plan};
pub use tensorboard::TensorBoardLogger;
