//! Named configurations.

use crate::ConfigError;
use crate::config::{ClipConfig, DEFAULT_LOGIT_SCALE, Layers, TextConfig, TextKind, TextPool, VisionConfig};

/// A configuration with a name.
#[derive(Clone, Debug)]
pub struct Preset<Config = ClipConfig> {
    /// open_clip's name in lower case, or one of this project's own.
    pub name: &'static str,
    /// The configuration.
    pub config: Config,
}

/// The configuration of this name, in upper or lower case.
///
/// # Errors
/// If there is none; the error lists those that there are.
pub(crate) fn find<'a, Config>(presets: &'a [Preset<Config>], name: &str) -> Result<&'a Config, ConfigError> {
    let wanted = name.to_lowercase();
    match presets.iter().find(|preset| preset.name == wanted) {
        Some(preset) => Ok(&preset.config),
        None => Err(ConfigError::UnknownPreset {
            name: name.to_owned(),
            known: presets.iter().map(|preset| preset.name).collect::<Vec<_>>().join(", "),
        }),
    }
}

/// All named configurations of CLIP: open_clip's 19, the variants with QuickGELU that have published weights, and small ones.
pub fn presets() -> &'static [Preset] {
    PRESETS
}

/// Text transformer over CLIP's vocabulary, heads of width 64.
const fn text(width: usize, layers: usize) -> TextConfig {
    TextConfig {
        kind: TextKind::Transformer,
        context_length: 77,
        vocab_size: 49_408,
        width,
        heads: width / 64,
        layers,
        mlp_ratio: 4.0,
        pool: TextPool::Argmax,
    }
}

const fn clip(embed_dim: usize, vision_cfg: VisionConfig, text_cfg: TextConfig) -> ClipConfig {
    ClipConfig {
        embed_dim,
        vision_cfg,
        text_cfg,
        quick_gelu: false,
        init_logit_scale: DEFAULT_LOGIT_SCALE,
        init_logit_bias: None,
    }
}

pub(crate) const fn vit(image_size: usize, patch_size: usize, width: usize, layers: usize) -> VisionConfig {
    wide_vit(image_size, patch_size, width, layers, 64, 4.0)
}

pub(crate) const fn wide_vit(
    image_size: usize,
    patch_size: usize,
    width: usize,
    layers: usize,
    head_width: usize,
    mlp_ratio: f64,
) -> VisionConfig {
    VisionConfig {
        image_size,
        layers: Layers::Depth(layers),
        width,
        patch_size: Some(patch_size),
        head_width,
        mlp_ratio,
        patch_dropout: 0.0,
    }
}

const fn resnet(image_size: usize, stages: [usize; 4], width: usize) -> VisionConfig {
    VisionConfig {
        image_size,
        layers: Layers::Stages(stages),
        width,
        patch_size: None,
        head_width: 64,
        mlp_ratio: 4.0,
        patch_dropout: 0.0,
    }
}

const fn quick(mut config: ClipConfig) -> ClipConfig {
    config.quick_gelu = true;
    config
}

const RN50: ClipConfig = clip(1024, resnet(224, [3, 4, 6, 3], 64), text(512, 12));
const RN101: ClipConfig = clip(512, resnet(224, [3, 4, 23, 3], 64), text(512, 12));
const RN50X4: ClipConfig = clip(640, resnet(288, [4, 6, 10, 6], 80), text(640, 12));
const RN50X16: ClipConfig = clip(768, resnet(384, [6, 8, 18, 8], 96), text(768, 12));
const RN50X64: ClipConfig = clip(1024, resnet(448, [3, 15, 36, 10], 128), text(1024, 12));
const VIT_B_32: ClipConfig = clip(512, vit(224, 32, 768, 12), text(512, 12));
const VIT_B_16: ClipConfig = clip(512, vit(224, 16, 768, 12), text(512, 12));
const VIT_L_14: ClipConfig = clip(768, vit(224, 14, 1024, 24), text(768, 12));
const VIT_L_14_336: ClipConfig = clip(768, vit(336, 14, 1024, 24), text(768, 12));
const VIT_H_14: ClipConfig = clip(1024, wide_vit(224, 14, 1280, 32, 80, 4.0), text(1024, 24));
const VIT_BIGG_14: ClipConfig = clip(1280, wide_vit(224, 14, 1664, 48, 104, 4.9231), text(1280, 32));

/// Text side of the models for the embedded emoji set: the 8,192 most frequent tokens, captions of at most 22.
const EMOJI_TEXT: TextConfig = TextConfig {
    context_length: 24,
    vocab_size: 8192,
    ..text(128, 1)
};
const EMOJI_RN: ClipConfig = clip(128, resnet(32, [1, 1, 1, 1], 16), EMOJI_TEXT);
const EMOJI_VIT: ClipConfig = clip(128, wide_vit(32, 4, 128, 6, 32, 4.0), EMOJI_TEXT);
const EMOJI_CBOW: ClipConfig = clip(
    128,
    resnet(32, [1, 1, 1, 1], 16),
    TextConfig {
        kind: TextKind::Cbow,
        ..EMOJI_TEXT
    },
);

/// For tests and first steps: under a hundredth of a second per step.
const TINY_TEXT: TextConfig = TextConfig {
    context_length: 16,
    vocab_size: 1024,
    ..text(64, 2)
};
const TINY_VIT: ClipConfig = clip(32, wide_vit(32, 8, 64, 2, 32, 4.0), TINY_TEXT);
const TINY_RN: ClipConfig = clip(32, resnet(32, [1, 1, 1, 1], 8), TINY_TEXT);

const fn preset(name: &'static str, config: ClipConfig) -> Preset {
    Preset { name, config }
}

const PRESETS: &[Preset] = &[
    preset("rn50", RN50),
    preset("rn101", RN101),
    preset("rn50x4", RN50X4),
    preset("rn50x16", RN50X16),
    preset("rn50x64", RN50X64),
    preset("vit-s-32-alt", clip(256, vit(224, 32, 384, 12), text(256, 10))),
    preset("vit-s-32", clip(384, vit(224, 32, 384, 12), text(384, 12))),
    preset("vit-s-16", clip(384, vit(224, 16, 384, 12), text(384, 12))),
    preset("vit-m-32", clip(512, vit(224, 32, 512, 12), text(512, 12))),
    preset("vit-m-16", clip(512, vit(224, 16, 512, 12), text(512, 12))),
    preset("vit-b-32", VIT_B_32),
    preset("vit-b-32-256", clip(512, vit(256, 32, 768, 12), text(512, 12))),
    preset("vit-b-16", VIT_B_16),
    preset("vit-b-16-plus-240", clip(640, vit(240, 16, 896, 12), text(640, 12))),
    preset("vit-l-14", VIT_L_14),
    preset("vit-l-14-336", VIT_L_14_336),
    preset("vit-h-14", VIT_H_14),
    preset(
        "vit-g-14",
        clip(1024, wide_vit(224, 14, 1408, 40, 88, 4.3637), text(1024, 24)),
    ),
    preset("vit-bigg-14", VIT_BIGG_14),
    preset("rn50-quickgelu", quick(RN50)),
    preset("rn101-quickgelu", quick(RN101)),
    preset("rn50x4-quickgelu", quick(RN50X4)),
    preset("rn50x16-quickgelu", quick(RN50X16)),
    preset("rn50x64-quickgelu", quick(RN50X64)),
    preset("vit-b-32-quickgelu", quick(VIT_B_32)),
    preset("vit-b-16-quickgelu", quick(VIT_B_16)),
    preset("vit-l-14-quickgelu", quick(VIT_L_14)),
    preset("vit-l-14-336-quickgelu", quick(VIT_L_14_336)),
    preset("vit-h-14-quickgelu", quick(VIT_H_14)),
    preset("vit-bigg-14-quickgelu", quick(VIT_BIGG_14)),
    preset("emoji-rn", EMOJI_RN),
    preset("emoji-vit", EMOJI_VIT),
    preset("emoji-cbow", EMOJI_CBOW),
    preset("tiny-rn", TINY_RN),
    preset("tiny-vit", TINY_VIT),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_valid_and_has_its_own_name() {
        for (index, preset) in presets().iter().enumerate() {
            preset.config.validate().unwrap();
            assert_eq!(preset.name, preset.name.to_lowercase());
            assert_eq!(ClipConfig::named(preset.name).unwrap(), preset.config);
            assert!(presets()[..index].iter().all(|other| other.name != preset.name));
            assert_eq!(preset.name.ends_with("-quickgelu"), preset.config.quick_gelu);
        }
    }
}
