use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use tempfile::TempDir;

use super::*;
use crate::dataset::{CaptionNoise, DataConfig, DataError, EvalSet, Source};
use crate::report::Tally;

/// A picture of one grey.
pub(super) fn png(shade: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    image::GrayImage::from_pixel(3, 2, image::Luma([shade]))
        .write_to(&mut std::io::Cursor::new(&mut bytes), image::ImageFormat::Png)
        .unwrap();
    bytes
}

pub(super) fn tar_of(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, bytes) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, *bytes).unwrap();
    }
    tar.into_inner().unwrap()
}

/// Samples `first..first + n`, of which sample `i` is grey `i` and called so.
pub(super) fn good(first: u8, n: u8) -> Vec<u8> {
    let samples: Vec<(String, Vec<u8>, String)> = (first..first + n)
        .map(|i| (format!("{i:04}"), png(i), format!("grey {i}\n")))
        .collect();
    let names: Vec<[String; 2]> = samples
        .iter()
        .map(|(key, _, _)| [format!("{key}.png"), format!("{key}.txt")])
        .collect();
    let members: Vec<(&str, &[u8])> = samples
        .iter()
        .zip(&names)
        .flat_map(|((_, image, text), [png, txt])| [(&**png, &**image), (&**txt, text.as_bytes())])
        .collect();
    tar_of(&members)
}

pub(super) struct Shards {
    folder: TempDir,
}

impl Shards {
    pub(super) fn new(shards: &[(&str, Vec<u8>)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in shards {
            fs::write(folder.path().join(name), bytes).unwrap();
        }
        Self { folder }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn config(&self, pattern: &str) -> WebDatasetConfig {
        WebDatasetConfig::new([self.path(pattern).display().to_string()])
    }
}

pub(super) fn draw(source: &WebDatasetSource, index: usize, seed: u64) -> (u8, String) {
    let draw = source.draw(index, &mut ChaCha8Rng::seed_from_u64(seed)).unwrap();
    (draw.image.pixels()[0], draw.caption)
}

#[test]
fn samples_are_read_where_they_are() {
    let shards = Shards::new(&[
        ("a-0.tar", good(0, 3)),
        ("a-1.tar", tar_of(&[])),
        ("a-2.tar", good(3, 2)),
    ]);
    let source = shards.config("a-{0..2}.tar").open().unwrap();
    assert!(source.report().is_clean(), "{}", source.report());
    assert_eq!((source.num_samples(), source.shard_starts()), (5, &[0, 3, 3][..]));
    for i in 0..5 {
        assert_eq!(draw(&source, i.into(), 0), (i, format!("grey {i}")));
    }
    assert!(source.name(3).ends_with("a-2.tar, 0003.png"), "{}", source.name(3));
    let set = EvalSet::new(DataConfig::WebDataset(shards.config("*.tar")).open().unwrap()).unwrap();
    assert_eq!((set.num_images(), set.captions_of_image(4)), (5, &[4][..]));
}

#[test]
fn captions_may_be_several_and_in_json() {
    let json = br#"{"caption": ["one", "uno"], "url": "x"}"#;
    let image = png(9);
    let members: [(&str, &[u8]); 3] = [("d/7.jpg", &image), ("d/7.json", json), ("d/7.png", b"another")];
    let shards = Shards::new(&[("0.tar", tar_of(&members))]);
    let config = WebDatasetConfig {
        caption_key: "json".to_owned(),
        ..shards.config("0.tar")
    };
    let source = config.open().unwrap();
    let drawn: HashSet<(u8, String)> = (0..32).map(|seed| draw(&source, 0, seed)).collect();
    let both = ["one", "uno"].map(|text| (9, text.to_owned()));
    assert_eq!(drawn, HashSet::from(both), "jpg comes before png in image_keys");
    assert_eq!(source.captions(0).unwrap(), ["one", "uno"]);

    let renamed = WebDatasetConfig {
        caption_field: Some("text".to_owned()),
        ..config
    };
    let error = renamed.open().unwrap_err().to_string();
    assert!(error.contains("no field \"text\": it has caption, url"), "{error}");
    let nowhere = WebDatasetConfig {
        caption_field: Some("text".to_owned()),
        ..shards.config("0.tar")
    };
    let error = nowhere.open().unwrap_err().to_string();
    assert!(
        error.contains("caption_field = \"text\"") && error.contains("set caption_key to \"json\""),
        "{error}"
    );
}

/// Every kind of damage, one of each.
fn damaged() -> Shards {
    let image = png(1);
    let members: [(&str, &[u8]); 14] = [
        ("00.png", &image),
        ("00.txt", b"fine"),
        ("01.txt", b"no image"),
        ("02.png", &image),
        ("02.json", b"{}"),
        ("03.png", &image),
        ("03.txt", b" \n"),
        ("04.png", &image),
        ("04.txt", b"\xff\xfe"),
        ("05.png", &image),
        ("05.txt", b"twice"),
        ("05.txt", b"named"),
        ("06.png", b"no picture: shows when it is drawn"),
        ("06.txt", b"fine to begin with"),
    ];
    let whole = good(10, 4);
    // The second sample's image begins at byte 2048: header, picture, header, caption, header.
    let inside = whole[..2048 + 512 + 20].to_vec();
    let mut flipped = whole.clone();
    flipped[2048 + 3] ^= 0x40;
    let unclosed = whole[..4 * 2048].to_vec();
    Shards::new(&[
        ("0-members.tar", tar_of(&members)),
        ("1-inside.tar", inside),
        ("2-flipped.tar", flipped),
        ("3-unclosed.tar", unclosed),
        ("4-empty.tar", Vec::new()),
        ("5-no.tar", b"<html>503 Service Unavailable</html>".repeat(40)),
        ("6-whole.tar", whole),
    ])
}

#[test]
fn whatever_is_damaged_is_counted_by_reason_and_named() {
    let shards = damaged();
    let config = WebDatasetConfig {
        shards: vec![
            shards.path("*.tar").display().to_string(),
            shards.path("not-there.tar").display().to_string(),
        ],
        ..shards.config("")
    };
    let source = config.open().unwrap();
    let report = source.report();
    let only = |tally: &Tally, place: &str| {
        assert_eq!(tally.count, 1, "{tally}");
        assert!(tally.named[0].contains(place), "{tally}");
    };
    only(
        &report.no_image,
        "0-members.tar, 01: no member ends in .jpg, .jpeg, .png, .webp, .gif, .bmp: it has .txt",
    );
    // The sample that a cut or a flipped bit falls into lacks what is behind.
    assert_eq!(report.no_caption.count, 1, "{}", report.no_caption);
    assert!(report.no_caption.named[0].contains("0-members.tar, 02: no member ends in .txt: it has .png, .json"));
    only(&report.empty_captions, "0-members.tar, 03");
    only(&report.bad_captions, "0-members.tar, 04: not UTF-8");
    only(&report.twice_named, "0-members.tar, 05: two members end in .txt");
    let broken = report.broken_files.to_string();
    assert_eq!(report.broken_files.count, 6, "{broken}");
    for place in [
        "1-inside.tar: the file is cut short, inside 0011.png",
        "2-flipped.tar: no header of a member at byte 2048: archive header checksum mismatch",
        "3-unclosed.tar: the file is cut short, after a member",
        "4-empty.tar: the file is empty",
        "5-no.tar: no header of a member at byte 0: numeric field was not a number",
    ] {
        assert!(broken.contains(place), "{broken}");
    }
    // 00 and the picture that is none; 1 of each shard that breaks in its second sample; 4 of the unclosed and of the whole.
    assert_eq!(source.num_samples(), 2 + 1 + 1 + 4 + 4);
    assert_eq!(report.skipped.len(), 5 + 6);
    let gone = report.skipped.last().unwrap();
    assert!(
        gone.file.as_deref().is_some_and(|file| file.ends_with("not-there.tar")) && gone.sample.is_none(),
        "{gone:?}"
    );
    let drawn = source.draw(1, &mut ChaCha8Rng::seed_from_u64(0)).unwrap_err();
    assert!(drawn.to_string().contains("0-members.tar, 06.png"), "{drawn}");
    assert_eq!(draw(&source, 2, 0).0, 10);
    assert_eq!(draw(&source, 11, 0).0, 13);
}

#[test]
fn more_damage_than_the_budget_is_an_error() {
    let shards = damaged();
    let open = |max_skipped| {
        WebDatasetConfig {
            max_skipped,
            ..shards.config("*.tar")
        }
        .open()
    };
    assert_eq!(open(10).unwrap().report().skipped.len(), 10);
    let error = open(9).unwrap_err().to_string();
    for part in ["more than max_skipped = 9", "broken shards: ", "raise max_skipped"] {
        assert!(error.contains(part), "{error}");
    }
    let none = Shards::new(&[("0.tar", b"nothing".to_vec())]);
    let error = none.config("0.tar").open().unwrap_err();
    assert!(matches!(error, DataError::NoSamples { .. }), "{error}");
    assert!(error.to_string().contains("broken shards: 1"), "{error}");
}

#[test]
fn a_shard_that_changes_afterwards_is_an_error_of_the_sample() {
    let shards = Shards::new(&[("0.tar", good(0, 2))]);
    let source = shards.config("0.tar").open().unwrap();
    let cut = |path: &Path, len| {
        fs::File::options()
            .write(true)
            .open(path)
            .unwrap()
            .set_len(len)
            .unwrap()
    };
    cut(&shards.path("0.tar"), 2048 + 512);
    assert_eq!(draw(&source, 0, 0).0, 0);
    let error = source.image(1).unwrap_err();
    assert!(error.to_string().contains("shorter than when it was opened"), "{error}");
    fs::remove_file(shards.path("0.tar")).unwrap();
    assert_eq!(source.captions(0).unwrap_err().reason(), "cannot read file");
}

#[test]
fn noise_on_captions_keeps_shards() {
    let shards = Shards::new(&[("0.tar", good(0, 4)), ("1.tar", good(4, 4))]);
    let config = WebDatasetConfig {
        caption_noise: CaptionNoise::new(1.0),
        ..shards.config("{0..1}.tar")
    };
    let source = DataConfig::WebDataset(config).open().unwrap();
    assert_eq!(source.shard_starts(), [0, 4]);
    let caption = source.draw_caption(0, &mut ChaCha8Rng::seed_from_u64(0)).unwrap();
    assert!(caption.starts_with("grey ") && caption != "grey 0", "{caption}");
}

proptest! {
    /// What a damaged shard still offers can be read or is an error, and every sample is offered or named once at most.
    #[test]
    fn no_damage_breaks_the_reader(
        flips in prop::collection::vec((0_usize..8192, 0_u8..8), 0..6),
        cut in 0_usize..12_000,
    ) {
        let mut bytes = good(0, 4);
        for (at, bit) in flips {
            bytes[at] ^= 1 << bit;
        }
        bytes.truncate(cut);
        let shards = Shards::new(&[("0.tar", bytes), ("1.tar", good(4, 1))]);
        let source = shards.config("*.tar").open().unwrap();
        prop_assert!((1..=9).contains(&source.num_samples()));
        for index in 0..source.num_samples() {
            let _ = source.image(index);
            prop_assert!(!source.captions(index).unwrap().is_empty());
            prop_assert!(source.name(index).contains(".tar, "));
        }
    }
}
