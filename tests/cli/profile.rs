//! `bench --profile`, and what is said where it is not built.

use insta::assert_snapshot;

use crate::run::Folder;

/// A small model, in enough steps to be sampled.
const BENCH: [&str; 5] = ["bench", "tiny-vit", "--batch-size=64", "--steps=40", "--device=cpu"];

#[cfg(not(feature = "profile"))]
#[test]
fn a_profile_says_what_has_to_be_built() {
    let folder = Folder::new();
    let shown = folder.failure(&[&BENCH[..], &["--profile=after"]].concat());
    if cfg!(any(target_os = "linux", target_os = "macos")) {
        assert_snapshot!(shown, @"error: this binary was built without the feature profile, which samples what runs: cargo run --profile profiling --features profile -- bench PRESET --profile FOLDER");
    }
    assert!(!folder.path().join("after").exists());
}

/// Nothing to compare with.
#[test]
fn an_earlier_profile_alone() {
    let message = Folder::new().failure(&[&BENCH[..], &["--profile-before=before"]].concat());
    assert!(message.contains("--profile <FOLDER>"), "{message}");
}

#[cfg(all(feature = "profile", any(target_os = "linux", target_os = "macos")))]
mod built {
    use std::collections::BTreeMap;

    use serde_json::Value;

    use super::*;

    fn read(folder: &Folder, name: &str) -> String {
        std::fs::read_to_string(folder.path().join(name)).unwrap()
    }

    fn sum(operations: &Value, key: &str) -> f64 {
        let operations = operations.as_array().unwrap();
        operations
            .iter()
            .map(|operation| operation[key].as_f64().unwrap())
            .sum()
    }

    /// Samples of each stage in folded stacks.
    fn samples(folded: &str) -> BTreeMap<&str, u64> {
        let mut samples = BTreeMap::new();
        for line in folded.lines() {
            let (stack, count) = line.rsplit_once(' ').unwrap();
            let stage = stack.split(';').next().unwrap();
            *samples.entry(stage).or_default() += count.parse::<u64>().unwrap();
        }
        samples
    }

    #[test]
    fn a_profile_is_a_folder_and_a_table() {
        let folder = Folder::new();
        let printed = folder.success(&[&BENCH[..], &["--profile=new/before", "--json"]].concat());
        let report: Value = serde_json::from_str(&printed).unwrap();
        let profile = &report["profile"];
        assert!((sum(&profile["operations"], "share") - 1.0).abs() < 1e-9, "{profile}");
        assert_eq!(profile["host_threads_only"], false, "{profile}");
        // Nothing is sampled but the parts of the timed steps.
        let folded = read(&folder, "new/before/stacks.folded");
        let samples = samples(&folded);
        let stages = ["data", "forward", "backward", "optimizer"];
        assert!(samples.keys().all(|stage| stages.contains(stage)), "{samples:?}");
        assert_eq!(profile["samples"], samples.values().sum::<u64>(), "{profile}");
        // The times are those of the clocks.
        let times: f64 = profile["stages"]
            .as_array()
            .unwrap()
            .iter()
            .map(|time| {
                let stage = time["stage"].as_str().unwrap();
                assert_eq!(time["cpu_ms"], report[format!("{stage}_cpu_ms")], "{report}");
                let [cpu, main] = ["cpu_ms", "main_thread_cpu_ms"].map(|key| time[key].as_f64().unwrap());
                // Both are medians of their own.
                cpu.max(main)
            })
            .sum();
        assert!(
            (sum(&profile["operations"], "cpu_ms") - times).abs() < 1e-6,
            "{profile}"
        );
        // Operations are told, not only "the rest".
        assert!(folded.contains("gemm"), "{folded}");
        let products = profile["operations"].as_array().unwrap().iter();
        assert!(
            products
                .into_iter()
                .any(|found| found["operation"] == "matrix products"),
            "{profile}"
        );
        let written: Value = serde_json::from_str(&read(&folder, "new/before/report.json")).unwrap();
        assert_eq!(written, report);
        let flame = read(&folder, "new/before/flame.svg");
        assert!(
            flame.contains("<svg") && flame.contains("tiny-vit, batch 64, f32, cpu"),
            "{flame}"
        );
        assert!(
            flame.contains(">backward (") && flame.trim_end().ends_with("</svg>"),
            "{flame}"
        );

        let text = folder.success(&[&BENCH[..], &["--profile=after", "--profile-before=new/before"]].concat());
        assert!(text.contains("CPU time by operation, "), "{text}");
        assert!(!text.contains("the host's threads only"), "{text}");
        for row in ["threads busy", "new/before: %", "profile: after"] {
            assert!(text.contains(row), "{row} is missing from\n{text}");
        }
        let files = std::fs::read_dir(folder.path().join("after")).unwrap();
        let mut files: Vec<_> = files.map(|file| file.unwrap().file_name()).collect();
        files.sort();
        assert_eq!(files, ["flame.svg", "report.json", "stacks.folded"]);
    }

    /// Its parts alternate, so that the step is one stage.
    #[test]
    fn a_step_in_micro_batches_is_one_stage() {
        let folder = Folder::new();
        folder.success(&[&BENCH[..], &["--micro-batch-size=32", "--profile=micro"]].concat());
        let folded = read(&folder, "micro/stacks.folded");
        assert_eq!(samples(&folded).keys().collect::<Vec<_>>(), [&"step"], "{folded}");
    }

    #[test]
    fn mistakes_with_folders() {
        let folder = Folder::new();
        folder.write("file", "");
        let failure = |more: &[&str]| folder.failure(&[&BENCH[..], more].concat());
        let message = failure(&["--profile=file"]);
        assert!(
            message.starts_with("error: --profile: cannot make the folder file"),
            "{message}"
        );
        // A folder lies where a file should be.
        folder.write("taken/flame.svg.partial/x", "");
        let message = failure(&["--profile=taken"]);
        assert!(message.starts_with("error: cannot write taken/flame.svg"), "{message}");
        let message = failure(&["--profile=after", "--profile-before=before"]);
        assert!(
            message.starts_with(
                "error: --profile-before: cannot read before/stacks.folded; it takes a folder that --profile wrote"
            ),
            "{message}"
        );
        folder.write("before/stacks.folded", "forward;main thread;a 1\nforward;a 1\n");
        let message = failure(&["--profile=after", "--profile-before=before"]);
        assert_snapshot!(message, @"error: before/stacks.folded, line 2: expected stage;thread;frame;frame and a count");
        folder.write("before/stacks.folded", "forward;main thread;a 1\n");
        folder.write("before/report.json", "{}");
        let message = failure(&["--profile=after", "--profile-before=before"]);
        assert_snapshot!(message, @r"
        error: before/report.json
          because: missing field `profile` at line 1 column 2
        ");
        let message = failure(&["--profile=before", "--profile-before=before"]);
        assert_snapshot!(message, @"error: --profile-before: before is where --profile writes: give the new profile a folder of its own");
        assert!(!folder.path().join("after").exists());
    }
}
