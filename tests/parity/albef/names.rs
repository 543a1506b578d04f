//! The base model has the reference's tensors, by name and shape, and its numbers of parameters.

use serde_json::Value;
use twinflame::{
    model::{
        AlbefConfig,
        weights::{AlbefCheckpoint, named_params},
    },
    train::{
        optim::{OptimConfig, no_decay_paths},
        verify::albef,
    },
};

use crate::fixture::fixture;

fn json(file: &str) -> Value {
    let path = twinflame_tests::fixtures().join(file);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn the_base_models_names_and_shapes() {
    let expected = json("albef_base_state_dict_keys.json");
    let mut expected: Vec<(String, Vec<usize>)> = expected
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, shape)| (name.clone(), serde_json::from_value(shape.clone()).unwrap()))
        .collect();
    expected.sort();
    assert_eq!(expected.len(), 844);

    // Nothing is drawn or allocated: parameters are made when they are first used.
    let device = twinflame_tests::device();
    let config = AlbefConfig::named("albef-base").unwrap();
    let (model, queue) = (config.init(0, &device), config.init_queue(0, &device));
    let checkpoint = AlbefCheckpoint {
        model: &model,
        momentum: Some(&model.encoders),
        queue: Some(&queue),
    };
    assert_eq!(checkpoint.names(), expected);
}

#[test]
fn the_base_models_numbers_of_parameters() {
    let expected = json("param_counts_albef.json");
    let number = |value: &Value| value.as_u64().unwrap();
    let config = AlbefConfig::named("albef-base").unwrap();
    let count = config.num_params();
    assert_eq!(count.trainable, number(&expected["trainable"]));
    assert_eq!(count.momentum, number(&expected["momentum"]));
    assert_eq!(count.image, number(&expected["top"]["visual_encoder"]));
    assert_eq!(count.text + count.fusion, number(&expected["text_bert_only"]));
    assert_eq!(count.mlm_head, number(&expected["mlm_head_untied"]));
    assert_eq!(
        (2 * config.queue_size * config.embed_dim) as u64,
        number(&expected["queues"])
    );

    let model = config.init(0, &twinflame_tests::device());
    let exempt = no_decay_paths(&OptimConfig::default(), &model);
    let params = named_params(&model);
    assert_eq!(params.len() as u64, number(&expected["trainable_tensors"]));
    let elements = |decays: bool| {
        let params = params.iter().filter(|param| exempt.contains(&param.path) != decays);
        params
            .map(|param| param.shape.iter().product::<usize>() as u64)
            .sum::<u64>()
    };
    assert_eq!(elements(true), number(&expected["decay"]));
    assert_eq!(elements(false), number(&expected["no_decay"]));
}

#[test]
fn decay_groups() {
    let fixture = fixture("albef_pretrain_tiny");
    let config = albef::config(&fixture, albef::Training::Pretraining).unwrap();
    let model = config.init(0, &twinflame_tests::device());
    let exempt = no_decay_paths(&OptimConfig::default(), &model);
    for (key, decays) in [("decay", true), ("no_decay", false)] {
        let mut names: Vec<String> = named_params(&model)
            .into_iter()
            .filter(|param| exempt.contains(&param.path) != decays)
            .map(|param| param.name)
            .collect();
        let expected = fixture.config()["optimizer"][key].as_array().unwrap();
        let mut expected: Vec<_> = expected.iter().map(|name| name.as_str().unwrap()).collect();
        names.sort();
        expected.sort();
        assert_eq!(names, expected);
    }
}
