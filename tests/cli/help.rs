//! Is every verb and flag there, under its documented name?

use crate::run::Folder;

#[test]
fn help_lists_every_verb() {
    let help = Folder::new().success(&["--help"]);
    for verb in [
        "train", "eval", "embed", "search", "import", "export", "verify", "devices", "models", "recipes", "bench",
    ] {
        let listed = help
            .lines()
            .any(|line| line.trim_start().starts_with(&format!("{verb} ")));
        assert!(listed, "{verb} is missing from\n{help}");
    }
}

/// Hyper-parameters live in the recipe: a flag for one would not be recorded with the run.
#[test]
fn train_has_no_flag_for_a_hyper_parameter() {
    let help = Folder::new().success(&["train", "--help"]);
    let mut flags: Vec<&str> = help
        .split_whitespace()
        .filter(|word| word.starts_with("--"))
        .map(|word| word.trim_end_matches([',', ']', '.', '`']))
        .collect();
    flags.sort_unstable();
    flags.dedup();
    // What is left says where and how to show a run, not what it computes.
    flags.retain(|flag| !["--device", "--help", "--plain", "--resume", "--runs-dir", "--set"].contains(flag));
    assert!(flags.is_empty(), "{flags:?}");
}
