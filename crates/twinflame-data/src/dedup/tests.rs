use std::fs;
use std::path::PathBuf;

use image::{ImageFormat, RgbImage, imageops};
use tempfile::TempDir;

use super::*;
use crate::dataset::{DataConfig, EmojiConfig, FolderConfig, JsonConfig, WebDatasetConfig};
use crate::shard::write_shards;

/// Stripes and blobs, other ones for each seed.
fn scene(seed: u32) -> RgbImage {
    RgbImage::from_fn(96, 64, |x, y| {
        let (x, y, seed) = (x as f32 / 96.0, y as f32 / 64.0, seed as f32);
        let wave = |a: f32| ((a + 1.7 * seed).sin() * 8.0 * x + (2.3 * a + seed).cos() * 8.0 * y + a * seed).sin();
        image::Rgb([0.3, 1.1, 2.9].map(|a| (128.0 + 60.0 * wave(a) + 60.0 * wave(a + 5.0)) as u8))
    })
}

fn encoded(image: &RgbImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Vec::new();
    image.write_to(&mut std::io::Cursor::new(&mut bytes), format).unwrap();
    bytes
}

/// Eight images: 0, 1, 2 differ; 3 is the file of 1; 4 is 0 as JPEG, 5 is 0 in half the size; 6 is no image; 7 is the file of 4.
fn images() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let small = imageops::resize(&scene(0), 48, 32, imageops::FilterType::Triangle);
    let files = [
        encoded(&scene(0), ImageFormat::Png),
        encoded(&scene(1), ImageFormat::Png),
        encoded(&scene(2), ImageFormat::Png),
        encoded(&scene(1), ImageFormat::Png),
        encoded(&scene(0), ImageFormat::Jpeg),
        encoded(&small, ImageFormat::Png),
        b"no image".to_vec(),
        encoded(&scene(0), ImageFormat::Jpeg),
    ];
    for (number, bytes) in files.iter().enumerate() {
        fs::write(folder.path().join(format!("{number}.img")), bytes).unwrap();
    }
    folder
}

/// A table over [`images`] with a row that cannot be used in between, and a column that training does not read.
fn table() -> (TempDir, FolderConfig) {
    let folder = images();
    let rows = [
        "0.img,a dog,x",
        "0.img,the same dog,x",
        "0.img,A  Dog,x",
        "gone.img,nothing,x",
        "1.img,\"a cat, asleep\",x",
        "2.img,a dog,x",
        "3.img,a cat,x",
        "4.img,a dog,x",
        "4.img,another,x",
        "5.img,a dog,x",
        "6.img,none,x",
        "7.img,a dog,x",
    ];
    fs::write(
        folder.path().join("captions.csv"),
        format!("image,caption,from\n{}\n", rows.join("\n")),
    )
    .unwrap();
    let config = FolderConfig::new(folder.path());
    (folder, config)
}

struct Written {
    found: Dedup,
    kept: String,
    groups: String,
}

fn deduped(config: &DataConfig, output: &str, distance: Option<u32>) -> Written {
    let source = config.open().unwrap();
    let mut done = 0;
    let found = dedup(&*source, distance, |samples| done += samples).unwrap();
    assert_eq!((done, found.num_samples), (source.num_samples(), source.num_samples()));
    let list = KeepList::new(config, output.as_ref()).unwrap();
    let (mut kept, mut groups) = (Vec::new(), Vec::new());
    list.write(&*source, &found, &mut kept, Some(&mut groups)).unwrap();
    assert_eq!(
        (0..done).filter(|&sample| found.is_kept(sample)).count(),
        found.num_kept
    );
    let [kept, groups] = [kept, groups].map(|bytes| String::from_utf8(bytes).unwrap());
    Written { found, kept, groups }
}

#[test]
fn of_a_table_the_rows_stay_that_bring_an_image_or_a_caption() {
    let (folder, config) = table();
    let Written { found, kept, groups } = deduped(&DataConfig::Folder(config.clone()), "kept.csv", Some(4));
    assert_eq!(
        kept,
        "image,caption,from\n0.img,a dog,x\n0.img,the same dog,x\n1.img,\"a cat, asleep\",x\n2.img,a dog,x\n"
    );
    assert_eq!((found.num_samples, found.num_kept, found.bad.total()), (11, 4, 1));
    // 3.img, and 7.img, which is the file of 4.img.
    assert_eq!(found.exact, Copies { groups: 2, samples: 2 });
    // 4.img and 5.img.
    assert_eq!(found.near, Copies { groups: 1, samples: 2 });
    // "A  Dog", and the second row of 4.img.
    assert_eq!(found.dropped_rows, 2);
    assert_eq!(found.num_kept + 1 + 2 + 2 + 2, found.num_samples);
    assert!(found.unreadable[0].sample.ends_with("6.img"), "{:?}", found.unreadable);
    let group = |first: &str, samples, files| Group {
        first: first.to_owned(),
        samples,
        files,
    };
    assert_eq!(found.biggest, [group("0.img", 7, 3), group("1.img", 2, 1)]);
    assert_eq!(found.duplicate_captions, 5);
    assert_eq!(found.repeated_captions, [("a dog".to_owned(), 6)]);
    assert_eq!(groups.lines().count(), 9);
    assert!(groups.starts_with("{\"group\":0,\"image\":\"0.img\"}\n"), "{groups}");
    assert!(groups.contains("{\"group\":3,\"image\":\"3.img\"}\n"), "{groups}");

    // What is kept is a table of the same folder.
    fs::write(folder.path().join("kept.csv"), kept).unwrap();
    let kept = FolderConfig {
        captions: Some("kept.csv".into()),
        ..config
    };
    let again = deduped(&DataConfig::Folder(kept), "again.csv", Some(4)).found;
    assert_eq!((again.num_samples, again.num_kept, again.biggest.len()), (4, 4, 0));
}

#[test]
fn bytes_alone_find_copies_of_files() {
    let (_folder, config) = table();
    let found = deduped(&DataConfig::Folder(config), "kept.csv", None).found;
    assert_eq!((found.exact.samples, found.near), (2, Copies::default()));
    assert_eq!((found.num_kept, found.bad.total(), found.dropped_rows), (7, 1, 1));
}

#[test]
fn json_lists_and_json_lines_keep_their_entries() {
    let folder = images();
    let object =
        |number: u32| serde_json::json!({"image": format!("{number}.img"), "caption": ["a", "b"], "image_id": number});
    let lists = [vec![object(3), object(1)], vec![object(2), object(1)]];
    let paths: Vec<PathBuf> = ["a.json", "b.json"].map(|name| folder.path().join(name)).to_vec();
    for (path, list) in paths.iter().zip(&lists) {
        fs::write(path, serde_json::to_vec(list).unwrap()).unwrap();
    }
    let config = JsonConfig::new(paths);
    let written = deduped(&DataConfig::Json(config), "kept.json", Some(0));
    let kept: Vec<serde_json::Value> = serde_json::from_str(&written.kept).unwrap();
    assert_eq!(kept, [object(3), object(2)]);
    let path = folder.path().join("kept.json");
    fs::write(&path, written.kept).unwrap();
    assert_eq!(JsonConfig::new([path]).open().unwrap().num_samples(), 2);

    let lines: Vec<String> = lists.concat().iter().map(serde_json::Value::to_string).collect();
    fs::write(folder.path().join("captions.jsonl"), lines.join("\n\n")).unwrap();
    let config = DataConfig::Folder(FolderConfig::new(folder.path()));
    let written = deduped(&config, "kept.jsonl", Some(0));
    assert_eq!(written.kept, format!("{}\n{}\n", lines[0], lines[2]));
}

/// The images of [`images`] that are some, in shards of three.
fn shards() -> (TempDir, WebDatasetConfig) {
    let folder = images();
    let rows: String = (0..8).map(|number| format!("{number}.img,number {number}\n")).collect();
    fs::write(folder.path().join("captions.csv"), format!("image,caption\n{rows}")).unwrap();
    let source = FolderConfig::new(folder.path()).open().unwrap();
    let index = write_shards(&source, folder.path(), 3, |_| {}).unwrap();
    assert_eq!(index.shards.len(), 3);
    let config = WebDatasetConfig::new([folder.path().join("*.tar").display().to_string()]);
    (folder, config)
}

#[test]
fn training_on_shards_reads_what_is_kept_and_grouped() {
    let (folder, config) = shards();
    let Written { found, kept, groups } = deduped(&DataConfig::WebDataset(config.clone()), "kept", Some(4));
    assert_eq!((found.num_samples, found.num_kept), (7, 3));
    let (keep_path, groups_path) = (folder.path().join("kept"), folder.path().join("groups"));
    fs::write(&keep_path, kept).unwrap();
    fs::write(&groups_path, groups).unwrap();

    // All samples: 0 to 5, and 7 as number 6.
    let grouped = WebDatasetConfig {
        groups: Some(groups_path),
        ..config
    };
    let source = grouped.open().unwrap();
    let ids: Vec<i64> = (0..7).map(|sample| source.image_id(sample)).collect();
    assert_eq!(ids, [0, 1, 2, 1, 0, 0, 0]);
    let listed: Vec<i64> = source.eval_captions().unwrap().into_iter().map(|(id, _)| id).collect();
    assert_eq!(listed, ids);

    let kept = WebDatasetConfig {
        keep: Some(keep_path),
        ..grouped
    };
    let source = kept.open().unwrap();
    assert!(source.report().is_clean(), "{}", source.report());
    let captions: Vec<String> = (0..3)
        .map(|sample| source.captions(sample).unwrap().remove(0))
        .collect();
    assert_eq!(captions, ["number 0", "number 1", "number 2"]);
    assert_eq!((source.num_samples(), source.shard_starts()), (3, &[0, 3, 3][..]));
    // Nothing is left to find, and the same lines come out.
    let again = deduped(&DataConfig::WebDataset(kept.clone()), "kept", Some(4));
    assert_eq!((again.found.num_kept, again.groups.as_str()), (3, ""));
    assert_eq!(again.kept, fs::read_to_string(kept.keep.unwrap()).unwrap());
}

#[test]
fn what_is_found_does_not_depend_on_the_number_of_threads() {
    let (_folder, config) = table();
    let config = DataConfig::Folder(config);
    let [one, many] = [1, 7].map(|threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let written = deduped(&config, "kept.csv", Some(8));
            (format!("{:?}", written.found), written.kept, written.groups)
        })
    });
    assert_eq!(one, many);
}

#[test]
fn mistakes_are_named() {
    let (folder, config) = table();
    let config = DataConfig::Folder(config);
    let error = KeepList::new(&config, "kept.jsonl".as_ref()).unwrap_err().to_string();
    assert!(
        error.starts_with("kept.jsonl: ") && error.ends_with("a name that ends in .csv"),
        "{error}"
    );
    let error = KeepList::new(&DataConfig::Emoji(EmojiConfig::default()), "kept".as_ref()).unwrap_err();
    assert!(error.to_string().starts_with("kind = \"emoji\" is drawn"), "{error}");

    let source = config.open().unwrap();
    let found = dedup(&*source, None, |_| {}).unwrap();
    fs::write(folder.path().join("captions.csv"), "image,caption\n0.img,a dog\n").unwrap();
    let list = KeepList::new(&config, "kept.csv".as_ref()).unwrap();
    let error = list
        .write(&*source, &found, &mut Vec::new(), None)
        .unwrap_err()
        .to_string();
    assert!(error.ends_with("1 are there, and 11 were opened"), "{error}");
}
