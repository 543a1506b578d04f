//! The recall table of a quick-start model, in open_clip.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use twinflame::train::eval::{TestSet, save_png, to_dynamic};
use twinflame::train::run;

use super::exported::{recall_of_eval, twinflame};
use super::{device, python};

/// A run of `emoji-clip-transformer`, the quick start that open_clip can express: that of TWINFLAME_PEERS_RUN, or one of a
/// few steps, which finds little but something.
fn run_dir(folder: &Path) -> PathBuf {
    if let Some(run) = std::env::var_os("TWINFLAME_PEERS_RUN") {
        return Path::new(&run).canonicalize().unwrap();
    }
    let steps = ["--plain", "--set=run.num_steps=30", "--set=loader.batch_size=128"];
    twinflame(folder, &[&["train", "emoji-clip-transformer"][..], &steps].concat());
    folder.join("runs/emoji-clip-transformer-1")
}

#[test]
#[ignore = "needs Python packages: .ci/run peers"]
fn open_clip_has_the_recall_table_of_the_quick_start() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let run = run_dir(folder);
    let run_text = run.to_str().unwrap();
    twinflame(folder, &["eval", run_text, "-o", "figures"]);
    twinflame(folder, &["export", run_text, "--format=open_clip", "-o", "open_clip"]);
    let loaded = run::load(&run, &device()).unwrap();
    for set in TestSet::of_recipe(&loaded.recipe.recipe).unwrap() {
        write_set(&set, &folder.join("sets").join(&set.name));
    }
    let theirs: Value = serde_json::from_str(&python("recall.py", folder)).unwrap();
    let theirs = theirs.as_object().unwrap();
    assert_eq!(theirs.len(), 3);
    for (set, theirs) in theirs {
        let ours = recall_of_eval(&folder.join("figures/eval.json"), set);
        for (direction, ours) in ours {
            let theirs: Vec<f64> = serde_json::from_value(theirs[direction].clone()).unwrap();
            println!("{set}, {direction}: open_clip {theirs:.3?}, twinflame eval {ours:.3?}");
            assert_eq!(theirs, ours, "{set}, {direction}");
        }
    }
}

/// Pictures and captions as files.
fn write_set(set: &TestSet, dir: &Path) {
    let set = &set.set;
    fs::create_dir_all(dir).unwrap();
    for image in 0..set.num_images() {
        let picture = set.source().image(set.sample(image)).unwrap();
        save_png(&to_dynamic(&picture).to_rgb8(), &dir.join(format!("{image}.png"))).unwrap();
    }
    let of_image: Vec<&[usize]> = (0..set.num_images())
        .map(|image| set.captions_of_image(image))
        .collect();
    let json = json!({"captions": set.captions(), "captions_of_image": of_image});
    fs::write(dir.join("set.json"), json.to_string()).unwrap();
}
