//! Files of tensors.

use std::fs;
use std::path::Path;

use twinflame::model::weights::Archive;

use crate::memory::peak;
use crate::variants::try_variants;

/// Opening a file and reading all of its tensors takes at most this for each byte of the file, and [`AT_LEAST`]: a
/// pickle's instruction of one byte becomes a value of 40, in vectors that double, and a tensor of bytes becomes one of
/// 64-bit integers, under the archive's limit for tensors that overlap.
pub(crate) const PER_BYTE: usize = 256;
pub(crate) const AT_LEAST: usize = 1 << 16;

pub(crate) fn archives() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/archives");
    for name in [
        "types.safetensors",
        "plain.pt",
        "checkpoint.pt",
        "checkpoint_protocol4.pt",
        "legacy.pth",
        "script.pt",
    ] {
        let original = fs::read(folder.join(name)).unwrap();
        let (tried, read) = try_variants(&original, |bytes| {
            let len = bytes.len();
            let (was_read, peak) = peak(|| read_all(bytes));
            assert!(peak <= len * PER_BYTE + AT_LEAST, "{peak} bytes for a file of {len}");
            was_read
        });
        println!("{name}: {tried} variants, {read} of them read");
        assert!(read > 0 && read < tried, "the changes are all harmful or all harmless");
    }
}

/// Whether the file was read; its tensors are all converted then.
fn read_all(bytes: Vec<u8>) -> bool {
    match Archive::from_bytes(Path::new("variant"), bytes) {
        Ok(archive) => {
            let names: Vec<String> = archive.shapes().map(|(name, _)| name.to_owned()).collect();
            for name in names {
                assert!(archive.tensor(&name).is_some());
            }
            true
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            false
        }
    }
}
