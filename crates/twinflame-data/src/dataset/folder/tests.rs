use std::fs;

use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use tempfile::TempDir;

use super::*;
use crate::dataset::Source;

/// A folder with empty files of these names and a caption file.
fn folder(images: &[&str], caption_file: &str, text: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for image in images {
        let path = folder.path().join(image);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
    fs::write(folder.path().join(caption_file), text).unwrap();
    folder
}

fn open(folder: &TempDir) -> Result<ListedSource, DataError> {
    FolderConfig::new(folder.path()).open()
}

fn captions(source: &ListedSource) -> Vec<String> {
    (0..source.num_samples())
        .flat_map(|index| source.captions(index).unwrap())
        .collect()
}

#[test]
fn the_same_table_reads_alike_from_each_format() {
    let images = ["a.png", "sub/b.png"];
    let tables = [
        (
            "captions.csv",
            "caption,image\n\"a dog, barking\",a.png\ntwo cats,sub/b.png\n",
        ),
        (
            "captions.tsv",
            "image\tcaption\na.png\ta dog, barking\nsub/b.png\ttwo cats\n",
        ),
        (
            "captions.jsonl",
            "{\"image\": \"a.png\", \"caption\": \"a dog, barking\"}\n\n{\"image\": \"sub/b.png\", \"caption\": [\"two cats\"]}\n",
        ),
        (
            "captions.csv",
            "\u{feff}image,caption\r\na.png,\"a dog, barking\"\r\nsub/b.png,two cats\r\n",
        ),
    ];
    for (name, text) in tables {
        let folder = folder(&images, name, text);
        let source = open(&folder).unwrap();
        assert_eq!(captions(&source), ["a dog, barking", "two cats"], "{name}");
        assert_eq!([source.image_id(0), source.image_id(1)], [0, 1]);
        assert_eq!(source.name(1), "sub/b.png");
        assert!(source.report().is_clean());
    }
}

#[test]
fn columns_and_separator_can_be_named() {
    let folder = folder(
        &["1.jpg", "2.jpg"],
        "train.csv",
        "file;text;photo;kind\n1.jpg;one;7;x\n2.jpg;two;7;y\n1.jpg;uno;7;x\n",
    );
    let config = FolderConfig {
        captions: Some("train.csv".into()),
        image_column: "file".to_owned(),
        caption_column: "text".to_owned(),
        id_column: Some("photo".to_owned()),
        class_column: Some("kind".to_owned()),
        separator: Some(';'),
        ..FolderConfig::new(folder.path())
    };
    let source = config.open().unwrap();
    assert_eq!(captions(&source), ["one", "two", "uno"]);
    assert_eq!(source.image_id(0), source.image_id(1));
    assert_eq!(source.eval_images(), [0, 1], "a file is one image in evaluation");
    let classes = &source.classes()[0];
    assert_eq!(
        (classes.names.as_slice(), classes.labels.as_slice()),
        (&["x".to_owned(), "y".to_owned()][..], &[Some(0), Some(1), Some(0)][..])
    );
    assert_eq!(source.report().duplicate_ids.named, ["7, line 3"]);
}

#[test]
fn what_is_wrong_with_rows_is_counted_and_named() {
    let text = "image,caption\ngone.png,x\na.png,\n,y\na.png,  \na.png,good\ngone.png,z\n";
    let folder = folder(&["a.png"], "captions.csv", text);
    let source = open(&folder).unwrap();
    assert_eq!(captions(&source), ["good"]);
    let report = source.report();
    assert_eq!(report.num_samples, 1);
    assert_eq!(
        report.missing_files.named,
        ["gone.png, line 2", ", line 4", "gone.png, line 7"]
    );
    assert_eq!(report.empty_captions.named, ["line 3", "line 5"]);
}

#[test]
fn mistakes_are_named() {
    let csv = |text| folder(&["a.png"], "captions.csv", text);
    let jsonl = |text| folder(&["a.png"], "captions.jsonl", text);
    let cases = [
        (
            csv("image,title\na.png,x\n"),
            "captions.csv has no column \"caption\"; its columns are image, title. Set caption_column to the right one",
        ),
        (csv("image,caption\na.png,x,y\n"), "captions.csv, line 2: "),
        (
            csv("image,caption\nb.png,x\n"),
            "captions.csv: 0 samples, missing image files: 1 (b.png, line 2)",
        ),
        (
            jsonl("{\"image\": \"a.png\", \"text\": \"x\"}\n"),
            "captions.jsonl has no column \"caption\"; its columns are text",
        ),
        (
            jsonl("{\"image\": \"a.png\", \"caption\": \"x\"}\n{\"image\"\n"),
            "captions.jsonl, line 2: ",
        ),
        (
            jsonl("{\"image\": \"a.png\", \"caption\": 3}\n"),
            "line 1: \"caption\" must be a text or a list of texts",
        ),
        (
            folder(&[], "other.csv", ""),
            "no captions.csv, captions.tsv or captions.jsonl in ",
        ),
    ];
    for (folder, message) in cases {
        let error = open(&folder).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
    let two = csv("image,caption\n");
    fs::write(two.path().join("captions.tsv"), "").unwrap();
    let error = open(&two).unwrap_err().to_string();
    assert!(
        error.ends_with("has captions.csv and captions.tsv; set captions to the one to use"),
        "{error}"
    );
    let error = FolderConfig::new("/no/such").open().unwrap_err().to_string();
    assert!(error.starts_with("data path /no/such is not a folder"), "{error}");
    let named = |captions: &str| {
        FolderConfig {
            captions: Some(captions.into()),
            ..FolderConfig::new(two.path())
        }
        .open()
    };
    assert!(named("x.csv").unwrap_err().to_string().starts_with("cannot read "));
    assert!(named("x.txt").unwrap_err().to_string().contains("unknown ending"));
}

#[test]
fn files_are_read_when_drawn() {
    let folder = folder(
        &["bad.png"],
        "captions.csv",
        "image,caption\nbad.png,x\ngood.png,y\ngone.png,z\n",
    );
    image::RgbImage::from_pixel(3, 2, image::Rgb([1, 2, 3]))
        .save(folder.path().join("good.png"))
        .unwrap();
    fs::write(folder.path().join("gone.png"), "").unwrap();
    let source = open(&folder).unwrap();
    fs::remove_file(folder.path().join("gone.png")).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let draw = source.draw(1, &mut rng).unwrap();
    assert_eq!((draw.caption.as_str(), draw.image_id), ("y", 1));
    assert_eq!(
        (draw.image.width(), draw.image.height(), &draw.image.pixels()[..3]),
        (3, 2, &[1, 2, 3][..])
    );
    assert_eq!(source.draw(0, &mut rng).unwrap_err().reason(), "empty file");
    assert_eq!(source.draw(2, &mut rng).unwrap_err().reason(), "cannot read file");
}

#[test]
fn a_row_is_found_again_whatever_is_around_it() {
    let rows: Vec<String> = (0..40)
        .map(|row| "ä, \"\"b\"\"\r\n".repeat(row % 3) + &format!("end {row}"))
        .collect();
    let csv = |end: &str| {
        let line = |row: &String| format!("a.png,\"{row}\"{end}");
        let lines: Vec<String> = rows.iter().map(line).collect();
        format!("\u{feff}image,caption{end}{end}{}", lines.concat())
    };
    for (name, text) in [
        ("captions.csv", csv("\n")),
        ("captions.csv", csv("\r\n")),
        ("captions.csv", csv("\n").trim_end().to_owned()),
    ] {
        let folder = folder(&["a.png"], name, &text);
        let source = open(&folder).unwrap();
        let expected: Vec<String> = rows.iter().map(|row| row.replace("\"\"", "\"")).collect();
        let mut order: Vec<usize> = (0..source.num_samples()).collect();
        order.reverse();
        for index in order {
            assert_eq!(source.captions(index).unwrap(), [expected[index].as_str()]);
        }
        assert_eq!(source.num_samples(), rows.len());
        assert_eq!(source.eval_images(), [0]);
    }
}

#[test]
fn a_table_that_changes_afterwards_is_an_error_of_the_sample() {
    for (name, before, after) in [
        (
            "captions.csv",
            "image,caption\na.png,one\na.png,two\n",
            "image,caption\na.png,one\na.png,six\n",
        ),
        (
            "captions.csv",
            "image,caption\na.png,one\na.png,two\n",
            "image,caption\na.png,one\n",
        ),
        (
            "captions.jsonl",
            "{\"image\": \"a.png\", \"caption\": \"one\"}\n{\"image\": \"a.png\", \"caption\": \"two\"}\n",
            "{\"image\": \"a.png\", \"caption\": \"one\"}\n{\"image\": \"a.png\", \"caption\": {}}      \n",
        ),
    ] {
        let folder = folder(&["a.png"], name, before);
        let source = open(&folder).unwrap();
        fs::write(folder.path().join(name), after).unwrap();
        assert_eq!(source.captions(0).unwrap(), ["one"]);
        let error = source.draw(1, &mut ChaCha8Rng::seed_from_u64(0)).unwrap_err();
        assert_eq!(error.reason(), "unreadable caption", "{error}");
        assert!(error.to_string().contains(name), "{error}");
    }
}
