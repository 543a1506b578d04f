//! Vision transformer.

use burn::{
    module::{Module, Param},
    tensor::{Int, Tensor, assert_shape},
};

use super::ImageInput;
use crate::{
    BlockOutput, LayerNorm, Linear, Recompute,
    activation::Activation,
    attention::Visibility,
    block::{BlockConfig, BlockValues, ResidualBlock},
    config::VisionConfig,
    init::{Init, NORM_EPSILON, Values},
    one_hot::one_hot,
};

/// Vision transformer (Dosovitskiy et al. 2020, <https://arxiv.org/abs/2010.11929>) as CLIP and ALBEF use it.
///
/// CLIP's has one more normalisation before the blocks (Radford et al. 2021, section 2.4), no bias on its patches, and
/// projects the class token into the joint space. ALBEF's is DeiT's (Touvron et al. 2020,
/// <https://arxiv.org/abs/2012.12877>): it hands on all tokens.
#[derive(Module, Debug)]
pub struct Vit {
    /// `[3 patch patch, width]`: the patch convolution as a matrix product. Rows are ordered channel, row, column.
    /// CLIP's has no bias.
    pub conv1: Linear,
    /// `[width]`.
    pub class_embedding: Param<Tensor<1>>,
    /// `[1 + patches, width]`, class token first.
    pub positional_embedding: Param<Tensor<2>>,
    /// Before the blocks; CLIP only.
    pub ln_pre: Option<LayerNorm>,
    /// Transformer.
    pub blocks: Vec<ResidualBlock>,
    /// After the blocks.
    pub ln_post: LayerNorm,
    /// `[width, embed_dim]`, without bias, on the class token; CLIP only.
    pub proj: Option<Linear>,
    /// Side of a patch in pixels.
    pub patch_size: usize,
    /// What a training step keeps of the blocks.
    #[module(skip)]
    pub recompute: Recompute,
}

/// What the normalisations of ALBEF's image encoder add to the variance.
const DEIT_EPSILON: f64 = 1e-6;

/// What the two kinds of vision transformer differ in, the presence of layers apart.
struct Kind {
    norm_epsilon: f64,
    block: BlockValues,
    /// Of the class token and the positions.
    embedding: Values,
}

impl Vit {
    /// CLIP's, with names and initial values as open_clip's.
    pub(crate) fn clip(
        init: &Init,
        config: &VisionConfig,
        layers: usize,
        embed_dim: usize,
        activation: Activation,
    ) -> Self {
        let width = config.width;
        let scale = Values::Normal((width as f64).powf(-0.5));
        let kind = Kind {
            norm_epsilon: NORM_EPSILON,
            block: BlockValues::Torch,
            embedding: scale,
        };
        let plain = Self::new(init, config, layers, activation, kind);
        Self {
            ln_pre: Some(init.layer_norm(width, NORM_EPSILON)),
            proj: Some(init.linear(["proj", ""], [width, embed_dim], scale, None)),
            ..plain
        }
    }

    /// ALBEF's, with initial values as DeiT's.
    pub(crate) fn albef(init: &Init, config: &VisionConfig, layers: usize, init_std: f64) -> Self {
        let kind = Kind {
            norm_epsilon: DEIT_EPSILON,
            block: BlockValues::Normal(init_std),
            embedding: Values::Normal(init_std),
        };
        let plain = Self::new(init, config, layers, Activation::Gelu, kind);
        let [d_patch, width] = plain.conv1.weight.lazy_shape().dims();
        let bias = init.param("conv1.bias", [width], Values::torch_default(d_patch));
        Self {
            conv1: Linear {
                bias: Some(bias),
                ..plain.conv1
            },
            ..plain
        }
    }

    /// Patches without bias, blocks, and the normalisation after them.
    fn new(init: &Init, config: &VisionConfig, layers: usize, activation: Activation, kind: Kind) -> Self {
        let width = config.width;
        let patch_size = config.patch_size.unwrap_or(config.image_size);
        let tokens = 1 + config.num_patches_of(patch_size);
        let d_patch = 3 * patch_size * patch_size;
        let block = BlockConfig {
            width,
            d_ff: config.d_ff(),
            n_heads: width / config.head_width,
            activation,
            norm_epsilon: kind.norm_epsilon,
            values: kind.block,
        };
        Self {
            conv1: init.linear(
                ["conv1.weight", ""],
                [d_patch, width],
                Values::torch_default(d_patch),
                None,
            ),
            class_embedding: init.param("class_embedding", [width], kind.embedding),
            positional_embedding: init.param("positional_embedding", [tokens, width], kind.embedding),
            ln_pre: None,
            blocks: (0..layers)
                .map(|layer| ResidualBlock::new(&init.at(format_args!("transformer.resblocks.{layer}")), &block))
                .collect(),
            ln_post: init.layer_norm(width, kind.norm_epsilon),
            proj: None,
            patch_size,
            recompute: Recompute::Nothing,
        }
    }

    /// Number of patches of an image, the class token not counted.
    pub fn num_patches(&self) -> usize {
        self.positional_embedding.lazy_shape().dims::<2>()[0] - 1
    }

    /// Features, `[batch, embed_dim]`; without a projection those of [`Vit::forward_class`].
    ///
    /// # Panics
    /// If the image has another size than the position table was made for.
    pub fn forward(&self, input: ImageInput) -> Tensor<2> {
        self.project(self.forward_class(input))
    }

    /// The class token after the last normalisation, `[batch, width]`: token 0 of [`Vit::forward_tokens`], at less
    /// work, because the last block computes no other.
    ///
    /// # Panics
    /// If the image has another size than the position table was made for.
    pub fn forward_class(&self, input: ImageInput) -> Tensor<2> {
        let mut x = self.embed(input);
        let class = match self.blocks.split_last() {
            None => class_token(x),
            Some((last, blocks)) => {
                for block in blocks {
                    x = self.run(block, x);
                }
                self.recompute
                    .run(last, [x], |last, [x]| last.forward_one(x, class_token, None))
            }
        };
        self.ln_post.forward(class)
    }

    /// All tokens after the last normalisation, `[batch, 1 + patches, width]`, class token first.
    ///
    /// # Panics
    /// If the image has another size than the position table was made for.
    pub fn forward_tokens(&self, input: ImageInput) -> Tensor<3> {
        let x = self.embed(input);
        let x = self.blocks.iter().fold(x, |x, block| self.run(block, x));
        self.ln_post.forward(x)
    }

    /// The same with every token carried to the end, and open_clip's hook points:
    /// `conv1` `[batch, width, patches]`, the others `[batch, tokens, width]`.
    pub fn forward_with_blocks(&self, input: ImageInput) -> (Tensor<2>, Vec<BlockOutput>) {
        let patches = self.conv1.forward(self.patches(input.pixels.clone()));
        let mut outputs = vec![BlockOutput::new("conv1", patches.swap_dims(1, 2))];
        let mut x = self.embed(input);
        if self.ln_pre.is_some() {
            outputs.push(BlockOutput::new("ln_pre", x.clone()));
        }
        for (layer, block) in self.blocks.iter().enumerate() {
            x = block.forward(x, Visibility::All);
            outputs.push(BlockOutput::new(format!("transformer.resblocks.{layer}"), x.clone()));
        }
        let x = self.ln_post.forward(x);
        outputs.push(BlockOutput::new("ln_post", x.clone()));
        (self.project(class_token(x)), outputs)
    }

    fn run(&self, block: &ResidualBlock, x: Tensor<3>) -> Tensor<3> {
        self.recompute
            .run(block, [x], |block, [x]| block.forward(x, Visibility::All))
    }

    fn project(&self, class: Tensor<2>) -> Tensor<2> {
        match &self.proj {
            Some(proj) => proj.forward(class),
            None => class,
        }
    }

    /// Pixels to one row per patch: `[batch, patches, 3 patch patch]`.
    fn patches(&self, pixels: Tensor<4>) -> Tensor<3> {
        let [batch, channels, height, width] = pixels.dims();
        let size = self.patch_size;
        let [rows, columns] = [height / size, width / size];
        assert_shape!(pixels, [batch, 3, rows * size, columns * size]);
        pixels
            .reshape([batch, channels, rows, size, columns, size])
            .permute([0, 2, 4, 1, 3, 5])
            .reshape([batch, rows * columns, channels * size * size])
    }

    /// What enters the first block: patches, positions and the class token, `[batch, 1 + patches, width]`.
    fn embed(&self, input: ImageInput) -> Tensor<3> {
        let patches = self.patches(input.pixels);
        let [batch, n_patches, d_patch] = patches.dims();
        assert_shape!(self.positional_embedding.val(), [n_patches + 1, _]);
        let positions = self.positional_embedding.val(); // [1 + patches, width]
        let [_, width] = positions.dims();
        let class = self.class_embedding.val().reshape([1, width]) + positions.clone().narrow(0, 0, 1);
        let positions = positions.narrow(0, 1, n_patches);

        let x = match input.keep_patches {
            None => {
                self.conv1.forward(patches) + positions.reshape([1, n_patches, width]) // [batch, patches, width]
            }
            Some(keep) => {
                // Dropped before they are embedded: the pixels need no gradient, so choosing costs nothing backwards.
                let [_, kept] = keep.dims();
                let rows = patches
                    .reshape([batch * n_patches, d_patch])
                    .select(0, flat_rows(keep.clone(), n_patches));
                let chosen = one_hot(keep, n_patches, &positions).reshape([batch * kept, n_patches]);
                let positions = chosen.matmul(positions); // [batch kept, width]
                (self.conv1.forward(rows) + positions).reshape([batch, kept, width])
            }
        };
        let x = Tensor::cat(vec![class.reshape([1, 1, width]).expand([batch, 1, width]), x], 1);
        match &self.ln_pre {
            Some(norm) => norm.forward(x),
            None => x,
        }
    }
}

/// Token 0: `[batch, tokens, width]` to `[batch, width]`.
fn class_token(x: Tensor<3>) -> Tensor<2> {
    let [batch, _, width] = x.dims();
    x.narrow(1, 0, 1).reshape([batch, width])
}

/// Indices within a sample, `[batch, kept]`, to rows of the batch's flattened patches, `[batch kept]`.
fn flat_rows(keep: Tensor<2, Int>, n_patches: usize) -> Tensor<1, Int> {
    let [batch, kept] = keep.dims();
    // In the integer type of `keep`: some backends do not mix two.
    let options = (&keep.device(), keep.dtype());
    let first = Tensor::<1, Int>::arange(0..batch as i64, options).reshape([batch, 1]) * n_patches as i64;
    (keep + first).reshape([batch * kept])
}
