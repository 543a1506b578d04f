//! A published checkpoint in the format of PyTorch before 1.6, read here.

use std::path::Path;

use twinflame::model::weights::{Archive, ArchiveKind};

use super::python;

#[test]
#[ignore = "needs Python packages: .ci/run peers"]
fn a_legacy_checkpoint_has_the_tensors_that_pytorch_reads() {
    let out = tempfile::tempdir().unwrap();
    let out = out.path().join("tensors.safetensors");
    let file = python("legacy.py", &out);
    let ours = Archive::open(Path::new(file.trim())).unwrap();
    let theirs = Archive::open(&out).unwrap();
    assert_eq!(ours.kind(), ArchiveKind::TorchLegacy);
    let sorted = |archive: &Archive| {
        let mut names: Vec<String> = archive.shapes().map(|(name, _)| name.to_owned()).collect();
        names.sort();
        names
    };
    let names = sorted(&theirs);
    assert_eq!(sorted(&ours), names);
    for name in &names {
        assert_eq!(ours.tensor(name), theirs.tensor(name), "{name}");
    }
    println!("{} tensors equal to the last bit", names.len());
}
