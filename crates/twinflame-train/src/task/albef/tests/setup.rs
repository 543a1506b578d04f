//! A tiny task, batches for it, and what can be read of both.

use burn::{
    module::{Module, ModuleVisitor, Param},
    optim::GradientsParams,
    tensor::{Device, Tensor},
    train::{InferenceStep, TrainStep},
};
use twinflame_data::{ImageTextBatch, Normalization};
use twinflame_model::{AlbefConfig, DropoutTable, albef::MlmMasking};

use super::super::*;
use crate::{
    optim::{OptimConfig, adamw},
    task::StepValues,
};

pub(super) const PAIRS: usize = 6;
const BATCHES_PER_EPOCH: usize = 4;
/// Ids of `[PAD]`, `[CLS]` and `[MASK]`.
const PAD: i32 = 0;
const CLS: i32 = 2;
const MASK: i32 = 4;

/// What a test changes.
pub(super) struct Setup {
    pub(super) config: AlbefTaskConfig,
    pub(super) dropout: f64,
    pub(super) queue_size: usize,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            config: AlbefTaskConfig::default(),
            dropout: 0.0,
            queue_size: 16,
        }
    }
}

impl Setup {
    pub(super) fn model(&self) -> AlbefConfig {
        let mut model = AlbefConfig::named("tiny-albef").expect("preset");
        model.queue_size = self.queue_size;
        model.text_cfg.dropout = self.dropout;
        model
    }

    pub(super) fn task(&self) -> AlbefTask {
        let model = self.model();
        let device = Device::flex().autodiff();
        let (text, mlm) = (&model.text_cfg, self.config.mlm_probability);
        let table = || DropoutTable::new(self.dropout, 0, &device).expect("valid");
        let texts = AlbefTexts {
            pad_id: PAD,
            masking: MlmMasking::new(mlm, text.context_length, text.vocab_size, MASK, [PAD, CLS]),
            dropout: (self.dropout > 0.0).then(table),
        };
        AlbefTask::new(
            model.init(0, &device),
            model.init_queue(0, &device),
            self.config.clone(),
            texts,
            Normalization::default(),
            BATCHES_PER_EPOCH,
        )
        .expect("valid")
    }
}

/// The batch of this number; all its pairs are new.
pub(super) fn batch(number: usize) -> ImageTextBatch {
    let model = Setup::default().model();
    let (size, context_length) = (model.vision_cfg.image_size, model.text_cfg.context_length);
    let byte = |i: usize| ((i + number).wrapping_mul(2_654_435_761) >> 7) as u8;
    let samples = number * PAIRS..(number + 1) * PAIRS;
    let mut tokens = Vec::new();
    for sample in samples.clone() {
        let mut row = vec![PAD; context_length];
        row[0] = CLS;
        for (at, token) in row[1..7 + sample % 4].iter_mut().enumerate() {
            *token = 10 + ((sample * 31 + at * 17) % 900) as i32;
        }
        tokens.extend(row);
    }
    ImageTextBatch {
        images: (0..PAIRS * size * size * 3).map(byte).collect(),
        image_size: [size, size],
        tokens,
        context_length,
        image_ids: samples.clone().map(|sample| sample as i64).collect(),
        caption_ids: samples.clone().map(|sample| sample as i64).collect(),
        sample_indices: samples.clone().collect(),
        sample_seeds: samples.map(|sample| 100 + sample as u64).collect(),
        epoch: number / BATCHES_PER_EPOCH,
        index: number % BATCHES_PER_EPOCH,
        ..ImageTextBatch::default()
    }
}

pub(super) fn train(task: &AlbefTask, batch: &ImageTextBatch) -> StepValues {
    TrainStep::step(task, batch.clone()).item.values().expect("readable")
}

pub(super) fn judge(task: &AlbefTask, batch: &ImageTextBatch) -> StepValues {
    InferenceStep::step(task, batch.clone()).values().expect("readable")
}

/// Trains on as many batches, and gives what each step reported.
pub(super) fn steps(
    mut task: AlbefTask,
    batches: impl IntoIterator<Item = ImageTextBatch>,
) -> (AlbefTask, Vec<StepValues>) {
    let mut optimizer = adamw(&OptimConfig::default(), &task.model);
    let mut values = Vec::new();
    for batch in batches {
        let output = TrainStep::step(&task, batch);
        values.push(output.item.values().expect("readable"));
        task = task.optimize(&mut optimizer, 1e-3.into(), output.grads);
    }
    (task, values)
}

/// All values of a module, in the order of its visit.
pub(super) fn floats<M: Module>(module: &M) -> Vec<f32> {
    let mut floats = Floats(Vec::new());
    module.visit(&mut floats);
    floats.0
}

struct Floats(Vec<f32>);

impl ModuleVisitor for Floats {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let values: Vec<f32> = param.val().try_to_vec_as().expect("readable");
        self.0.extend(values);
    }
}

/// Parameters of a module with and without a gradient.
pub(super) fn with_gradient<M: Module>(module: &M, grads: &GradientsParams) -> [usize; 2] {
    let mut count = Count { grads, found: [0, 0] };
    module.visit(&mut count);
    count.found
}

struct Count<'a> {
    grads: &'a GradientsParams,
    found: [usize; 2],
}

impl ModuleVisitor for Count<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.found[usize::from(self.grads.get::<D>(param.id).is_none())] += 1;
    }
}
