//! What a run left on disk, and whether that is what another run left.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

/// What a run measures and never measures twice the same.
const TIMES: [&str; 2] = ["samples_per_s", "data_wait"];

/// The lines of `metrics.jsonl`, but for times.
pub(crate) fn log(run: &Path) -> Vec<Value> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let without_times = lines.map(|mut line| {
        line.as_object_mut()
            .unwrap()
            .retain(|key, _| !TIMES.contains(&key.as_str()));
        line
    });
    without_times.collect()
}

/// Tensors and numbers in a file of a checkpoint, by path of the parameter: parameters have ids of their own in every
/// run, and the order of a record is left to chance.
pub(crate) fn record(run: &Path, step: usize, file: &str) -> BTreeMap<String, Vec<u8>> {
    let file = run.join(format!("checkpoints/step-{step:08}/{file}"));
    let record = burn_pack::Reader::from_file(file).unwrap();
    // Moments are kept by the id of their parameter, weights by its path.
    let name = |key: &str| match key.split_once('.') {
        Some((id, field)) if record.metadata().contains_key(id) => format!("{}.{field}", record.metadata()[id]),
        _ => key.to_owned(),
    };
    let tensors = record
        .tensor_names()
        .into_iter()
        .map(|key| (name(key), record.tensor_data(key).unwrap()));
    let scalars = record
        .scalars()
        .iter()
        .map(|(key, value)| (name(key), format!("{value:?}").into_bytes()));
    tensors.chain(scalars).collect()
}

/// Fails unless two runs have trained to the same bits: parameters, running statistics, averaged weights, momentum
/// encoders, queue and its pointer, moments, position in the schedule, and everything that was logged.
pub(crate) fn assert_same(found: &Path, expected: &Path, step: usize, what: &str) {
    let [found_log, expected_log] = [found, expected].map(log);
    for (found, expected) in found_log.iter().zip(&expected_log) {
        assert_eq!(found, expected, "{what}");
    }
    assert_eq!(found_log.len(), expected_log.len(), "{what}");
    for (file, holds) in [
        ("model.bpk", "model."),
        ("optim.bpk", "moment"),
        ("scheduler.bpk", "step"),
    ] {
        let [found, expected] = [found, expected].map(|run| record(run, step, file));
        assert!(
            expected.keys().any(|key| key.contains(holds)),
            "{file}: {:?}",
            expected.keys()
        );
        let differ: Vec<&String> = expected
            .keys()
            .chain(found.keys())
            .filter(|key| found.get(*key) != expected.get(*key))
            .collect();
        assert!(differ.is_empty(), "{what}, {file}: {differ:?}");
    }
}
