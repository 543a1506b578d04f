use super::{AlbefConfig, BertConfig};
use crate::{
    count::{linear, norm, vit},
    text::bert::TOKEN_TYPES,
};

/// Trainable numbers of an [`Albef`](super::Albef); the queues are not among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlbefParamCount {
    /// Of the image encoder.
    pub image: u64,
    /// Of the text encoder: embeddings and lower layers.
    pub text: u64,
    /// Of the fusion encoder: upper layers.
    pub fusion: u64,
    /// Of the head that predicts masked tokens, without the matrix that it borrows.
    pub mlm_head: u64,
    /// Of the whole momentum copy: all of the above and the two projections.
    pub momentum: u64,
    /// Of everything that is trained: as many again, the matching head and the temperature.
    pub trainable: u64,
}

impl AlbefConfig {
    /// Counts parameters without making any.
    pub fn num_params(&self) -> AlbefParamCount {
        let (vision, text) = (&self.vision_cfg, &self.text_cfg);
        let image = vit(vision, self.image_layers()) + vision.width; // with a bias on its patches
        let embeddings = (text.vocab_size + text.max_positions + TOKEN_TYPES) * text.width + norm(text.width);
        let lower = embeddings + text.text_layers * layer(text);
        let upper = text.fusion_layers * (layer(text) + attention(text, vision.width));
        let mlm_head = if text.mlm_head {
            linear(text.width, text.width) + norm(text.width) + text.vocab_size
        } else {
            0
        };
        let projections = linear(vision.width, self.embed_dim) + linear(text.width, self.embed_dim);
        let momentum = image + lower + upper + mlm_head + projections;
        AlbefParamCount {
            image: image as u64,
            text: lower as u64,
            fusion: upper as u64,
            mlm_head: mlm_head as u64,
            momentum: momentum as u64,
            trainable: (momentum + linear(text.width, 2) + 1) as u64,
        }
    }
}

/// Attention to something of width `context`, with its normalisation.
fn attention(config: &BertConfig, context: usize) -> usize {
    2 * linear(config.width, config.width) + 2 * linear(context, config.width) + norm(config.width)
}

/// A layer without cross-attention.
fn layer(config: &BertConfig) -> usize {
    let (width, d_ff) = (config.width, config.d_ff());
    attention(config, width) + linear(width, d_ff) + linear(d_ff, width) + norm(width)
}

#[cfg(test)]
mod tests {
    use burn::{module::Module, tensor::Device};

    use super::*;

    #[test]
    fn the_references_counts_to_the_unit() {
        let base = AlbefConfig::named("albef-base").unwrap();
        let count = base.num_params();
        assert_eq!(count.image, 85_844_736);
        assert_eq!(count.text + count.fusion, 123_075_072);
        assert_eq!(count.mlm_head, 622_650);
        assert_eq!(count.trainable, 209_937_725);
        assert_eq!(count.momentum, 209_936_186);

        // Retrieval fine-tuning at 384 pixels.
        let mut large = AlbefConfig::named("albef-base-384").unwrap();
        assert_eq!(large.num_params().image, 86_090_496);
        large.text_cfg.mlm_head = false;
        assert_eq!(large.num_params().trainable, 209_560_835);
        assert_eq!(large.num_params().momentum, 209_559_296);
    }

    #[test]
    fn the_model_has_as_many() {
        for name in ["albef-base", "emoji-albef", "tiny-albef"] {
            for mlm_head in [true, false] {
                let mut config = AlbefConfig::named(name).unwrap();
                config.text_cfg.mlm_head = mlm_head;
                // Nothing is drawn or allocated: parameters are made when they are first used.
                let albef = config.init(0, &Device::flex());
                let count = config.num_params();
                assert_eq!(albef.num_params() as u64, count.trainable, "{name}");
                assert_eq!(albef.encoders.num_params() as u64, count.momentum, "{name}");
            }
        }
    }
}
