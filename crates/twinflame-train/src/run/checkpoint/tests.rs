use burn::module::Module;

use super::*;
use crate::run::state::Best;

fn state(step: usize) -> RunState {
    RunState {
        step,
        ..RunState::start(0)
    }
}

fn records() -> Records {
    Records {
        model: Vec::<burn::nn::Linear>::new().into_record(),
        optim: OptimizerRecord::default(),
        scheduler: LrSchedulerRecord::new(),
    }
}

fn steps(checkpoints: &Checkpoints) -> Vec<usize> {
    checkpoints
        .list()
        .unwrap()
        .iter()
        .map(|found| found.state.step)
        .collect()
}

fn names_in(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn the_last_ones_and_the_best_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoints = Checkpoints::new(dir.path().join("checkpoints"), 2);
    for step in [10, 20, 30, 40] {
        let mut state = state(step);
        state.best = Some(Best { step: 10, value: 0.5 });
        checkpoints.write(&state, "", "", records()).unwrap();
    }
    assert_eq!(steps(&checkpoints), [10, 30, 40]);
    assert_eq!(checkpoints.latest().unwrap().unwrap().state.step, 40);
    assert_eq!(checkpoints.best().unwrap().unwrap().state.step, 10);
}

#[test]
fn a_set_cut_short_after_any_file_leaves_the_one_before() {
    let names = [
        MODEL_FILE,
        OPTIM_FILE,
        SCHEDULER_FILE,
        RECIPE_FILE,
        CARD_FILE,
        STATE_FILE,
    ];
    for written in 0..names.len() {
        let dir = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::new(dir.path().to_owned(), 1);
        checkpoints.write(&state(10), "", "", records()).unwrap();
        let files = names
            .iter()
            .enumerate()
            .map(|(index, name)| {
                let write: WriteFile<'_> = Box::new(move |path: &Path| {
                    fs::write(path, "x").map_err(CheckpointError::io(path))?;
                    match index == written {
                        true => Err(CheckpointError::Missing { path: path.to_owned() }),
                        false => Ok(()),
                    }
                });
                (*name, write)
            })
            .collect();
        assert!(checkpoints.write_set(20, files).is_err());
        assert_eq!(names_in(dir.path()), ["step-00000010"], "no room is wasted");
        let latest = checkpoints.latest().unwrap().unwrap();
        assert_eq!(latest.state.step, 10);
        latest.records().unwrap();
        // The next one is written over what was left.
        checkpoints.write(&state(20), "", "", records()).unwrap();
        assert_eq!(steps(&checkpoints), [20]);
    }
}

#[test]
fn writing_a_step_again_replaces_it() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoints = Checkpoints::new(dir.path().to_owned(), 3);
    checkpoints.write(&state(10), "", "", records()).unwrap();
    let mut again = state(10);
    again.finished = true;
    checkpoints.write(&again, "", "", records()).unwrap();
    assert!(checkpoints.latest().unwrap().unwrap().state.finished);
}

#[test]
fn a_format_of_the_future_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoints = Checkpoints::new(dir.path().to_owned(), 3);
    let written = checkpoints
        .write(&RunState { format: 2, ..state(1) }, "", "", records())
        .err();
    // Pruning reads the list again and meets it.
    assert!(matches!(written, Some(CheckpointError::Format { found: 2, .. })));
}

#[test]
fn a_process_that_dies_while_it_replaces_a_checkpoint_leaves_one() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoints = Checkpoints::new(dir.path().to_owned(), 1);
    let written = checkpoints.write(&state(10), "", "", records()).unwrap();
    let replaced = dir.path().join(".replaced-step-00000010");
    let unfinished = dir.path().join(".unfinished-step-00000010");
    // Between the two renames.
    fs::rename(&written.dir, &replaced).unwrap();
    fs::create_dir(&unfinished).unwrap();
    assert_eq!(steps(&checkpoints), [10]);
    checkpoints.latest().unwrap().unwrap().records().unwrap();
    checkpoints.write(&state(12), "", "", records()).unwrap();
    assert_eq!(names_in(dir.path()), ["step-00000012"]);
    // After them.
    fs::create_dir(dir.path().join(".replaced-step-00000012")).unwrap();
    assert_eq!(steps(&checkpoints), [12]);
    checkpoints.write(&state(14), "", "", records()).unwrap();
    assert_eq!(names_in(dir.path()), ["step-00000014"]);
}
