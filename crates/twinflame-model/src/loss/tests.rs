//! Reference values computed in f64 from the formulas, properties, and the two ways to a gradient compared.

use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use proptest::prelude::*;

use super::*;

const CLIP: ContrastiveLoss = ContrastiveLoss::Clip(ClipLoss);
const SIGLIP: ContrastiveLoss = ContrastiveLoss::SigLip(SigLipLoss);

/// `ln(1 / 0.07)`, where CLIP's scale starts.
const SCALE: f64 = 2.659_260_036_932_778;

pub(super) fn device() -> Device {
    Device::flex()
}

pub(super) fn matrix(rows: usize, columns: usize, f: impl Fn(f64, f64) -> f64) -> Tensor<2> {
    let values: Vec<f64> = (0..rows * columns)
        .map(|k| f((k / columns) as f64, (k % columns) as f64))
        .collect();
    let data = TensorData::new(values, [rows, columns]);
    Tensor::from_data(data, (&device(), DType::F64))
}

pub(super) fn number(value: f64) -> Tensor<1> {
    Tensor::from_data(TensorData::new(vec![value], [1]), (&device(), DType::F64))
}

pub(super) fn ids(values: &[i32]) -> Tensor<1, Int> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), &device())
}

pub(super) fn by_id(image_ids: &[i32], caption_ids: &[i32]) -> Targets {
    Targets::ById {
        image_ids: ids(image_ids),
        caption_ids: ids(caption_ids),
    }
}

pub(super) fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.try_to_vec_as().expect("readable")
}

pub(super) fn scalar(tensor: Tensor<1>) -> f64 {
    values(tensor)[0]
}

pub(super) fn unit(x: Tensor<2>) -> Tensor<2> {
    let norm = x.clone().square().sum_dim(1).sqrt();
    x / norm
}

/// Raw features of the reference values: `sin(.7 i + 1.3 d + .1 i d)` and `cos(.5 i + .9 d + .2 i d)`.
pub(super) fn reference() -> (Tensor<2>, Tensor<2>) {
    (
        matrix(4, 8, |i, d| (0.7 * i + 1.3 * d + 0.1 * i * d).sin()),
        matrix(4, 8, |i, d| (0.5 * i + 0.9 * d + 0.2 * i * d).cos()),
    )
}

#[track_caller]
pub(super) fn assert_close(value: f64, expected: f64) {
    let tolerance = 1e-8 * expected.abs() + 1e-15;
    assert!((value - expected).abs() <= tolerance, "{value} is not {expected}");
}

#[track_caller]
pub(super) fn assert_near<const D: usize>(value: Tensor<D>, expected: Tensor<D>, tolerance: f64) {
    for (value, expected) in values(value).into_iter().zip(values(expected)) {
        assert!((value - expected).abs() <= tolerance, "{value} is not {expected}");
    }
}

/// Loss and gradients by backward: of images, texts, scale, bias.
struct Tape {
    loss: f64,
    images: Tensor<2>,
    texts: Tensor<2>,
    scale: f64,
    bias: f64,
}

#[allow(clippy::too_many_arguments, reason = "what a loss takes, and how it is called")]
fn tape(
    loss: ContrastiveLoss,
    images: Tensor<2>,
    texts: Tensor<2>,
    scale: f64,
    bias: f64,
    targets: &Targets,
    embed: impl Fn(Tensor<2>) -> Tensor<2>,
) -> Tape {
    let images = images.autodiff().require_grad();
    let texts = texts.autodiff().require_grad();
    let scale = number(scale).autodiff().require_grad();
    let bias = number(bias).autodiff().require_grad();
    let value = loss.forward(
        embed(images.clone()),
        embed(texts.clone()),
        scale.clone(),
        Some(bias.clone()),
        targets,
    );
    let grads = value.backward();
    Tape {
        loss: scalar(value),
        images: images.grad(&grads).expect("images"),
        texts: texts.grad(&grads).expect("texts"),
        scale: scalar(scale.grad(&grads).expect("scale")),
        bias: scalar(bias.grad(&grads).expect("bias")),
    }
}

#[test]
fn clip_loss_is_the_reference_value() {
    let (x, y) = reference();
    let loss = |scale: f64| {
        let (x, y) = (unit(x.clone()), unit(y.clone()));
        scalar(ClipLoss.forward(x, y, number(scale), None, &Targets::Diagonal))
    };
    assert_close(loss(SCALE), 0.021_251_073_680_264_26);
    let at_maximum = loss(100_f64.ln());
    assert!((at_maximum - 5.032_436_689_6e-10).abs() < 1e-14, "{at_maximum}");
}

#[test]
fn clip_gradients_are_the_reference_values() {
    let (x, y) = reference();
    let tape = tape(CLIP, x, y, SCALE, 0.0, &Targets::Diagonal, unit);
    assert_close(tape.scale, -0.066_842_514_048_617_8);
    assert!(tape.bias.abs() < 1e-15, "{}", tape.bias);
    let norm = |v: &[f64]| v.iter().map(|x| x * x).sum::<f64>().sqrt();
    let images = values(tape.images);
    let texts = values(tape.texts);
    assert!((norm(&images) - 0.108_395_789_97).abs() < 1e-10);
    assert!((norm(&texts) - 0.096_071_946_37).abs() < 1e-10);
    for (value, expected) in images.iter().zip([-0.001_294_240_2, 0.000_132_267_9, 0.000_641_721_5]) {
        assert!((value - expected).abs() < 1e-10, "{value} is not {expected}");
    }
    for (value, expected) in texts[24..]
        .iter()
        .zip([-0.020_935_473_5, -0.006_928_574_4, 0.017_205_374_6])
    {
        assert!((value - expected).abs() < 1e-10, "{value} is not {expected}");
    }
}

#[test]
fn siglip_loss_and_gradients_are_the_reference_values() {
    let (x, y) = reference();
    let tape = tape(SIGLIP, x, y, 10_f64.ln(), -10.0, &Targets::Diagonal, unit);
    assert_close(tape.loss, 2.379_652_321_703_442_7);
    assert!((tape.scale + 6.886_298_547_6).abs() < 1e-8, "{}", tape.scale);
    assert!((tape.bias + 0.890_341_995_9).abs() < 1e-8, "{}", tape.bias);
}

#[test]
fn siglip_losses_of_two_shards_add_up() {
    // Two devices with two images each: rows against all texts, divided by the images of all.
    let (x, y) = reference();
    let (x, y) = (unit(x), unit(y));
    let whole = scalar(SigLipLoss.forward(
        x.clone(),
        y.clone(),
        number(10_f64.ln()),
        Some(number(-10.0)),
        &Targets::Diagonal,
    ));
    let batch = gradients::Batch::new(x, y, number(10_f64.ln()), Some(number(-10.0)), &Targets::Diagonal);
    assert_close(scalar(batch.score(&SIGLIP, 2).loss), whole);
}

#[test]
fn constant_embeddings_give_the_logarithm_of_the_batch() {
    for batch in [2, 64, 256] {
        let same = unit(matrix(batch, 4, |_, _| 1.0));
        let tape = tape(CLIP, same.clone(), same, SCALE, 0.0, &Targets::Diagonal, |x| x);
        assert_close(tape.loss, (batch as f64).ln());
        assert!(tape.scale.abs() < 1e-12, "{}", tape.scale);
    }
}

#[test]
fn orthonormal_pairs_leave_the_negatives_only() {
    let batch = 64;
    let eye = matrix(batch, batch, |i, j| f64::from(i == j));
    let loss = scalar(ClipLoss.forward(eye.clone(), eye, number(SCALE), None, &Targets::Diagonal));
    assert!((loss - 3.936_6e-5).abs() < 1e-8, "{loss}");
}

#[test]
fn siglip_starts_near_the_bias() {
    let batch = 64;
    let images = matrix(batch, 2, |_, d| f64::from(d == 0.0));
    let texts = matrix(batch, 2, |_, d| f64::from(d == 1.0));
    let loss = SigLipLoss.forward(
        images,
        texts,
        number(10_f64.ln()),
        Some(number(-10.0)),
        &Targets::Diagonal,
    );
    let loss = scalar(loss);
    assert!((loss - 10.002_905_5).abs() < 1e-6, "{loss}");
}

#[test]
fn a_shared_id_makes_a_positive_and_shares_the_target() {
    let targets = by_id(&[7, 3, 7, 1], &[0, 1, 2, 1]);
    let positives = targets.positives(&matrix(4, 4, |_, _| 0.0));
    assert_eq!(
        values(positives),
        [1., 0., 1., 0., 0., 1., 0., 1., 1., 0., 1., 0., 0., 1., 0., 1.]
    );
    // With uniform similarities every distribution over the batch costs ln 4.
    let same = unit(matrix(4, 3, |_, _| 1.0));
    let loss = scalar(ClipLoss.forward(same.clone(), same, number(SCALE), None, &targets));
    assert_close(loss, 4_f64.ln());
}

#[test]
fn two_equal_pairs_cost_ln_2_by_diagonal_and_less_by_id() {
    // Pairs 0 and 1 are the same thing twice, pair 2 is opposite: a perfect model still pays ln 2 for each twin.
    let embeds = matrix(3, 2, |i, d| f64::from((i < 2.0) == (d == 0.0)));
    let loss = |targets: &Targets| {
        scalar(ClipLoss.forward(embeds.clone(), embeds.clone(), number(100_f64.ln()), None, targets))
    };
    assert_close(loss(&Targets::Diagonal), 2.0 / 3.0 * 2_f64.ln());
    // The entropy of the target remains: cross-entropy of (1/2, 1/2) with itself.
    assert_close(loss(&by_id(&[5, 5, 6], &[0, 1, 2])), 2.0 / 3.0 * 2_f64.ln());
    // For the sigmoid the twins are no longer punished.
    let siglip = |targets: &Targets| {
        let bias = Some(number(-10.0));
        scalar(SigLipLoss.forward(embeds.clone(), embeds.clone(), number(20_f64.ln()), bias, targets))
    };
    assert!(siglip(&by_id(&[5, 5, 6], &[0, 1, 2])) < 1e-3);
    assert!(siglip(&Targets::Diagonal) > 5.0);
}

#[test]
fn accuracy_counts_positives_among_best_matches() {
    let images = matrix(4, 4, |i, j| f64::from(i == j));
    // Caption 0 and 1 are exchanged; images 0 and 1 show the same thing.
    let texts = matrix(4, 4, |i, j| f64::from([1.0, 0.0, 2.0, 3.0][i as usize] == j));
    let accuracy = |targets: &Targets| {
        let accuracy = matching_accuracy(images.clone(), texts.clone(), targets);
        (scalar(accuracy.image_to_text), scalar(accuracy.text_to_image))
    };
    assert_eq!(accuracy(&Targets::Diagonal), (0.5, 0.5));
    assert_eq!(accuracy(&by_id(&[9, 9, 4, 5], &[0, 1, 2, 3])), (1.0, 1.0));
}

#[test]
fn f32_is_close_to_f64_at_the_largest_scale() {
    let (x, y) = reference();
    let loss = |dtype: DType| {
        let (x, y) = (
            unit(x.clone()).cast(dtype),
            unit(y.clone().mul_scalar(0.5) + x.clone()).cast(dtype),
        );
        scalar(ClipLoss.forward(x, y, number(100_f64.ln()).cast(dtype), None, &Targets::Diagonal))
    };
    let (single, double) = (loss(DType::F32), loss(DType::F64));
    assert!(
        (single - double).abs() <= 1e-5 * double.abs().max(1e-2),
        "{single} is not {double}"
    );
}

/// Unit rows from arbitrary numbers.
fn embeddings(batch: usize) -> impl Strategy<Value = (Vec<f64>, Vec<f64>)> {
    let values = || prop::collection::vec(-1.0..1.0_f64, batch * 3);
    (values(), values())
}

fn rows_of(values: &[f64]) -> Tensor<2> {
    unit(matrix(values.len() / 3, 3, |i, d| {
        values[i as usize * 3 + d as usize] + 1e-3
    }))
}

/// A batch: embeddings, image ids, caption ids, a permutation, the rows per block.
#[derive(Debug, Clone)]
struct Case {
    images: Vec<f64>,
    texts: Vec<f64>,
    image_ids: Vec<i32>,
    caption_ids: Vec<i32>,
    order: Vec<usize>,
    rows: usize,
}

fn cases() -> impl Strategy<Value = Case> {
    (2..9_usize).prop_flat_map(|batch| {
        let ids = || prop::collection::vec(0..4_i32, batch);
        let order = Just((0..batch).collect::<Vec<_>>()).prop_shuffle();
        (embeddings(batch), ids(), ids(), order, 1..=batch).prop_map(
            |((images, texts), image_ids, caption_ids, order, rows)| Case {
                images,
                texts,
                image_ids,
                caption_ids,
                order,
                rows,
            },
        )
    })
}

impl Case {
    fn targets(&self) -> Targets {
        by_id(&self.image_ids, &self.caption_ids)
    }

    fn permuted(&self) -> Self {
        let pick = |v: &[i32]| self.order.iter().map(|&i| v[i]).collect();
        let rows = |v: &[f64]| self.order.iter().flat_map(|&i| v[3 * i..3 * i + 3].to_vec()).collect();
        Self {
            images: rows(&self.images),
            texts: rows(&self.texts),
            image_ids: pick(&self.image_ids),
            caption_ids: pick(&self.caption_ids),
            ..self.clone()
        }
    }

    fn loss(&self, loss: ContrastiveLoss, targets: &Targets) -> f64 {
        let (images, texts) = (rows_of(&self.images), rows_of(&self.texts));
        scalar(loss.forward(images, texts, number(2.0), Some(number(-1.0)), targets))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_common_permutation_changes_nothing(case in cases()) {
        for loss in [CLIP, SIGLIP] {
            for by_id in [false, true] {
                let targets = |case: &Case| if by_id { case.targets() } else { Targets::Diagonal };
                let permuted = case.permuted();
                let (before, after) = (case.loss(loss, &targets(&case)), permuted.loss(loss, &targets(&permuted)));
                prop_assert!((before - after).abs() < 1e-10, "{before} {after}");
            }
        }
    }

    #[test]
    fn images_and_texts_are_interchangeable(case in cases()) {
        let swapped = Case { images: case.texts.clone(), texts: case.images.clone(), ..case.clone() };
        for loss in [CLIP, SIGLIP] {
            for targets in [Targets::Diagonal, case.targets()] {
                let (before, after) = (case.loss(loss, &targets), swapped.loss(loss, &targets));
                prop_assert!((before - after).abs() < 1e-10, "{before} {after}");
            }
        }
    }

    #[test]
    fn distinct_ids_are_the_diagonal(case in cases()) {
        let distinct: Vec<i32> = (0..case.image_ids.len() as i32).collect();
        let targets = by_id(&distinct, &distinct);
        for loss in [CLIP, SIGLIP] {
            let (diagonal, by_id) = (case.loss(loss, &Targets::Diagonal), case.loss(loss, &targets));
            prop_assert!((diagonal - by_id).abs() < 1e-12, "{diagonal} {by_id}");
        }
    }

    #[test]
    fn blocks_of_any_size_give_what_backward_gives(case in cases()) {
        let (images, texts) = (rows_of(&case.images), rows_of(&case.texts));
        for loss in [CLIP, SIGLIP] {
            for targets in [Targets::Diagonal, case.targets()] {
                let tape = tape(loss, images.clone(), texts.clone(), 2.0, -1.0, &targets, |x| x);
                let batch = gradients::Batch::new(
                    images.clone(), texts.clone(), number(2.0), Some(number(-1.0)), &targets,
                );
                let blocks = batch.gradients(&loss, case.rows);
                assert_close(scalar(blocks.loss), tape.loss);
                assert_close(scalar(batch.score(&loss, case.rows).loss), tape.loss);
                assert_near(blocks.image_embeds, tape.images, 1e-10);
                assert_near(blocks.text_embeds, tape.texts, 1e-10);
                assert_near(blocks.logit_scale, number(tape.scale), 1e-10);
                assert_near(blocks.logit_bias.expect("bias"), number(tape.bias), 1e-10);
                let accuracy = matching_accuracy(images.clone(), texts.clone(), &targets);
                assert_near(blocks.accuracy.image_to_text, accuracy.image_to_text, 1e-12);
                assert_near(blocks.accuracy.text_to_image, accuracy.text_to_image, 1e-12);
            }
        }
    }
}
