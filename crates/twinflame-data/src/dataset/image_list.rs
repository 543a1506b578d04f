//! Images by row, for evaluation.

use std::fmt::Debug;

use super::{EvalSet, SampleError};
use crate::decode::DecodedImage;

/// Images in a fixed order, without captions: what an evaluation, an embedding or a search runs over.
///
/// Rows are `0..num_images()`; methods that take one panic beyond.
pub trait ImageList: Debug + Send + Sync {
    /// Number of rows.
    fn num_images(&self) -> usize;

    /// Names a row in tables, indices and messages.
    fn image_name(&self, row: usize) -> String;

    /// Reads and decodes a row, without any random choice.
    ///
    /// # Errors
    /// If the image cannot be read or decoded.
    fn image(&self, row: usize) -> Result<DecodedImage, SampleError>;
}

impl ImageList for EvalSet {
    fn num_images(&self) -> usize {
        EvalSet::num_images(self)
    }

    fn image_name(&self, row: usize) -> String {
        EvalSet::image_name(self, row)
    }

    fn image(&self, row: usize) -> Result<DecodedImage, SampleError> {
        self.source().image(self.sample(row))
    }
}
