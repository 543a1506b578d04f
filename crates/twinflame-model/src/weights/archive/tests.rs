use std::{fs, path::PathBuf};

use super::*;

fn fixture(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/fixtures/archives")
        .join(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn open(name: &str) -> Archive {
    Archive::from_bytes(Path::new(name), fixture(name)).unwrap()
}

fn all(archive: &Archive) -> Vec<(String, TensorData)> {
    archive
        .shapes()
        .map(|(name, _)| (name.to_owned(), archive.tensor(name).unwrap()))
        .collect()
}

/// The message for a damaged file.
fn mistake(bytes: Vec<u8>) -> String {
    Archive::from_bytes(Path::new("weights.pt"), bytes)
        .unwrap_err()
        .to_string()
}

#[test]
fn every_kind_of_file_gives_the_same_tensors() {
    let expected = all(&open("expected.safetensors"));
    assert_eq!(expected.len(), 14);
    for (name, kind) in [
        ("types.safetensors", ArchiveKind::Safetensors),
        ("plain.pt", ArchiveKind::TorchZip),
        ("checkpoint.pt", ArchiveKind::TorchZip),
        ("checkpoint_protocol4.pt", ArchiveKind::TorchZip),
        ("legacy.pth", ArchiveKind::TorchLegacy),
        ("script.pt", ArchiveKind::TorchScript),
    ] {
        let archive = open(name);
        assert_eq!(archive.kind(), kind, "{name}");
        assert_eq!(all(&archive), expected, "{name}");
    }
}

#[test]
fn what_is_no_archive_says_so() {
    assert!(mistake(b"hello".to_vec()).contains("nothing that torch.save"));
    assert!(mistake(Vec::new()).contains("weights.pt"));
    let zip = fixture("plain.pt");
    assert!(mistake(zip[..zip.len() / 2].to_vec()).contains("cut off"));
    let legacy = fixture("legacy.pth");
    let text = mistake(legacy[..legacy.len() - 5].to_vec());
    assert!(text.contains("storage") && text.contains("cut off"), "{text}");
    let safetensors = fixture("types.safetensors");
    assert!(mistake(safetensors[..safetensors.len() - 1].to_vec()).contains("not a valid safetensors"));
}

#[test]
fn a_header_may_be_as_long_as_a_pickle_begins() {
    let name = "w".repeat(73);
    let header = format!(r#"{{"{name}":{{"dtype":"F32","shape":[],"data_offsets":[0,4]}}}}"#);
    let header = format!("{header:<128}");
    let file = [&128u64.to_le_bytes()[..], header.as_bytes(), &1.5f32.to_le_bytes()].concat();
    assert_eq!(file[0], pickle::PROTO);
    let archive = Archive::from_bytes(Path::new("w.safetensors"), file).unwrap();
    assert_eq!(archive.tensor(&name).unwrap().iter::<f32>().collect::<Vec<_>>(), [1.5]);
}

/// A stream of `torch.save` around the pickle of an object, without storages.
fn stream(object: &[u8]) -> Vec<u8> {
    let legacy = fixture("legacy.pth");
    let mut at = 0;
    for _ in 0..3 {
        at += pickle::Pickle::parse(&legacy[at..]).unwrap().len;
    }
    [&legacy[..at], object, b"\x80\x02]."].concat()
}

#[test]
fn pickles_that_do_harm_in_python_do_nothing_here() {
    // os.system("exit 1"), as a value beside nothing.
    let text = mistake(stream(b"\x80\x02cos\nsystem\nX\x06\0\0\0exit 1\x85R."));
    assert!(text.contains("no tensor"), "{text}");
    // A persistent id that is no storage.
    let text = mistake(stream(b"\x80\x02X\x01\0\0\0aQ."));
    assert!(text.contains("persistent id"), "{text}");
    // A dictionary that holds itself.
    let text = mistake(stream(b"\x80\x02}q\0X\x01\0\0\0ah\0s."));
    assert!(text.contains("nested"), "{text}");
    // An instruction that nothing here needs.
    let text = mistake(stream(b"\x80\x02\xfe."));
    assert!(text.contains("at byte 2") && text.contains("0xfe"), "{text}");
    // A text of four gigabytes.
    let text = mistake(stream(b"\x80\x02X\xff\xff\xff\xffa."));
    assert!(text.contains("cut off"), "{text}");
}

#[test]
fn shared_dictionaries_do_not_multiply() {
    // d0 = {}, and d(n+1) = {"a": dn, "b": dn}: two to the thirtieth paths.
    let mut bytes = b"\x80\x02}q\0".to_vec();
    for level in 0..30u8 {
        bytes.extend([b'0', b'}', b'(']);
        bytes.extend(b"X\x01\0\0\0a");
        bytes.extend([b'h', level]);
        bytes.extend(b"X\x01\0\0\0b");
        bytes.extend([b'h', level, b'u', b'q', level + 1]);
    }
    bytes.push(b'.');
    assert!(mistake(stream(&bytes)).contains("more than 131072 entries"));
}

#[test]
fn too_many_instructions_are_refused() {
    let mut bytes = b"\x80\x02".to_vec();
    bytes.resize(pickle::MAX_VALUES + 100, b'N');
    assert!(mistake(stream(&bytes)).contains("instructions"));
}

#[test]
fn views_outside_their_storage_are_named() {
    let entry = |shape: &[usize], strides: &[usize], offset| {
        let entry = Entry::view("w", burn::tensor::DType::F32, shape.to_vec(), strides, offset, 100..164);
        entry.map(|entry| entry.num_bytes()).map_err(|error| error.to_string())
    };
    assert_eq!(entry(&[4, 4], &[4, 1], 0), Ok(64));
    assert_eq!(entry(&[4], &[5], 0), Ok(16));
    assert_eq!(entry(&[0, 9], &[1, 1], 50), Ok(0));
    assert!(
        entry(&[4], &[5], 1)
            .unwrap_err()
            .contains("`w` has shape [4] from element 1")
    );
    assert!(entry(&[5, 4], &[4, 1], 0).is_err());
    // An expanded scalar: every element lies within the storage, but they are more than it holds.
    assert!(entry(&[1 << 30], &[0], 0).is_err());
    assert!(
        entry(&[usize::MAX, 2], &[1, 1], 0)
            .unwrap_err()
            .contains("impossibly large")
    );
    assert!(entry(&[2], &[usize::MAX], usize::MAX).is_err());
}

#[test]
fn a_compressed_entry_is_refused_where_it_is_needed() {
    let mut zip = fixture("plain.pt");
    // The first entry is data.pkl.
    let directory = zip.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    zip[directory + 10] = 8;
    let text = mistake(zip);
    assert!(text.contains("data.pkl` is compressed"), "{text}");
}
