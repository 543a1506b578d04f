//! `twinflame import`: a file of another program becomes something that every verb works with.

use std::collections::HashMap;

use safetensors::SafeTensors;
use twinflame::model::weights::save_open_clip;
use twinflame::model::{Clip, ClipConfig};

use crate::run::Folder;

fn clip(name: &str) -> Clip {
    ClipConfig::named(name).unwrap().init(1, &burn::tensor::Device::flex())
}

/// A folder with `clip.safetensors` of a tiny model, and a text to embed.
fn folder() -> Folder {
    let folder = Folder::new();
    save_open_clip(&clip("tiny-vit"), &folder.path().join("clip.safetensors")).unwrap();
    folder.write("texts.txt", "a cat\na dog\n");
    folder
}

#[test]
fn an_imported_file_is_used_like_a_run() {
    let folder = folder();
    let output = folder.success(&[
        "import",
        "clip.safetensors",
        "--config=tiny-vit",
        "--device=cpu",
        "-o",
        "imported",
    ]);
    assert!(output.contains("loaded:    62 tensors"), "{output}");
    assert!(
        output.contains("missing:   none") && output.contains("left over: none"),
        "{output}"
    );
    // The folder can be moved: it needs no file outside.
    std::fs::rename(folder.path().join("imported"), folder.path().join("moved")).unwrap();
    folder.success(&[
        "embed",
        "moved",
        "--texts=texts.txt",
        "--device=cpu",
        "-o",
        "texts.safetensors",
    ]);
    let bytes = std::fs::read(folder.path().join("texts.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let shapes: HashMap<&str, Vec<usize>> = tensors
        .iter()
        .map(|(name, view)| (name, view.shape().to_vec()))
        .collect();
    assert!(shapes.values().any(|shape| *shape == [2, 32]), "{shapes:?}");
    // A second import does not replace the first.
    let error = folder.failure(&[
        "import",
        "clip.safetensors",
        "--config=tiny-vit",
        "--device=cpu",
        "-o",
        "moved",
    ]);
    assert!(error.contains("moved exists already"), "{error}");
}

#[test]
fn training_starts_from_a_file() {
    let folder = folder();
    for init in [
        "init.model=clip.safetensors",
        "init.image=clip.safetensors",
        "init.text=clip.safetensors",
    ] {
        let outcome = folder.twinflame(&[
            "train",
            "tiny",
            "--plain",
            "--device=cpu",
            "--set=run.num_steps=1",
            "--set",
            init,
        ]);
        assert!(outcome.succeeded, "{}", outcome.stderr);
        let key = init.split('=').next().unwrap();
        assert!(outcome.stderr.contains(&format!("note: {key}: ")), "{}", outcome.stderr);
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let folder = folder();
    let import = |args: &[&str]| {
        let all = [&["import"], args, &["--device=cpu", "-o", "out"]].concat();
        let error = folder.failure(&all);
        assert!(!folder.path().join("out").exists());
        error
    };
    let error = import(&["clip.safetensors", "--config=tiny-rn"]);
    assert!(
        error.contains("clip.safetensors does not fit the configuration"),
        "{error}"
    );
    let error = import(&["nothing.pt"]);
    assert!(error.contains("cannot read weights from nothing.pt"), "{error}");
    let whole = std::fs::read(folder.path().join("clip.safetensors")).unwrap();
    folder.write("half.safetensors", &whole[..whole.len() / 2]);
    let error = import(&["half.safetensors"]);
    assert!(
        error.contains("half.safetensors") && error.contains("not a valid safetensors file"),
        "{error}"
    );
}
