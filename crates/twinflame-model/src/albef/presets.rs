use super::{AlbefConfig, BertConfig, DEFAULT_TEMP, config::DEFAULT_INIT_STD};
use crate::{
    Preset, VisionConfig,
    presets::{vit, wide_vit},
};

/// All named configurations of ALBEF: the reference's and small ones.
pub fn albef_presets() -> &'static [Preset<AlbefConfig>] {
    PRESETS
}

/// BERT-base over its own vocabulary, half of it text and half fusion encoder; pre-training reads 25 tokens.
const BERT_BASE: BertConfig = BertConfig {
    context_length: 25,
    vocab_size: 30_522,
    width: 768,
    heads: 12,
    text_layers: 6,
    fusion_layers: 6,
    mlp_ratio: 4.0,
    max_positions: 512,
    dropout: 0.1,
    mlm_head: true,
};

const fn base(vision_cfg: VisionConfig) -> AlbefConfig {
    AlbefConfig {
        embed_dim: 256,
        vision_cfg,
        text_cfg: BERT_BASE,
        queue_size: 65_536,
        init_temp: DEFAULT_TEMP,
        init_std: DEFAULT_INIT_STD,
    }
}

/// For scenes made of emoji, in minutes on a processor. Narrow, so that it starts from larger weights; with a patch for each
/// quarter of the picture, where scenes have their objects, and with a queue no longer than its features stay fresh.
/// Embeddings are too short for all that tells these scenes apart, which leaves fusion something to add. Measured: with 24
/// numbers contrast alone ranks as well as fusion does.
const EMOJI: AlbefConfig = AlbefConfig {
    embed_dim: 6,
    vision_cfg: wide_vit(64, 32, 128, 3, 32, 2.0),
    text_cfg: BertConfig {
        context_length: 26,
        vocab_size: 113,
        width: 96,
        heads: 3,
        text_layers: 1,
        fusion_layers: 2,
        mlp_ratio: 2.0,
        max_positions: 64,
        dropout: 0.0,
        mlm_head: true,
    },
    queue_size: 64,
    init_temp: DEFAULT_TEMP,
    init_std: 0.1,
};

/// For tests; widths of their own, so that a mixed-up dimension shows, and nothing random in a step.
const TINY: AlbefConfig = AlbefConfig {
    embed_dim: 16,
    vision_cfg: wide_vit(32, 8, 48, 2, 16, 2.0),
    text_cfg: BertConfig {
        context_length: 16,
        vocab_size: 1024,
        width: 32,
        heads: 2,
        text_layers: 1,
        fusion_layers: 1,
        mlp_ratio: 2.0,
        max_positions: 512,
        dropout: 0.0,
        mlm_head: true,
    },
    queue_size: 96,
    init_temp: DEFAULT_TEMP,
    init_std: DEFAULT_INIT_STD,
};

const fn preset(name: &'static str, config: AlbefConfig) -> Preset<AlbefConfig> {
    Preset { name, config }
}

const PRESETS: &[Preset<AlbefConfig>] = &[
    preset("albef-base", base(vit(256, 16, 768, 12))),
    preset("albef-base-384", base(vit(384, 16, 768, 12))),
    preset("emoji-albef", EMOJI),
    preset("tiny-albef", TINY),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_valid_and_has_its_own_name() {
        for (index, preset) in albef_presets().iter().enumerate() {
            preset.config.validate().unwrap();
            assert_eq!(AlbefConfig::named(preset.name).unwrap(), preset.config);
            assert!(albef_presets()[..index].iter().all(|other| other.name != preset.name));
        }
    }
}
