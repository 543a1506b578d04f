//! SIGKILL at random moments.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use crate::moment::{Aim, Before, Doing};
use crate::times;
use crate::training::{Straight, is_done, last_run, spawn, words};

/// Kills of every day.
const FEW: usize = 6;

const SIGKILL: i32 = 9;

/// Five of eight kills are blind; the others see to it that each phase is met, in some of which a run spends little time.
fn aim(kill: usize, took: Duration, rng: &mut ChaCha8Rng) -> Aim {
    let mut up_to = |longest: Duration| longest.mul_f64(rng.random());
    match kill % 8 {
        0 => Aim::During(Doing::Saving, up_to(Duration::from_millis(30))),
        2 => Aim::During(Doing::Validating, up_to(Duration::from_millis(10))),
        4 => Aim::During(Doing::Testing, up_to(Duration::from_millis(30))),
        6 => Aim::After(up_to(took / 8)),
        _ => Aim::After(up_to(took)),
    }
}

/// Kills the process at a moment; what it was doing, `None` if there is nothing left to do.
fn strike(straight: &Straight, place: &Path, aim: Aim) -> Option<Doing> {
    // Killed between its last file and its exit, it is done.
    if is_done(place) {
        return None;
    }
    let before = Before::of(place);
    let mut child = spawn(straight.go_on(place), place);
    let mut since = None;
    while !before.is_time(place, aim, &mut since) {
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "{}", fs::read_to_string(place.join("err")).unwrap());
            return None;
        }
        sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    let status = child.wait().unwrap();
    (status.signal() == Some(SIGKILL)).then(|| before.doing(place))
}

#[test]
fn a_run_killed_at_random_moments_is_the_run_that_was_not() {
    let wanted = times("TWINFLAME_KILLS", FEW);
    let straight = Straight::run();
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut met: BTreeMap<Doing, usize> = BTreeMap::new();
    let (mut kills, mut runs) = (0, 0);
    while kills < wanted {
        let place = tempfile::tempdir().unwrap();
        let mut kills_of_run = 0;
        while kills < wanted
            && let Some(doing) = strike(straight, place.path(), aim(kills, straight.took, &mut rng))
        {
            *met.entry(doing).or_default() += 1;
            kills += 1;
            kills_of_run += 1;
        }
        // After the last kill it goes on to its end.
        let what = format!("run {runs}, killed {kills_of_run} times");
        if !is_done(place.path()) {
            let output = straight.go_on(place.path()).output().unwrap();
            assert!(output.status.success(), "{what}: {}", words(&output));
        }
        straight.assert_is(&place.path().join(last_run(place.path()).unwrap()), &what);
        runs += 1;
    }
    println!("{kills} kills in {runs} runs, each of which ended as the one that was left alone: {met:?}");
}
