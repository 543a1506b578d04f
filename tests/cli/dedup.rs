//! Images that are there twice, and lists of samples that training reads.

use insta::assert_snapshot;

use crate::run::Folder;

/// Blobs of light, other ones for each seed, and brighter by `light`.
fn blobs(seed: u32, width: u32, light: f32) -> image::RgbImage {
    image::RgbImage::from_fn(width, width / 4 * 3, |x, y| {
        let (x, y, seed) = (x as f32 / width as f32, y as f32 / width as f32, seed as f32);
        let wave = |a: f32| ((a + 1.7 * seed).sin() * 8.0 * x + (2.3 * a + seed).cos() * 8.0 * y + a * seed).sin();
        image::Rgb([0.3, 1.1, 2.9].map(|a| (120.0 + light + 50.0 * wave(a) + 50.0 * wave(a + 5.0)) as u8))
    })
}

fn file(image: &image::RgbImage, format: image::ImageFormat) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// Two shards of six samples: 4 is the file of 1, 7 is 0 as JPEG, 8 is 0 smaller, 9 is 0 a little brighter, 10 is no image.
fn shards() -> Folder {
    use image::ImageFormat::{Jpeg, Png};
    let folder = Folder::new();
    for shard in 0..2 {
        let mut tar = tar::Builder::new(Vec::new());
        let mut add = |name: String, bytes: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, name, bytes).unwrap();
        };
        for number in 6 * shard..6 * shard + 6 {
            let bytes = match number {
                4 => file(&blobs(1, 96, 0.0), Png),
                7 => file(&blobs(0, 96, 0.0), Jpeg),
                8 => file(&blobs(0, 64, 0.0), Png),
                9 => file(&blobs(0, 96, 5.0), Png),
                10 => b"no picture".to_vec(),
                _ => file(&blobs(number, 96, 0.0), Png),
            };
            add(format!("{number:03}.jpg"), &bytes);
            let kind = if number % 3 == 0 { "Dog" } else { "cat" };
            add(
                format!("{number:03}.txt"),
                format!("a {kind} {}", number % 2).as_bytes(),
            );
        }
        folder.write(&format!("shards/{shard}.tar"), tar.into_inner().unwrap());
    }
    folder
}

fn text(folder: &Folder, name: &str) -> String {
    std::fs::read_to_string(folder.path().join(name)).unwrap()
}

fn shown(text: &str) -> String {
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

#[test]
fn duplicates_in_shards_are_found_and_left_out_of_training() {
    let folder = shards();
    let dedup = |more: &[&str]| folder.success(&[&["data", "dedup", "shards/*.tar", "-o=kept.jsonl"], more].concat());
    let found = dedup(&["--groups=groups.jsonl", "--skipped=bad.jsonl"]);
    assert_snapshot!(shown(&found), @r#"
                                       number
    ──────────────────────────────────────────
     samples                               12
     cannot be read                         1
     image file of an earlier sample        1
       in groups                            1
     image near an earlier one              3
       in groups                            1
     kept                                   7

     biggest groups, by their first sample   samples   different files
    ───────────────────────────────────────────────────────────────────
     shards/0.tar, 000.jpg                         4                 4
     shards/0.tar, 001.jpg                         2                 1

    7 captions are those of an earlier sample
    4 samples have the caption "a cat 1"
    3 samples have the caption "a cat 0"
    2 samples have the caption "a Dog 0"
    2 samples have the caption "a Dog 1"

    1 unreadable samples; not an image: 1 (shards/1.tar, 010.jpg: not an image: the first bytes match none of JPEG, PNG, WebP, GIF and BMP)

    kept: kept.jsonl
    groups: groups.jsonl
    not usable, a line each: bad.jsonl
    "#);
    assert_snapshot!(text(&folder, "kept.jsonl"), @r#"
    {"file":"shards/0.tar","sample":"000"}
    {"file":"shards/0.tar","sample":"001"}
    {"file":"shards/0.tar","sample":"002"}
    {"file":"shards/0.tar","sample":"003"}
    {"file":"shards/0.tar","sample":"005"}
    {"file":"shards/1.tar","sample":"006"}
    {"file":"shards/1.tar","sample":"011"}
    "#);
    assert_snapshot!(text(&folder, "groups.jsonl"), @r#"
    {"file":"shards/0.tar","group":0,"sample":"000"}
    {"file":"shards/0.tar","group":1,"sample":"001"}
    {"file":"shards/0.tar","group":1,"sample":"004"}
    {"file":"shards/1.tar","group":0,"sample":"007"}
    {"file":"shards/1.tar","group":0,"sample":"008"}
    {"file":"shards/1.tar","group":0,"sample":"009"}
    "#);
    assert_snapshot!(text(&folder, "bad.jsonl"), @r#"{"sample":"shards/1.tar, 010.jpg","reason":"not an image: the first bytes match none of JPEG, PNG, WebP, GIF and BMP"}"#);

    let all = "kind = \"webdataset\"\nshards = \"shards/{0..1}.tar\"\n";
    folder.write(
        "kept.toml",
        format!("{all}keep = \"kept.jsonl\"\ngroups = \"groups.jsonl\"\n"),
    );
    let inspected = folder.success(&["data", "inspect", "kept.toml"]);
    assert_snapshot!(inspected.lines().next().unwrap(), @"kept.toml: 7 samples");
    let again = folder.success(&["data", "dedup", "kept.toml", "-o=again.jsonl"]);
    assert!(again.contains("image near an earlier one              0"), "{again}");
    assert_eq!(text(&folder, "again.jsonl"), text(&folder, "kept.jsonl"));

    let exact = dedup(&["--exact"]);
    assert!(
        !exact.contains("near") && text(&folder, "kept.jsonl").lines().count() == 10,
        "{exact}"
    );
    let equal = dedup(&["--distance=0"]);
    assert!(equal.contains("kept"), "{equal}");
}

/// With `distinct_ids` a batch has one image of each group.
#[test]
fn training_takes_groups_for_one_image() {
    let folder = shards();
    folder.success(&[
        "data",
        "dedup",
        "shards/*.tar",
        "-o=kept.jsonl",
        "--groups=groups.jsonl",
    ]);
    let recipe = folder.success(&["recipes", "show", "tiny"]);
    let (before, data) = recipe.split_once("[data.train]\n").unwrap();
    let (_, after) = data.split_once("\n[").unwrap();
    let train = |more: &str, batch_size: usize| {
        let shards = format!("kind = \"webdataset\"\nshards = \"shards/{{0..1}}.tar\"\n{more}");
        folder.write("shards.toml", format!("{before}[data.train]\n{shards}\n[{after}"));
        let size = [
            format!("--set=loader.batch_size={batch_size}"),
            format!("--set=task.micro_batch_size={batch_size}"),
        ];
        let fixed = [
            "train",
            "shards.toml",
            "--device=cpu",
            "--plain",
            "--set=run.num_steps=2",
            "--set=loader.distinct_ids=true",
        ];
        folder.twinflame(&[&fixed[..], &[&size[0], &size[1]]].concat())
    };
    // All that can be read: a sample that cannot would need a replacement with another id.
    let all = (0..12_u32).filter(|number| *number != 10);
    let lines = all.map(|number| format!("{{\"file\": \"{}.tar\", \"sample\": \"{number:03}\"}}\n", number / 6));
    folder.write("all.jsonl", lines.collect::<String>());
    let all = "keep = \"all.jsonl\"\n";
    let plain = train(all, 8);
    assert!(plain.succeeded, "{}", plain.stderr);
    let grouped = format!("{all}groups = \"groups.jsonl\"\n");
    let one_of_each = train(&grouped, 7);
    assert!(one_of_each.succeeded, "{}", one_of_each.stderr);
    let too_many = train(&grouped, 8);
    assert!(!too_many.succeeded);
    assert_snapshot!(too_many.stderr.lines().last().unwrap(), @"error: loader.batch_size = 8 with distinct_ids = true, but the training data has 7 different image ids, so there is no full batch; lower batch_size to at most 7 or set distinct_ids = false");
}

#[test]
fn what_curation_keeps_of_shards_is_trained_on() {
    let folder = shards();
    folder.write("queries.txt", "Dog\n");
    folder.success(&[
        "data",
        "curate",
        "shards/*.tar",
        "--queries=queries.txt",
        "-o=kept.jsonl",
    ]);
    assert_snapshot!(text(&folder, "kept.jsonl"), @r#"
    {"file":"shards/0.tar","sample":"000"}
    {"file":"shards/0.tar","sample":"003"}
    {"file":"shards/1.tar","sample":"006"}
    {"file":"shards/1.tar","sample":"009"}
    "#);
    let inspect = |list: &str| {
        folder.write(
            "kept.toml",
            format!("kind = \"webdataset\"\nshards = \"shards/*.tar\"\nkeep = \"{list}\"\n"),
        );
        folder.twinflame(&["data", "inspect", "kept.toml", "--captions-only"])
    };
    let found = inspect("kept.jsonl");
    assert!(found.succeeded, "{}", found.stderr);
    assert_snapshot!(found.stdout.lines().next().unwrap(), @"kept.toml: 4 samples");

    folder.write(
        "few.jsonl",
        "{\"file\": \"1.tar\", \"sample\": \"009\"}\n{\"file\": \"1.tar\", \"sample\": \"900\"}\n",
    );
    assert_snapshot!(inspect("few.jsonl").stdout.lines().next().unwrap(), @"kept.toml: 1 samples, listed samples that the shards lack: 1 (1.tar, 900)");
    folder.write("other.jsonl", "{\"file\": \"other/1.tar\", \"sample\": \"009\"}\n");
    assert_snapshot!(inspect("other.jsonl").stderr, @r#"error: keep = "other.jsonl": none of its samples is in these shards. One of the list is other/1.tar, 009; the first shard is shards/0.tar"#);
    folder.write("keys.jsonl", "009\n");
    assert_snapshot!(inspect("keys.jsonl").stderr, @r#"error: keys.jsonl, line 1: invalid number; a line of keep is an object such as {"file": "00000.tar", "sample": "000123"}"#);
    assert_snapshot!(inspect("none.jsonl").stderr, @"error: cannot read none.jsonl: No such file or directory (os error 2)");
}

#[test]
fn of_a_folder_the_rows_of_its_table_are_kept() {
    let folder = Folder::new();
    let mut table = "image\tcaption\tid\n".to_owned();
    for number in 0..6 {
        let bytes = file(&blobs(number % 4, 96, 0.0), image::ImageFormat::Png);
        folder.write(&format!("photos/{number}.png"), bytes);
        table.push_str(&format!("{number}.png\tnumber {number}\tx\n"));
    }
    folder.write("photos/captions.tsv", &table);
    let dedup = |output: &str| folder.twinflame(&["data", "dedup", "photos", "-o", output]);
    assert!(dedup("photos/kept.tsv").succeeded);
    let rows = table.lines().count() - 2;
    let expected: Vec<&str> = table.lines().take(rows).collect();
    assert_eq!(text(&folder, "photos/kept.tsv"), format!("{}\n", expected.join("\n")));
    folder.write(
        "kept.toml",
        "kind = \"folder\"\npath = \"photos\"\ncaptions = \"kept.tsv\"\n",
    );
    let found = folder.success(&["data", "inspect", "kept.toml"]);
    assert!(found.starts_with("kept.toml: 4 samples\n"), "{found}");

    assert_snapshot!(dedup("kept.jsonl").stderr, @"error: kept.jsonl: the rows that are kept are written as they stand in photos/captions.tsv, so give a name that ends in .tsv");
    assert_snapshot!(dedup("nowhere/kept.tsv").stderr, @r#"
    error: cannot write nowhere/kept.tsv
      because: No such file or directory (os error 2)
    "#);
    folder.write("drawn.toml", "kind = \"emoji\"\n");
    assert_snapshot!(folder.failure(&["data", "dedup", "drawn.toml", "-o=kept"]), @r#"error: kind = "emoji" is drawn and has no list of samples to keep; write it with `twinflame data shard` and take the shards"#);
    assert!(!folder.path().join("kept").exists() && !folder.path().join("kept.partial").exists());
}
