//! SIGTERM, as schedulers send it.

use std::fs;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::data::NUM_STEPS;
use crate::moment::last_checkpoint;
use crate::training::{Straight, last_run, spawn, words};

/// Longest wait for another process: generous, so that a loaded machine does not fail the test.
const PATIENCE: Duration = Duration::from_secs(300);

#[test]
fn a_run_that_was_terminated_saves_exits_with_0_and_goes_on() {
    let straight = Straight::run();
    let place = tempfile::tempdir().unwrap();
    let mut child = spawn(straight.start(place.path(), None), place.path());
    let log = place.path().join("runs/survivor-1/metrics.jsonl");
    let started = Instant::now();
    while !fs::read_to_string(&log).is_ok_and(|text| text.lines().count() >= 4) {
        assert!(started.elapsed() < PATIENCE, "no step was done");
        sleep(Duration::from_millis(2));
    }
    let terminate = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    assert!(terminate.unwrap().success());
    let status = child.wait().unwrap();
    let out = fs::read_to_string(place.path().join("out")).unwrap();
    assert_eq!(status.code(), Some(0), "{out}");
    let run = place.path().join("runs/survivor-1");
    let step = last_checkpoint(&run);
    assert!((1..NUM_STEPS).contains(&step), "{step}");
    let expected =
        format!("stopped after {step} of {NUM_STEPS} steps and saved; `twinflame train --resume runs/survivor-1`");
    assert!(out.contains(&expected), "{out}");
    let last = fs::read_to_string(&log).unwrap().lines().count();
    assert!(last >= step, "{last} lines at step {step}");

    let output = straight.go_on(place.path()).output().unwrap();
    assert!(output.status.success(), "{}", words(&output));
    assert_eq!(last_run(place.path()).unwrap().file_name().unwrap(), "survivor-1");
    straight.assert_is(&run, &format!("terminated after step {step}"));
}
