//! Cost of a forward pass, from shapes alone.

use crate::{
    config::{ClipConfig, Layers, TextConfig, TextKind, VisionConfig},
    image::EXPANSION,
};

/// Floating-point operations of one forward pass over one image and one text of full context length.
///
/// Counted as open_clip's model profile counts: two per multiply-add of a matrix product or convolution, nothing else,
/// and every position takes part in every layer. (The last block of a tower and the attention pool need only one
/// query; [`Clip`](crate::Clip) does less than this count.) A training step is about three times a forward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flops {
    /// Of the image encoder.
    pub image: u64,
    /// Of the text encoder.
    pub text: u64,
    /// Of both.
    pub total: u64,
}

impl ClipConfig {
    /// Counts operations.
    pub fn flops(&self) -> Flops {
        let image = 2 * match self.vision_cfg.layers {
            Layers::Depth(layers) => vit(&self.vision_cfg, layers) + self.vision_cfg.width * self.embed_dim,
            Layers::Stages(stages) => resnet(&self.vision_cfg, stages, self.embed_dim),
        } as u64;
        let text = 2 * text(&self.text_cfg, self.embed_dim) as u64;
        Flops {
            image,
            text,
            total: image + text,
        }
    }
}

/// Multiply-adds of one block: four projections, the feed-forward layer, scores and their weighted sum.
pub(crate) fn block(tokens: usize, width: usize, d_ff: usize) -> usize {
    tokens * (4 * width * width + 2 * width * d_ff) + 2 * tokens * tokens * width
}

/// Multiply-adds of patches and blocks.
pub(crate) fn vit(config: &VisionConfig, layers: usize) -> usize {
    let width = config.width;
    let patch = config.patch_size.unwrap_or_default();
    let patches = config.num_patches().unwrap_or_default();
    patches * 3 * patch * patch * width + layers * block(patches + 1, width, config.d_ff())
}

fn resnet(config: &VisionConfig, stages: [usize; 4], embed_dim: usize) -> usize {
    let width = config.width;
    let half = width / 2;
    let stem_size = config.image_size / 2;
    let mut total = stem_size * stem_size * 9 * (3 * half + half * half + half * width);
    let mut size = stem_size / 2;
    let mut channels_in = width;
    for (stage, blocks) in stages.into_iter().enumerate() {
        let planes = width << stage;
        let channels_out = planes * EXPANSION;
        for index in 0..blocks {
            let before = size * size;
            if stage > 0 && index == 0 {
                size /= 2;
            }
            let after = size * size;
            total += before * (channels_in * planes + 9 * planes * planes) + after * planes * channels_out;
            if index == 0 {
                total += after * channels_in * channels_out;
            }
            channels_in = channels_out;
        }
    }
    let tokens = size * size + 1;
    let attention = 3 * tokens * channels_in * channels_in + 2 * tokens * tokens * channels_in;
    total + attention + tokens * channels_in * embed_dim
}

fn text(config: &TextConfig, embed_dim: usize) -> usize {
    let (tokens, width) = (config.context_length, config.width);
    let body = match config.kind {
        TextKind::Cbow => tokens * width,
        TextKind::Transformer => config.layers * block(tokens, width, config.d_ff()),
    };
    body + width * embed_dim
}

#[cfg(test)]
mod tests {
    use super::*;

    /// GFLOPs of image, text and both in open_clip's `docs/model_profile.csv`.
    const TABLE: [(&str, f64, f64, f64); 19] = [
        ("rn50", 12.22, 5.96, 18.18),
        ("rn101", 19.54, 5.96, 25.50),
        ("rn50x4", 42.56, 9.27, 51.82),
        ("rn50x16", 149.39, 13.3, 162.69),
        ("rn50x64", 529.11, 23.55, 552.65),
        ("vit-s-32-alt", 2.29, 1.27, 3.56),
        ("vit-s-32", 2.29, 3.38, 5.66),
        ("vit-s-16", 9.2, 3.38, 12.58),
        ("vit-m-32", 3.99, 5.96, 9.95),
        ("vit-m-16", 15.98, 5.96, 21.94),
        ("vit-b-32", 8.82, 5.96, 14.78),
        ("vit-b-32-256", 11.5, 5.96, 17.46),
        ("vit-b-16", 35.13, 5.96, 41.09),
        ("vit-b-16-plus-240", 54.76, 9.27, 64.03),
        ("vit-l-14", 162.03, 13.3, 175.33),
        ("vit-l-14-336", 381.92, 13.3, 395.22),
        ("vit-h-14", 334.59, 47.09, 381.68),
        ("vit-g-14", 534.06, 47.09, 581.15),
        ("vit-bigg-14", 967.5, 97.86, 1065.36),
    ];

    #[test]
    fn published_profile_to_two_decimals() {
        for (name, image, text, total) in TABLE {
            let flops = ClipConfig::named(name).unwrap().flops();
            for (actual, expected) in [(flops.image, image), (flops.text, text), (flops.total, total)] {
                let giga = actual as f64 / 1e9;
                assert!(
                    (giga - expected).abs() <= 0.0051,
                    "{name}: {giga} instead of {expected}"
                );
            }
        }
    }
}
