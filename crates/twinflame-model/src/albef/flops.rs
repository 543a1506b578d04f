use super::{AlbefConfig, BertConfig};
use crate::flops::{block, vit};

/// Floating-point operations of one forward pass over one image and one text of full context length.
///
/// Two per multiply-add of a matrix product, nothing else, and every position takes part in every layer, as in
/// [`Flops`](crate::Flops).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlbefFlops {
    /// Of the image encoder and its projection.
    pub image: u64,
    /// Of the text encoder and its projection.
    pub text: u64,
    /// Of the fusion encoder and the matching head.
    pub fusion: u64,
    /// Of all three.
    pub total: u64,
}

impl AlbefConfig {
    /// Counts operations.
    pub fn flops(&self) -> AlbefFlops {
        let (vision, text) = (&self.vision_cfg, &self.text_cfg);
        let layer = block(text.context_length, text.width, text.d_ff());
        let image_tokens = 1 + vision.num_patches().unwrap_or_default();
        let image = vit(vision, self.image_layers()) + vision.width * self.embed_dim;
        let lower = text.text_layers * layer + text.width * self.embed_dim;
        let upper = text.fusion_layers * (layer + cross_attention(text, vision.width, image_tokens)) + 2 * text.width;
        let [image, text, fusion] = [image, lower, upper].map(|multiply_adds| 2 * multiply_adds as u64);
        AlbefFlops {
            image,
            text,
            fusion,
            total: image + text + fusion,
        }
    }
}

/// Multiply-adds of queries and output over the text, keys and values over the image, scores and their weighted sum.
fn cross_attention(config: &BertConfig, image_width: usize, image_tokens: usize) -> usize {
    let (tokens, width) = (config.context_length, config.width);
    2 * tokens * width * width + 2 * image_tokens * image_width * width + 2 * tokens * image_tokens * width
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counted_by_hand() {
        let flops = AlbefConfig::named("tiny-albef").unwrap().flops();
        // 17 tokens of width 48 with 96 in the feed-forward layer; 16 tokens of width 32 with 64.
        let image_block = 17 * (4 * 48 * 48 + 2 * 48 * 96) + 2 * 17 * 17 * 48;
        let text_block = 16 * (4 * 32 * 32 + 2 * 32 * 64) + 2 * 16 * 16 * 32;
        let cross = 16 * 2 * 32 * 32 + 17 * 2 * 48 * 32 + 2 * 16 * 17 * 32;
        assert_eq!(flops.image, 2 * (16 * 3 * 64 * 48 + 2 * image_block + 48 * 16));
        assert_eq!(flops.text, 2 * (text_block + 32 * 16));
        assert_eq!(flops.fusion, 2 * (text_block + cross + 32 * 2));
        assert_eq!(flops.total, flops.image + flops.text + flops.fusion);
    }
}
