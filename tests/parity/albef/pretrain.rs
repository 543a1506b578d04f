//! Three steps of pre-training.

use burn::{
    tensor::{Int, Tensor, TensorData},
    train::TrainStep,
};
use twinflame::{
    model::{
        albef::TEMP_RANGE,
        loss::{
            Targets,
            albef::{GumbelNoise, Negatives, candidate_logits},
        },
    },
    train::task::{AlbefScore, AlbefTask, AlbefTaskConfig, MaskedBatch, NegativeChoice},
};

use super::{
    Inputs,
    check::{Check, Kind},
    check_grads, checkpoint, followed, load, optimizer,
    passes::{Expected, encode, match_logits, token_logits, wanted},
};
use crate::{compare::floats, fixture::Fixture};

/// The labelled positions as slots, as many for every text, unused ones at position 0.
fn masked(inputs: &Inputs<'_>) -> MaskedBatch {
    let labels = inputs.data("mlm_labels");
    let [batch, tokens] = labels.shape().dims();
    let labels: Vec<i64> = labels.iter().collect();
    let used: Vec<Vec<usize>> = labels
        .chunks(tokens)
        .map(|row| (0..tokens).filter(|&at| row[at] >= 0).collect())
        .collect();
    let slots = 1 + used.iter().map(Vec::len).max().unwrap();
    let slot = |f: &dyn Fn(usize, usize) -> i64| {
        let value = |row: usize, slot: usize| used[row].get(slot).map_or(0, |&at| f(row, at)) as i32;
        let values: Vec<i32> = (0..batch)
            .flat_map(|row| (0..slots).map(move |slot| (row, slot)))
            .map(|(row, slot)| value(row, slot))
            .collect();
        Tensor::<2, Int>::from_data(TensorData::new(values, [batch, slots]), &inputs.device)
    };
    MaskedBatch {
        ids: inputs.integers("mlm_input_ids"),
        positions: slot(&|_, at| at as i64),
        labels: slot(&|row, at| labels[row * tokens + at]),
        weights: slot(&|_, _| 1).float(),
    }
}

/// One step up to its losses. The momentum encoders have followed.
fn score(task: &AlbefTask, inputs: &Inputs<'_>, alpha: f64, expected: &mut Expected<'_>) -> AlbefScore {
    expected.scalar("temp_clamped", &task.model.temp.val());
    let noise = NegativeChoice::Sampled {
        noise: GumbelNoise::draw(&[3, 4], &inputs.device),
        hardness: 1.0,
    };
    let masked = masked(inputs);
    let inputs = inputs.of_task(Tensor::arange(0..2, &inputs.device), Some(masked.clone()), noise);
    let score = task.score(&inputs, alpha);
    let losses = [
        ("loss", &score.loss),
        ("loss_i2t", &score.itc.as_ref().unwrap().image_to_text),
        ("loss_t2i", &score.itc.as_ref().unwrap().text_to_image),
        ("loss_ita", &score.itc.as_ref().unwrap().loss),
        ("loss_itm", &score.itm.as_ref().unwrap().loss),
        ("loss_mlm", &score.mlm.as_ref().unwrap().loss),
    ];
    for (name, loss) in losses {
        expected.scalar(name, loss);
    }

    let online = encode(&task.model.encoders, &inputs);
    let momentum = encode(&task.momentum, &inputs);
    expected.contrast(&online, &score, &wanted(task, &score, &Targets::Diagonal, alpha));
    expected.tensor("image_embeds_m", &momentum.image_states);
    // The shortcuts of those who need the embeddings alone.
    expected.tensor("image_feat_m", &task.momentum.encode_image(inputs.pixels.clone()));
    let text = task.momentum.encode_text(inputs.ids.clone(), &inputs.mask_pad, None);
    expected.tensor("text_feat_m", &text);
    // With two pairs the hard negative of each is the other.
    let other = Tensor::<1, Int>::from_ints([1, 0], &task.device());
    let negatives = Negatives {
        images: other.clone(),
        texts: other,
        exist: Tensor::ones([2], &task.device()),
    };
    let logits = match_logits(&task.model, &online, &inputs, &negatives);
    expected.tensor("vl_output", &logits);
    let logits = token_logits(&task.model.encoders, &online, &inputs, &masked);
    expected.tensor("mlm_logits", &logits);
    let logits = token_logits(&task.momentum, &momentum, &inputs, &masked);
    expected.tensor("logits_m", &logits);
    score
}

/// Weights, momentum copy and queue after a step of the task, against the fixture's file.
fn check_state(task: &AlbefTask, fixture: &Fixture, file: &str) -> usize {
    let mut check = Check::default();
    let actual = checkpoint(task);
    for (name, expected) in followed(fixture.tensors(file)) {
        check.tensor(Kind::Weight, &name, &actual[&name], &expected);
    }
    check.finish(&format!("weights of {file}"))
}

#[test]
fn three_steps() {
    let fixture = Fixture::new("albef_pretrain_tiny");
    let device = twinflame_tests::device();
    // The reference's momentum encoders follow at the start of its first step.
    let mut task = load(&fixture, &device.clone().autodiff(), AlbefTaskConfig::default()).follow(2);
    let (mut optim, lr) = optimizer(&fixture, &task);
    let (inputs, outputs) = (fixture.tensors("inputs"), fixture.tensors("outputs"));
    let alphas: Vec<f64> = serde_json::from_value(fixture.config["alphas"].clone()).unwrap();
    for (index, alpha) in alphas.into_iter().enumerate() {
        let number = index + 1;
        let prefix = format!("s{number}.");
        let inputs = Inputs {
            tensors: &inputs,
            prefix: &prefix,
            device: device.clone(),
        };
        let mut expected = Expected {
            outputs: &outputs,
            prefix: &prefix,
            check: Check::default(),
        };
        let score = score(&task, &inputs, alpha, &mut expected);
        let grads = task.backward(&score);
        if number != 2 {
            check_grads(&fixture, &format!("grads_step{number}"), &task.model, &grads);
        }

        task = task
            .optimize(&mut optim, lr.into(), grads)
            .enqueue(score.entries)
            .follow(2);
        let state = checkpoint(&task);
        for (name, key) in [("image_queue_after", "image_queue"), ("text_queue_after", "text_queue")] {
            let queue = expected.data(name).clone();
            expected.check.tensor(Kind::Output, name, &state[key], &queue);
        }
        expected.data("queue_ptr_after").assert_eq(&state["queue_ptr"], true);
        assert!(expected.check.finish(&format!("outputs of step {number}")) > 25);

        // The reference clamps at the start of the next step.
        let temp = floats(&outputs[&format!("s{number}.temp_after_step")])[0];
        let temp = temp.clamp(*TEMP_RANGE.start() as f32, *TEMP_RANGE.end() as f32);
        let actual = floats(&task.model.temp.val().into_data());
        Check::default().values(Kind::Weight, "temp", &actual, &[temp]);
        if number == 1 {
            check_state(&task, &fixture, "after_step1");
        }
    }
    assert_eq!(check_state(&task, &fixture, "after_step"), checkpoint(&task).len());
}

#[test]
fn negatives_have_the_references_distribution() {
    let fixture = Fixture::new("albef_retrieval_tiny");
    let outputs = fixture.tensors("outputs");
    let device = twinflame_tests::device();
    let load = |name: &str| Tensor::<2>::from_data(outputs[name].clone(), &device);
    let ids = Tensor::<1, Int>::from_data(fixture.tensors("inputs")["idx"].clone().convert::<i32>(), &device);
    let targets = Targets::ById {
        image_ids: ids,
        caption_ids: Tensor::arange(0..4, &device),
    };
    let mut check = Check::default();
    for direction in ["i2t", "t2i"] {
        let similarities = load(&format!("sim_{direction}")).narrow(1, 0, 4);
        let logits = candidate_logits(similarities.clone(), targets.positives(&similarities));
        let actual = burn::tensor::activation::softmax(logits, 1);
        // The reference takes the positives out after its softmax and leaves it to the sampler to divide by the rest.
        let expected = load(&format!("weights_{direction}"));
        let expected = expected.clone() / expected.sum_dim(1);
        check.tensor(Kind::Output, direction, &actual.into_data(), &expected.into_data());
    }
    check.finish("distribution of negatives");
}
