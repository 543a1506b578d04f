use burn::{
    module::{Module, Param, ParamId},
    tensor::{Device, Int, IntDType, Tensor, assert_shape},
};

use crate::init::{Init, Values};

/// Id of an entry that belongs to no pair yet; real ids are not negative.
pub const NO_ID: i64 = -100;

/// Momentum features of the latest pairs: a ring in which new entries replace the oldest (He et al. 2019,
/// <https://arxiv.org/abs/1911.05722>, section 3.1).
///
/// All of it is saved with a model, none of it has a gradient, and it lives outside autodiff. Any batch size goes with
/// any queue size: a batch wraps around the end, and of one that is larger than the queue the last pairs stay.
#[derive(Module, Debug)]
pub struct FeatureQueue {
    /// `[queue_size, embed_dim]`, rows of length 1.
    pub image_embeds: Param<Tensor<2>>,
    /// `[queue_size, embed_dim]`, rows of length 1.
    pub text_embeds: Param<Tensor<2>>,
    /// `[queue_size]`: equal for entries that show the same image, [`NO_ID`] for none.
    pub image_ids: Param<Tensor<1, Int>>,
    /// `[queue_size]`: equal for entries that have the same caption, [`NO_ID`] for none.
    pub caption_ids: Param<Tensor<1, Int>>,
    /// `[1]`, the row that the next pair goes to.
    pub next_row: Param<Tensor<1, Int>>,
}

/// Pairs to put into a [`FeatureQueue`].
#[derive(Clone, Debug)]
pub struct QueueEntries {
    /// `[batch, embed_dim]`, the momentum encoder's.
    pub image_embeds: Tensor<2>,
    /// `[batch, embed_dim]`, the momentum encoder's.
    pub text_embeds: Tensor<2>,
    /// `[batch]`, not negative, comparable between batches.
    pub image_ids: Tensor<1, Int>,
    /// `[batch]`, not negative, comparable between batches.
    pub caption_ids: Tensor<1, Int>,
}

impl FeatureQueue {
    pub(super) fn new(queue_size: usize, embed_dim: usize, seed: u64, device: &Device) -> Self {
        let device = device.clone().without_autodiff();
        let init = Init::new(seed, &device);
        let embeds = |name: &str| {
            init.param(name, [queue_size, embed_dim], Values::UnitRows(embed_dim))
                .set_require_grad(false)
        };
        let ids = || Param::initialized(ParamId::new(), Tensor::<1, Int>::full([queue_size], NO_ID, &device));
        Self {
            image_embeds: embeds("image_queue"),
            text_embeds: embeds("text_queue"),
            image_ids: ids(),
            caption_ids: ids(),
            next_row: Param::initialized(ParamId::new(), Tensor::<1, Int>::zeros([1], &device)),
        }
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.image_ids.lazy_shape().num_elements()
    }

    /// Never: a queue has at least one entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Replaces the oldest entries by a batch, whose first pair goes first.
    ///
    /// Nothing is read from the device: every row finds out by itself whether it is replaced, and by what.
    ///
    /// # Panics
    /// If the parts of `entries` differ in batch size.
    #[must_use]
    pub fn enqueue(mut self, entries: QueueEntries) -> Self {
        let [batch, embed_dim] = entries.image_embeds.dims();
        assert_shape!(entries.text_embeds, [batch, embed_dim]);
        assert_shape!(entries.image_ids, [batch]);
        assert_shape!(entries.caption_ids, [batch]);
        let size = self.len();
        let kept = batch.min(size);
        let first = batch - kept;

        let next = self.next_row.val();
        let rows = Tensor::<1, Int>::arange(0..size as i64, (&next.device(), next.dtype()));
        // How many places behind the first new entry a row is. `first` is taken modulo the size to stay positive.
        let start = next.clone() + (first % size) as i64;
        let place = (rows - start + 2 * size as i64).remainder_scalar(size as i64); // [size]
        let is_new = place.clone().lower_elem(kept as i64);
        let source = place.clamp_max(kept as i64 - 1) + first as i64; // row of the batch

        let replace_embeds = |old: Param<Tensor<2>>, new: Tensor<2>| {
            let new = new.without_autodiff().select(0, source.clone()); // [size, embed_dim]
            let is_new = is_new.clone().reshape([size, 1]).expand([size, embed_dim]);
            old.map(|old| old.without_autodiff().mask_where(is_new, new))
        };
        let replace_ids = |old: Param<Tensor<1, Int>>, new: Tensor<1, Int>| {
            let new = new.select(0, source.clone());
            old.map(|old| {
                let new = new.cast(IntDType::from(old.dtype()));
                old.mask_where(is_new.clone(), new)
            })
        };
        self.image_embeds = replace_embeds(self.image_embeds, entries.image_embeds);
        self.text_embeds = replace_embeds(self.text_embeds, entries.text_embeds);
        self.image_ids = replace_ids(self.image_ids, entries.image_ids);
        self.caption_ids = replace_ids(self.caption_ids, entries.caption_ids);
        self.next_row = self
            .next_row
            .map(|next| (next + batch as i64).remainder_scalar(size as i64));
        self
    }
}
