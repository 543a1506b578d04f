//! A newcomer's mistakes: each is one paragraph that says what is wrong and what would be right.

use insta::assert_snapshot;

use crate::run::Folder;

#[test]
fn unknown_device() {
    assert_snapshot!(Folder::new().failure(&["bench", "tiny-vit", "--device", "gpu"]), @"error: unknown device `gpu`: expected auto, cpu, ndarray, wgpu, vulkan, metal, cuda or rocm, the GPU ones optionally with an index as in `wgpu:1`");
}

#[test]
fn index_of_the_processor() {
    assert_snapshot!(Folder::new().failure(&["bench", "tiny-vit", "--device", "cpu:1"]), @"error: device `cpu` takes no index: it is the host processor, of which there is one");
}

/// Which backends are missing depends on the features that the tests were built with.
#[test]
fn backend_not_compiled_in() {
    let folder = Folder::new();
    let Some(backend) = ["cuda", "rocm", "metal"].into_iter().find(|backend| {
        folder
            .success(&["devices"])
            .contains(&format!("no: --features {backend}"))
    }) else {
        return;
    };
    let message = folder.failure(&["bench", "tiny-vit", "--device", backend]);
    assert!(message.contains("was built without"), "{message}");
    assert!(
        message.contains(&format!("cargo run --release --features {backend}")),
        "{message}"
    );
}

/// The list of what is there depends on the machine.
#[cfg(feature = "wgpu")]
#[test]
fn device_not_there() {
    let message = Folder::new().failure(&["bench", "tiny-vit", "--device", "wgpu:99"]);
    assert!(message.contains("device `wgpu:99` is not on this machine"), "{message}");
    assert!(message.contains("what is here: cpu ("), "{message}");
}

#[test]
fn unknown_preset() {
    let message = Folder::new().failure(&["bench", "vit-b-33"]);
    assert!(
        message.starts_with("error: there is no model named `vit-b-33`"),
        "{message}"
    );
    assert!(message.contains("vit-b-32"), "{message}");
}
