//! Every fixture agrees with what is computed here, and a fixture that is not what it says does not.

use std::{collections::HashMap, fs, path::Path};

use burn::tensor::TensorData;
use tempfile::TempDir;
use twinflame::{
    model::weights::{FileDType, save_tensors},
    train::verify::{FileReport, Fixture, Kind, Verification, verify},
};

use crate::fixture::{fixture, floats};

/// Name, kind, and how many tensors there are to compare.
const FIXTURES: [(&str, Kind, usize); 11] = [
    ("clip_vit_tiny", Kind::Clip, 202),
    ("clip_vit_quickgelu_tiny", Kind::Clip, 276),
    ("clip_rn_tiny", Kind::Clip, 487),
    ("siglip_tiny", Kind::Clip, 205),
    ("clip_accum", Kind::Accumulation, 73),
    ("clip_zero_shot", Kind::ZeroShot, 7),
    ("clip_preprocess", Kind::Preprocessing, 48),
    ("pos_embed", Kind::PositionTables, 20),
    ("lr_schedules", Kind::Schedules, 9),
    ("albef_pretrain_tiny", Kind::AlbefPretraining, 714),
    ("albef_retrieval_tiny", Kind::AlbefRetrieval, 427),
];

fn computed(fixture: Fixture) -> Verification {
    let name = fixture.config()["name"].to_string();
    let verification = verify(fixture, &twinflame_tests::device()).unwrap();
    for report in &verification.reports {
        println!(
            "{name} {}: {} tensors, worst {:?}",
            report.label, report.compared, report.worst
        );
    }
    verification
}

fn assert_passed(verification: &Verification) -> usize {
    let differing: Vec<_> = verification.reports.iter().filter(|report| !report.passed()).collect();
    assert!(differing.is_empty(), "{differing:#?}");
    verification.reports.iter().map(|report| report.compared).sum()
}

#[test]
fn every_fixture_agrees() {
    for (name, kind, tensors) in FIXTURES {
        let verification = computed(fixture(name));
        assert_eq!(verification.kind, kind, "{name}");
        assert_eq!(assert_passed(&verification), tensors, "{name}");
        // Nor is there a gradient that the reference has not.
        for check in verification
            .checks
            .iter()
            .filter(|check| check.file.starts_with("grads"))
        {
            if let Some(golden) = verification.fixture.tensors_if_any(&check.file).unwrap() {
                assert_eq!(check.tensors.len(), golden.len(), "{name}: {}", check.label);
            }
        }
    }
}

/// What is written agrees with itself and with the reference's own numbers.
#[test]
fn what_is_written_is_a_fixture() {
    for (name, kind, tensors) in FIXTURES {
        let dir = TempDir::new().unwrap();
        let out = dir.path().join("out");
        computed(fixture(name)).write(&out).unwrap();
        let again = computed(Fixture::open(&out).unwrap());
        assert_eq!(again.kind, kind);
        // Of some tensors the reference keeps only a part.
        assert!(assert_passed(&again) >= tensors, "{name}");
        let partial = fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().file_name());
        let partial: Vec<_> = partial
            .filter(|name| name.to_string_lossy().contains("partial"))
            .collect();
        assert!(partial.is_empty(), "{partial:?}");
    }
}

/// A copy of a fixture in which one file is changed.
fn changed(name: &str, file: &str, change: impl FnOnce(&mut Vec<(String, TensorData)>)) -> (TempDir, Fixture) {
    let dir = TempDir::new().unwrap();
    let original = fixture(name);
    for entry in fs::read_dir(original.dir()).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
    }
    let mut tensors: Vec<_> = original.tensors(file).unwrap().into_iter().collect();
    change(&mut tensors);
    let path = dir.path().join(format!("{file}.safetensors"));
    fs::remove_file(&path).unwrap();
    save_tensors(&path, tensors, FileDType::F32, HashMap::new()).unwrap();
    // Some fixtures have the weights of another one.
    let has_weights = original.path("weights").exists();
    let weights = (!has_weights && name.starts_with("clip_")).then(|| original.weights_path().unwrap());
    let fixture = Fixture::open(dir.path()).unwrap().with_weights(weights);
    (dir, fixture)
}

fn scale(tensors: &mut [(String, TensorData)], name: &str, factor: f32) {
    let (_, data) = tensors.iter_mut().find(|(other, _)| other == name).unwrap();
    let values: Vec<f32> = floats(data).iter().map(|value| value * factor).collect();
    *data = TensorData::new(values, data.shape().clone());
}

fn failures(reports: &[FileReport], label: &str) -> Vec<String> {
    let report = reports.iter().find(|report| report.label.starts_with(label)).unwrap();
    report.failures.iter().map(|failure| failure.name.clone()).collect()
}

/// The step with the reference's gradients names the tensor and no other; nothing else can.
#[test]
fn a_weight_that_is_off_by_a_hundredth_is_named() {
    for (name, weight, after) in [
        (
            "clip_vit_tiny",
            "visual.transformer.resblocks.1.mlp.c_fc.weight",
            "after_step.safetensors, from",
        ),
        (
            "clip_rn_tiny",
            "visual.layer2.0.conv1.weight",
            "after_step.safetensors, from",
        ),
        ("siglip_tiny", "logit_bias", "after_step.safetensors, from"),
        (
            "albef_retrieval_tiny",
            "itm_head.weight",
            "after_step.safetensors, from",
        ),
        (
            "albef_pretrain_tiny",
            "text_proj.weight",
            "after_step1.safetensors, from",
        ),
    ] {
        let (_dir, fixture) = changed(name, "weights", |tensors| scale(tensors, weight, 1.01));
        let verification = computed(fixture);
        assert!(!verification.passed(), "{name}");
        assert_eq!(failures(&verification.reports, after), [weight], "{name}");
    }
}

/// Rounding that the reference says it has is no difference; more than that is.
#[test]
fn the_references_own_rounding_is_allowed_for() {
    for (factor, own, passes) in [
        (1.000_15, 0.0, false),
        (1.000_15, 1e-4, true),
        (1.000_3, 1e-4, false),
        // Whatever it says.
        (1.01, 1.0, false),
    ] {
        let (dir, _) = changed("clip_vit_tiny", "grads", |tensors| {
            scale(tensors, "visual.proj", factor)
        });
        let mut config = fixture("clip_vit_tiny").config().clone();
        config["f64_check"]["grads"]["rel_excl_zero"] = own.into();
        fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
        let verification = computed(Fixture::open(dir.path()).unwrap());
        let report = verification
            .reports
            .iter()
            .find(|report| report.label == "grads.safetensors");
        assert_eq!(report.unwrap().passed(), passes, "{factor}, {own}");
        assert_eq!(report.unwrap().widened.is_some(), own > 0.0);
    }
}

#[test]
fn a_number_of_the_reference_that_is_off_is_named() {
    for (name, file, tensor) in [
        ("clip_vit_tiny", "outputs", "hidden.visual.ln_post"),
        ("clip_vit_tiny", "grads", "token_embedding.weight"),
        ("clip_accum", "outputs", "accum_logit_scale_grad"),
        ("clip_zero_shot", "outputs", "probs"),
        ("pos_embed", "outputs", "albef.3to5"),
        ("albef_pretrain_tiny", "grads_step3", "itm_head.bias"),
        ("albef_pretrain_tiny", "outputs", "s2.logits_m"),
        ("albef_retrieval_tiny", "outputs", "eval.score_matrix_t2i"),
    ] {
        let (_dir, fixture) = changed(name, file, |tensors| scale(tensors, tensor, 1.001));
        let verification = computed(fixture);
        let label = format!("{file}.safetensors");
        assert_eq!(failures(&verification.reports, &label), [tensor], "{name}");
    }
}

#[test]
fn a_tensor_that_is_not_computed_is_a_difference() {
    let (_dir, fixture) = changed("siglip_tiny", "outputs", |tensors| {
        tensors.push(("odd".to_owned(), TensorData::from([1.0f32])));
    });
    let verification = computed(fixture);
    assert_eq!(failures(&verification.reports, "outputs"), ["odd"]);
}

fn message(fixture: Fixture) -> String {
    verify(fixture, &twinflame_tests::device()).unwrap_err().to_string()
}

/// Inputs that a model would panic on.
#[test]
fn inputs_that_the_model_cannot_take_are_named() {
    let replace = |name: &str, file: &str, tensor: &str, data: TensorData| {
        let (_dir, fixture) = changed(name, file, |tensors| {
            let (_, place) = tensors.iter_mut().find(|(other, _)| other == tensor).unwrap();
            *place = data;
        });
        message(fixture)
    };
    let zeros = |shape: &[usize]| TensorData::zeros::<f32, _>(shape.to_vec());
    let ids = |value: i64, shape: [usize; 2]| TensorData::new(vec![value; shape[0] * shape[1]], shape);

    let small = replace("clip_vit_tiny", "inputs", "image", zeros(&[4, 3, 16, 16]));
    assert!(
        small.contains("`image` has shape [4, 3, 16, 16], and should have shape [at least 1, 3, 32, 32]"),
        "{small}"
    );
    let outside = replace("clip_vit_tiny", "inputs", "text", ids(512, [4, 16]));
    assert!(
        outside.contains("`text` holds 512, and should hold numbers from 0 to 511"),
        "{outside}"
    );
    let fewer = replace("clip_vit_tiny", "inputs", "text", ids(1, [3, 16]));
    assert!(fewer.contains("`text` has 3 rows, and should have 4"), "{fewer}");
    let long = replace("albef_pretrain_tiny", "inputs", "s1.input_ids", ids(1, [2, 33]));
    assert!(long.contains("`s1.input_ids` has shape [2, 33]"), "{long}");
    let label = replace("albef_pretrain_tiny", "inputs", "s3.mlm_labels", ids(200, [2, 8]));
    assert!(label.contains("`s3.mlm_labels` holds 200"), "{label}");
    let weight = replace("clip_vit_tiny", "weights", "visual.proj", zeros(&[48, 31]));
    assert!(
        weight.contains("`visual.proj` has shape [48, 31], the model needs [48, 32]"),
        "{weight}"
    );
    let table = replace(
        "clip_vit_tiny",
        "weights",
        "visual.positional_embedding",
        zeros(&[10, 48]),
    );
    assert!(table.contains("visual.positional_embedding"), "{table}");
}

/// A file that ends anywhere is an error that names it.
#[test]
fn truncated_files_are_named() {
    let (dir, fixture) = changed("siglip_tiny", "inputs", |_| {});
    for file in ["inputs", "weights", "grads"] {
        let path = dir.path().join(format!("{file}.safetensors"));
        let whole = fs::read(&path).unwrap();
        for length in [0, 4, 8, 100, whole.len() / 2, whole.len() - 1] {
            cut(&path, &whole[..length]);
            let message = message(fixture.clone());
            assert!(message.contains(&format!("{file}.safetensors")), "{message}");
        }
        cut(&path, &whole);
    }
    assert_passed(&computed(fixture));
}

fn cut(path: &Path, bytes: &[u8]) {
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}
