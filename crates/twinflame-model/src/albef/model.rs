use std::ops::RangeInclusive;

use burn::{
    module::{Module, Param},
    tensor::{Bool, Device, Int, Tensor},
};

use super::AlbefConfig;
use crate::{
    ImageInput, Linear, Recompute,
    clip::normalize,
    dropout::Dropout,
    image::Vit,
    init::{Init, Values},
    text::{Bert, Readout},
};

/// Temperatures that pre-training allows; the reference clamps to them at the start of every step.
pub const TEMP_RANGE: RangeInclusive<f64> = 0.001..=0.5;

/// Align before fuse (Li et al. 2021, <https://arxiv.org/abs/2107.07651>): everything that is trained.
#[derive(Module, Debug)]
pub struct Albef {
    /// What has a momentum copy.
    pub encoders: AlbefEncoders,
    /// `[width, 2]` with bias: from the fused `[CLS]` to the logits of "do not match" and "match".
    pub itm_head: Linear,
    /// Temperature, `[1]`: similarities are divided by it.
    pub temp: Param<Tensor<1>>,
}

/// The encoders of an [`Albef`] with their projections, which also exist as a momentum copy.
#[derive(Module, Debug)]
pub struct AlbefEncoders {
    /// Images to tokens.
    pub image_encoder: Vit,
    /// `[image width, embed_dim]` with bias, on the class token.
    pub vision_proj: Linear,
    /// Texts to tokens, texts and images to fused tokens, masked tokens to scores.
    pub text_encoder: Bert,
    /// `[text width, embed_dim]` with bias, on `[CLS]`.
    pub text_proj: Linear,
}

impl Albef {
    pub(super) fn new(config: &AlbefConfig, seed: u64, device: &Device) -> Self {
        let init = Init::new(seed, device);
        Self {
            encoders: AlbefEncoders::new(&init, config),
            itm_head: torch_linear(&init, "itm_head", [config.text_cfg.width, 2]),
            temp: init.param("temp", [1], Values::Constant(config.init_temp)),
        }
    }

    /// The same model, of whose transformer blocks training keeps what `recompute` says.
    #[must_use]
    pub fn with_recompute(mut self, recompute: Recompute) -> Self {
        self.encoders.image_encoder.recompute = recompute;
        self.encoders.text_encoder.recompute = recompute;
        self
    }

    /// Whether texts and images match, from fused states.
    ///
    /// # Shapes
    /// - fused: `[batch, 1, width]`, what [`Bert::fusion`] gave for [`Readout::Class`]
    /// - output: `[batch, 2]`, logits of "do not match" and "match"
    pub fn match_logits(&self, fused: Tensor<3>) -> Tensor<2> {
        self.itm_head.forward(first_token(fused))
    }
}

impl AlbefEncoders {
    fn new(init: &Init, config: &AlbefConfig) -> Self {
        let (vision, text) = (&config.vision_cfg, &config.text_cfg);
        Self {
            image_encoder: Vit::albef(
                &init.at("visual_encoder"),
                vision,
                config.image_layers(),
                config.init_std,
            ),
            vision_proj: torch_linear(init, "vision_proj", [vision.width, config.embed_dim]),
            text_encoder: Bert::new(&init.at("text_encoder"), text, vision.width, config.init_std),
            text_proj: torch_linear(init, "text_proj", [text.width, config.embed_dim]),
        }
    }

    /// All tokens of images, `[batch, 1 + patches, image width]`.
    ///
    /// # Panics
    /// If the image has another size than the model.
    pub fn image_states(&self, images: impl Into<ImageInput>) -> Tensor<3> {
        self.image_encoder.forward_tokens(images.into())
    }

    /// Images in the contrastive space, from all their tokens or any number of the first.
    ///
    /// # Shapes
    /// - image_states: `[batch, tokens, image width]`, class token first
    /// - output: `[batch, embed_dim]`, rows of length 1
    pub fn image_embeds(&self, image_states: Tensor<3>) -> Tensor<2> {
        normalize(self.vision_proj.forward(first_token(image_states)))
    }

    /// Images in the contrastive space, for those who need no more of them: less work than all tokens.
    ///
    /// # Shapes
    /// - output: `[batch, embed_dim]`, rows of length 1
    ///
    /// # Panics
    /// If the image has another size than the model.
    pub fn encode_image(&self, images: impl Into<ImageInput>) -> Tensor<2> {
        normalize(
            self.vision_proj
                .forward(self.image_encoder.forward_class(images.into())),
        )
    }

    /// Texts in the contrastive space, from all their tokens or any number of the first.
    ///
    /// # Shapes
    /// - text_states: `[batch, tokens, text width]`, `[CLS]` first
    /// - output: `[batch, embed_dim]`, rows of length 1
    pub fn text_embeds(&self, text_states: Tensor<3>) -> Tensor<2> {
        normalize(self.text_proj.forward(first_token(text_states)))
    }

    /// Texts in the contrastive space, for those who need no more of them: less work than all tokens.
    ///
    /// # Shapes
    /// - ids: `[batch, tokens]`
    /// - mask_pad: `[batch, tokens]`, true at padding
    /// - output: `[batch, embed_dim]`, rows of length 1
    ///
    /// # Panics
    /// If there are more tokens than positions.
    pub fn encode_text(&self, ids: Tensor<2, Int>, mask_pad: &Tensor<2, Bool>, dropout: Option<&Dropout>) -> Tensor<2> {
        self.text_embeds(self.text_encoder.text(ids, mask_pad, &Readout::Class, dropout))
    }
}

/// Token 0: `[batch, tokens, width]` to `[batch, width]`.
fn first_token(x: Tensor<3>) -> Tensor<2> {
    let [batch, _, width] = x.dims();
    x.narrow(1, 0, 1).reshape([batch, width])
}

/// A linear layer with PyTorch's defaults.
fn torch_linear(init: &Init, name: &str, dims: [usize; 2]) -> Linear {
    let values = Values::torch_default(dims[0]);
    init.linear(
        [&format!("{name}.weight"), &format!("{name}.bias")],
        dims,
        values,
        Some(values),
    )
}
