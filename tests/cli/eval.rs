//! Can a run be tested, searched and embedded from the command line, and are mistakes explained?

use std::fs;

use insta::assert_snapshot;

use crate::run::Folder;

/// A 4x4 PNG image, black.
const PNG: &[u8] = &[
    0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00, 0x0d, 0x49, 0x48, 0x44, 0x52, 0x00, 0x00, 0x00,
    0x04, 0x00, 0x00, 0x00, 0x04, 0x08, 0x00, 0x00, 0x00, 0x00, 0x8c, 0x9a, 0xc1, 0xa2, 0x00, 0x00, 0x00, 0x0b, 0x49,
    0x44, 0x41, 0x54, 0x78, 0x9c, 0x63, 0x60, 0xc0, 0x04, 0x00, 0x00, 0x14, 0x00, 0x01, 0x7d, 0xfe, 0x1e, 0xee, 0x00,
    0x00, 0x00, 0x00, 0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82,
];

/// A folder with a run of one step in `runs/tiny-1`.
pub(crate) fn trained() -> Folder {
    let folder = Folder::new();
    folder.success(&[
        "train",
        "tiny",
        "--device=cpu",
        "--set=loader.batch_size=8",
        "--set=task.micro_batch_size=8",
        "--set=loader.batches_per_epoch=1",
        "--set=run.num_steps=1",
    ]);
    folder
}

#[test]
fn a_run_is_tested_with_tables_figures_and_a_picture() {
    let folder = trained();
    let text = folder.success(&["eval", "runs/tiny-1", "--device=cpu", "--per-class"]);
    for expected in [
        "R@10",
        "text to image",
        "ema",
        "9 groups",
        "98 subgroups",
        "zero-shot",
        "food & drink",
    ] {
        assert!(text.contains(expected), "no {expected} in {text}");
    }
    let json = fs::read_to_string(folder.path().join("runs/tiny-1/eval.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["step"], 1);
    assert_eq!(json["sets"][0]["retrieval"]["num_images"], 294);
    assert_eq!(json["sets"][1]["weights"], "ema");
    let picture = fs::read(folder.path().join("runs/tiny-1/retrieval.png")).unwrap();
    assert!(picture.starts_with(b"\x89PNG"));
}

/// A recipe for two photos with a class each.
const RECIPE: &str = r#"
name = "photos"
model = { name = "tiny-vit" }
tokenizer = { kind = "clip", vocab_size = 1024 }
data.train = { kind = "folder", path = "photos", class_column = "kind" }
data.test.photos = { kind = "folder", path = "photos", class_column = "kind" }
loader = { batch_size = 2, num_workers = 1 }
run = { num_steps = 1 }
"#;

#[test]
fn own_images_are_tested_embedded_and_searched() {
    let folder = Folder::new();
    folder.write("photos/cat/a.png", PNG);
    folder.write("photos/dog/b.png", PNG);
    folder.write(
        "photos/captions.csv",
        "image,caption,kind\ncat/a.png,a cat,cat\ndog/b.png,a dog,dog\n",
    );
    folder.write("photos.toml", RECIPE);
    folder.success(&["train", "photos.toml", "--device=cpu"]);

    let text = folder.success(&["eval", "runs/photos-1", "--linear-probe", "--device=cpu"]);
    assert!(text.contains("2 classes") && text.contains("probe, C 0.316"), "{text}");
    let args = [
        "eval",
        "runs/photos-1",
        "--data=photos",
        "--class-folders=photos",
        "-o",
        "figures",
        "--device=cpu",
    ];
    let text = folder.success(&args);
    assert!(text.contains("2 classes") && text.contains("image to text"), "{text}");
    assert!(folder.path().join("figures/eval-photos-photos.json").is_file());

    folder.write("photos/dog/broken.png", "no image");
    let outcome = folder.twinflame(&[
        "embed",
        "runs/photos-1",
        "--images=photos",
        "-o",
        "photos.npy",
        "--device=cpu",
    ]);
    assert!(
        outcome.succeeded && outcome.stdout.starts_with("2 rows of"),
        "{}",
        outcome.stderr
    );
    assert!(outcome.stderr.contains("broken.png"), "{}", outcome.stderr);
    let index = fs::read_to_string(folder.path().join("photos.npy.index.tsv")).unwrap();
    assert_eq!(index, "row\tsource\n0\tcat/a.png\n1\tdog/b.png\n");
    folder.write("texts.txt", "a cat\n\na dog\n");
    folder.success(&[
        "embed",
        "runs/photos-1",
        "--texts=texts.txt",
        "-o",
        "texts.safetensors",
        "--device=cpu",
    ]);
    assert!(folder.path().join("texts.safetensors").is_file());

    let args = [
        "search",
        "runs/photos-1",
        "a dog",
        "--images=photos",
        "--top=1",
        "-o",
        "sheet.png",
        "--device=cpu",
    ];
    let text = folder.success(&args);
    // Both pictures are black and score the same: the first one is listed.
    assert!(
        text.contains("photos/cat/a.png") && !text.contains("photos/dog/b.png"),
        "{text}"
    );
    assert!(folder.path().join("sheet.png").is_file());
}

#[test]
fn mistakes_are_explained() {
    let folder = Folder::new();
    let message = folder.failure(&["eval", "runs/none", "--device=cpu"]);
    assert!(message.contains("there is no checkpoint in runs/none"), "{message}");
    folder.write("prompts.txt", "a photo of {}\na photo\n");
    assert_snapshot!(folder.failure(&["eval", "runs/none", "--templates=prompts.txt"]), @"error: prompts.txt:2: a template has {} exactly once, where the class name goes, but `a photo` has it 0 times");
    folder.write("photos/notes.txt", "");
    assert_snapshot!(folder.failure(&["search", "runs/none", "a cat", "--images=photos"]), @"error: no images in photos or the folders below it: files ending in .jpg, .jpeg, .png, .webp, .gif, .bmp were looked for");
    folder.write("texts.txt", "\n");
    assert_snapshot!(folder.failure(&["embed", "runs/none", "--texts=texts.txt", "-o", "x.npy"]), @"error: texts.txt: no text in it; write one a line");
    assert_snapshot!(folder.failure(&["embed", "runs/none", "-o", "x.npy"]), @r"
    error: the following required arguments were not provided:
      <--images <DIR>|--texts <FILE>>

    Usage: twinflame embed --output <OUT> <--images <DIR>|--texts <FILE>> <RUN>

    For more information, try '--help'.
    ");
    folder.write("photos/cat/a.png", PNG);
    folder.write("classes.txt", "dog\nbird\n");
    let args = ["eval", "runs/none", "--class-folders=photos", "--classes=classes.txt"];
    assert_snapshot!(folder.failure(&args), @"error: photos: folder `cat` is not in the class list (2 classes; the first are dog, bird)");
    assert_snapshot!(folder.failure(&["embed", "runs/none", "--images=photos", "-o", "x.csv"]), @"error: x.csv: write embeddings to a file that ends in .npy or .safetensors");
}
