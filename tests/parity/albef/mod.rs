//! ALBEF computes what salesforce/ALBEF computes, beyond what `verify` compares: names, the order of a run's steps, the
//! distribution of negatives.

mod names;

use burn::{
    tensor::{Int, Tensor, TensorData},
    train::TrainStep,
};
use twinflame::{
    data::Normalization,
    model::{
        albef::{MlmMasking, TEMP_RANGE},
        loss::{Targets, albef::candidate_logits},
    },
    train::{
        optim::adamw,
        task::{AlbefTask, AlbefTaskConfig, AlbefTexts},
        verify::{Check, Rule, Tensors, albef, verify},
    },
};

use crate::fixture::{assert_agrees, fixture, floats};

/// The reference's momentum encoders follow at the start of a step, before they see the batch; a run's at the end of the
/// step before, so that what it saves is what its next step uses. The same goes for the clamp of the temperature. Model
/// and queue must come out the same, to the last bit.
#[test]
fn a_run_takes_the_references_steps() {
    let fixture = fixture("albef_pretrain_tiny");
    let device = twinflame_tests::device();
    let reference = verify(fixture.clone(), &device).unwrap();
    let expected = &reference
        .checks
        .iter()
        .find(|check| check.file == "after_step")
        .unwrap()
        .tensors;

    let given = albef::task(&fixture, albef::Training::Pretraining, &device).unwrap();
    let texts = AlbefTexts {
        pad_id: 0,
        masking: MlmMasking::new(0.15, 32, 200, 4, [0, 2]),
        dropout: None,
    };
    let (config, normalization) = (AlbefTaskConfig::default(), Normalization::default());
    let mut task = AlbefTask::new(given.model, given.queue, config, texts, normalization, 1).unwrap();
    task.momentum = given.momentum;
    task = task.follow(2);
    let optim = fixture.optimizer().unwrap().unwrap();
    let mut optimizer = adamw(&optim, &task.model);
    for (step, alpha) in [(1, 0.0), (2, 0.2), (3, 0.4)] {
        let inputs = albef::pretraining_inputs(&fixture, &format!("s{step}."), &device).unwrap();
        let score = task.score(&inputs, alpha);
        let grads = task.backward(&score);
        task = task
            .optimize(&mut optimizer, optim.lr.into(), grads)
            .enqueue(score.entries)
            .follow(2);
    }
    let actual = albef::state(&task).unwrap();
    let (mut same, mut followed) = (0, 0);
    for (name, expected) in expected {
        if name == "temp" {
            let temp = floats(expected)[0].clamp(*TEMP_RANGE.start() as f32, *TEMP_RANGE.end() as f32);
            assert_eq!(floats(&actual[name]), [temp]);
        } else if name.contains("_m.") && !name.ends_with("position_ids") {
            assert_ne!(&actual[name], expected, "{name} did not follow");
            followed += 1;
        } else {
            assert_eq!(&actual[name], expected, "{name}");
            same += 1;
        }
    }
    assert!(same > 100 && followed > 100, "{same}, {followed}");
}

#[test]
fn negatives_have_the_references_distribution() {
    let fixture = fixture("albef_retrieval_tiny");
    let (inputs, outputs) = (fixture.tensors("inputs").unwrap(), fixture.tensors("outputs").unwrap());
    let device = twinflame_tests::device();
    let load = |name: &str| Tensor::<2>::from_data(outputs[name].clone(), &device);
    let targets = Targets::ById {
        image_ids: Tensor::<1, Int>::from_data(inputs["idx"].clone().convert::<i32>(), &device),
        caption_ids: Tensor::arange(0..4, &device),
    };
    let (mut actual, mut expected) = (Tensors::new(), Tensors::new());
    for direction in ["i2t", "t2i"] {
        let similarities = load(&format!("sim_{direction}")).narrow(1, 0, 4);
        let logits = candidate_logits(similarities.clone(), targets.positives(&similarities));
        let softmax = |logits| -> TensorData { burn::tensor::activation::softmax(logits, 1).into_data() };
        actual.insert(direction.to_owned(), softmax(logits));
        // The reference takes the positives out after its softmax and leaves it to the sampler to divide by the rest.
        let weights = load(&format!("weights_{direction}"));
        let weights = weights.clone() / weights.sum_dim(1);
        expected.insert(direction.to_owned(), weights.into_data());
    }
    assert_agrees(&Check::file("distribution", actual, Rule::Output), &expected);
}
