//! Reference values computed in f64 from the formulas, and properties.

use burn::{
    module::{Param, ParamId},
    tensor::{Int, Tensor, activation::softmax},
};
use proptest::prelude::*;

use super::*;
use crate::{
    FeatureQueue,
    albef::NO_ID,
    loss::{
        Targets,
        tests::{assert_close, by_id, device, ids, matrix, number, reference, scalar, unit, values},
    },
};

const TEMP: f64 = 0.07;

fn queue(images: Tensor<2>, texts: Tensor<2>, image_ids: &[i32]) -> FeatureQueue {
    let embeds = |x| Param::from_tensor(x).set_require_grad(false);
    let integers = |x| Param::initialized(ParamId::new(), x);
    let [size, _] = images.dims();
    FeatureQueue {
        image_embeds: embeds(images),
        text_embeds: embeds(texts),
        image_ids: integers(ids(image_ids)),
        caption_ids: integers(Tensor::full([size], NO_ID, &device())),
        next_row: integers(Tensor::zeros([1], &device())),
    }
}

fn embeds((images, texts): (Tensor<2>, Tensor<2>)) -> Embeds {
    Embeds {
        images: unit(images),
        texts: unit(texts),
    }
}

/// Four pairs, their momentum features, and a queue of six.
fn example() -> (Embeds, Embeds, FeatureQueue) {
    let momentum = (
        matrix(4, 8, |i, d| (0.69 * i + 1.31 * d + 0.11 * i * d).sin()),
        matrix(4, 8, |i, d| (0.51 * i + 0.89 * d + 0.19 * i * d).cos()),
    );
    let images = matrix(6, 8, |i, d| (1.1 * i + 0.3 * d + 0.05 * i * d).sin());
    let texts = matrix(6, 8, |i, d| (0.9 * i + 0.7 * d + 0.15 * i * d).cos());
    let none = NO_ID as i32;
    let queue = queue(unit(images), unit(texts), &[3, none, 7, none, 1, 9]);
    (embeds(reference()), embeds(momentum), queue)
}

fn itc(targets: &Targets, alpha: f64) -> ItcScore {
    let (online, momentum, queue) = example();
    let similarities = Similarities::new(&online, &momentum, &queue, number(TEMP));
    let soft = Similarities::new(&momentum, &momentum, &queue, number(TEMP));
    let targets = ItcTargets::new(&similarities, &queue, targets).distilled(&soft, alpha);
    itc_loss(&similarities, &targets)
}

#[test]
fn contrast_is_the_reference_value() {
    let score = itc(&Targets::Diagonal, 0.0);
    assert_close(scalar(score.image_to_text), 0.701_560_595_818_745_2);
    assert_close(scalar(score.text_to_image), 0.012_478_490_213_224_003);
    assert_close(scalar(score.loss), 0.357_019_543_015_984_6);
    let score = itc(&Targets::Diagonal, 0.4);
    assert_close(scalar(score.image_to_text), 0.511_798_068_238_442_7);
    assert_close(scalar(score.text_to_image), 0.031_716_377_171_600_876);
    assert_close(scalar(score.loss), 0.271_757_223_205_021_8);
}

#[test]
fn contrast_with_several_positives_is_the_reference_value() {
    let targets = by_id(&[7, 3, 7, 1], &[0, 1, 2, 3]);
    let score = itc(&targets, 0.0);
    assert_close(scalar(score.image_to_text), 8.634_659_379_601_15);
    assert_close(scalar(score.text_to_image), 6.790_764_863_660_232);
    assert_close(scalar(score.loss), 7.712_712_121_630_691);
    assert_close(scalar(itc(&targets, 0.4).loss), 4.685_172_770_373_846);
}

#[test]
fn without_distillation_the_momentum_models_opinion_does_not_matter() {
    let (online, momentum, queue) = example();
    let similarities = Similarities::new(&online, &momentum, &queue, number(TEMP));
    let targets = ItcTargets::new(&similarities, &queue, &Targets::Diagonal);
    assert_close(scalar(itc_loss(&similarities, &targets).loss), 0.357_019_543_015_984_6);
}

#[test]
fn equal_features_cost_the_logarithm_of_batch_and_queue() {
    for (batch, size) in [(1, 1), (4, 6), (3, 509)] {
        let same = |rows| matrix(rows, 2, |_, d| d);
        let batch_embeds = embeds((same(batch), same(batch)));
        let queue = queue(same(size), same(size), &vec![NO_ID as i32; size]);
        let similarities = Similarities::new(&batch_embeds, &batch_embeds, &queue, number(TEMP));
        let targets = ItcTargets::new(&similarities, &queue, &Targets::Diagonal);
        let loss = itc_loss(&similarities, &targets.distilled(&similarities, 0.4)).loss;
        assert_close(scalar(loss), ((batch + size) as f64).ln());
    }
}

#[test]
fn the_gradient_goes_into_the_online_side_and_the_temperature_only() {
    let (online, momentum, queue) = example();
    let track = |x: &Tensor<2>| x.clone().autodiff().require_grad();
    let tracked = |x: &Embeds| Embeds {
        images: track(&x.images),
        texts: track(&x.texts),
    };
    let (online, momentum) = (tracked(&online), tracked(&momentum));
    let temp = number(TEMP).autodiff().require_grad();
    let similarities = Similarities::new(&online, &momentum, &queue, temp.clone());
    let soft = Similarities::new(&momentum, &momentum, &queue, temp.clone());
    let targets = ItcTargets::new(&similarities, &queue, &Targets::Diagonal).distilled(&soft, 0.4);
    let grads = itc_loss(&similarities, &targets).loss.backward();
    assert!(online.images.grad(&grads).is_some() && online.texts.grad(&grads).is_some());
    assert!(momentum.images.grad(&grads).is_none() && momentum.texts.grad(&grads).is_none());

    // The temperature's by finite difference, the targets held.
    let gradient = scalar(temp.grad(&grads).unwrap());
    let fixed = ItcTargets {
        image_to_text: targets.image_to_text.without_autodiff(),
        text_to_image: targets.text_to_image.without_autodiff(),
    };
    let (online, momentum, queue) = example();
    let loss = |temp: f64| {
        let similarities = Similarities::new(&online, &momentum, &queue, number(temp));
        scalar(itc_loss(&similarities, &fixed).loss)
    };
    let step = 1e-6;
    let expected = (loss(TEMP + step) - loss(TEMP - step)) / (2.0 * step);
    assert!((gradient / expected - 1.0).abs() < 1e-6, "{gradient}, not {expected}");
}

#[test]
fn the_distribution_of_negatives_is_the_reference_value() {
    let (online, momentum, queue) = example();
    let similarities = Similarities::new(&online, &momentum, &queue, number(TEMP)).within_batch();
    let row = |targets: Targets| {
        let positives = targets.positives(&similarities.image_to_text);
        let logits = candidate_logits(similarities.image_to_text.clone(), positives);
        values(softmax(logits, 1))[..4].to_vec()
    };
    let check = |actual: Vec<f64>, expected: [f64; 4]| {
        for (actual, expected) in actual.into_iter().zip(expected) {
            assert!((actual - expected).abs() <= 5e-4 * expected, "{actual}, not {expected}");
        }
    };
    check(row(Targets::Diagonal), [0.0, 0.999_998_770, 5.190e-7, 7.109e-7]);
    let by_id = by_id(&[7, 3, 7, 1], &[0, 1, 2, 3]);
    check(row(by_id), [0.0, 0.999_999_289, 0.0, 7.109e-7]);
}

/// Square similarities in both directions.
fn square(batch: usize, f: impl Fn(f64, f64) -> f64) -> Similarities {
    let image_to_text = matrix(batch, batch, f);
    Similarities {
        text_to_image: image_to_text.clone().transpose(),
        image_to_text,
    }
}

fn rows(rows: Tensor<1, Int>) -> Vec<usize> {
    let rows: Vec<i64> = rows.try_to_vec_as().expect("readable");
    rows.into_iter().map(|row| row as usize).collect()
}

#[test]
fn negatives_are_drawn_in_proportion() {
    // Image 0 resembles text 1 twice and text 2 once as much as text 3; itself beyond comparison.
    let weights = [1e6f64, 2.0, 1.0, 1.0];
    let similarities = square(4, |i, j| if i == 0.0 { weights[j as usize].ln() } else { 0.0 });
    let positives = Targets::Diagonal.positives(&similarities.image_to_text);
    let mut counts = [0.0; 4];
    let draws = 4000;
    for draw in 0..draws {
        let seeds = [draw, draw + 100_000, draw + 200_000, draw + 300_000];
        let noise = GumbelNoise::draw(&seeds, &device());
        let cast = |x: Tensor<2>| x.cast(burn::tensor::FloatDType::F64);
        let noise = GumbelNoise {
            image_to_text: cast(noise.image_to_text),
            text_to_image: cast(noise.text_to_image),
        };
        counts[rows(hard_negatives(&similarities, &positives, Some(&noise)).texts)[0]] += 1.0;
    }
    for (count, share) in counts.into_iter().zip([0.0, 0.5, 0.25, 0.25]) {
        assert!((count / draws as f64 - share).abs() < 0.03, "{counts:?}");
    }
}

#[test]
fn nothing_underflows_when_positives_are_overwhelming() {
    let similarities = square(3, |i, j| if i == j { 1e4 } else { -1e4 - j });
    let positives = Targets::Diagonal.positives(&similarities.image_to_text);
    let negatives = hard_negatives(&similarities, &positives, None);
    assert_eq!(rows(negatives.texts), [1, 0, 0]);
    assert_eq!(values(negatives.exist), [1.0; 3]);
}

#[test]
fn pairs_without_negatives_are_reported_and_do_not_count() {
    let similarities = square(3, |i, j| (i - j).cos());
    let of = |targets: Targets| {
        let positives = targets.positives(&similarities.image_to_text);
        hard_negatives(&similarities, &positives, None).exist
    };
    assert_eq!(values(of(by_id(&[5, 5, 5], &[0, 1, 2]))), [0.0; 3]);
    // The first pair shares its image with one and its caption with the other.
    let partly = of(by_id(&[5, 5, 6], &[0, 1, 0]));
    assert_eq!(values(partly.clone()), [0.0, 1.0, 1.0]);

    let logits = matrix(9, 2, |i, j| (1.7 * i + j).sin());
    let score = itm_loss(logits.clone(), &(partly.clone() * 0.0));
    assert_eq!([scalar(score.loss), scalar(score.accuracy)], [0.0, 0.0]);
    let all = itm_loss(logits.clone(), &partly);
    // Whatever the first pair's three rows say.
    let changed = logits * matrix(9, 2, |i, _| if i % 3.0 == 0.0 { -9.0 } else { 1.0 });
    assert_close(scalar(itm_loss(changed, &partly).loss), scalar(all.loss));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_negative_is_never_a_positive(
        image_ids in prop::collection::vec(0i32..4, 2..9),
        seed in any::<u64>(),
        scale in prop::sample::select(vec![0.0, 1.0, 15.0, 1000.0]),
        is_sampled in any::<bool>(),
    ) {
        let batch = image_ids.len();
        let caption_ids: Vec<i32> = (0..batch as i32).map(|i| i * i % 5).collect();
        let similarities = square(batch, |i, j| scale * (3.1 * i + 1.7 * j + 0.3 * i * j + (seed % 97) as f64).sin());
        let positives = by_id(&image_ids, &caption_ids).positives(&similarities.image_to_text);
        let seeds: Vec<u64> = (0..batch as u64).map(|i| seed.wrapping_add(i)).collect();
        let noise = GumbelNoise::draw(&seeds, &device());
        let cast = |x: Tensor<2>| x.cast(burn::tensor::FloatDType::F64);
        let noise = GumbelNoise {
            image_to_text: cast(noise.image_to_text),
            text_to_image: cast(noise.text_to_image),
        };
        let negatives = hard_negatives(&similarities, &positives, is_sampled.then_some(&noise));
        let exist = values(negatives.exist);
        for chosen in [rows(negatives.images), rows(negatives.texts)] {
            for (row, chosen) in chosen.into_iter().enumerate() {
                prop_assert!(chosen < batch);
                let shares = |other: usize| {
                    image_ids[row] == image_ids[other] || caption_ids[row] == caption_ids[other]
                };
                prop_assert_eq!(exist[row] == 1.0, !(0..batch).all(shares));
                prop_assert!(exist[row] == 0.0 || !shares(chosen));
            }
        }
    }
}

#[test]
fn matching_without_an_opinion_costs_ln_2_and_the_best_constant_less() {
    let exist = matrix(1, 5, |_, _| 1.0).reshape([5]);
    let zero = itm_loss(matrix(15, 2, |_, _| 0.0), &exist);
    assert_close(scalar(zero.loss), 2f64.ln());
    // One pair in three matches: the best constant guess says so.
    let constant = itm_loss(matrix(15, 2, |_, j| if j == 0.0 { 2f64.ln() } else { 0.0 }), &exist);
    assert_close(scalar(constant.loss), 0.636_514_168_294_812_9);
    assert_close(scalar(constant.accuracy), 2.0 / 3.0);
    let right = itm_loss(
        matrix(15, 2, |i, j| if (i < 5.0) == (j == 1.0) { 50.0 } else { 0.0 }),
        &exist,
    );
    assert!(scalar(right.loss) < 1e-20);
    assert_close(scalar(right.accuracy), 1.0);
}

#[test]
fn distilled_cross_entropy_is_the_reference_value() {
    let rows = |values: [[f64; 3]; 2]| matrix(2, 3, move |i, j| values[i as usize][j as usize]).reshape([1, 2, 3]);
    let logits = rows([[1.0, 2.0, 0.5], [0.1, -0.3, 0.7]]);
    let momentum = rows([[0.5, 1.5, 1.0], [0.0, 0.2, 0.4]]);
    let labels = ids(&[1, 2]).reshape([1, 2]);
    let loss = |momentum: Option<Tensor<3>>, alpha| {
        let weights = matrix(1, 2, |_, _| 1.0);
        scalar(mlm_loss(logits.clone(), momentum, labels.clone(), weights, alpha).loss)
    };
    assert_close(loss(None, 0.4), 0.557_484_543_066_292_6);
    assert_close(loss(Some(momentum.clone()), 0.0), 0.557_484_543_066_292_6);
    assert_close(loss(Some(momentum.clone()), 1.0), 1.126_302_029_865_864_8);
    assert_close(loss(Some(momentum), 0.4), 0.785_011_537_786_121_5);
}

#[test]
fn unused_slots_do_not_count() {
    let logits = matrix(6, 7, |i, j| (2.1 * i + 1.3 * j).sin()).reshape([2, 3, 7]);
    let labels = ids(&[1, 5, 0, 2, 0, 0]).reshape([2, 3]);
    let weights = matrix(1, 6, |_, j| [1.0, 1.0, 0.0, 1.0, 0.0, 0.0][j as usize]).reshape([2, 3]);
    let score = mlm_loss(logits.clone(), None, labels, weights, 0.0);
    // The slots in use by themselves.
    let used = Tensor::cat(
        vec![
            logits.clone().slice([0..1, 0..2, 0..7]),
            logits.clone().slice([1..2, 0..1, 0..7]).reshape([1, 1, 7]),
        ],
        1,
    );
    let alone = mlm_loss(
        used,
        None,
        ids(&[1, 5, 2]).reshape([1, 3]),
        matrix(1, 3, |_, _| 1.0),
        0.0,
    );
    assert_close(scalar(score.loss), scalar(alone.loss));
    assert_close(scalar(score.accuracy), scalar(alone.accuracy));

    let none = mlm_loss(
        logits,
        None,
        ids(&[0; 6]).reshape([2, 3]),
        matrix(2, 3, |_, _| 0.0),
        0.0,
    );
    assert_eq!([scalar(none.loss), scalar(none.accuracy)], [0.0, 0.0]);
}

#[test]
fn tokens_without_an_opinion_cost_the_logarithm_of_the_vocabulary() {
    let logits = Tensor::<3>::zeros([1, 2, 30_522], (&device(), burn::tensor::DType::F64));
    let labels = ids(&[4, 30_000]).reshape([1, 2]);
    let loss = mlm_loss(logits, None, labels, matrix(1, 2, |_, _| 1.0), 0.0).loss;
    assert_close(scalar(loss), 30_522f64.ln());
}
