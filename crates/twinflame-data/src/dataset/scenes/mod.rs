//! Scenes with something to fuse: two to four of the embedded emoji on a coloured background, with position, size and
//! colour, and captions that say exactly what is there.
//!
//! A [`Scene`] is a description: which emoji, drawn by whom, how large, in which colour, in which box. A
//! [`SceneGenerator`] draws descriptions and paints them; a [`Statement`] is what a caption says of one, so that whether it is
//! true can be computed. Its [swapped counterpart](Statement::swapped) has the same words and is false: "a dog left of a
//! cat", "a cat left of a dog". What takes a caption for a bag of words cannot tell them apart.
//!
//! [`ScenesSource`] is the data set, [`ScenesConfig`] its recipe section.

mod colour;
mod config;
mod emoji;
mod fixed;
mod generator;
mod scene;
mod source;
mod sprite;
mod statement;

pub use colour::Colour;
pub use config::{ScenesConfig, ScenesSplit};
pub use emoji::{EMOJI, NUM_KNOWN, SceneEmoji, is_held_out_pair};
pub use generator::SceneGenerator;
pub use scene::{ObjectSize, PixelBox, Relation, Scene, SceneObject};
pub use source::ScenesSource;
pub use statement::{CaptionStyle, MAX_WORDS, Mention, Statement};
