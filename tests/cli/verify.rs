//! `verify`: a table and the exit code.

use std::path::{Path, PathBuf};

use insta::assert_snapshot;

use crate::run::Folder;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/fixtures")
        .join(name)
}

fn copied(name: &str) -> Folder {
    let folder = Folder::new();
    for entry in std::fs::read_dir(fixture(name)).unwrap() {
        let path = entry.unwrap().path();
        let file = path.file_name().unwrap().to_string_lossy().into_owned();
        folder.write(&format!("fixture/{file}"), std::fs::read(&path).unwrap());
    }
    folder
}

#[test]
fn a_fixture_passes_and_what_is_written_does() {
    let folder = Folder::new();
    let path = fixture("siglip_tiny").display().to_string();
    let args = ["verify", &path, "--device", "cpu", "--write", "out"];
    let printed = folder.success(&args);
    for part in [
        "outputs.safetensors",
        "grads.safetensors",
        "after_step.safetensors",
        "agree with the reference's",
    ] {
        assert!(printed.contains(part), "{printed}");
    }
    // Without the reference's numbers there is nothing to pass, but something to store.
    std::fs::create_dir(folder.path().join("bare")).unwrap();
    for file in ["config.json", "weights.safetensors", "inputs.safetensors"] {
        folder.write(
            &format!("bare/{file}"),
            std::fs::read(folder.path().join("out").join(file)).unwrap(),
        );
    }
    let nothing = folder.failure(&["verify", "bare", "--device", "cpu"]);
    assert!(nothing.contains("bare has nothing to compare with"), "{nothing}");
    folder.success(&["verify", "bare", "--device", "cpu", "--write", "again"]);
    for file in ["outputs", "grads", "after_step"] {
        let of = |dir: &str| std::fs::read(folder.path().join(dir).join(format!("{file}.safetensors"))).unwrap();
        assert_eq!(of("out"), of("again"), "{file}");
    }
}

#[test]
fn other_weights_fail_and_are_named() {
    let folder = Folder::new();
    let path = fixture("clip_vit_tiny").display().to_string();
    let weights = fixture("clip_vit_tiny")
        .join("after_step.safetensors")
        .display()
        .to_string();
    let outcome = folder.twinflame(&["verify", &path, "--device", "cpu", "--weights", &weights]);
    assert!(!outcome.succeeded);
    assert!(
        outcome
            .stdout
            .contains("outputs.safetensors differs, the farthest first:"),
        "{}",
        outcome.stdout
    );
    assert!(
        outcome.stderr.contains("tensors differ from the reference's"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn no_fixture() {
    let folder = Folder::new();
    folder.write("empty/x", "");
    assert_snapshot!(folder.failure(&["verify", "empty", "--device", "cpu"]), @"error: empty/config.json is missing: it describes the model and the step");
    folder.write("broken/config.json", "{\"name\": ");
    assert_snapshot!(folder.failure(&["verify", "broken", "--device", "cpu"]), @"error: broken/config.json is not JSON: EOF while parsing a value at line 1 column 9");
}

#[test]
fn kinds_that_are_not_computed() {
    let folder = Folder::new();
    folder.write(
        "vqa/config.json",
        r#"{"name": "albef_vqa_tiny", "albef_cfg": {}, "bert_config": {}, "vit": {}}"#,
    );
    let message = folder.failure(&["verify", "vqa", "--device", "cpu"]);
    assert!(
        message.contains("the fixture `albef_vqa_tiny` is not supported yet: verify computes CLIP"),
        "{message}"
    );
}

#[test]
fn missing_files_and_keys() {
    let folder = copied("siglip_tiny");
    std::fs::remove_file(folder.path().join("fixture/weights.safetensors")).unwrap();
    let message = folder.failure(&["verify", "fixture", "--device", "cpu"]);
    assert!(
        message.contains("fixture/weights.safetensors is missing: the fixture needs weights; --weights FILE"),
        "{message}"
    );

    let folder = copied("siglip_tiny");
    std::fs::remove_file(folder.path().join("fixture/inputs.safetensors")).unwrap();
    let message = folder.failure(&["verify", "fixture", "--device", "cpu"]);
    assert!(message.contains("fixture/inputs.safetensors is missing"), "{message}");

    let folder = copied("siglip_tiny");
    let config = std::fs::read_to_string(folder.path().join("fixture/config.json")).unwrap();
    let mut config: serde_json::Value = serde_json::from_str(&config).unwrap();
    config["optimizer"]["lr"] = "fast".into();
    folder.write("fixture/config.json", config.to_string());
    let message = folder.failure(&["verify", "fixture", "--device", "cpu"]);
    assert!(
        message.contains("fixture/config.json: `optimizer.lr` is \"fast\", and should be a number"),
        "{message}"
    );
}
