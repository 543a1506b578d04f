use std::fs;

use super::*;
use crate::dataset::parquet::tests::{fixture, write_columns};
use crate::dataset::{ParquetConfig, Source};

fn file(folder: &tempfile::TempDir, name: &str, text: &str) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    path
}

fn curated(file: &CaptionFile, queries: &[&str], cap: u64, seed: u64) -> (Curation, String) {
    let queries: Vec<String> = queries.iter().map(|&query| query.to_owned()).collect();
    let mut out = Vec::new();
    let mut done = 0;
    let curation = curate(file, &queries, cap, seed, &mut out, |pairs| done += pairs).unwrap();
    assert_eq!(done, 2 * curation.num_pairs);
    (curation, String::from_utf8(out).unwrap())
}

/// 30,000 captions: "head" in all of those that have a query, "middle" in a tenth, "tail" in 20, and 3,000 without any.
fn collection(folder: &tempfile::TempDir) -> CaptionFile {
    let lines: Vec<String> = (0..30_000)
        .map(|i| match i % 10 {
            0 if i % 1500 == 0 => format!("a tail, {i}"),
            0 => format!("nothing {i}"),
            1 => format!("the middle {i}"),
            _ => format!("head {i}"),
        })
        .collect();
    CaptionFile::open(&file(folder, "captions.txt", &lines.join("\n")), None).unwrap()
}

#[test]
fn the_head_is_flattened_and_the_tail_stays() {
    let folder = tempfile::tempdir().unwrap();
    let collection = collection(&folder);
    let (curation, kept) = curated(&collection, &["tail", "middle", "head", "absent"], 1000, 7);
    let before: Vec<u64> = curation.counts.iter().map(|count| count.before).collect();
    assert_eq!(before, [20, 3000, 24_000, 0]);
    assert_eq!((curation.num_pairs, curation.num_matched), (30_000, 27_020));
    let after: Vec<u64> = curation.counts.iter().map(|count| count.after).collect();
    assert_eq!((after[0], after[3]), (20, 0));
    // 1000 are expected; the standard deviation is at most 31.
    assert!(
        after[1].abs_diff(1000) < 130 && after[2].abs_diff(1000) < 160,
        "{after:?}"
    );
    assert_eq!(curation.num_kept, after.iter().sum::<u64>());
    assert_eq!(kept.lines().count() as u64, curation.num_kept);
    let places: Vec<u64> = kept
        .lines()
        .map(|line| line.rsplit(' ').next().unwrap().parse().unwrap())
        .collect();
    assert!(places.is_sorted(), "in the order of the collection");

    assert_eq!(
        curated(&collection, &["tail", "middle", "head", "absent"], 1000, 7).1,
        kept
    );
    assert_ne!(
        curated(&collection, &["tail", "middle", "head", "absent"], 1000, 8).1,
        kept
    );
    let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let alone = one_thread.install(|| curated(&collection, &["tail", "middle", "head", "absent"], 1000, 7).1);
    assert_eq!(alone, kept);
    // A cap that nothing exceeds keeps whatever matches.
    assert_eq!(curated(&collection, &["middle"], 3000, 7).0.num_kept, 3000);
}

#[test]
fn tables_and_json_lines_keep_their_rows() {
    let folder = tempfile::tempdir().unwrap();
    let csv = file(
        &folder,
        "a.csv",
        "image,caption\n1.jpg,\"a dog, brown\"\n2.jpg,a cat\n3.jpg,\"the \"\"dog\"\"\"\n4.jpg,my dog\n",
    );
    let csv = CaptionFile::open(&csv, None).unwrap();
    let kept = curated(&csv, &["dog"], 10, 0).1;
    assert_eq!(kept, "image,caption\n1.jpg,\"a dog, brown\"\n4.jpg,my dog\n");
    let jsonl = "{\"url\": \"x\", \"text\": [\"un chien\", \"a dog\"]}\n\n{\"text\": \"a cat\"}\n{\"text\": null}\n";
    let jsonl = CaptionFile::open(&file(&folder, "a.jsonl", jsonl), Some("text")).unwrap();
    let (curation, kept) = curated(&jsonl, &["dog", "chien"], 10, 0);
    assert_eq!(kept, "{\"url\": \"x\", \"text\": [\"un chien\", \"a dog\"]}\n");
    assert_eq!((curation.num_pairs, curation.num_matched, curation.num_kept), (3, 1, 1));
}

#[test]
fn shards_give_a_list_of_their_samples() {
    let folder = tempfile::tempdir().unwrap();
    let mut tar = tar::Builder::new(Vec::new());
    for (name, text) in [
        ("0.png", "x"),
        ("0.txt", "a dog"),
        ("1.png", "x"),
        ("1.txt", "a cat"),
        ("2.png", "x"),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        tar.append_data(&mut header, name, text.as_bytes()).unwrap();
    }
    let path = folder.path().join("0.tar");
    fs::write(&path, tar.into_inner().unwrap()).unwrap();
    let (curation, kept) = curated(&CaptionFile::open(&path, None).unwrap(), &["dog"], 1, 0);
    assert_eq!(kept, format!("{{\"file\":\"{}\",\"sample\":\"0\"}}\n", path.display()));
    assert_eq!((curation.num_pairs, curation.num_damaged), (2, 1));
}

#[test]
fn parquet_files_give_a_list_of_their_rows() {
    let file = CaptionFile::Parquet(fixture("hugging_face.parquet"));
    // Rows 2 and 5 have one caption, the others two.
    let (curation, kept) = curated(&file, &["nuance"], 10, 0);
    assert_eq!(
        (curation.num_pairs, curation.num_matched, curation.num_damaged),
        (7, 5, 0)
    );
    let rows: Vec<serde_json::Value> = kept.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let numbers: Vec<u64> = rows.iter().map(|row| row["row"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [0, 1, 3, 4, 6]);
    assert!(rows[0]["file"].as_str().unwrap().ends_with("hugging_face.parquet"));
    // One row lacks its image.
    let file = CaptionFile::Parquet(fixture("img2dataset.parquet"));
    let (curation, kept) = curated(&file, &["always"], 10, 0);
    assert_eq!((curation.num_pairs, curation.num_kept, curation.num_damaged), (5, 5, 1));
    assert!(!kept.contains("\"row\":2"), "{kept}");

    // What is kept is what training reads.
    let folder = tempfile::tempdir().unwrap();
    let list = self::file(
        &folder,
        "kept.jsonl",
        &kept.lines().take(2).collect::<Vec<_>>().join("\n"),
    );
    let listed = ParquetConfig {
        keep: Some(list),
        ..fixture("img2dataset.parquet")
    };
    let source = listed.open().unwrap();
    assert_eq!((source.num_samples(), source.report().is_clean()), (2, true));
}

#[test]
fn a_corpus_may_be_parquet_without_images() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    let rows = [("1", "a dog"), ("2", "the dog"), ("3", "a cat")];
    write_columns(&path, ["url", "text"], &rows);
    let rules = QueryRules {
        min_count: 2,
        min_pmi: None,
    };
    let queries = |column| {
        let file = CaptionFile::open(&path, column).unwrap();
        count_queries(&file, &rules, |_| {}).map_err(|error| error.to_string())
    };
    assert_eq!(queries(None).unwrap(), [("a".to_owned(), 2), ("dog".to_owned(), 2)]);
    let error = queries(Some("TEXT")).unwrap_err();
    assert!(
        error.ends_with("a.parquet has no column \"TEXT\"; its columns are url, text"),
        "{error}"
    );
    fs::write(&path, "PAR1 and no more").unwrap();
    let error = queries(None).unwrap_err();
    assert!(
        error.contains("a.parquet: no Parquet file, or one that is cut short"),
        "{error}"
    );
}

#[test]
fn mistakes_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let run = |name: &str, text: &str, column: &str| {
        let file = CaptionFile::open(&file(&folder, name, text), Some(column))?;
        curate(&file, &["dog".to_owned()], 1, 0, &mut Vec::new(), |_| {}).map(drop)
    };
    let message = |name, text, column| run(name, text, column).unwrap_err().to_string();
    assert!(
        message("a.csv", "image,text\n1,dog\n", "caption")
            .ends_with("a.csv has no column \"caption\"; its columns are image, text")
    );
    assert!(message("a.csv", "caption\na\n1,2\n", "caption").contains("a.csv, line 3: "));
    assert!(
        message("a.jsonl", "{\"caption\": \"a\"}\n{\"text\": 1}\n", "caption")
            .ends_with("a.jsonl, line 2: no key \"caption\"; its keys are text")
    );
    assert!(message("a.json", "", "caption").contains("a.json: unknown ending"));
    let missing = CaptionFile::open(Path::new("/no/such.txt"), None).unwrap();
    let error = curate(&missing, &["dog".to_owned()], 1, 0, &mut Vec::new(), |_| {}).unwrap_err();
    assert!(error.to_string().starts_with("cannot read /no/such.txt"), "{error}");

    let queries = read_queries(&file(&folder, "q.txt", "dog\n\n cat \ndog\n")).unwrap();
    assert_eq!(queries, (vec!["dog".to_owned(), "cat".to_owned()], 1));
    let error = read_queries(&file(&folder, "q.txt", " \n")).unwrap_err().to_string();
    assert!(error.contains("holds no query"), "{error}");
}
