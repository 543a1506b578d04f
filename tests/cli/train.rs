//! Can a run be started, stopped, killed and continued from the command line, and are mistakes explained?

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use insta::assert_snapshot;

use crate::run::Folder;

/// A recipe of few steps on little data.
const SMALL: [&str; 4] = [
    "--set=loader.batch_size=8",
    "--set=task.micro_batch_size=8",
    "--set=loader.batches_per_epoch=3",
    "--set=data.valid.vendors=[\"twemoji\"]",
];

/// Longest wait for another process: generous, so that a loaded machine does not fail the test.
const PATIENCE: Duration = Duration::from_secs(120);

fn train<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec!["train", "tiny", "--device", "cpu"];
    args.extend(SMALL);
    args.extend(more);
    args
}

/// A training process that goes on for longer than any test.
fn start(folder: &Folder) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_twinflame"));
    command.args(train(&["--set=run.num_steps=100000"]));
    command
        .current_dir(folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.spawn().unwrap()
}

fn checkpoints(run: &Path) -> Vec<String> {
    let entries = fs::read_dir(run.join("checkpoints")).into_iter().flatten();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("step-")).collect()
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "{what} did not happen");
        sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_run_ends_with_its_folder_and_can_be_resumed_by_it() {
    let folder = Folder::new();
    let text = folder.success(&train(&["--set=run.num_steps=4"]));
    assert!(
        text.contains("training tiny for 4 steps") && text.contains("step      4/4"),
        "{text}"
    );
    let epoch = "an epoch is 3 batches of 8 as loader.batches_per_epoch says; a pass over 1394 samples fills 174";
    assert!(text.contains(epoch), "{text}");
    assert!(text.contains("runs/tiny-1"), "{text}");
    for file in [
        "recipe.toml",
        "model.json",
        "run.json",
        "metrics.jsonl",
        "experiment.log",
    ] {
        assert!(folder.path().join("runs/tiny-1").join(file).is_file(), "{file}");
    }
    let message = folder.failure(&["train", "--resume", "runs/tiny-1", "--device", "cpu"]);
    assert!(message.contains("is finished: it has done its 4 steps"), "{message}");
}

/// Names of the rows and columns of a table are stable, its figures are the tests' of learning and parity.
fn assert_shows(text: &str, expected: &[&str]) {
    for expected in expected {
        assert!(text.contains(expected), "no {expected} in {text}");
    }
}

#[test]
fn a_run_ends_with_the_figures_of_its_test_sets() {
    let folder = Folder::new();
    let text = folder.success(&train(&["--set=run.num_steps=2"]));
    assert_shows(
        &text,
        &[
            "image to text",
            "text to image",
            "zero-shot",
            "figures: runs/tiny-1/eval.json",
        ],
    );
    assert!(folder.path().join("runs/tiny-1/retrieval.png").is_file());
    // CLIP does not fuse: nothing to re-rank with.
    assert!(!text.contains("re-ranked"), "{text}");
}

#[test]
fn an_albef_ends_with_re_ranked_retrieval_and_swapped_captions() {
    let folder = Folder::new();
    let args = ["train", "tiny-albef", "--device=cpu", "--set=run.num_steps=2"];
    let text = folder.success(&args);
    assert_shows(
        &text,
        &[
            "itc ",
            "itm ",
            "mlm ",
            "itm acc ",
            "mlm acc ",
            "alpha 0.000",
            "temp 0.0700",
            "image to text, best 8 re-ranked",
            "text to image, best 8 re-ranked",
            "swapped captions",
            "told apart by embeddings",
            "by fusion",
            "figures: runs/tiny-albef-1/eval.json",
        ],
    );
    let json = fs::read_to_string(folder.path().join("runs/tiny-albef-1/eval.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let known = &json["sets"][0];
    assert_eq!(known["rerank"]["k"], 8);
    assert_eq!(known["rerank"]["retrieval"]["num_images"], 32);
    assert_eq!(known["counterparts"]["num_pairs"], 96);
    assert!(known["counterparts"]["itm"].is_f64() && known["counterparts"]["itc"].is_f64());

    // The same figures when asked for later, and none of the second stage when turned off.
    let again = folder.success(&["eval", "runs/tiny-albef-1", "--device=cpu", "-o", "again"]);
    let figures = fs::read_to_string(folder.path().join("again/eval.json")).unwrap();
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&figures).unwrap()["sets"],
        json["sets"]
    );
    assert_shows(&again, &["best 8 re-ranked", "by fusion"]);
    let text = folder.success(&[&args[..], &["--set=eval.rerank_k=0"]].concat());
    assert!(!text.contains("re-ranked") && text.contains("by fusion"), "{text}");
}

#[test]
fn a_killed_run_leaves_a_checkpoint_that_continues() {
    let folder = Folder::new();
    let run = folder.path().join("runs/tiny-1");
    let mut child = start(&folder);
    wait_until("a checkpoint", || !checkpoints(&run).is_empty());
    child.kill().unwrap();
    child.wait().unwrap();
    let recipe = run.join("recipe.toml");
    let done = checkpoints(&run).into_iter().max().unwrap();
    let done: usize = done.trim_start_matches("step-").parse().unwrap();
    let shorter = fs::read_to_string(&recipe)
        .unwrap()
        .replace("100000", &(done + 2).to_string());
    fs::write(&recipe, shorter).unwrap();
    let text = folder.success(&["train", "--resume", "runs/tiny-1", "--device", "cpu"]);
    assert!(text.contains(&format!("continuing after step {done}")), "{text}");
    assert!(text.contains(&format!("trained {} steps", done + 2)), "{text}");
}

#[test]
fn a_run_that_was_stopped_before_it_was_tested_is_tested_when_resumed() {
    let folder = Folder::new();
    folder.success(&train(&["--set=run.num_steps=2"]));
    let figures = folder.path().join("runs/tiny-1/eval.json");
    let sets = || {
        let json: serde_json::Value = serde_json::from_str(&fs::read_to_string(&figures).unwrap()).unwrap();
        json["sets"].clone()
    };
    let before = sets();
    fs::remove_file(&figures).unwrap();
    let text = folder.success(&["train", "--resume", "runs/tiny-1", "--device", "cpu"]);
    assert!(text.contains("is trained but was not tested"), "{text}");
    assert_eq!(sets(), before);
}

#[cfg(target_os = "linux")]
#[test]
fn standard_output_on_a_full_disk_is_an_error_and_no_panic() {
    let folder = Folder::new();
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_twinflame"))
        .args(["recipes"])
        .current_dir(folder.path())
        .stdout(full)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8_lossy(&output.stderr);
    assert_snapshot!(message, @"error: failed printing to stdout: No space left on device (os error 28)");
}

#[cfg(unix)]
#[test]
fn ctrl_c_saves_and_says_how_to_continue() {
    let folder = Folder::new();
    let run = folder.path().join("runs/tiny-1");
    let mut child = start(&folder);
    wait_until("a first step", || {
        fs::metadata(run.join("metrics.jsonl")).is_ok_and(|file| file.len() > 0)
    });
    let interrupt = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(interrupt.success());
    wait_until("the end of the process", || child.try_wait().unwrap().is_some());
    assert!(child.wait().unwrap().success());
    assert!(!checkpoints(&run).is_empty());
}

#[test]
fn recipes_are_listed_and_what_is_shown_can_be_trained() {
    let folder = Folder::new();
    let text = folder.success(&["recipes"]);
    for name in [
        "albef-base",
        "albef-emoji",
        "albef-retrieval",
        "emoji-clip",
        "emoji-clip-transformer",
        "emoji-clip-vit",
        "emoji-siglip",
        "folder-clip",
        "tiny",
        "tiny-albef",
    ] {
        assert!(text.contains(name), "{name} is missing from\n{text}");
    }
    folder.write("mine.toml", folder.success(&["recipes", "show", "tiny"]));
    let resolved = folder.success(&["recipes", "show", "mine.toml", "--resolved", "--set", "seed=7"]);
    assert!(
        resolved.contains("# Resolved from mine.toml --set seed=7"),
        "{resolved}"
    );
    assert!(
        resolved.contains("seed = 7") && resolved.contains("beta_1 = 0.9"),
        "{resolved}"
    );
}

#[test]
fn mistakes_in_a_recipe() {
    let folder = Folder::new();
    assert_snapshot!(folder.failure(&["train", "emoji-clp"]), @"error: no recipe is called `emoji-clp`; did you mean `emoji-clip`? (embedded: emoji-clip, albef-base, albef-emoji, albef-retrieval, emoji-clip-transformer, emoji-clip-vit, emoji-siglip, folder-clip, tiny, tiny-albef; a recipe of your own is given by the path of its .toml file)");
    assert_snapshot!(folder.failure(&["train", "no/such.toml"]), @r"
    error: cannot read the recipe no/such.toml
      because: No such file or directory (os error 2)
    ");
    assert_snapshot!(folder.failure(&["train", "tiny", "--set", "run.num_stpes=5"]), @"error: --set run.num_stpes=5: run.num_stpes: unknown field `num_stpes`, expected one of `num_epochs`, `num_steps`, `valid_every_epochs`, `save_every_epochs`, `save_every_steps`, `save_every_minutes`, `keep_last`, `log_every_steps`, `best`, `stop_after_validations`; did you mean `num_steps`?");
    assert_snapshot!(folder.failure(&["train", "tiny", "--set", "task.recompute=1"]), @r"
    error: tiny, line 38: task: recompute must be true or false: invalid type: integer `1`, expected a boolean
      38 | [task]
    ");
    folder.write(
        "mine.toml",
        folder
            .success(&["recipes", "show", "tiny"])
            .replace("ema_decay = 0.9", "ema = 0.9"),
    );
    assert_snapshot!(folder.failure(&["train", "mine.toml"]), @r"
    error: mine.toml, line 42: task.ema: unknown field `ema`, expected one of `loss`, `targets`, `micro_batch_size`, `ema_decay`, `max_grad_norm`, `precision`, `recompute`; did you mean `ema_decay`?
      42 | ema = 0.9
    ");
}

#[test]
fn mistakes_in_a_recipe_of_albef() {
    let folder = Folder::new();
    let recipe = folder.success(&["recipes", "show", "tiny-albef"]);
    let clips = "kind = \"clip\"\nvocab_size = 1024";
    folder.write(
        "words.toml",
        recipe.replace("kind = \"bert\"\nvocab = \"scenes\"", clips),
    );
    assert_snapshot!(folder.failure(&["train", "words.toml"]), @r#"
    error: words.toml, line 13: task.kind = "albef" needs a tokenizer with padding, class and mask tokens: set tokenizer.kind = "bert"
      13 | kind = "clip"
    "#);
    assert_snapshot!(folder.failure(&["train", "tiny-albef", "--set=task.kind=clip"]), @r#"error: --set task.kind=clip: task.kind and model.name are of two kinds: "clip" trains a CLIP, "albef" an ALBEF"#);
    folder.write(
        "key.toml",
        recipe.replace("kind = \"albef\"", "kind = \"albef\"\nmomentun = 0.9"),
    );
    assert_snapshot!(folder.failure(&["train", "key.toml"]), @r"
    error: key.toml, line 48: task.momentun: unknown field `momentun`, expected one of `itc_weight`, `itm_weight`, `mlm_weight`, `targets`, `hard_negatives`, `hard_negatives_ramp_epochs`, `hard_negatives_share`, `alpha`, `alpha_ramp_epochs`, `momentum`, `momentum_per`, `momentum_batch_size`, `mlm_probability`, `clamp_temp`, `temp_range`, `max_grad_norm`, `precision`, `recompute`; did you mean `momentum`?
      48 | momentun = 0.9
    ");
    assert_snapshot!(folder.failure(&["train", "tiny-albef", "--set=model.mlm_head=false"]), @r"
    error: tiny-albef, line 46: task.mlm_weight is above 0, but the model has no head that predicts tokens: set task.mlm_weight = 0, or model.mlm_head = true
      46 | [task]
    ");
    assert_snapshot!(folder.failure(&["train", "tiny-albef", "--set=task.alpha=1.5"]), @"error: --set task.alpha=1.5: task.alpha = 1.5 is out of range: it must be in [0, 1]");
    assert_snapshot!(folder.failure(&["train", "tiny-albef", "--set=model.quick_gelu=true"]), @"error: --set model.quick_gelu=true: model.quick_gelu is not a setting of this kind of model: leave it out");
    assert_snapshot!(folder.failure(&["train", "tiny", "--set=model.queue_size=64"]), @"error: --set model.queue_size=64: model.queue_size is not a setting of this kind of model: leave it out");
    let missing = folder.failure(&["train", "tiny-albef", "--device=cpu", "--set=init.model=runs/none"]);
    // The first line names the device.
    let (_, message) = missing.split_once('\n').unwrap();
    assert_snapshot!(message, @r"
    error: init.model: cannot start from runs/none
      because: there is no checkpoint in runs/none: give a run folder (runs/<name>-<n>) or one of its checkpoints/step-<n>
    ");
    assert!(
        !folder.path().join("runs").exists(),
        "a run that cannot start leaves no folder"
    );
}

#[test]
fn mistakes_in_the_data() {
    let folder = Folder::new();
    let path = |path: &str| format!("--set=data.train.path={path}");
    let message = folder.failure(&["train", "folder-clip", &path("no/photos"), "--device", "cpu"]);
    assert!(
        message.contains("data.train: ") && message.contains("no/photos"),
        "{message}"
    );
    folder.write("photos/captions.csv", "file,caption\na.png,a dog\n");
    let message = folder.failure(&["train", "folder-clip", &path("photos"), "--device", "cpu"]);
    assert!(
        message.contains("data.train: ") && message.contains("no column \"image\""),
        "{message}"
    );
    assert!(
        !folder.path().join("runs").exists(),
        "a run that cannot start leaves no folder"
    );
}

#[test]
fn folders_that_are_no_runs() {
    let folder = Folder::new();
    let message = folder.failure(&["train", "--resume", "runs/tiny-1", "--device", "cpu"]);
    assert!(
        message.contains("error: runs/tiny-1 is not a run folder: there is no recipe.toml in it"),
        "{message}"
    );
}
