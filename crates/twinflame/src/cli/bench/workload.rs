//! What a step works on, and how much work that is.

use anyhow::bail;
use burn::tensor::Device;
use twinflame_data::{ImageTextBatch, Normalization};
use twinflame_model::albef::MlmMasking;
use twinflame_model::{AlbefConfig, ClipConfig, DropoutTable, ModelConfig};
use twinflame_train::precision::Precision;
use twinflame_train::task::{AlbefTask, AlbefTaskConfig, AlbefTexts, ClipTask, ClipTaskConfig};

// Special tokens of BERT's vocabulary; ordinary words follow.
const PAD_ID: i32 = 0;
const UNK_ID: i32 = 100;
const CLS_ID: i32 = 101;
const SEP_ID: i32 = 102;
const MASK_ID: i32 = 103;

/// What to time.
#[derive(Clone, Debug)]
pub(super) struct Workload {
    pub(super) config: ModelConfig,
    pub(super) batch_size: usize,
    pub(super) micro_batch_size: Option<usize>,
    pub(super) steps: usize,
    pub(super) precision: Precision,
    pub(super) recompute: bool,
}

impl Workload {
    /// One step of four pairs of a small model, in f32.
    #[cfg(test)]
    pub(super) fn tiny(name: &str) -> Self {
        Self {
            config: ModelConfig::named(name).unwrap(),
            batch_size: 4,
            micro_batch_size: None,
            steps: 1,
            precision: Precision::F32,
            recompute: false,
        }
    }

    /// Floating-point operations of a training step: its forward passes and, counted as twice that, its backward passes. What is
    /// recomputed is not counted.
    pub(super) fn step_flops(&self) -> f64 {
        let pair = match &self.config {
            ModelConfig::Clip(config) => 3 * config.flops().total,
            ModelConfig::Albef(config) => albef_pair_flops(config, self.batch_size),
        };
        pair as f64 * self.batch_size as f64
    }

    /// Whether the whole batch goes through the model at a time.
    pub(super) fn is_whole(&self) -> bool {
        self.micro_batch_size.is_none_or(|size| size >= self.batch_size)
    }

    /// Contrastive training of a CLIP.
    pub(super) fn clip_task(&self, config: &ClipConfig, device: &Device) -> anyhow::Result<ClipTask> {
        let model = config.init(0, &device.clone().autodiff());
        let task = ClipTaskConfig {
            micro_batch_size: self.micro_batch_size,
            precision: self.precision,
            recompute: self.recompute,
            ..ClipTaskConfig::default()
        };
        let patch_dropout = config.vision_cfg.patch_dropout;
        Ok(ClipTask::new(model, task, patch_dropout, Normalization::default())?)
    }

    /// Pre-training of an ALBEF with all three losses and full distillation, as after the first epoch.
    pub(super) fn albef_task(&self, config: &AlbefConfig, device: &Device) -> anyhow::Result<AlbefTask> {
        if self.micro_batch_size.is_some() {
            bail!("the step of an ALBEF does not run in micro-batches: leave --micro-batch-size out");
        }
        let device = device.clone().autodiff();
        let task = AlbefTaskConfig {
            alpha_ramp_epochs: 0.0,
            precision: self.precision,
            recompute: self.recompute,
            ..AlbefTaskConfig::default()
        };
        let dropout = config.text_cfg.dropout;
        let texts = AlbefTexts {
            pad_id: PAD_ID,
            masking: masking(config),
            dropout: (dropout > 0.0)
                .then(|| DropoutTable::new(dropout, 0, &device))
                .transpose()?,
        };
        let queue = config.init_queue(0, &device);
        let model = config.init(0, &device);
        Ok(AlbefTask::new(model, queue, task, texts, Normalization::default(), 1)?)
    }

    /// Pictures and texts of full length whose content follows a fixed pattern.
    pub(super) fn synthetic_batch(&self) -> ImageTextBatch {
        let batch_size = self.batch_size;
        let size = self.config.image_size();
        let context_length = self.config.context_length();
        let tokens = (0..batch_size * context_length).map(|index| self.token(index, context_length));
        let ids: Vec<i64> = (0..).take(batch_size).collect();
        ImageTextBatch {
            images: (0..batch_size * size * size * 3)
                .map(|index| (scattered(index) % 256) as u8)
                .collect(),
            image_size: [size, size],
            tokens: tokens.collect(),
            context_length,
            image_ids: ids.clone(),
            caption_ids: ids,
            sample_indices: (0..batch_size).collect(),
            sample_seeds: (0..).take(batch_size).collect(),
            ..ImageTextBatch::default()
        }
    }

    fn token(&self, index: usize, context_length: usize) -> i32 {
        let vocab_size = self.config.vocab_size();
        let position = index % context_length;
        let id = match self.config {
            // The largest id ends a text.
            ModelConfig::Clip(_) if position == context_length - 1 => vocab_size - 1,
            ModelConfig::Clip(_) => scattered(index) % (vocab_size - 1),
            ModelConfig::Albef(_) if position == 0 => return CLS_ID,
            ModelConfig::Albef(_) => {
                let first = MASK_ID as usize + 1;
                first + scattered(index) % vocab_size.saturating_sub(first).max(1)
            }
        };
        i32::try_from(id).unwrap_or_default()
    }
}

/// Operations of a pre-training step for each pair of a batch.
///
/// Through the image encoder a pair goes twice, online and momentum; through the text encoder twice each, with and
/// without masks; through the fusion encoder four times online, once as a match, twice against negatives and once
/// masked, and once in the momentum encoders. Keys and values of an image are computed once by either. Counted as in
/// [`AlbefConfig::flops`], with the predictions of tokens and the products with the queue beside them.
fn albef_pair_flops(config: &AlbefConfig, batch_size: usize) -> u64 {
    /// A forward and a backward pass of the online encoders.
    const ONLINE: u64 = 3;
    /// A forward pass of the momentum encoders.
    const MOMENTUM: u64 = 1;
    let flops = config.flops();
    let (vision, text) = (&config.vision_cfg, &config.text_cfg);
    let image_tokens = 1 + vision.num_patches().unwrap_or_default();
    let memory = 2 * (text.fusion_layers * 2 * image_tokens * vision.width * text.width) as u64;
    let fusion = flops.fusion - memory;
    let tokens = 2 * (masking(config).slots() * text.width * (text.width + text.vocab_size)) as u64;
    // Both directions; the momentum features are constants, so that a backward pass is one product and not two.
    let queue = 2 * 2 * (config.embed_dim * (config.queue_size + batch_size)) as u64;
    ONLINE * (flops.image + 2 * flops.text + memory + 4 * fusion + tokens)
        + MOMENTUM * (flops.image + 2 * flops.text + memory + fusion + tokens)
        + (ONLINE - 1 + MOMENTUM) * queue
}

/// Which tokens of a text are hidden.
fn masking(config: &AlbefConfig) -> MlmMasking {
    let text = &config.text_cfg;
    MlmMasking::new(
        AlbefTaskConfig::default().mlm_probability,
        text.context_length,
        text.vocab_size,
        MASK_ID,
        [PAD_ID, UNK_ID, CLS_ID, SEP_ID],
    )
}

fn scattered(index: usize) -> usize {
    index.wrapping_mul(2_654_435_761) >> 7
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(model: &str, batch_size: usize) -> Workload {
        Workload {
            config: ModelConfig::named(model).unwrap(),
            batch_size,
            micro_batch_size: None,
            steps: 1,
            precision: Precision::F32,
            recompute: false,
        }
    }

    #[test]
    fn a_clip_batch_has_the_shape_that_the_model_wants() {
        let batch = workload("tiny-vit", 3).synthetic_batch();
        assert_eq!(batch.len(), 3);
        assert_eq!(batch.images.len(), 3 * 32 * 32 * 3);
        assert_eq!(batch.tokens.len(), 3 * 16);
        let largest = *batch.tokens.iter().max().unwrap();
        assert_eq!(largest, 1023);
        assert_eq!(batch.tokens.iter().filter(|id| **id == largest).count(), 3);
    }

    #[test]
    fn an_albef_batch_starts_each_text_once_and_pads_none() {
        let batch = workload("tiny-albef", 3).synthetic_batch();
        for text in batch.tokens.chunks(16) {
            assert_eq!(text[0], CLS_ID);
            assert!(text[1..].iter().all(|id| (104..1024).contains(id)), "{text:?}");
        }
    }

    #[test]
    fn a_step_of_albef_counts_every_pass() {
        // The reference's step without the queue and the predictions of tokens: 4 image, 8 text and 13 fusion
        // passes' worth, less the keys and values of images that are computed once in place of four times.
        let config = AlbefConfig::named("albef-base").unwrap();
        let flops = config.flops();
        let naive = 4 * flops.image + 8 * flops.text + 13 * flops.fusion;
        let memory = 2 * 6 * 2 * 257 * 768 * 768;
        let counted = albef_pair_flops(&config, 4);
        assert!(counted > naive - 9 * memory, "{counted}");
        assert!((counted as f64) < 1.02 * (naive - 9 * memory) as f64, "{counted}");
    }
}
