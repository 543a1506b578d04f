use burn::{module::Module, tensor::Tensor};

use super::{NORM_EPSILON, Readout};
use crate::{
    Activation, LayerNorm,
    albef::BertConfig,
    attention::{CrossAttention, Hidden, KeysValues, PaddingMask},
    block::{BlockConfig, BlockValues, Mlp},
    dropout::{Dropout, drop_at},
    init::Init,
};

/// One of BERT's layers, normalised after each sum: self-attention, cross-attention in a fusion layer, feed-forward.
#[derive(Module, Debug)]
pub struct BertLayer {
    /// Text tokens look at each other.
    pub attention: BertAttention,
    /// Text tokens look at image tokens; in fusion layers only.
    pub cross_attention: Option<BertAttention>,
    /// Feed-forward layer.
    pub mlp: Mlp,
    /// After the feed-forward layer.
    pub ln_mlp: LayerNorm,
    /// First of the layer's places that drop something.
    #[module(skip)]
    first_site: usize,
}

/// Attention, added to what asked, normalised: `norm(x + attention(x))`.
#[derive(Module, Debug)]
pub struct BertAttention {
    /// Attention.
    pub attn: CrossAttention,
    /// After the sum.
    pub norm: LayerNorm,
}

/// What a pass hands to a layer beside the tokens.
#[derive(Clone, Debug)]
pub(super) struct LayerPass {
    pub(super) padding: PaddingMask,
    pub(super) readout: Readout,
    pub(super) dropout: Option<Dropout>,
}

/// Number of the place after the embeddings that drops something.
pub(super) const EMBEDDING_SITE: usize = 0;
/// Places of a layer that drop something: weights and output of either attention, and of the feed-forward layer.
const SITES: usize = 5;

/// Layers that this many places that drop something are enough for.
pub(crate) const fn max_layers(sites: usize) -> usize {
    (sites - 1) / SITES
}

impl BertAttention {
    fn new(init: &Init, config: &BertConfig, context_width: usize, init_std: f64) -> Self {
        Self {
            attn: CrossAttention::new(init, config.width, context_width, config.heads, init_std),
            norm: init.layer_norm(config.width, NORM_EPSILON),
        }
    }

    /// Keys and values of what is looked at, `[batch, tokens, context_width]`.
    pub fn keys_values(&self, context: Tensor<3>) -> KeysValues {
        self.attn.keys_values(context)
    }

    fn forward(
        &self,
        x: Tensor<3>,
        context: &KeysValues,
        hidden: Hidden<'_>,
        dropout: Option<&Dropout>,
        first_site: usize,
    ) -> Tensor<3> {
        let site = |index| dropout.map(|dropout| dropout.site(first_site + index));
        let attended = self.attn.forward(x.clone(), context, hidden, site(0));
        self.norm.forward(drop_at(attended, site(1)) + x)
    }
}

impl BertLayer {
    pub(super) fn new(
        init: &Init,
        config: &BertConfig,
        image_width: Option<usize>,
        index: usize,
        init_std: f64,
    ) -> Self {
        let block = BlockConfig {
            width: config.width,
            d_ff: config.d_ff(),
            n_heads: config.heads,
            activation: Activation::Gelu,
            norm_epsilon: NORM_EPSILON,
            values: BlockValues::Normal(init_std),
        };
        Self {
            attention: BertAttention::new(&init.at("attention"), config, config.width, init_std),
            cross_attention: image_width
                .map(|width| BertAttention::new(&init.at("cross_attention"), config, width, init_std)),
            mlp: Mlp::new(&init.at("mlp"), &block),
            ln_mlp: init.layer_norm(config.width, NORM_EPSILON),
            first_site: EMBEDDING_SITE + 1 + SITES * index,
        }
    }

    /// The layer's output for the tokens that are read.
    ///
    /// # Shapes
    /// - x: `[batch, tokens, width]`
    /// - output: `[batch, kept, width]`
    pub(super) fn forward(&self, x: Tensor<3>, image: Option<&KeysValues>, pass: &LayerPass) -> Tensor<3> {
        let dropout = pass.dropout.as_ref();
        let queries = pass.readout.pick(x.clone());
        let text = self.attention.keys_values(x);
        let padding = Hidden::Padding(&pass.padding);
        let mut x = self
            .attention
            .forward(queries, &text, padding, dropout, self.first_site);
        if let (Some(cross), Some(image)) = (&self.cross_attention, image) {
            x = cross.forward(x, image, Hidden::Nothing, dropout, self.first_site + 2);
        }
        let site = dropout.map(|dropout| dropout.site(self.first_site + 4));
        self.ln_mlp.forward(drop_at(self.mlp.forward(x.clone()), site) + x)
    }
}
