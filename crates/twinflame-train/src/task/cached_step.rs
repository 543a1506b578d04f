//! Exact gradients of a batch that does not fit into memory.

use std::ops::Range;

use burn::{
    module::{Module, Param},
    optim::{GradientsAccumulator, GradientsParams},
    tensor::Tensor,
};
use twinflame_model::{
    Clip, Pass,
    loss::{LossGradients, LossScore, Targets},
};

use super::{
    Embeddings, StepInputs,
    clip_task::{ClipTask, StepGradients, embed_images, embed_texts},
};

impl ClipTask {
    /// Loss and gradients with only `micro_batch_size` pairs on the device at a time.
    ///
    /// Gao et al. 2021 (GradCache), <https://arxiv.org/abs/2101.06983>: embed the whole batch without a graph,
    /// take the gradient of the loss with respect to embeddings, scale and bias once, then run each micro-batch again
    /// with a graph and back-propagate its share. The result is the gradient of the whole batch, the scale's
    /// included; open_clip's `--accum-freq`, which evaluates the loss once per micro-batch, makes that one too large.
    ///
    /// BatchNorm normalises with the statistics of the micro-batch, the same ones in both passes, and updates its
    /// running statistics in the second pass only.
    pub(super) fn cached_gradients(
        &self,
        inputs: &impl StepInputs,
        targets: &Targets,
        micro_batch_size: usize,
    ) -> StepGradients {
        let embeds = self.embed_in_parts(&self.model, inputs, micro_batch_size, Pass::Preview);
        let cached = self.config().loss.loss().gradients(
            embeds.images,
            embeds.texts,
            self.model.logit_scale.val(),
            self.model.logit_bias.as_ref().map(Param::val),
            targets,
        );
        let mut accumulator = GradientsAccumulator::new();
        for range in parts(inputs.num_pairs(), micro_batch_size) {
            self.back_propagate(inputs, range, &cached, &mut accumulator);
        }
        let mut grads = accumulator.grads();
        register(&mut grads, &self.model.logit_scale, Some(cached.logit_scale));
        if let Some(bias) = &self.model.logit_bias {
            register(&mut grads, bias, cached.logit_bias);
        }
        StepGradients {
            grads,
            score: LossScore {
                loss: cached.loss,
                accuracy: cached.accuracy,
            },
        }
    }

    /// Adds the gradients of one micro-batch. The towers go one after the other, so that one graph lives at a time.
    fn back_propagate(
        &self,
        inputs: &impl StepInputs,
        range: Range<usize>,
        cached: &LossGradients,
        accumulator: &mut GradientsAccumulator<Clip>,
    ) {
        let precision = self.config().precision;
        // A cast model serves one backward pass per tower: it is part of their graphs.
        let model = precision.cast(&self.model);
        let images = inputs.images(range.clone(), Pass::Train);
        let embeds = embed_images(&model, images, precision, Pass::Train);
        let by_embeds = rows(&cached.image_embeds, range.clone());
        accumulator.accumulate(&self.model, self.pull_back(embeds, by_embeds));

        let embeds = embed_texts(&model, inputs.tokens(range.clone()));
        let by_embeds = rows(&cached.text_embeds, range);
        accumulator.accumulate(&self.model, self.pull_back(embeds, by_embeds));
    }

    /// Gradients of the parameters from the gradient with respect to the embeddings.
    fn pull_back(&self, embeds: Tensor<2>, by_embeds: Tensor<2>) -> GradientsParams {
        // A frozen tower has no graph to go back through.
        if !embeds.is_tracked() {
            return GradientsParams::new();
        }
        let grads = (embeds * by_embeds).sum().backward();
        GradientsParams::from_grads(grads, &self.model)
    }

    /// Embeds a batch in parts of at most `size` pairs, so that only one part of the pixels is on the device.
    pub(super) fn embed_in_parts(&self, model: &Clip, inputs: &impl StepInputs, size: usize, pass: Pass) -> Embeddings {
        let precision = self.config().precision;
        let model = precision.cast(&model.valid());
        let mut images = Vec::new();
        let mut texts = Vec::new();
        for range in parts(inputs.num_pairs(), size) {
            images.push(embed_images(
                &model,
                inputs.images(range.clone(), pass),
                precision,
                pass,
            ));
            texts.push(embed_texts(&model, inputs.tokens(range)));
        }
        Embeddings {
            images: Tensor::cat(images, 0),
            texts: Tensor::cat(texts, 0),
        }
    }
}

/// `0..batch` in ranges of `size`, the last one possibly shorter.
fn parts(batch: usize, size: usize) -> impl Iterator<Item = Range<usize>> {
    (0..batch)
        .step_by(size.max(1))
        .map(move |start| start..(start + size).min(batch))
}

fn rows(tensor: &Tensor<2>, range: Range<usize>) -> Tensor<2> {
    tensor.clone().narrow(0, range.start, range.len())
}

/// Enters a gradient, unless the parameter is frozen.
fn register(grads: &mut GradientsParams, param: &Param<Tensor<1>>, grad: Option<Tensor<1>>) {
    if let Some(grad) = grad.filter(|_| param.is_require_grad()) {
        grads.register(param.id, grad);
    }
}
