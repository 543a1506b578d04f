use burn::tensor::{Int, Tensor, assert_shape};

/// Which pairs of a batch are positives of each other.
///
/// CLIP takes the diagonal: image `i` belongs to caption `i` and to nothing else. When a batch holds several
/// pictures of one thing, or one caption twice, that calls true matches negatives (open_clip#869,
/// ALBEF#126); [`Targets::ById`] does not. ALBEF's retrieval fine-tuning does the same with image ids.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "one of it lives at a time")]
pub enum Targets {
    /// Row `i` matches column `i` only.
    Diagonal,
    /// Row `i` matches column `j` when the two pairs share their image id or their caption id.
    ById {
        /// `[batch]`: equal iff two pairs show the same image.
        image_ids: Tensor<1, Int>,
        /// `[batch]`: equal iff two pairs have the same caption.
        caption_ids: Tensor<1, Int>,
    },
}

impl Targets {
    /// The positives as a matrix of ones and zeros, without gradient.
    ///
    /// # Shapes
    /// - like: `[batch, batch]`, the logits: the result has their device and float type
    /// - output: `[batch, batch]`, symmetric, ones on the diagonal
    ///
    /// # Panics
    /// If `like` is not square, or the ids are not one per row.
    #[must_use]
    pub fn positives(&self, like: &Tensor<2>) -> Tensor<2> {
        let [batch, _] = like.dims();
        self.positives_of_rows(0, like, batch)
    }

    /// Rows `start..` of [`positives`](Self::positives), for a loss that goes through the batch in blocks.
    ///
    /// # Shapes
    /// - like: `[rows, batch]`
    /// - output: `[rows, batch]`
    pub(crate) fn positives_of_rows(&self, start: usize, like: &Tensor<2>, batch: usize) -> Tensor<2> {
        assert_shape!(like, [_, batch]);
        let [rows, _] = like.dims();
        let device = like.device().without_autodiff();
        let same = match self {
            Self::Diagonal => {
                let ids = Tensor::<1, Int>::arange(0..batch as i64, &device);
                same_id(start, rows, ids)
            }
            Self::ById { image_ids, caption_ids } => {
                assert_shape!(image_ids, [batch]);
                assert_shape!(caption_ids, [batch]);
                same_id(start, rows, image_ids.clone()).bool_or(same_id(start, rows, caption_ids.clone()))
            }
        };
        same.float().cast(like.dtype())
    }
}

/// `[rows, batch]`: whether row `start + i` and column `j` have the same id.
fn same_id(start: usize, rows: usize, ids: Tensor<1, Int>) -> Tensor<2, burn::tensor::Bool> {
    let [batch] = ids.dims();
    let of_rows = ids.clone().narrow(0, start, rows).unsqueeze_dim::<2>(1); // [rows, 1]
    let of_columns = ids.unsqueeze_dim::<2>(0); // [1, batch]
    of_rows.expand([rows, batch]).equal(of_columns.expand([rows, batch]))
}
