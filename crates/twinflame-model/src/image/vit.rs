//! Vision transformer.

use burn::{
    module::{Module, Param},
    nn::{LayerNorm, Linear},
    tensor::{Int, Tensor, assert_shape},
};

use super::ImageInput;
use crate::{
    BlockOutput,
    activation::Activation,
    attention::Visibility,
    block::{BlockConfig, ResidualBlock},
    config::VisionConfig,
    init::{Init, Values},
};

/// Vision transformer (Dosovitskiy et al. 2020, <https://arxiv.org/abs/2010.11929>) as CLIP uses it: one more
/// normalisation before the blocks (Radford et al. 2021, section 2.4), and the class token projected into the joint
/// space.
#[derive(Module, Debug)]
pub struct Vit {
    /// `[3 patch patch, width]`, without bias: the patch convolution as a matrix product. Rows are ordered channel,
    /// row, column.
    pub conv1: Linear,
    /// `[width]`.
    pub class_embedding: Param<Tensor<1>>,
    /// `[1 + patches, width]`, class token first.
    pub positional_embedding: Param<Tensor<2>>,
    /// Before the blocks.
    pub ln_pre: LayerNorm,
    /// Transformer.
    pub blocks: Vec<ResidualBlock>,
    /// On the class token after the blocks.
    pub ln_post: LayerNorm,
    /// `[width, embed_dim]`, without bias.
    pub proj: Linear,
    /// Side of a patch in pixels.
    pub patch_size: usize,
}

impl Vit {
    pub(crate) fn new(
        init: &Init,
        config: &VisionConfig,
        layers: usize,
        patch_size: usize,
        embed_dim: usize,
        activation: Activation,
    ) -> Self {
        let width = config.width;
        let tokens = 1 + config.num_patches_of(patch_size);
        let d_patch = 3 * patch_size * patch_size;
        let scale = Values::Normal((width as f64).powf(-0.5));
        let block = BlockConfig {
            width,
            d_ff: config.d_ff(),
            n_heads: width / config.head_width,
            activation,
            std: None,
        };
        Self {
            conv1: init.linear(
                ["conv1.weight", ""],
                [d_patch, width],
                Values::torch_default(d_patch),
                None,
            ),
            class_embedding: init.param("class_embedding", [width], scale),
            positional_embedding: init.param("positional_embedding", [tokens, width], scale),
            ln_pre: init.layer_norm(width),
            blocks: (0..layers)
                .map(|layer| ResidualBlock::new(&init.at(format_args!("transformer.resblocks.{layer}")), &block))
                .collect(),
            ln_post: init.layer_norm(width),
            proj: init.linear(["proj", ""], [width, embed_dim], scale, None),
            patch_size,
        }
    }

    /// Number of patches of an image, the class token not counted.
    pub fn num_patches(&self) -> usize {
        self.positional_embedding.lazy_shape().dims::<2>()[0] - 1
    }

    /// Features, `[batch, embed_dim]`.
    ///
    /// # Panics
    /// If the image has another size than the position table was made for.
    pub fn forward(&self, input: ImageInput) -> Tensor<2> {
        let mut x = self.ln_pre.forward(self.embed(input));
        let class = match self.blocks.split_last() {
            None => class_token(x),
            Some((last, blocks)) => {
                for block in blocks {
                    x = block.forward(x, Visibility::All);
                }
                last.forward_one(x, class_token, None)
            }
        };
        self.proj.forward(self.ln_post.forward(class))
    }

    /// The same with every token carried to the end, and open_clip's hook points:
    /// `conv1` `[batch, width, patches]`, the others `[batch, tokens, width]`.
    pub fn forward_with_blocks(&self, input: ImageInput) -> (Tensor<2>, Vec<BlockOutput>) {
        let patches = self.conv1.forward(self.patches(input.pixels.clone()));
        let mut outputs = vec![BlockOutput::new("conv1", patches.swap_dims(1, 2))];
        let mut x = self.ln_pre.forward(self.embed(input));
        outputs.push(BlockOutput::new("ln_pre", x.clone()));
        for (layer, block) in self.blocks.iter().enumerate() {
            x = block.forward(x, Visibility::All);
            outputs.push(BlockOutput::new(format!("transformer.resblocks.{layer}"), x.clone()));
        }
        let x = self.ln_post.forward(x);
        outputs.push(BlockOutput::new("ln_post", x.clone()));
        (self.proj.forward(class_token(x)), outputs)
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

    /// Patches, positions and the class token: `[batch, 1 + patches, width]`.
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
                let positions = one_hot(keep, n_patches, &positions).matmul(positions); // [batch kept, width]
                (self.conv1.forward(rows) + positions).reshape([batch, kept, width])
            }
        };
        Tensor::cat(vec![class.reshape([1, 1, width]).expand([batch, 1, width]), x], 1)
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

/// `[batch, kept]` to `[batch kept, patches]` with a single one per row, in the type of `like`.
///
/// Positions are gathered by this product and not by `select`, whose gradient is a serial scatter on GPU backends.
fn one_hot(keep: Tensor<2, Int>, n_patches: usize, like: &Tensor<2>) -> Tensor<2> {
    let [batch, kept] = keep.dims();
    let all = Tensor::<1, Int>::arange(0..n_patches as i64, (&keep.device(), keep.dtype())).reshape([1, n_patches]);
    let hit = keep
        .reshape([batch * kept, 1])
        .expand([batch * kept, n_patches])
        .equal(all.expand([batch * kept, n_patches]));
    Tensor::zeros([batch * kept, n_patches], (&like.device(), like.dtype())).mask_fill(hit, 1.0)
}
