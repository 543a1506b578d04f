//! CLIP's modified residual network.

use burn::{
    module::Module,
    tensor::{Tensor, assert_shape},
};
use twinflame_kernels::Then;

use super::{AttentionPool, Conv, pool::halve};
use crate::{BlockOutput, Pass, batch_norm::BatchNorm, config::VisionConfig, init::Init};

/// Channels out of a bottleneck per channel inside it (He et al. 2015, <https://arxiv.org/abs/1512.03385>).
pub(crate) const EXPANSION: usize = 4;

/// Residual network as modified by Radford et al. 2021, section 2.4: a stem of three convolutions, average pooling
/// wherever the size halves (after Zhang 2019, <https://arxiv.org/abs/1904.11486>), attention instead of the final
/// pooling.
#[derive(Module, Debug)]
pub struct ModifiedResNet {
    /// Stem, 3 to `width / 2` channels, stride 2.
    pub conv1: Conv,
    /// After `conv1`.
    pub bn1: BatchNorm,
    /// Stem, `width / 2` channels.
    pub conv2: Conv,
    /// After `conv2`.
    pub bn2: BatchNorm,
    /// Stem, `width / 2` to `width` channels.
    pub conv3: Conv,
    /// After `conv3`.
    pub bn3: BatchNorm,
    /// `4 width` channels at a quarter of the image's size.
    pub layer1: Vec<Bottleneck>,
    /// `8 width` channels at an eighth.
    pub layer2: Vec<Bottleneck>,
    /// `16 width` channels at a sixteenth.
    pub layer3: Vec<Bottleneck>,
    /// `32 width` channels at a thirty-second.
    pub layer4: Vec<Bottleneck>,
    /// Into the joint space.
    pub attnpool: AttentionPool,
}

impl ModifiedResNet {
    pub(crate) fn new(init: &Init, config: &VisionConfig, stages: [usize; 4], embed_dim: usize) -> Self {
        let width = config.width;
        let mut channels_in = width;
        let mut stage = |index: usize| {
            let planes = width << index;
            (0..stages[index])
                .map(|block| {
                    let init = init.at(format_args!("layer{}.{block}", index + 1));
                    let stride = if index > 0 && block == 0 { 2 } else { 1 };
                    let bottleneck = Bottleneck::new(&init, channels_in, planes, stride);
                    channels_in = planes * EXPANSION;
                    bottleneck
                })
                .collect::<Vec<_>>()
        };
        let [layer1, layer2, layer3, layer4] = [stage(0), stage(1), stage(2), stage(3)];
        Self {
            conv1: Conv::new(init, "conv1", [3, width / 2], 3, 2),
            bn1: BatchNorm::new(&init.at("bn1"), width / 2, 1.0),
            conv2: Conv::new(init, "conv2", [width / 2, width / 2], 3, 1),
            bn2: BatchNorm::new(&init.at("bn2"), width / 2, 1.0),
            conv3: Conv::new(init, "conv3", [width / 2, width], 3, 1),
            bn3: BatchNorm::new(&init.at("bn3"), width, 1.0),
            layer1,
            layer2,
            layer3,
            layer4,
            attnpool: AttentionPool::new(
                &init.at("attnpool"),
                config.image_size / 32,
                width * 32,
                config.num_heads(),
                embed_dim,
            ),
        }
    }

    /// `[batch, 3, size, size]` to features `[batch, embed_dim]`.
    ///
    /// Between the stages tensors are `[channels, batch, height, width]`, see [`Conv::forward`]. It suits the
    /// normalisation too, whose sums run over contiguous memory.
    ///
    /// # Panics
    /// If the image has another size than the attention pool's position table was made for.
    pub fn forward(&self, pixels: Tensor<4>, pass: Pass) -> Tensor<2> {
        let mut x = self.stem(pixels, pass);
        for block in self.stages().into_iter().flatten() {
            x = block.forward(x, pass);
        }
        self.attnpool.forward(x)
    }

    /// The same, with open_clip's hook points flattened to `[batch, channels, height width]`.
    pub fn forward_with_blocks(&self, pixels: Tensor<4>, pass: Pass) -> (Tensor<2>, Vec<BlockOutput>) {
        let mut outputs = vec![BlockOutput::new(
            "conv1",
            batch_first(self.conv1.forward(pixels.clone().swap_dims(0, 1))),
        )];
        let mut x = self.stem(pixels, pass);
        outputs.push(BlockOutput::new("avgpool", batch_first(x.clone())));
        for (index, blocks) in self.stages().into_iter().enumerate() {
            for block in blocks {
                x = block.forward(x, pass);
            }
            outputs.push(BlockOutput::new(format!("layer{}", index + 1), batch_first(x.clone())));
        }
        let features = self.attnpool.forward(x);
        let [batch, embed_dim] = features.dims();
        outputs.push(BlockOutput::new(
            "attnpool",
            features.clone().reshape([batch, 1, embed_dim]),
        ));
        (features, outputs)
    }

    fn stages(&self) -> [&Vec<Bottleneck>; 4] {
        [&self.layer1, &self.layer2, &self.layer3, &self.layer4]
    }

    /// `[batch, 3, size, size]` to `[width, batch, size / 4, size / 4]`.
    fn stem(&self, pixels: Tensor<4>, pass: Pass) -> Tensor<4> {
        assert_shape!(pixels, [_, 3, _, _]);
        let x = self.conv1.forward(pixels.swap_dims(0, 1));
        let x = self.bn1.forward(x, Then::Relu, pass);
        let x = self.bn2.forward(self.conv2.forward(x), Then::Relu, pass);
        let x = self.bn3.forward(self.conv3.forward(x), Then::Relu, pass);
        halve(x)
    }
}

/// `[channels, batch, height, width]` to `[batch, channels, height width]`.
fn batch_first(x: Tensor<4>) -> Tensor<3> {
    x.swap_dims(0, 1).flatten(2, 3)
}

/// Bottleneck block; halves the size by average pooling after its 3x3 convolution, never by a stride.
#[derive(Module, Debug)]
pub struct Bottleneck {
    /// 1x1 to `planes` channels.
    pub conv1: Conv,
    /// After `conv1`.
    pub bn1: BatchNorm,
    /// 3x3.
    pub conv2: Conv,
    /// After `conv2`.
    pub bn2: BatchNorm,
    /// 1x1 to `4 planes` channels.
    pub conv3: Conv,
    /// After `conv3`; its gain starts at 0, so that the block starts as its shortcut.
    pub bn3: BatchNorm,
    /// On the shortcut, where size or channels change.
    pub downsample: Option<Downsample>,
    /// 2 where the block halves the size, else 1.
    pub stride: usize,
}

/// Shortcut of a [`Bottleneck`] that changes size or channels, after average pooling.
#[derive(Module, Debug)]
pub struct Downsample {
    /// 1x1.
    pub conv: Conv,
    /// After `conv`.
    pub bn: BatchNorm,
}

impl Bottleneck {
    fn new(init: &Init, channels_in: usize, planes: usize, stride: usize) -> Self {
        let channels_out = planes * EXPANSION;
        let downsample = (stride > 1 || channels_in != channels_out).then(|| Downsample {
            conv: Conv::new(init, "downsample.0", [channels_in, channels_out], 1, 1),
            bn: BatchNorm::new(&init.at("downsample.1"), channels_out, 1.0),
        });
        Self {
            conv1: Conv::new(init, "conv1", [channels_in, planes], 1, 1),
            bn1: BatchNorm::new(&init.at("bn1"), planes, 1.0),
            conv2: Conv::new(init, "conv2", [planes, planes], 3, 1),
            bn2: BatchNorm::new(&init.at("bn2"), planes, 1.0),
            conv3: Conv::new(init, "conv3", [planes, channels_out], 1, 1),
            bn3: BatchNorm::new(&init.at("bn3"), channels_out, 0.0),
            downsample,
            stride,
        }
    }

    /// `[channels_in, batch, height, width]` to `[4 planes, batch, height / stride, width / stride]`.
    pub fn forward(&self, x: Tensor<4>, pass: Pass) -> Tensor<4> {
        let pool = |x| if self.stride > 1 { halve(x) } else { x };
        let shortcut = match &self.downsample {
            None => x.clone(),
            Some(Downsample { conv, bn }) => bn.forward(conv.forward(pool(x.clone())), Then::Nothing, pass),
        };
        let x = self.bn1.forward(self.conv1.forward(x), Then::Relu, pass);
        let x = self.bn2.forward(self.conv2.forward(x), Then::Relu, pass);
        let x = self.conv3.forward(pool(x));
        self.bn3.forward(x, Then::AddRelu(shortcut), pass)
    }
}
