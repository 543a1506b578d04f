//! Are trained models exported, and is what a format cannot express explained?

use std::fs;

use insta::assert_snapshot;

use crate::eval::trained;
use crate::run::Folder;

/// What the command prints that exports a run to the folder `out`.
fn export(folder: &Folder, run: &str, format: &str, out: &str) -> String {
    folder.success(&["export", run, "--format", format, "-o", out, "--device=cpu"])
}

#[test]
fn every_format_gets_its_files_and_a_card() {
    let folder = trained();
    for (format, weights, expected) in [
        ("open_clip", "open_clip_model.safetensors", "open_clip_config.json"),
        ("hf", "model.safetensors", "preprocessor_config.json"),
        ("safetensors", "model.safetensors", "recipe.toml"),
    ] {
        let text = export(&folder, "runs/tiny-1", format, format);
        assert!(
            text.contains("averaged weights of step 1") && text.contains(expected),
            "{text}"
        );
        let dir = folder.path().join(format);
        let metadata = twinflame::model::weights::read_metadata(&dir.join(weights)).unwrap();
        let card: twinflame::train::card::Card = serde_json::from_str(&metadata["twinflame"]).unwrap();
        assert_eq!((card.recipe.as_str(), card.tokenizer.vocab_size), ("tiny", 1024));
        assert_eq!(metadata["format"], "pt");
        let readme = fs::read_to_string(dir.join("README.md")).unwrap();
        assert!(readme.contains(&card.tokenizer.sha256), "{readme}");
    }
    let entries = fs::read_dir(folder.path()).unwrap();
    let left_over = entries
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .find(|name| name.contains("unfinished"));
    assert_eq!(left_over, None);
    // Raw and averaged weights differ; half of the bits are half of the bytes.
    folder.success(&[
        "export",
        "runs/tiny-1",
        "--format=open_clip",
        "--raw",
        "--dtype=bf16",
        "-o",
        "raw",
        "--device=cpu",
    ]);
    let length = |dir: &str| {
        fs::metadata(folder.path().join(dir).join("open_clip_model.safetensors"))
            .unwrap()
            .len()
    };
    assert!(
        length("raw") * 2 < length("open_clip") + 200_000,
        "{} {}",
        length("raw"),
        length("open_clip")
    );
    // And back: with CLIP's own tokenizer, which cleans texts as it did.
    folder.success(&["import", "open_clip", "-o", "imported", "--device=cpu"]);
    let recipe = fs::read_to_string(folder.path().join("imported/recipe.toml")).unwrap();
    assert!(
        recipe.contains("[tokenizer]\nkind = \"clip\"\nvocab_size = 1024\n"),
        "{recipe}"
    );
    // transformers' words for the same pixels.
    folder.success(&["import", "hf", "-o", "imported-hf", "--device=cpu"]);
    let transform = |imported: &str| {
        let recipe = fs::read_to_string(folder.path().join(imported).join("recipe.toml")).unwrap();
        recipe
            .split_once("[transform]")
            .map(|(_, rest)| rest.split("\n\n").next().unwrap().to_owned())
    };
    assert_eq!(transform("imported-hf"), transform("imported"));
    let used = folder.failure(&["export", "runs/tiny-1", "--format=hf", "-o", "hf", "--device=cpu"]);
    assert!(used.contains("hf is there already and not an empty folder"), "{used}");
}

#[test]
fn what_a_format_cannot_express_says_why() {
    let folder = Folder::new();
    let train = |model: &str, extra: &[&str]| {
        let model = format!("--set=model.name={model}");
        let steps = [
            "train",
            "tiny",
            "--device=cpu",
            "--set=loader.batch_size=8",
            "--set=task.micro_batch_size=8",
            "--set=loader.batches_per_epoch=1",
            "--set=run.num_steps=1",
        ];
        folder.success(&[&steps[..], &[&model], extra].concat());
    };
    train(
        "emoji-cbow",
        &["--set=model.vocab_size=1024", "--set=model.patch_dropout=0"],
    );
    train("tiny-vit", &["--set=model.init_logit_bias=-10.0"]);
    let failure = |run: &str, format: &str| {
        let flag = format!("--format={format}");
        let text = folder.failure(&["export", run, &flag, "-o", "out", "--device=cpu"]);
        assert!(!folder.path().join("out").exists());
        text.lines()
            .filter(|line| !line.starts_with("device"))
            .collect::<Vec<_>>()
            .join("\n")
    };
    assert_snapshot!(failure("runs/tiny-1", "open_clip"), @"error: `--format open_clip` cannot express this model: its text tower is a bag of words, and open_clip has transformers only; `--format safetensors` can. A model with a transformer for text and no bias of the logits goes into open_clip, with a Vision Transformer for images also into transformers: for example `twinflame train emoji-clip-transformer` or `emoji-clip-vit`");
    assert_snapshot!(failure("runs/tiny-1", "hf"), @"error: `--format hf` cannot express this model: its image tower is a ResNet, and CLIPModel has Vision Transformers only; `--format safetensors` can. A model with a transformer for text and no bias of the logits goes into open_clip, with a Vision Transformer for images also into transformers: for example `twinflame train emoji-clip-transformer` or `emoji-clip-vit`");
    assert_snapshot!(failure("runs/tiny-1", "albef"), @"error: `--format albef` cannot express this model: it is a CLIP, without the fusion encoder of an ALBEF; `--format open_clip`, `hf` and `safetensors` are for CLIPs");
    assert_snapshot!(failure("runs/tiny-2", "hf"), @"error: `--format hf` cannot express this model: it has a bias of the logits, which SigLIP's loss trains and CLIPModel lacks; `--format safetensors` can. A model with a transformer for text and no bias of the logits goes into open_clip, with a Vision Transformer for images also into transformers: for example `twinflame train emoji-clip-transformer` or `emoji-clip-vit`");
    export(&folder, "runs/tiny-2", "open_clip", "siglip");
    let config = fs::read_to_string(folder.path().join("siglip/open_clip_config.json")).unwrap();
    assert!(config.contains("\"init_logit_bias\": -10.0"), "{config}");
}

#[test]
fn an_albef_is_exported_under_the_names_of_its_reference() {
    let folder = Folder::new();
    folder.success(&["train", "tiny-albef", "--device=cpu", "--set=run.num_steps=1"]);
    assert!(export(&folder, "runs/tiny-albef-1", "albef", "albef").contains("momentum copy"));
    let bytes = fs::read(folder.path().join("albef/albef.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    // What the reference's Retrieval.py reads before anything else.
    for name in ["visual_encoder.pos_embed", "visual_encoder_m.pos_embed", "temp"] {
        file.tensor(name).unwrap();
    }
    let error = folder.failure(&["export", "runs/tiny-albef-1", "--format=hf", "-o", "hf", "--device=cpu"]);
    assert!(
        error.contains("it is an ALBEF, whose fusion encoder no CLIP has"),
        "{error}"
    );
}

#[test]
fn weights_for_something_else_are_refused_until_told_otherwise() {
    let folder = trained();
    let checkpoints = fs::read_dir(folder.path().join("runs/tiny-1/checkpoints")).unwrap();
    let last = checkpoints.map(|entry| entry.unwrap().path()).max().unwrap();
    let recipe = last.join("recipe.toml");
    let text = fs::read_to_string(&recipe).unwrap();
    let changed = text.replacen("mean = [", "mean = [0.5, 0.5, 0.5] # [", 1);
    assert_ne!(changed, text);
    let changed: String = changed.lines().map(|line| format!("{line}\n")).collect();
    fs::write(&recipe, &changed).unwrap();
    let error = folder.failure(&["eval", "runs/tiny-1", "--device=cpu"]);
    assert!(
        error.contains("init.allow = [\"normalization\"]") && error.contains("pixels of mean [0.48145"),
        "{error}"
    );
    fs::write(&recipe, format!("{changed}\n[init]\nallow = [\"normalization\"]\n")).unwrap();
    folder.success(&["eval", "runs/tiny-1", "--device=cpu"]);
    // Starting from weights, too.
    let start = |extra: &[&'static str]| {
        let train = [
            "train",
            "tiny",
            "--device=cpu",
            "--set=loader.batch_size=8",
            "--set=task.micro_batch_size=8",
            "--set=loader.batches_per_epoch=1",
            "--set=run.num_steps=1",
            "--set=init.model=runs/tiny-1",
        ];
        [&train[..], extra].concat()
    };
    let error = folder.failure(&start(&["--set=model.quick_gelu=true"]));
    assert!(
        error.contains("trained with gelu, and would be used with quick_gelu"),
        "{error}"
    );
    // So are exported files, which carry their card along.
    export(&folder, "runs/tiny-1", "open_clip", "open_clip");
    let other_pixels = ["--set=init.model=open_clip", "--set=transform.std=[0.5, 0.5, 0.5]"];
    let error = folder.failure(&start(&other_pixels));
    assert!(
        error.contains("init.model") && error.contains("standard deviation [0.5, 0.5, 0.5]"),
        "{error}"
    );
    folder.success(&start(
        &[&other_pixels[..], &["--set=init.allow=[\"normalization\"]"]].concat(),
    ));
}
