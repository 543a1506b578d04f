//! What do the listing verbs print?

use crate::run::Folder;

#[test]
fn devices_lists_every_backend_and_the_processor() {
    let folder = Folder::new();
    let text = folder.success(&["devices"]);
    for backend in ["cpu", "ndarray", "wgpu", "vulkan", "metal", "cuda", "rocm"] {
        assert!(
            text.contains(&format!("\n {backend} ")),
            "{backend} is missing from\n{text}"
        );
    }
    assert!(text.contains("--device auto takes: device"), "{text}");
}
