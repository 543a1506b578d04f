//! A newcomer's mistakes: each is one paragraph that says what is wrong and what would be right.

use insta::assert_snapshot;

use crate::run::Folder;

#[test]
fn unknown_device() {
    assert_snapshot!(Folder::new().failure(&["bench", "tiny-vit", "--device", "gpu"]), @"error: unknown device `gpu`: expected auto, cpu, ndarray, wgpu, vulkan, metal, cuda or rocm, the GPU ones optionally with an index as in `wgpu:1`");
}

#[test]
fn index_of_the_processor() {
    assert_snapshot!(Folder::new().failure(&["bench", "tiny-vit", "--device", "cpu:1"]), @"error: device `cpu` takes no index: it is the host processor, of which there is one");
}

/// Which backends are missing depends on the features that the tests were built with.
#[test]
fn backend_not_compiled_in() {
    let folder = Folder::new();
    let Some(backend) = ["cuda", "rocm", "metal"].into_iter().find(|backend| {
        folder
            .success(&["devices"])
            .contains(&format!("no: --features {backend}"))
    }) else {
        return;
    };
    let message = folder.failure(&["bench", "tiny-vit", "--device", backend]);
    assert!(message.contains("was built without"), "{message}");
    assert!(
        message.contains(&format!("cargo run --release --features {backend}")),
        "{message}"
    );
}

/// The list of what is there depends on the machine.
#[cfg(feature = "wgpu")]
#[test]
fn device_not_there() {
    let message = Folder::new().failure(&["bench", "tiny-vit", "--device", "wgpu:99"]);
    assert!(message.contains("device `wgpu:99` is not on this machine"), "{message}");
    assert!(message.contains("what is here: cpu ("), "{message}");
}

#[test]
fn unknown_preset() {
    let message = Folder::new().failure(&["bench", "vit-b-33"]);
    assert!(
        message.starts_with("error: there is no model named `vit-b-33`"),
        "{message}"
    );
    assert!(message.contains("vit-b-32"), "{message}");
}

/// `bench` also takes a file, and names it when there is none, or none of a model.
#[test]
fn configuration_files() {
    let folder = Folder::new();
    let message = folder.failure(&["bench", "small.json"]);
    assert!(message.starts_with("error: cannot read small.json"), "{message}");
    folder.write(
        "small.json",
        r#"{"embed_dim": 16, "vision_cfg": {"imagesize": 32}, "text_cfg": {}}"#,
    );
    let message = folder.failure(&["bench", "small.json"]);
    assert!(message.starts_with("error: small.json"), "{message}");
    assert!(message.contains("imagesize"), "{message}");
    let text = r#"{"context_length": 8, "vocab_size": 64, "width": 16, "heads": 2, "layers": 1}"#;
    let image = r#"{"image_size": 32, "layers": 1, "width": 16, "head_width": 8, "patch_size": 16}"#;
    let config = format!(r#"{{"embed_dim": 16, "vision_cfg": {image}, "text_cfg": {text}}}"#);
    folder.write("small.json", config);
    let report = folder.success(&[
        "bench",
        "small.json",
        "--batch-size=2",
        "--steps=1",
        "--device=cpu",
        "--json",
    ]);
    assert!(report.contains(r#""model": "small.json""#), "{report}");
}

/// An unreadable picture is counted and named; one more than allowed ends the run.
#[test]
fn unreadable_images() {
    let folder = Folder::new();
    folder.write("photos/captions.csv", "image,caption\na.png,a dog\nb.png,a cat\n");
    folder.write("photos/a.png", "this is text");
    folder.write("photos/b.png", "this is text, too");
    let args = [
        "train",
        "folder-clip",
        "--plain",
        "--device=cpu",
        "--set=model.name=tiny-vit",
        "--set=tokenizer.vocab_size=1024",
        "--set=task.micro_batch_size=2",
        "--set=data.train.path=photos",
        "--set=loader.batch_size=2",
        "--set=loader.num_workers=0",
        "--set=loader.max_bad_samples=0",
    ];
    let message = folder.failure(&args);
    assert!(
        message.contains("more unreadable samples than loader.max_bad_samples = 0"),
        "{message}"
    );
    assert!(
        message.contains(".png: not an image: the first bytes match none of JPEG, PNG, WebP, GIF and BMP"),
        "{message}"
    );
}

/// A batch of one pair has nothing to tell apart.
#[test]
fn batch_of_one() {
    let message = Folder::new().failure(&["bench", "tiny-vit", "--batch-size", "1"]);
    assert!(
        message.contains("invalid value '1' for '--batch-size <N>'"),
        "{message}"
    );
}

/// The library that reads it panics on a template with a token that is described nowhere.
#[test]
fn damaged_tokenizer_file() {
    let folder = Folder::new();
    folder.write(
        "tokenizer.json",
        r#"{"version": "1.0", "added_tokens": [], "pre_tokenizer": {"type": "Whitespace"},
            "post_processor": {"type": "TemplateProcessing",
                "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
                "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
                "special_tokens": {}},
            "model": {"type": "WordLevel", "unk_token": "<unk>", "vocab": {"<unk>": 0, "a": 1}}}"#,
    );
    let tokenizer = r#"--set=tokenizer={kind="file", path="tokenizer.json"}"#;
    let message = folder.failure(&["train", "tiny", "--plain", "--device=cpu", tokenizer]);
    assert!(
        message.contains("tokenizer.json") && message.contains("refers to something that it does not have"),
        "{message}"
    );
}

/// Said before the training whose result it would be a test of.
#[test]
fn test_set_that_cannot_be_opened() {
    let folder = Folder::new();
    let test = r#"--set=data.test.mine={kind="folder", path="nowhere"}"#;
    let message = folder.failure(&["train", "tiny", "--plain", "--device=cpu", test]);
    assert!(
        message.contains("test set mine") && message.contains("nowhere"),
        "{message}"
    );
    assert!(!folder.path().join("runs").exists());
}
