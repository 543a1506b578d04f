//! Two encoders and a joint space.

use burn::{
    module::{Module, Param},
    tensor::{Device, Int, Tensor},
};

use crate::{
    Pass, Recompute,
    config::{ClipConfig, Layers, TextKind},
    image::{ImageEncoder, ImageInput, ModifiedResNet, Vit},
    init::{Init, Values},
    text::{Cbow, TextEncoder, TextTransformer},
};

/// Contrastive language-image model (Radford et al. 2021, <https://arxiv.org/abs/2103.00020>).
#[derive(Module, Debug)]
pub struct Clip {
    /// Images to features.
    pub image_encoder: ImageEncoder,
    /// Texts to features.
    pub text_encoder: TextEncoder,
    /// Natural logarithm of the inverse temperature, `[1]`.
    pub logit_scale: Param<Tensor<1>>,
    /// Added to the logits, `[1]` (SigLIP, Zhai et al. 2023, <https://arxiv.org/abs/2303.15343>).
    pub logit_bias: Option<Param<Tensor<1>>>,
}

/// What [`Clip::forward`] computes.
#[derive(Clone, Debug)]
pub struct ClipOutput {
    /// `[batch, embed_dim]`, rows of length 1.
    pub image_embeds: Tensor<2>,
    /// `[batch, embed_dim]`, rows of length 1.
    pub text_embeds: Tensor<2>,
    /// `[1]`, natural logarithm of the inverse temperature.
    pub logit_scale: Tensor<1>,
    /// `[1]`.
    pub logit_bias: Option<Tensor<1>>,
}

/// What came out of one stage of a tower; for looking inside.
#[derive(Clone, Debug)]
pub struct BlockOutput {
    /// open_clip's name of the stage within its tower.
    pub name: String,
    /// `[batch, tokens, width]`, or `[batch, channels, height width]` of a convolution.
    pub value: Tensor<3>,
}

impl BlockOutput {
    pub(crate) fn new(name: impl Into<String>, value: Tensor<3>) -> Self {
        Self {
            name: name.into(),
            value,
        }
    }
}

impl Clip {
    pub(crate) fn new(config: &ClipConfig, seed: u64, device: &Device) -> Self {
        let init = Init::new(seed, device);
        let (vision, text, embed_dim) = (&config.vision_cfg, &config.text_cfg, config.embed_dim);
        let visual = init.at("visual");
        let image_encoder = match vision.layers {
            Layers::Depth(layers) => {
                ImageEncoder::Vit(Vit::clip(&visual, vision, layers, embed_dim, config.activation()))
            }
            Layers::Stages(stages) => ImageEncoder::ResNet(ModifiedResNet::new(&visual, vision, stages, embed_dim)),
        };
        let text_encoder = match text.kind {
            TextKind::Transformer => {
                TextEncoder::Transformer(TextTransformer::new(&init, text, embed_dim, config.activation()))
            }
            TextKind::Cbow => TextEncoder::Cbow(Cbow::new(&init, text, embed_dim)),
        };
        let scalar = |name, value| init.param(name, [1], Values::Constant(value));
        Self {
            image_encoder,
            text_encoder,
            logit_scale: scalar("logit_scale", config.init_logit_scale),
            logit_bias: config.init_logit_bias.map(|value| scalar("logit_bias", value)),
        }
    }

    /// Features of images, `[batch, embed_dim]`, not normalised.
    pub fn encode_image(&self, input: impl Into<ImageInput>, pass: Pass) -> Tensor<2> {
        self.image_encoder.forward(input.into(), pass)
    }

    /// Features of texts, `[batch, context_length]` token ids to `[batch, embed_dim]`, not normalised.
    pub fn encode_text(&self, tokens: Tensor<2, Int>) -> Tensor<2> {
        self.text_encoder.forward(tokens)
    }

    /// Unit features of both, and what turns their products into logits: `exp(logit_scale) * products + logit_bias`.
    pub fn forward(&self, input: impl Into<ImageInput>, tokens: Tensor<2, Int>, pass: Pass) -> ClipOutput {
        ClipOutput {
            image_embeds: normalize(self.encode_image(input, pass)),
            text_embeds: normalize(self.encode_text(tokens)),
            logit_scale: self.logit_scale.val(),
            logit_bias: self.logit_bias.as_ref().map(|bias| bias.val()),
        }
    }

    /// The same model, of whose transformer blocks training keeps what `recompute` says. A ResNet and a CBOW have none.
    #[must_use]
    pub fn with_recompute(mut self, recompute: Recompute) -> Self {
        if let ImageEncoder::Vit(vit) = &mut self.image_encoder {
            vit.recompute = recompute;
        }
        if let TextEncoder::Transformer(transformer) = &mut self.text_encoder {
            transformer.recompute = recompute;
        }
        self
    }

    /// Patches per image, from which [`ImageInput::keep_patches`] chooses; `None` for a ResNet.
    pub fn num_patches(&self) -> Option<usize> {
        match &self.image_encoder {
            ImageEncoder::Vit(vit) => Some(vit.num_patches()),
            ImageEncoder::ResNet(_) => None,
        }
    }
}

/// Scales rows to length 1: `x / max(|x|, 1e-12)`, as PyTorch's `normalize`.
///
/// The square is limited before its root is taken, so that a row of zeros has a gradient of 0 and not NaN.
pub fn normalize(x: Tensor<2>) -> Tensor<2> {
    let square = x.clone().square().sum_dim(1); // [batch, 1]
    let length = square.clamp_min(SQUARE_MIN).sqrt();
    x / length
}

/// `1e-12` squared.
const SQUARE_MIN: f32 = 1e-24;

#[cfg(test)]
mod tests {
    use burn::tensor::{TensorData, Tolerance};

    use super::*;

    #[test]
    fn rows_get_length_one_and_zeros_stay() {
        let device = Device::flex().autodiff();
        let x = Tensor::<2>::from_floats([[3.0, 4.0], [0.0, 0.0], [1e-10, 0.0]], &device).require_grad();
        let y = normalize(x.clone());
        y.clone().into_data().assert_approx_eq::<f32>(
            &TensorData::from([[0.6f32, 0.8], [0.0, 0.0], [1.0, 0.0]]),
            Tolerance::absolute(1e-6),
        );
        let grads = y.sum().backward();
        let grad = x.grad(&grads).unwrap().into_data();
        assert!(grad.iter::<f32>().all(|value| !value.is_nan()));
    }
}
