//! Rows that lists name, and captions one after another.

use super::*;
use crate::dataset::parquet::for_each_caption;

/// 0.parquet with rows 0 to 11, of which 3 lacks its image and 8 its caption, and 1.parquet with rows 20 to 24.
fn files() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut rows = good(0, 12);
    rows[3][0] = None;
    rows[8][1] = None;
    Rows(&rows).write(&folder.path().join("0.parquet"), 5, Compression::SNAPPY);
    Rows(&good(20, 5)).write(&folder.path().join("1.parquet"), 5, Compression::SNAPPY);
    fs::write(folder.path().join("2.parquet"), "damaged").unwrap();
    folder
}

fn listed(folder: &TempDir, files: &str, keep: Option<&str>, groups: Option<&str>) -> ParquetConfig {
    let list = |name: &str, text: Option<&str>| {
        text.map(|text| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path
        })
    };
    ParquetConfig {
        keep: list("keep", keep),
        groups: list("groups", groups),
        ..config(folder, files)
    }
}

fn open(folder: &TempDir, files: &str, keep: Option<&str>, groups: Option<&str>) -> Result<ParquetSource, String> {
    let config = listed(folder, files, keep, groups);
    let prefix = format!("{}/", folder.path().display());
    config.open().map_err(|error| error.to_string().replace(&prefix, ""))
}

fn greys(source: &ParquetSource) -> Vec<u8> {
    (0..source.num_samples()).map(|index| grey(source, index).0).collect()
}

#[test]
fn listed_rows_are_used_and_no_other_is_looked_at() {
    let folder = files();
    // In any order, twice, with an empty line and a key of others. The damaged file is not opened.
    let keep = r#"{"row": 2, "file": "1.parquet", "sum": 3}

        {"file": "0.parquet", "row": 11}
        {"file": "1.parquet", "row": 2}
        {"file": "0.parquet", "row": 4}"#;
    let source = open(&folder, "{0..2}.parquet", Some(keep), None).unwrap();
    assert_eq!(greys(&source), [4, 11, 22]);
    assert_eq!(source.shard_starts(), [0, 1, 1, 2]);
    assert!(source.name(1).ends_with("0.parquet, row 11"), "{}", source.name(1));
    assert_eq!(source.captions(2).unwrap(), ["grey 22"]);
    assert!(source.report().is_clean(), "{}", source.report());

    let faulty = format!("{keep}\n{{\"file\": \"0.parquet\", \"row\": 3}}");
    let source = open(&folder, "{0..2}.parquet", Some(&faulty), None).unwrap();
    assert_eq!((source.num_samples(), source.report().no_image.count), (3, 1));
    assert_eq!(source.report().not_found.count, 0, "it is there");
    let missing = format!("{keep}\n{{\"file\": \"0.parquet\", \"row\": 12}}\n{{\"file\": \"7.parquet\", \"row\": 1}}");
    let source = open(&folder, "{0..2}.parquet", Some(&missing), None).unwrap();
    assert_eq!(
        source.report().to_string(),
        "3 samples, listed samples that the shards lack: 2 (0.parquet, row 12; 7.parquet, row 1)"
    );
}

#[test]
fn rows_of_a_group_have_the_id_of_its_first() {
    let folder = files();
    // Samples are rows 0, 1, 2, 4, 5, 6, 7, 9, 10, 11 of the first file and then all of the second.
    let groups = r#"{"file": "1.parquet", "row": 0, "group": 7}
        {"file": "0.parquet", "row": 4, "group": 7}
        {"file": "0.parquet", "row": 3, "group": 9}
        {"file": "0.parquet", "row": 11, "group": 9}
        {"file": "1.parquet", "row": 4, "group": 9}"#;
    let source = open(&folder, "{0..1}.parquet", None, Some(groups)).unwrap();
    let ids: Vec<i64> = (0..15).map(|index| source.image_id(index)).collect();
    assert_eq!(ids, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 3, 11, 12, 13, 9]);
    let told: Vec<i64> = source.eval_captions().unwrap().into_iter().map(|(id, _)| id).collect();
    assert_eq!(told, ids);
    let keep = r#"{"file": "1.parquet", "row": 1}
        {"file": "1.parquet", "row": 0}
        {"file": "0.parquet", "row": 4}"#;
    let source = open(&folder, "{0..1}.parquet", Some(keep), Some(groups)).unwrap();
    assert_eq!([0, 1, 2].map(|index| source.image_id(index)), [0, 0, 2]);
}

#[test]
fn mistakes_in_lists_are_named() {
    let folder = files();
    let error = |keep: Option<&str>, groups: Option<&str>| open(&folder, "{0..1}.parquet", keep, groups).unwrap_err();
    assert_eq!(
        error(Some(r#"{"file": "0.parquet", "sample": "3"}"#), None),
        r#"keep, line 1: missing field `row`; a line of keep is an object such as {"file": "00000.parquet", "row": 123}"#
    );
    let text = error(Some(r#"{"file": "0.parquet", "row": "3"}"#), None);
    assert!(
        text.starts_with("keep, line 1: invalid type: string \"3\", expected u64; "),
        "{text}"
    );
    let text = error(None, Some(r#"{"file": "0.parquet", "row": 3}"#));
    assert!(
        text.ends_with(r#"such as {"file": "00000.parquet", "row": 123, "group": 7}"#),
        "{text}"
    );
    assert_eq!(
        error(Some(r#"{"file": "0.parquet", "row": 12}"#), None),
        "keep = \"keep\": none of its samples is in these shards. One of the list is 0.parquet, row 12; the first shard is 0.parquet"
    );
    let twice = [1, 2].map(|group| format!("{{\"file\": \"0.parquet\", \"row\": 3, \"group\": {group}}}\n"));
    let text = error(None, Some(&twice.concat()));
    assert!(
        text.starts_with("groups, line 2: 0.parquet, row 3 is in group 1 already; "),
        "{text}"
    );
    assert!(error(Some(" \n"), None).contains("the list is empty"));
}

/// File, row and captions.
fn read(config: &ParquetConfig) -> (Vec<(String, u64, Vec<String>)>, u64) {
    let mut rows = Vec::new();
    let left_out = for_each_caption(config, |file, row, captions| {
        rows.push((file.to_owned(), row, captions));
        Ok::<(), DataError>(())
    });
    (rows, left_out.unwrap())
}

#[test]
fn captions_come_one_after_another_as_training_reads_them() {
    let folder = files();
    // More rows than are read at a time, and more than a page.
    let many: Vec<Row> = (0..2500)
        .map(|row| [Some(png(7)), Some(format!("number {row}").into_bytes())])
        .collect();
    Rows(&many).write(&folder.path().join("3.parquet"), 2100, Compression::SNAPPY);
    let keep: String = (0..2500)
        .step_by(7)
        .map(|row| format!("{{\"file\": \"3.parquet\", \"row\": {row}}}\n"))
        .collect();
    let configs = [
        (listed(&folder, "{0,1,3}.parquet", None, None), 15 + 2500, 2),
        (listed(&folder, "{2,3}.parquet", Some(&keep), None), 358, 0),
        (fixture("hugging_face.parquet"), 7, 0),
        (fixture("img2dataset.parquet"), 5, 1),
    ];
    for (config, num_rows, num_left_out) in configs {
        let (rows, left_out) = read(&config);
        let source = config.open().unwrap();
        assert_eq!((rows.len(), left_out), (num_rows, num_left_out));
        assert_eq!(source.num_samples(), num_rows);
        for (index, (file, row, captions)) in rows.iter().enumerate() {
            assert_eq!(source.name(index), format!("{file}, row {row}"));
            assert_eq!(&source.captions(index).unwrap(), captions);
        }
    }
}

#[test]
fn nothing_comes_after_an_error() {
    let folder = files();
    let mut num_rows = 0;
    let outcome = for_each_caption(&config(&folder, "{0..1}.parquet"), |_, _, _| {
        num_rows += 1;
        match num_rows {
            3 => Err(DataError::NoPaths),
            _ => Ok(()),
        }
    });
    assert!(matches!(outcome, Err(DataError::NoPaths)) && num_rows == 3);
}

#[test]
fn a_file_without_images_has_captions() {
    let folder = tempfile::tempdir().unwrap();
    let rows = [("a", "one"), ("b", ""), ("c", "two")];
    write_columns(&folder.path().join("a.parquet"), ["url", "text"], &rows);
    let config = config(&folder, "a.parquet");
    let (rows, left_out) = read(&config);
    let texts: Vec<(u64, &str)> = rows.iter().map(|(_, row, texts)| (*row, texts[0].as_str())).collect();
    assert_eq!((texts, left_out), (vec![(0, "one"), (2, "two")], 1));
    let error = |config: &ParquetConfig| for_each_caption(config, |_, _, _| Ok::<(), DataError>(())).unwrap_err();
    let named = ParquetConfig {
        image_column: Some("image".to_owned()),
        ..config.clone()
    };
    assert!(
        error(&named)
            .to_string()
            .contains("has no column \"image\"; its columns are url, text")
    );
    assert!(config.open().is_err(), "training needs images");
}

#[test]
fn damage_to_captions_is_an_error_and_no_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    Rows(&good(0, 9)).write(&path, 4, Compression::SNAPPY);
    let whole = fs::read(&path).unwrap();
    let (mut refused, mut named) = (0, 0);
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x41;
        fs::write(&path, &bytes).unwrap();
        if let Err(error) = for_each_caption(&config(&folder, "a.parquet"), |_, _, _| Ok::<(), DataError>(())) {
            let text = error.to_string();
            assert!(text.contains("a.parquet"), "{text}");
            refused += 1;
            named += usize::from(text.contains("cannot be read: column \"caption\": "));
        }
    }
    assert!(refused > 100 && named > 10, "{refused} {named}");
}
