use burn::tensor::{Int, IntDType, Tensor, assert_shape};

use crate::FeatureQueue;

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

    /// The positives of a batch among a queue's entries, as ones and zeros without gradient. Under
    /// [`Targets::Diagonal`] there are none.
    ///
    /// # Shapes
    /// - batch: [`positives`](Self::positives) of the batch: the result has their device and float type
    /// - output: `[batch, queue_size]`
    #[must_use]
    pub fn positives_in_queue(&self, queue: &FeatureQueue, batch: &Tensor<2>) -> Tensor<2> {
        let [rows, _] = batch.dims();
        match self {
            Self::Diagonal => Tensor::zeros([rows, queue.len()], (&batch.device(), batch.dtype())),
            Self::ById { image_ids, caption_ids } => {
                assert_shape!(image_ids, [rows]);
                assert_shape!(caption_ids, [rows]);
                let same = same_id(image_ids.clone(), queue.image_ids.val())
                    .bool_or(same_id(caption_ids.clone(), queue.caption_ids.val()));
                same.float().cast(batch.dtype())
            }
        }
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
                same_id(ids.clone().narrow(0, start, rows), ids)
            }
            Self::ById { image_ids, caption_ids } => {
                assert_shape!(image_ids, [batch]);
                assert_shape!(caption_ids, [batch]);
                let same = |ids: &Tensor<1, Int>| same_id(ids.clone().narrow(0, start, rows), ids.clone());
                same(image_ids).bool_or(same(caption_ids))
            }
        };
        same.float().cast(like.dtype())
    }
}

/// `[rows, columns]`: whether row and column have the same id.
fn same_id(of_rows: Tensor<1, Int>, of_columns: Tensor<1, Int>) -> Tensor<2, burn::tensor::Bool> {
    // Some backends do not compare two integer types.
    let of_columns = of_columns.cast(IntDType::from(of_rows.dtype()));
    let [rows] = of_rows.dims();
    let [columns] = of_columns.dims();
    let of_rows = of_rows.reshape([rows, 1]).expand([rows, columns]);
    let of_columns = of_columns.reshape([1, columns]).expand([rows, columns]);
    of_rows.equal(of_columns)
}
