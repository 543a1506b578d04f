//! A disk that is full at a random write, and files that may grow no further.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::thread::sleep;
use std::time::Duration;

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use twinflame::train::run::{self, RunFolder};

use crate::moment::{Before, Doing};
use crate::small_disk::SmallDisk;
use crate::times;
use crate::training::{Straight, last_run, spawn, words};

/// Full disks of every day: one of each kind.
const FEW: usize = 5;

/// Room that a run with two checkpoints needs, in bytes: at the third checkpoint it needs more.
const TWO_CHECKPOINTS: u64 = 9_500_000;

/// Checkpoints at the ends of epochs alone.
const SELDOM: [&str; 2] = ["--set=run.save_every_steps=100", "--set=run.save_every_minutes=100"];

/// When the disk is full.
#[derive(Clone, Copy, Debug)]
enum Full {
    /// From the start, but for so many bytes.
    ButFor(u64),
    /// The same where checkpoints are so rare that it is the logs that fill it.
    SeldomSavedButFor(u64),
    /// So long after the start.
    After(Duration),
    /// As soon as the run is trained.
    BeforeTheTest,
}

impl Full {
    /// A random moment, kind by kind.
    fn random(tried: usize, took: Duration, rng: &mut ChaCha8Rng) -> Self {
        match tried % 5 {
            0 => Self::ButFor(rng.random_range(0..TWO_CHECKPOINTS)),
            1 => Self::SeldomSavedButFor(rng.random_range(13_000..30_000)),
            2 => Self::After(took.mul_f64(rng.random())),
            3 => Self::BeforeTheTest,
            _ => Self::ButFor(rng.random_range(0..100_000)),
        }
    }
}

/// Fails unless a process stopped with one message, of a file that cannot be written; the file's name.
fn assert_explains(output: &Output, because: &str, what: &str) -> String {
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{what}: {message}");
    for word in [
        "panicked",
        "PANIC",
        "internal error",
        "RUST_BACKTRACE",
        "stack backtrace",
    ] {
        assert!(!message.contains(word), "{what}: {message}");
    }
    assert!(
        message.contains("error: ") && message.contains(because),
        "{what}: {message}"
    );
    let named = message.split_whitespace().find(|word| word.starts_with("runs"));
    let named = named.unwrap_or_else(|| panic!("{what}: no file is named: {message}"));
    let path = Path::new(named.trim_end_matches(['.', ':', ',']));
    let name = path.file_name().unwrap().to_str().unwrap();
    match name.contains(".tfevents.") {
        true => "tensorboard".to_owned(),
        false => name.to_owned(),
    }
}

/// Fails unless all checkpoints can be loaded; their number.
fn assert_loads(place: &Path, what: &str) -> usize {
    let Some(run) = last_run(place).map(|run| place.join(run)) else {
        return 0;
    };
    let device = twinflame::device::select("cpu").unwrap().device;
    let checkpoints = RunFolder::open(&run).unwrap().checkpoints(1).list().unwrap();
    for checkpoint in &checkpoints {
        let loaded = run::load(&checkpoint.dir, &device);
        assert!(
            loaded.is_ok(),
            "{what}: {}: {}",
            checkpoint.dir.display(),
            loaded.err().unwrap()
        );
    }
    checkpoints.len()
}

/// Goes on once there is room, and compares the end.
fn assert_goes_on(straight: &Straight, place: &Path, what: &str) {
    let output = straight.go_on(place).output().unwrap();
    assert!(output.status.success(), "{what}: {}", words(&output));
    straight.assert_is(&place.join(last_run(place).unwrap()), what);
}

/// Trains on a disk that fills up; `None` if the run ended before that.
fn train_until_full(straight: &Straight, disk: &SmallDisk, words_to: &Path, full: Full) -> Option<Output> {
    let mut command = straight.start(disk.path(), None);
    match full {
        Full::ButFor(bytes) => disk.fill(bytes),
        Full::SeldomSavedButFor(bytes) => {
            command.args(SELDOM);
            disk.fill(bytes);
        }
        _ => {}
    }
    let before = Before::of(disk.path());
    let mut child = spawn(command, words_to);
    match full {
        Full::After(delay) => {
            sleep(delay);
            disk.fill(0);
        }
        Full::BeforeTheTest => {
            while child.try_wait().unwrap().is_none() && before.doing(disk.path()) != Doing::Testing {
                sleep(Duration::from_millis(1));
            }
            disk.fill(0);
        }
        _ => {}
    }
    let status = child.wait().unwrap();
    let [stdout, stderr] = ["out", "err"].map(|name| fs::read(words_to.join(name)).unwrap());
    (!status.success()).then_some(Output { status, stdout, stderr })
}

#[test]
fn a_run_whose_disk_was_full_goes_on_once_there_is_room() {
    let wanted = times("TWINFLAME_FULL_DISKS", FEW);
    let place = tempfile::tempdir().unwrap();
    if let Err(reason) = SmallDisk::mount(place.path()) {
        println!("skipped: no small disk can be mounted here: {reason}");
        return;
    }
    let straight = Straight::run();
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut met: BTreeMap<String, usize> = BTreeMap::new();
    let (mut done, mut tried) = (0, 0);
    while done < wanted {
        let disk = SmallDisk::mount(place.path()).unwrap();
        let full = Full::random(tried, straight.took, &mut rng);
        tried += 1;
        let words_to = tempfile::tempdir().unwrap();
        let what = format!("disk {done}, full {full:?}");
        let Some(output) = train_until_full(straight, &disk, words_to.path(), full) else {
            continue;
        };
        let file = assert_explains(&output, "No space left on device", &what);
        let loaded = assert_loads(disk.path(), &what);
        println!("{what}: {file}, {loaded} checkpoints load");
        disk.relieve();
        assert_goes_on(straight, disk.path(), &what);
        *met.entry(file).or_default() += 1;
        done += 1;
    }
    println!("{done} full disks, first met at: {met:?}");
}

#[test]
fn a_run_that_shares_a_full_disk_with_what_it_prints_does_not_panic() {
    let place = tempfile::tempdir().unwrap();
    let disk = match SmallDisk::mount(place.path()) {
        Ok(disk) => disk,
        Err(reason) => return println!("skipped: no small disk can be mounted here: {reason}"),
    };
    let straight = Straight::run();
    let output = train_until_full(straight, &disk, disk.path(), Full::ButFor(TWO_CHECKPOINTS)).unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", words(&output));
    disk.relieve();
    assert_goes_on(straight, disk.path(), "words on the same disk");
}

/// The limit of a shell, in its blocks of 512 or 1024 bytes, stands for a full disk where none can be mounted: met by the
/// recipe, by the logs and by the weights.
#[test]
fn a_file_that_may_not_grow_stops_the_run_which_goes_on_without_the_limit() {
    let straight = Straight::run();
    for (blocks, more) in [(1, &[][..]), (8, &SELDOM), (64, &[])] {
        let place = tempfile::tempdir().unwrap();
        let train = straight.start(place.path(), None);
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"");
        let mut limited = Command::new("sh");
        limited.args(["-c", &script, "sh"]).arg(train.get_program());
        limited.args(train.get_args()).args(more);
        let output = limited.current_dir(place.path()).output().unwrap();
        let what = format!("{blocks} blocks");
        let file = assert_explains(&output, "File too large", &what);
        println!("{what}: {file}");
        assert_loads(place.path(), &what);
        assert_goes_on(straight, place.path(), &what);
    }
}
