//! BERT, split into a text encoder and a fusion encoder.

mod embeddings;
mod layer;
mod mlm_head;
mod readout;

use std::ops::Range;

use burn::{
    module::Module,
    tensor::{Bool, Int, Tensor, assert_shape},
};

pub use embeddings::BertEmbeddings;
pub(crate) use embeddings::TOKEN_TYPES;
use layer::LayerPass;
pub(crate) use layer::max_layers;
pub use layer::{BertAttention, BertLayer};
pub use mlm_head::MlmHead;
pub use readout::Readout;

use crate::{
    Recompute,
    albef::BertConfig,
    attention::{KeysValues, PaddingMask},
    dropout::{Dropout, drop_at},
    init::{Init, Values},
};

/// What BERT's normalisations add to the variance.
const NORM_EPSILON: f64 = 1e-12;

/// BERT (Devlin et al. 2018, <https://arxiv.org/abs/1810.04805>) as ALBEF splits it (Li et al. 2021,
/// <https://arxiv.org/abs/2107.07651>, section 3.1): the lower layers encode a text, the upper ones fuse it with an
/// image, which they look at by cross-attention.
///
/// [`Bert::text`] runs the lower layers, [`Bert::fusion`] the upper ones on what the lower gave, [`Bert::full`] all of
/// them. The upper layers see the image as an [`ImageMemory`].
///
/// Every pass takes
/// - `mask_pad`, `[batch, tokens]`, true at padding, which no token looks at. It comes from the text as it is, not from
///   the text with masked tokens, where a random replacement may look like padding;
/// - a [`Readout`]: which tokens the caller wants. The last layer computes no others;
/// - the [`Dropout`] of this pass, or `None` for none. Passes of one step each draw their own.
#[derive(Module, Debug)]
pub struct Bert {
    /// Tokens and positions.
    pub embeddings: BertEmbeddings,
    /// All layers; those from `fusion_layer` on have cross-attention.
    pub layers: Vec<BertLayer>,
    /// Predicts masked tokens; fine-tuning does without.
    pub mlm_head: Option<MlmHead>,
    /// First layer of the fusion encoder.
    pub fusion_layer: usize,
    /// What a training step keeps of the layers.
    #[module(skip)]
    pub recompute: Recompute,
}

/// Keys and values of image tokens for every fusion layer.
///
/// Computed once per image by [`Bert::image_memory`], and shared by all texts that are fused with it: its matching one,
/// its hard negatives, its masked one, or the candidates of a search.
#[derive(Clone, Debug)]
pub struct ImageMemory {
    layers: Vec<KeysValues>,
}

impl ImageMemory {
    /// The memory of some images, in this order; an image may come several times.
    ///
    /// # Shapes
    /// - rows: `[selected]`, indices into the batch that the memory was made from
    #[must_use]
    pub fn select(&self, rows: &Tensor<1, Int>) -> Self {
        Self {
            layers: self.layers.iter().map(|layer| layer.select(rows.clone())).collect(),
        }
    }
}

impl Bert {
    /// `init_std`: standard deviation of the initial weights.
    pub(crate) fn new(init: &Init, config: &BertConfig, image_width: usize, init_std: f64) -> Self {
        let values = Values::Normal(init_std);
        let layers = config.text_layers + config.fusion_layers;
        let layer = |index: usize| {
            let context = (index >= config.text_layers).then_some(image_width);
            BertLayer::new(
                &init.at(format_args!("layer.{index}")),
                config,
                context,
                index,
                init_std,
            )
        };
        Self {
            embeddings: BertEmbeddings::new(&init.at("embeddings"), config, values),
            layers: (0..layers).map(layer).collect(),
            mlm_head: config
                .mlm_head
                .then(|| MlmHead::new(&init.at("mlm_head"), config.width, config.vocab_size, values)),
            fusion_layer: config.text_layers,
            recompute: Recompute::Nothing,
        }
    }

    /// Encodes texts.
    ///
    /// # Shapes
    /// - ids: `[batch, tokens]`
    /// - mask_pad: `[batch, tokens]`, true at padding
    /// - output: `[batch, kept, width]`
    ///
    /// # Panics
    /// If there are more tokens than positions.
    pub fn text(
        &self,
        ids: Tensor<2, Int>,
        mask_pad: &Tensor<2, Bool>,
        readout: &Readout,
        dropout: Option<&Dropout>,
    ) -> Tensor<3> {
        let x = self.embed(ids, dropout);
        self.run(0..self.fusion_layer, x, None, (mask_pad, readout, dropout))
    }

    /// Fuses encoded texts with images, text `i` with image `i`.
    ///
    /// # Shapes
    /// - text_states: `[batch, tokens, width]`, all tokens of [`Bert::text`]
    /// - mask_pad: `[batch, tokens]`, true at padding
    /// - images: of as many images
    /// - output: `[batch, kept, width]`
    pub fn fusion(
        &self,
        text_states: Tensor<3>,
        mask_pad: &Tensor<2, Bool>,
        images: &ImageMemory,
        readout: &Readout,
        dropout: Option<&Dropout>,
    ) -> Tensor<3> {
        let layers = self.fusion_layer..self.layers.len();
        self.run(layers, text_states, Some(images), (mask_pad, readout, dropout))
    }

    /// Encodes texts and fuses them with images, text `i` with image `i`: [`Bert::text`], then [`Bert::fusion`].
    ///
    /// # Shapes
    /// As there.
    ///
    /// # Panics
    /// If there are more tokens than positions.
    pub fn full(
        &self,
        ids: Tensor<2, Int>,
        mask_pad: &Tensor<2, Bool>,
        images: &ImageMemory,
        readout: &Readout,
        dropout: Option<&Dropout>,
    ) -> Tensor<3> {
        let x = self.embed(ids, dropout);
        self.run(0..self.layers.len(), x, Some(images), (mask_pad, readout, dropout))
    }

    /// What the fusion layers need of images.
    ///
    /// # Shapes
    /// - image_states: `[batch, tokens, image width]`
    pub fn image_memory(&self, image_states: Tensor<3>) -> ImageMemory {
        let layers = self.layers.iter().filter_map(|layer| layer.cross_attention.as_ref());
        ImageMemory {
            layers: layers.map(|cross| cross.keys_values(image_states.clone())).collect(),
        }
    }

    /// Scores every token of the vocabulary for each of the given states.
    ///
    /// # Shapes
    /// - states: `[batch, slots, width]`, what [`Bert::full`] gave at masked positions
    /// - output: `[batch, slots, vocab_size]`, logits
    ///
    /// # Panics
    /// If the model was made without an MLM head.
    pub fn predict_tokens(&self, states: Tensor<3>) -> Tensor<3> {
        match &self.mlm_head {
            Some(head) => head.forward(states, self.embeddings.word_embeddings.weight.val()),
            None => panic!("this model was made without an MLM head"),
        }
    }

    fn embed(&self, ids: Tensor<2, Int>, dropout: Option<&Dropout>) -> Tensor<3> {
        let x = self.embeddings.forward(ids);
        drop_at(x, dropout.map(|dropout| dropout.site(layer::EMBEDDING_SITE)))
    }

    fn run(
        &self,
        layers: Range<usize>,
        mut x: Tensor<3>,
        images: Option<&ImageMemory>,
        (mask_pad, readout, dropout): (&Tensor<2, Bool>, &Readout, Option<&Dropout>),
    ) -> Tensor<3> {
        let [batch, tokens, _] = x.dims();
        assert_shape!(mask_pad, [batch, tokens]);
        let every = LayerPass {
            padding: PaddingMask::new(mask_pad, x.dtype().into()),
            readout: Readout::All,
            dropout: dropout.cloned(),
        };
        let last = LayerPass {
            readout: readout.clone(),
            ..every.clone()
        };
        let mut memories = images.into_iter().flat_map(|images| &images.layers);
        let layers = &self.layers[layers];
        for (index, layer) in layers.iter().enumerate() {
            let memory = layer.cross_attention.as_ref().and_then(|_| memories.next());
            let pass = if index + 1 == layers.len() { &last } else { &every };
            x = self.run_layer(layer, x, memory, pass.clone());
        }
        x
    }

    fn run_layer(&self, layer: &BertLayer, x: Tensor<3>, memory: Option<&KeysValues>, pass: LayerPass) -> Tensor<3> {
        match memory {
            None => self
                .recompute
                .run(layer, [x], move |layer, [x]| layer.forward(x, None, &pass)),
            Some(memory) => {
                let [keys, values] = memory.clone().into_parts();
                self.recompute
                    .run(layer, [keys, values, x], move |layer, [keys, values, x]| {
                        layer.forward(x, Some(&KeysValues::from_parts([keys, values])), &pass)
                    })
            }
        }
    }
}
