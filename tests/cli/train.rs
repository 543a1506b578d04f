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
        "emoji-clip",
        "emoji-clip-transformer",
        "emoji-clip-vit",
        "emoji-siglip",
        "folder-clip",
        "tiny",
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
    assert_snapshot!(folder.failure(&["train", "emoji-clp"]), @"error: no recipe is called `emoji-clp`; did you mean `emoji-clip`? (embedded: emoji-clip, emoji-clip-transformer, emoji-clip-vit, emoji-siglip, folder-clip, tiny; a recipe of your own is given by the path of its .toml file)");
    assert_snapshot!(folder.failure(&["train", "no/such.toml"]), @r"
    error: cannot read the recipe no/such.toml
      because: No such file or directory (os error 2)
    ");
    assert_snapshot!(folder.failure(&["train", "tiny", "--set", "run.num_stpes=5"]), @"error: --set run.num_stpes=5: run.num_stpes: unknown field `num_stpes`, expected one of `num_epochs`, `num_steps`, `valid_every_epochs`, `save_every_epochs`, `save_every_steps`, `keep_last`, `log_every_steps`, `best`, `stop_after_validations`; did you mean `num_steps`?");
    folder.write(
        "mine.toml",
        folder
            .success(&["recipes", "show", "tiny"])
            .replace("ema_decay = 0.9", "ema = 0.9"),
    );
    assert_snapshot!(folder.failure(&["train", "mine.toml"]), @r"
    error: mine.toml, line 42: task.ema: unknown field `ema`, expected one of `loss`, `targets`, `micro_batch_size`, `ema_decay`, `max_grad_norm`, `precision`; did you mean `ema_decay`?
      42 | ema = 0.9
    ");
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
