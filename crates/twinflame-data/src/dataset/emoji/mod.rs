//! The embedded set: 1,914 emoji as 7 vendors draw them, 9,998 image-caption pairs.
//!
//! Split by emoji (hash of the code point) and by vendor (twemoji is held out), so that three test sets ask three
//! questions: A, known emoji in an unknown style; B, unknown emoji in known styles; C, both unknown.
//! `assets/emoji/NOTICE.md` names origin and licence of each vendor's pictures.

mod background;
mod catalog;
mod config;
mod scene;
mod sheet;
mod source;

pub use background::Background;
pub use catalog::{Catalog, Entry, Vendor};
pub(super) use config::choose_vendors;
pub use config::{EmojiConfig, EmojiSplit};
pub(super) use sheet::{CELL_PX, Sheet};
pub use source::EmojiSource;
