//! Training processes, and the folders that they leave.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::data::{self, NUM_STEPS};
use crate::saved::assert_same;

const BINARY: &str = env!("CARGO_BIN_EXE_twinflame");

/// The run that nothing happened to.
pub(crate) struct Straight {
    dir: TempDir,
    /// How long it took, so that what happens to others happens while they run, on any machine.
    pub(crate) took: Duration,
}

impl Straight {
    /// Trained once for all tests.
    pub(crate) fn run() -> &'static Self {
        static STRAIGHT: OnceLock<Straight> = OnceLock::new();
        STRAIGHT.get_or_init(|| {
            let dir = tempfile::tempdir().unwrap();
            data::write(dir.path());
            let straight = Straight {
                dir,
                took: Duration::ZERO,
            };
            let started = Instant::now();
            let output = straight.start(straight.dir.path(), None).output().unwrap();
            assert!(output.status.success(), "{}", words(&output));
            Straight {
                took: started.elapsed(),
                ..straight
            }
        })
    }

    /// A process that trains in `place` from the beginning, or goes on with a run there.
    pub(crate) fn start(&self, place: &Path, resume: Option<&Path>) -> Command {
        let recipe = self.dir.path().join("survivor.toml");
        let mut command = Command::new(BINARY);
        command.args(["train", "--plain", "--device=cpu"]);
        match resume {
            None => command.arg(recipe),
            Some(run) => command.arg("--resume").arg(run),
        };
        command.current_dir(place).stdin(Stdio::null());
        command.env_remove("RUST_BACKTRACE").env_remove("RUST_LOG");
        command
    }

    /// Goes on with the last run in `place`, or begins one if there is none that can be resumed.
    pub(crate) fn go_on(&self, place: &Path) -> Command {
        self.start(place, last_run(place).as_deref())
    }

    /// Fails unless a finished run is this one, to the last bit.
    pub(crate) fn assert_is(&self, run: &Path, what: &str) {
        let straight = self.dir.path().join("runs/survivor-1");
        assert_same(run, &straight, NUM_STEPS, what);
        let [found, expected] = [run, &straight].map(|run| {
            let text = fs::read_to_string(run.join("eval.json")).unwrap();
            serde_json::from_str::<Value>(&text).unwrap()["sets"].clone()
        });
        assert_eq!(found, expected, "{what}");
        assert!(run.join("retrieval.png").is_file(), "{what}");
    }
}

/// Starts a process whose words go to files beside the runs.
pub(crate) fn spawn(mut command: Command, words: &Path) -> Child {
    let [out, err] = ["out", "err"].map(|name| File::create(words.join(name)).unwrap());
    command.stdout(out).stderr(err).spawn().unwrap()
}

/// What a process said.
pub(crate) fn words(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    format!("{out}\n{err}")
}

/// The run with the highest number that got as far as having a recipe.
pub(crate) fn last_run(place: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(place.join("runs")).into_iter().flatten();
    let runs = entries.map(|entry| entry.unwrap().path());
    let number = |run: &PathBuf| -> usize {
        let name = run.file_name().unwrap().to_str().unwrap();
        name.strip_prefix("survivor-").unwrap().parse().unwrap()
    };
    let last = runs.filter(|run| run.join("recipe.toml").is_file()).max_by_key(number);
    // As a user would write it.
    last.map(|run| Path::new("runs").join(run.file_name().unwrap()))
}

/// Whether the last run is trained and tested.
pub(crate) fn is_done(place: &Path) -> bool {
    last_run(place).is_some_and(|run| place.join(run).join("eval.json").is_file())
}
