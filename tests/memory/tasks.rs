//! Tasks on the processor, whose memory can be counted, and batches for them.

use twinflame::data::{ImageTextBatch, Normalization};
use twinflame::model::{AlbefConfig, ClipConfig, DropoutTable, albef::MlmMasking};
use twinflame::train::task::{AlbefTask, AlbefTaskConfig, AlbefTexts, ClipTask, ClipTaskConfig};

const PAIRS: usize = 32;
/// Ids of `[PAD]`, `[CLS]` and `[MASK]`.
const PAD: i32 = 0;
const CLS: i32 = 2;
const MASK: i32 = 4;

pub(crate) fn clip(config: &ClipConfig, recompute: bool) -> (ClipTask, ImageTextBatch) {
    let device = twinflame::device::select("cpu").unwrap().device;
    let task = ClipTaskConfig {
        recompute,
        ..ClipTaskConfig::default()
    };
    let model = config.init(0, &device.autodiff());
    let task = ClipTask::new(model, task, 0.0, Normalization::default()).unwrap();
    let last = config.text_cfg.vocab_size as i32 - 1;
    let batch = batch(
        config.vision_cfg.image_size,
        config.text_cfg.context_length,
        |position| {
            if position == 7 { last } else { 10 + position as i32 }
        },
    );
    (task, batch)
}

pub(crate) fn albef(config: &AlbefConfig, recompute: bool) -> (AlbefTask, ImageTextBatch) {
    let device = twinflame::device::select("cpu").unwrap().device.autodiff();
    let text = &config.text_cfg;
    let task = AlbefTaskConfig {
        recompute,
        ..AlbefTaskConfig::default()
    };
    let texts = AlbefTexts {
        pad_id: PAD,
        masking: MlmMasking::new(
            task.mlm_probability,
            text.context_length,
            text.vocab_size,
            MASK,
            [PAD, CLS],
        ),
        dropout: Some(DropoutTable::new(0.1, 0, &device).unwrap()),
    };
    let (model, queue) = (config.init(0, &device), config.init_queue(0, &device));
    let task = AlbefTask::new(model, queue, task, texts, Normalization::default(), 4).unwrap();
    let batch = batch(config.vision_cfg.image_size, text.context_length, |position| {
        if position == 0 { CLS } else { 10 + position as i32 }
    });
    (task, batch)
}

fn batch(image_size: usize, context_length: usize, token: impl Fn(usize) -> i32) -> ImageTextBatch {
    let byte = |index: usize| (index.wrapping_mul(2_654_435_761) >> 7) as u8;
    let ids: Vec<i64> = (0..).take(PAIRS).collect();
    ImageTextBatch {
        images: (0..PAIRS * image_size * image_size * 3).map(byte).collect(),
        image_size: [image_size; 2],
        tokens: (0..PAIRS * context_length)
            .map(|index| token(index % context_length))
            .collect(),
        context_length,
        image_ids: ids.clone(),
        caption_ids: ids,
        sample_indices: (0..PAIRS).collect(),
        sample_seeds: (0..).take(PAIRS).collect(),
        ..ImageTextBatch::default()
    }
}
