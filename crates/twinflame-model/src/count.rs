//! Numbers of parameters, from shapes alone.

use crate::{
    config::{ClipConfig, Layers, TextConfig, TextKind, VisionConfig},
    image::EXPANSION,
};

/// Trainable numbers of a model; batch normalisation's running statistics are not among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParamCount {
    /// Of the image encoder.
    pub image: u64,
    /// Of the text encoder.
    pub text: u64,
    /// Of both, the logit scale and, where there is one, the logit bias.
    pub total: u64,
}

impl ClipConfig {
    /// Counts parameters without making any.
    pub fn num_params(&self) -> ParamCount {
        let image = match self.vision_cfg.layers {
            Layers::Depth(layers) => {
                let width = self.vision_cfg.width;
                vit(&self.vision_cfg, layers) + norm(width) + width * self.embed_dim
            }
            Layers::Stages(stages) => resnet(&self.vision_cfg, stages, self.embed_dim),
        } as u64;
        let text = text(&self.text_cfg, self.embed_dim) as u64;
        ParamCount {
            image,
            text,
            total: image + text + 1 + u64::from(self.init_logit_bias.is_some()),
        }
    }
}

/// Weight and bias.
pub(crate) fn linear(d_input: usize, d_output: usize) -> usize {
    d_input * d_output + d_output
}

/// Gain and bias of a normalisation.
pub(crate) fn norm(channels: usize) -> usize {
    2 * channels
}

fn block(width: usize, d_ff: usize) -> usize {
    2 * norm(width) + linear(width, 3 * width) + linear(width, width) + linear(width, d_ff) + linear(d_ff, width)
}

/// What every vision transformer has: patches without bias, blocks, and a normalisation after them.
pub(crate) fn vit(config: &VisionConfig, layers: usize) -> usize {
    let width = config.width;
    let patch = config.patch_size.unwrap_or_default();
    let tokens = 1 + config.num_patches().unwrap_or_default();
    let embeddings = 3 * patch * patch * width + width + tokens * width;
    embeddings + norm(width) + layers * block(width, config.d_ff())
}

fn resnet(config: &VisionConfig, stages: [usize; 4], embed_dim: usize) -> usize {
    let conv_norm = |channels_in: usize, channels_out: usize, size: usize| {
        channels_in * channels_out * size * size + norm(channels_out)
    };
    let width = config.width;
    let stem = conv_norm(3, width / 2, 3) + conv_norm(width / 2, width / 2, 3) + conv_norm(width / 2, width, 3);
    let mut channels_in = width;
    let mut body = 0;
    for (stage, blocks) in stages.into_iter().enumerate() {
        let planes = width << stage;
        let channels_out = planes * EXPANSION;
        for index in 0..blocks {
            body +=
                conv_norm(channels_in, planes, 1) + conv_norm(planes, planes, 3) + conv_norm(planes, channels_out, 1);
            if index == 0 {
                body += conv_norm(channels_in, channels_out, 1);
            }
            channels_in = channels_out;
        }
    }
    let positions = (config.image_size / 32).pow(2) + 1;
    let pool = positions * channels_in + 3 * linear(channels_in, channels_in) + linear(channels_in, embed_dim);
    stem + body + pool
}

fn text(config: &TextConfig, embed_dim: usize) -> usize {
    let width = config.width;
    let words = config.vocab_size * width + width * embed_dim;
    match config.kind {
        TextKind::Cbow => words,
        TextKind::Transformer => {
            words + config.context_length * width + config.layers * block(width, config.d_ff()) + norm(width)
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::{
        module::{Module, ModuleVisitor, Param},
        tensor::{Device, Tensor},
    };

    use super::*;

    /// Image, text and total of the 19 published models.
    const TABLE: [(&str, u64, u64, u64); 19] = [
        ("rn50", 38_316_896, 63_690_240, 102_007_137),
        ("rn101", 56_259_936, 63_428_096, 119_688_033),
        ("rn50x4", 87_137_080, 91_163_520, 178_300_601),
        ("rn50x16", 167_328_912, 123_650_304, 290_979_217),
        ("rn50x64", 420_380_352, 202_877_952, 623_258_305),
        ("vit-s-32-alt", 22_592_640, 20_631_808, 43_224_449),
        ("vit-s-32", 22_641_792, 40_444_032, 63_085_825),
        ("vit-s-16", 21_813_504, 40_444_032, 62_257_537),
        ("vit-m-32", 39_691_776, 63_428_096, 103_119_873),
        ("vit-m-16", 38_587_392, 63_428_096, 102_015_489),
        ("vit-b-32", 87_849_216, 63_428_096, 151_277_313),
        ("vit-b-32-256", 87_860_736, 63_428_096, 151_288_833),
        ("vit-b-16", 86_192_640, 63_428_096, 149_620_737),
        ("vit-b-16-plus-240", 117_213_824, 91_163_520, 208_377_345),
        ("vit-l-14", 303_966_208, 123_650_304, 427_616_513),
        ("vit-l-14-336", 304_293_888, 123_650_304, 427_944_193),
        ("vit-h-14", 632_076_800, 354_032_640, 986_109_441),
        ("vit-g-14", 1_012_645_632, 354_032_640, 1_366_678_273),
        ("vit-bigg-14", 1_844_907_264, 694_659_840, 2_539_567_105),
    ];

    #[test]
    fn published_counts_to_the_unit() {
        for (name, image, text, total) in TABLE {
            let count = ClipConfig::named(name).unwrap().num_params();
            assert_eq!(count, ParamCount { image, text, total }, "{name}");
        }
    }

    #[derive(Default)]
    struct Trainable {
        buffer: bool,
        count: u64,
    }

    impl ModuleVisitor for Trainable {
        fn enter_module(&mut self, name: &str, _container: &str) {
            self.buffer = name.starts_with("running_");
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if !self.buffer {
                self.count += param.lazy_shape().num_elements() as u64;
            }
        }
    }

    #[test]
    fn the_model_has_as_many() {
        for name in [
            "rn50",
            "vit-g-14",
            "emoji-rn",
            "emoji-vit",
            "emoji-cbow",
            "tiny-rn",
            "tiny-vit",
        ] {
            let config = ClipConfig::named(name).unwrap();
            // Nothing is drawn or allocated: parameters are made when they are first used.
            let mut visitor = Trainable::default();
            config.init(0, &Device::flex()).visit(&mut visitor);
            assert_eq!(visitor.count, config.num_params().total, "{name}");
        }
    }
}
