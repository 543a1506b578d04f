//! The queue, the choice of masked tokens, dropout, and which tokens a pass computes.

use std::collections::VecDeque;

use burn::{
    module::Module,
    tensor::{Bool, Device, Int, Tensor, TensorData, Tolerance},
};
use proptest::prelude::*;

use super::*;
use crate::{DropoutTable, text::Readout};

fn device() -> Device {
    Device::flex()
}

fn integers(values: Vec<i32>) -> Tensor<1, Int> {
    let count = values.len();
    Tensor::from_data(TensorData::new(values, [count]), &device())
}

/// Pairs numbered from `first`; their features are their number.
fn entries(first: usize, batch: usize) -> QueueEntries {
    let numbers: Vec<i32> = (first..first + batch).map(|number| number as i32).collect();
    let embeds = |sign: f64| {
        let column = integers(numbers.clone()).float().reshape([batch, 1]);
        column.repeat_dim(1, 2) * sign
    };
    QueueEntries {
        image_embeds: embeds(1.0),
        text_embeds: embeds(-1.0),
        image_ids: integers(numbers.clone()),
        caption_ids: integers(numbers.iter().map(|number| number * 10).collect()),
    }
}

fn image_ids(queue: &FeatureQueue) -> Vec<i64> {
    queue.image_ids.val().into_data().iter().collect()
}

fn next_row(queue: &FeatureQueue) -> i64 {
    queue.next_row.val().into_data().iter().next().unwrap()
}

#[test]
fn a_new_queue_holds_random_directions_that_belong_to_nobody() {
    let queue = FeatureQueue::new(50, 8, 1, &device().autodiff());
    for embeds in [&queue.image_embeds, &queue.text_embeds] {
        assert!(!embeds.val().is_autodiff() && !embeds.is_require_grad());
        let lengths = embeds.val().square().sum_dim(1);
        lengths
            .into_data()
            .assert_approx_eq::<f32>(&TensorData::from([[1.0f32]; 50]), Tolerance::absolute(1e-5));
    }
    assert_ne!(
        queue.image_embeds.val().into_data(),
        queue.text_embeds.val().into_data()
    );
    assert_eq!(image_ids(&queue), [NO_ID; 50]);
    assert_eq!(next_row(&queue), 0);
}

#[test]
fn a_dividing_batch_fills_the_queue_and_is_back_at_the_start() {
    let mut queue = FeatureQueue::new(8, 2, 0, &device());
    for step in 0..4 {
        queue = queue.enqueue(entries(2 * step, 2));
    }
    assert_eq!(image_ids(&queue), [0, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(next_row(&queue), 0);
    queue = queue.enqueue(entries(8, 2));
    assert_eq!(image_ids(&queue), [8, 9, 2, 3, 4, 5, 6, 7]);
    assert_eq!(next_row(&queue), 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_queue_holds_the_latest_pairs_in_order(
        size in 1usize..9,
        batches in prop::collection::vec(1usize..20, 1..8),
    ) {
        let mut queue = FeatureQueue::new(size, 2, 0, &device());
        let mut latest: VecDeque<i64> = vec![NO_ID; size].into();
        let mut next = 0;
        for batch in batches {
            queue = queue.enqueue(entries(next, batch));
            for number in next..next + batch {
                latest.pop_front();
                latest.push_back(number as i64);
            }
            next += batch;
            let row = next_row(&queue) as usize;
            prop_assert_eq!(row, next % size);
            // Read from the oldest on.
            let mut ids = image_ids(&queue);
            ids.rotate_left(row);
            prop_assert_eq!(&ids, &latest.iter().copied().collect::<Vec<_>>());
        }
        // Features and caption ids went with the image ids.
        let images: Vec<f32> = queue.image_embeds.val().into_data().iter().collect();
        let texts: Vec<f32> = queue.text_embeds.val().into_data().iter().collect();
        let captions: Vec<i64> = queue.caption_ids.val().into_data().iter().collect();
        for (row, id) in image_ids(&queue).into_iter().enumerate().filter(|(_, id)| *id != NO_ID) {
            prop_assert_eq!(&images[2 * row..2 * row + 2], &[id as f32; 2]);
            prop_assert_eq!(&texts[2 * row..2 * row + 2], &[-id as f32; 2]);
            prop_assert_eq!(captions[row], 10 * id);
        }
    }
}

#[test]
fn a_queue_keeps_its_state_in_a_record() {
    let queue = FeatureQueue::new(5, 2, 0, &device()).enqueue(entries(0, 3));
    let loaded = FeatureQueue::new(5, 2, 9, &device()).load_record(queue.clone().into_record());
    assert_eq!(image_ids(&loaded), image_ids(&queue));
    assert_eq!(next_row(&loaded), 3);
    assert_eq!(
        loaded.text_embeds.val().into_data(),
        queue.text_embeds.val().into_data()
    );
}

const MASK: i32 = 4;
const SPECIAL: [i32; 5] = [0, 1, 2, 3, MASK];

#[test]
fn masking_has_the_shares_of_the_paper() {
    const VOCAB: usize = 30_522;
    const TOKENS: usize = 1_000_000;
    let context = 25;
    let masking = MlmMasking::new(0.15, context, VOCAB, MASK, SPECIAL);
    let mut counts = [0usize; 3];
    let mut maskable = 0;
    for text in 0..(TOKENS / (context - 1)) as u64 {
        let mut ids = vec![2];
        ids.extend((1..context as i32).map(|at| 1000 + at));
        let masked = masking.mask(text, &ids);
        maskable += context - 1;
        assert_eq!(masked.ids[0], 2);
        let mut expected = ids.clone();
        for slot in 0..masking.slots() {
            let (at, label) = (masked.positions[slot] as usize, masked.labels[slot]);
            if masked.weights[slot] == 0.0 {
                assert_eq!((at, label), (0, 0));
                continue;
            }
            assert_eq!(label, ids[at]);
            let new = masked.ids[at];
            counts[if new == MASK {
                0
            } else if new == label {
                2
            } else {
                1
            }] += 1;
            expected[at] = new;
        }
        assert_eq!(masked.ids, expected, "a token outside the slots has changed");
    }
    let chosen: usize = counts.iter().sum();
    let share = chosen as f64 / maskable as f64;
    assert!((share - 0.15).abs() < 0.001, "{share} masked");
    for (count, expected) in counts.into_iter().zip([0.8, 0.1, 0.1]) {
        let share = count as f64 / chosen as f64;
        assert!((share - expected).abs() < 0.005, "{share}, not {expected}");
    }
}

proptest! {
    #[test]
    fn special_tokens_are_never_masked_and_slots_are_never_exceeded(
        ids in prop::collection::vec(0i32..40, 1..16),
        probability in 0.0f64..1.0,
        seed in any::<u64>(),
    ) {
        let masking = MlmMasking::new(probability, 16, 40, MASK, SPECIAL);
        let masked = masking.mask(seed, &ids);
        prop_assert_eq!(&masked, &masking.mask(seed, &ids));
        prop_assert_eq!(masked.positions.len(), masking.slots());
        let used = masked.weights.iter().filter(|weight| **weight == 1.0).count();
        let positions = &masked.positions[..used];
        prop_assert!(positions.windows(2).all(|pair| pair[0] < pair[1]));
        for (at, (before, after)) in ids.iter().zip(&masked.ids).enumerate() {
            if SPECIAL.contains(before) {
                prop_assert_eq!(before, after);
                prop_assert!(!positions.contains(&(at as i32)));
            }
        }
    }
}

#[test]
fn slots_grow_with_the_context_and_an_overflow_keeps_a_fair_choice() {
    let slots = |context| MlmMasking::new(0.15, context, 100, MASK, SPECIAL).slots();
    assert_eq!(
        [slots(2), slots(16), slots(25), slots(30), slots(512)],
        [1, 7, 9, 11, 101]
    );
    // Every token is chosen, and some stay: each position as often as another.
    let masking = MlmMasking::new(1.0, 9, 100, MASK, SPECIAL);
    assert_eq!(masking.slots(), 8);
    let ids: Vec<i32> = (10..42).collect();
    let mut counts = [0; 32];
    for seed in 0..4000 {
        let masked = masking.mask(seed, &ids);
        assert_eq!(masked.weights, [1.0; 8]);
        for at in masked.positions {
            counts[at as usize] += 1;
        }
    }
    assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
}

/// Pictures, texts of which the second has padding, and their mask.
fn inputs() -> (Tensor<4>, Tensor<2, Int>, Tensor<2, Bool>) {
    let pixels: Vec<f32> = (0..2 * 3 * 32 * 32).map(|k| (k as f32 * 0.37).sin()).collect();
    let pixels = Tensor::<4>::from_data(TensorData::new(pixels, [2, 3, 32, 32]), &device());
    let ids = Tensor::<2, Int>::from_ints([[2, 10, 11, 12, 13], [2, 20, 21, 0, 0]], &device());
    let mask_pad = ids.clone().equal_elem(0);
    (pixels, ids, mask_pad)
}

fn assert_near<const D: usize>(actual: Tensor<D>, expected: Tensor<D>) {
    actual
        .into_data()
        .assert_approx_eq::<f32>(&expected.into_data(), Tolerance::absolute(2e-6));
}

#[test]
fn a_readout_computes_the_same_tokens_as_all() {
    let (pixels, ids, mask_pad) = inputs();
    let positions = Tensor::<2, Int>::from_ints([[1, 4, 0], [2, 0, 0]], &device());
    for device in [device(), device().autodiff()] {
        let encoders = AlbefConfig::named("tiny-albef").unwrap().init(3, &device).encoders;
        let states = encoders.image_states(pixels.clone());
        assert_near(
            encoders.image_embeds(states.clone()).without_autodiff(),
            encoders.encode_image(pixels.clone()).without_autodiff(),
        );
        let bert = &encoders.text_encoder;
        let memory = bert.image_memory(states);
        let full = |readout| {
            bert.full(ids.clone(), &mask_pad, &memory, readout, None)
                .without_autodiff()
        };
        let all = full(&Readout::All);
        assert_near(full(&Readout::Class), all.clone().narrow(1, 0, 1));
        let at = full(&Readout::At(positions.clone()));
        for (row, places) in [[1, 4, 0], [2, 0, 0]].into_iter().enumerate() {
            for (slot, place) in places.into_iter().enumerate() {
                let token = |x: &Tensor<3>, at: usize| x.clone().narrow(0, row, 1).narrow(1, at, 1);
                assert_near(token(&at, slot), token(&all, place));
            }
        }
        // In two halves.
        let text = bert.text(ids.clone(), &mask_pad, &Readout::All, None);
        let fused = bert.fusion(text, &mask_pad, &memory, &Readout::All, None);
        assert_near(fused.without_autodiff(), all);
    }
}

#[test]
fn padding_changes_nothing_and_images_come_in_any_order() {
    let (pixels, ids, mask_pad) = inputs();
    let encoders = AlbefConfig::named("tiny-albef").unwrap().init(3, &device()).encoders;
    let bert = &encoders.text_encoder;
    let memory = bert.image_memory(encoders.image_states(pixels.clone()));
    let fused = bert.full(ids.clone(), &mask_pad, &memory, &Readout::Class, None);
    // The second text without its padding.
    let short = ids.narrow(0, 1, 1).narrow(1, 0, 3);
    let mask = short.clone().equal_elem(0);
    let second = integers(vec![1]);
    let alone = bert.full(short.clone(), &mask, &memory.select(&second), &Readout::Class, None);
    assert_near(alone.clone(), fused.narrow(0, 1, 1));
    // The same image by itself.
    let memory = bert.image_memory(encoders.image_states(pixels.narrow(0, 1, 1)));
    assert_near(bert.full(short, &mask, &memory, &Readout::Class, None), alone);
}

#[test]
fn dropout_is_a_function_of_its_seed() {
    let (pixels, ids, mask_pad) = inputs();
    let encoders = AlbefConfig::named("tiny-albef").unwrap().init(3, &device()).encoders;
    let bert = &encoders.text_encoder;
    let memory = bert.image_memory(encoders.image_states(pixels));
    let pass = |seed: Option<(u64, u64)>| {
        let dropout = seed.map(|(table, pass)| DropoutTable::new(0.1, table, &device()).unwrap().draw(pass));
        let fused = bert.full(ids.clone(), &mask_pad, &memory, &Readout::All, dropout.as_ref());
        fused.into_data()
    };
    assert_eq!(pass(Some((1, 2))), pass(Some((1, 2))));
    assert_ne!(pass(Some((1, 2))), pass(Some((1, 3))));
    assert_ne!(pass(Some((1, 2))), pass(Some((2, 2))));
    assert_ne!(pass(Some((1, 2))), pass(None));
}
