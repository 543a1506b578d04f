use super::*;
use crate::dataset::Source;
use crate::dataset::webdataset::WebDatasetSource;
use crate::dataset::webdataset::tests::{Shards, draw, good, png, tar_of};

/// A good shard, one that is cut, one with two captions of which one is empty, and none.
fn shards() -> Shards {
    let image = png(9);
    let members: [(&str, &[u8]); 4] = [
        ("7.txt", b"grey 9"),
        ("7.png", &image),
        ("8.png", &image),
        ("8.txt", b""),
    ];
    Shards::new(&[
        ("0.tar", good(0, 3)),
        ("1.tar", good(3, 4)[..2048 + 520].to_vec()),
        ("2.tar", tar_of(&members)),
    ])
}

fn config(shards: &Shards) -> WebDatasetConfig {
    WebDatasetConfig {
        index: Some(shards.path("index")),
        ..shards.config("{0..3}.tar")
    }
}

fn told(source: &WebDatasetSource) -> String {
    let samples: Vec<_> = (0..source.num_samples()).map(|index| draw(source, index, 0)).collect();
    let report = source.report();
    format!("{report} {:?} {:?} {samples:?}", report.skipped, source.shard_starts())
}

#[test]
fn an_index_gives_what_reading_gives_without_reading() {
    let shards = shards();
    let fresh = told(&shards.config("{0..3}.tar").open().unwrap());
    let config = config(&shards);
    assert_eq!(told(&config.open().unwrap()), fresh);
    let written = fs::read(shards.path("index")).unwrap();
    assert_eq!(told(&config.open().unwrap()), fresh);
    assert_eq!(fs::read(shards.path("index")).unwrap(), written);

    // Bytes that nothing but a reading of the shard notices, under the same time and size.
    let path = shards.path("0.tar");
    let time = fs::metadata(&path).unwrap().modified().unwrap();
    fs::write(&path, vec![0; good(0, 3).len()]).unwrap();
    File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_modified(time)
        .unwrap();
    assert_eq!(config.open().unwrap().num_samples(), 5, "the shard was read again");
    assert_eq!(shards.config("{0..3}.tar").open().unwrap().num_samples(), 2);
}

#[test]
fn what_changed_is_read_again() {
    let shards = shards();
    let config = config(&shards);
    config.open().unwrap();
    fs::write(shards.path("1.tar"), good(3, 4)).unwrap();
    fs::write(shards.path("3.tar"), good(7, 2)).unwrap();
    fs::remove_file(shards.path("2.tar")).unwrap();
    let fresh = told(&shards.config("{0..3}.tar").open().unwrap());
    assert_eq!(told(&config.open().unwrap()), fresh);
    assert_eq!(told(&config.open().unwrap()), fresh);
    let other = WebDatasetConfig {
        image_keys: vec!["jpg".to_owned()],
        ..config
    };
    let error = other.open().unwrap_err();
    assert!(matches!(error, DataError::NoSamples { .. }), "{error}");
}

#[test]
fn damage_and_other_files_are_errors() {
    let shards = shards();
    let config = config(&shards);
    config.open().unwrap();
    let whole = fs::read(shards.path("index")).unwrap();
    let message = |bytes: &[u8]| {
        fs::write(shards.path("index"), bytes).unwrap();
        config.open().unwrap_err().to_string()
    };
    let mut flipped = whole.clone();
    let last = whole.len() - 12;
    flipped[last] ^= 1;
    assert!(message(&flipped).contains("it is damaged at "), "{}", message(&flipped));
    assert!(message(&whole[..whole.len() - 3]).ends_with("it is damaged: delete it, and it is made anew"));
    assert!(message(b"").contains("it is no index of shards"));
    assert!(message(b"{\"num_samples\": 3}\n").contains("it is no index of shards"));
    fs::write(shards.path("index"), format!("{KIND}0\nnothing that is known")).unwrap();
    config.open().unwrap();
    assert_eq!(fs::read(shards.path("index")).unwrap(), whole);
    let nowhere = WebDatasetConfig {
        index: Some(shards.path("nowhere/index")),
        ..config
    };
    assert!(
        nowhere
            .open()
            .unwrap_err()
            .to_string()
            .contains("there is no such folder")
    );
}
