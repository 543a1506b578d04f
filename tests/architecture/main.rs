//! Do the crates keep to the invariants of ARCHITECTURE.md that the compiler does not check?
//!
//! These tests read the sources, so a rule is broken by writing it, not by running it.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a panic is the report of a test"
)]

mod source;

use source::{Crate, Line};

/// Backends as they could appear in code: constructors, features, crates.
const BACKENDS: [&str; 9] = [
    "cuda", "rocm", "vulkan", "metal", "webgpu", "wgpu", "flex", "ndarray", "cpu",
];

#[test]
fn dependencies_point_downwards() {
    for (crate_name, allowed) in [
        ("twinflame-kernels", &[][..]),
        ("twinflame-model", &["twinflame-kernels"]),
        ("twinflame-data", &[]),
        (
            "twinflame-train",
            &["twinflame-data", "twinflame-kernels", "twinflame-model"],
        ),
        (
            "twinflame",
            &[
                "twinflame-data",
                "twinflame-kernels",
                "twinflame-model",
                "twinflame-train",
            ],
        ),
    ] {
        let found: Vec<String> = Crate::open(crate_name)
            .dependencies()
            .into_iter()
            .filter(|name| name.starts_with("twinflame"))
            .collect();
        assert_eq!(found, allowed, "dependencies of {crate_name}");
    }
}

#[test]
fn below_the_facade_no_line_names_a_backend() {
    let forbidden: Vec<String> = BACKENDS
        .iter()
        .flat_map(|name| {
            [
                format!("Device::{name}("),
                format!("feature = \"{name}\""),
                format!("burn_{name}"),
            ]
        })
        .chain(["Device::default()".to_owned(), "BURN_DEVICE".to_owned()])
        .collect();
    for crate_name in ["twinflame-model", "twinflame-data", "twinflame-train"] {
        forbid(&Crate::open(crate_name).lines(), &forbidden);
    }
}

#[test]
fn models_read_no_clock_file_environment_or_device_randomness() {
    let lines: Vec<Line> = Crate::open("twinflame-model")
        .lines()
        .into_iter()
        .filter(|line| !line.path.contains("/src/weights"))
        .collect();
    let forbidden = [
        "std::time",
        "Instant::",
        "SystemTime",
        "std::env",
        "std::fs",
        "File::",
        "Tensor::random",
        "Distribution::",
    ]
    .map(str::to_owned);
    forbid(&lines, &forbidden);
}

#[test]
fn data_stays_on_the_host() {
    let forbidden = ["Tensor<", "Tensor::", "burn::tensor::Tensor"].map(str::to_owned);
    forbid(&Crate::open("twinflame-data").lines(), &forbidden);
}

/// Neither a task nor a model waits for the device. What a step reports is read in one place, later.
#[test]
fn a_training_step_reads_nothing_back() {
    let reads = [
        ".into_data(",
        ".to_data(",
        ".into_scalar(",
        ".try_into_scalar(",
        ".try_into_data(",
        ".sync()?",
        ".try_to_vec_as(",
        ".try_into_vec_as(",
    ]
    .map(str::to_owned);
    let of_step = ["/src/task/", "/src/grad_norm", "/src/ema"];
    let train = Crate::open("twinflame-train").lines().into_iter();
    let tasks = train
        .filter(|line| of_step.iter().any(|part| line.path.contains(part)))
        .filter(|line| !line.path.ends_with("/task/output.rs"));
    forbid(&tasks.collect::<Vec<_>>(), &reads);
    let model = Crate::open("twinflame-model").lines().into_iter();
    let models = model.filter(|line| !line.path.contains("/src/weights"));
    forbid(&models.collect::<Vec<_>>(), &reads);
}

fn forbid(lines: &[Line], forbidden: &[String]) {
    assert!(!lines.is_empty(), "no source found: has a folder moved?");
    let broken: Vec<String> = lines
        .iter()
        .filter(|line| forbidden.iter().any(|text| line.code.contains(text.as_str())))
        .map(|line| format!("{}:{}: {}", line.path, line.number, line.code.trim()))
        .collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
