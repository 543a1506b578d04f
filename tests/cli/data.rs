//! Data in tar shards: looked at, trained on, and with mistakes.

use insta::assert_snapshot;

use crate::run::Folder;

fn png(shade: u8, width: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    image::GrayImage::from_pixel(width, 24, image::Luma([shade]))
        .write_to(&mut std::io::Cursor::new(&mut bytes), image::ImageFormat::Png)
        .unwrap();
    bytes
}

/// Three shards of eight samples; in the second, one sample lacks its caption and one picture is none; the third is cut.
fn shards() -> Folder {
    let folder = Folder::new();
    for shard in 0..3_u8 {
        let mut tar = tar::Builder::new(Vec::new());
        let mut add = |name: String, bytes: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, name, bytes).unwrap();
        };
        for sample in 0..8 {
            let number = 8 * shard + sample;
            let image = match number {
                9 => b"no picture".to_vec(),
                _ => png(10 * (number % 20), 20 + u32::from(sample)),
            };
            add(format!("{number:03}.png"), &image);
            if number != 10 {
                add(
                    format!("{number:03}.txt"),
                    format!("grey number {}", number % 20).as_bytes(),
                );
            }
        }
        let mut bytes = tar.into_inner().unwrap();
        if shard == 2 {
            // Inside the last picture: header, picture, header, caption for each sample.
            bytes.truncate(7 * 2048 + 520);
        }
        folder.write(&format!("shards/{shard}.tar"), bytes);
    }
    folder
}

#[test]
fn a_look_at_damaged_shards() {
    let folder = shards();
    let shown = folder.success(&[
        "data",
        "inspect",
        "shards/{0..2}.tar",
        "--context-length=4",
        "--skipped=skipped.jsonl",
        "-o=sheet.png",
    ]);
    let shown: Vec<&str> = shown.lines().map(str::trim_end).collect();
    assert_snapshot!(shown.join("\n"), @r#"
    shards/{0..2}.tar: 22 samples, broken shards: 1 (shards/2.tar: the file is cut short, inside 023.png), samples without a caption: 1 (shards/1.tar, 010: no member ends in .txt: it has .png)

                                           number
    ──────────────────────────────────────────────
     samples                                   22
     captions                                  22
     captions that an earlier sample has        3
     captions over 4 tokens                    22
     images                                    21
     images that an earlier sample has          0
     samples that cannot be read                1

                               smallest   5 %   median   95 %   largest
    ────────────────────────────────────────────────────────────────────
     image width                     20    20       24     27        27
     image height                    24    24       24     24        24
     shorter side                    20    20       24     24        24
     captions of a sample             1     1        1      1         1
     characters of a caption         13    13       13     14        14
     words of a caption               3     3        3      3         3
     tokens of a caption              5     5        5      6         6

     script   captions     share
    ─────────────────────────────
     Latin          22   100.0 %
    2 samples have the caption "grey number 0"
    2 samples have the caption "grey number 1"
    2 samples have the caption "grey number 2"

    1 unreadable samples; not an image: 1 (shards/1.tar, 009.png: not an image: the first bytes match none of JPEG, PNG, WebP, GIF and BMP)

    not usable, a line each: skipped.jsonl

    contact sheet: sheet.png
    "#);
    assert_snapshot!(std::fs::read_to_string(folder.path().join("skipped.jsonl")).unwrap(), @r#"
    {"file":"shards/1.tar","sample":"010","reason":"no member ends in .txt: it has .png"}
    {"file":"shards/2.tar","sample":null,"reason":"the file is cut short, inside 023.png"}
    {"file":"shards/1.tar","sample":"009","reason":"not an image: the first bytes match none of JPEG, PNG, WebP, GIF and BMP"}
    "#);
    let sheet = std::fs::read(folder.path().join("sheet.png")).unwrap();
    assert!(sheet.starts_with(b"\x89PNG"));
    let captions_only = folder.success(&["data", "inspect", "shards/*.tar", "--captions-only"]);
    assert!(!captions_only.contains("image width"), "{captions_only}");
}

#[test]
fn what_loading_costs() {
    let folder = shards();
    let bench = |more: &[&str]| {
        let args = [
            "data",
            "bench",
            "shards/*.tar",
            "--image-size=16",
            "--batch-size=8",
            "--epochs=2",
        ];
        folder.success(&[&args, more].concat())
    };
    let found: serde_json::Value = serde_json::from_str(&bench(&["--num-workers=1", "--json"])).unwrap();
    // 22 samples are two full batches of 8.
    assert_eq!(
        (&found["images"], &found["workers"]),
        (&16.into(), &1.into()),
        "{found}"
    );
    assert_eq!(found["cpu_s_per_1000"].as_array().unwrap().len(), 2, "{found}");
    let table = bench(&["--num-workers=0"]);
    for row in [
        "batches, 0 workers",
        "reading",
        "decoding",
        "cropping and resizing",
        "tokenizing",
    ] {
        assert!(table.contains(row), "{row} is missing from\n{table}");
    }
    assert_snapshot!(folder.failure(&["data", "bench", "shards/0.tar"]), @"error: loader.batch_size = 64 but an epoch of the training data has 8 samples, so there is no full batch; lower batch_size to at most 8");
}

#[test]
fn mistakes_about_shards() {
    let folder = shards();
    let failure = |shards: &str, more: &str| {
        folder.write(
            "data.toml",
            format!("kind = \"webdataset\"\nshards = \"{shards}\"\n{more}"),
        );
        folder.failure(&["data", "inspect", "data.toml"])
    };
    assert_snapshot!(failure("shards/*.zip", ""), @"error: shards, shards/*.zip: it matches no file");
    assert_snapshot!(failure("shards/{0..2.tar", ""), @"error: shards, shards/{0..2.tar: it has a { without }");
    assert_snapshot!(failure("shards/{0..2}.tar", "max_skipped = 1\n"), @"error: more than max_skipped = 1 shards and samples cannot be used: 22 samples, broken shards: 1 (shards/2.tar: the file is cut short, inside 023.png), samples without a caption: 1 (shards/1.tar, 010: no member ends in .txt: it has .png). Mend them or raise max_skipped");
    assert_snapshot!(failure("elsewhere/0.tar", ""), @"error: no usable sample in elsewhere/0.tar: 0 samples, broken shards: 1 (elsewhere/0.tar: No such file or directory (os error 2))");
    assert_snapshot!(failure("shards/0.tar", "caption_key = \"json\"\n"), @"error: no usable sample in shards/0.tar: 0 samples, samples without a caption: 8 (shards/0.tar, 000: no member ends in .json: it has .png, .txt; shards/0.tar, 001: no member ends in .json: it has .png, .txt; shards/0.tar, 002: no member ends in .json: it has .png, .txt; shards/0.tar, 003: no member ends in .json: it has .png, .txt; shards/0.tar, 004: no member ends in .json: it has .png, .txt; …)");
    assert_snapshot!(failure("shards/0.tar", "captions_key = \"json\"\n"), @"error: data.toml: unknown field `captions_key`, expected one of `shards`, `image_keys`, `caption_key`, `caption_field`, `max_skipped`, `keep`, `groups`, `index`, `timeout_seconds`, `retries`, `caption_noise`");
}

/// A run over shards says what it leaves out, and is the same whatever the number of workers.
#[test]
fn training_on_shards() {
    let folder = shards();
    let recipe = folder.success(&["recipes", "show", "tiny"]);
    let (before, data) = recipe.split_once("[data.train]\n").unwrap();
    let (_, after) = data.split_once("\n[").unwrap();
    let shards = "kind = \"webdataset\"\nshards = \"shards/{0..2}.tar\"\n";
    folder.write("shards.toml", format!("{before}[data.train]\n{shards}\n[{after}"));
    let train = |name: &str, workers: &str| {
        let outcome = folder.twinflame(&[
            "train",
            "shards.toml",
            "--device=cpu",
            "--plain",
            "--set=loader.batch_size=7",
            "--set=task.micro_batch_size=7",
            "--set=loader.shuffle_shards=2",
            "--set=run.num_steps=6",
            "--set=run.log_every_steps=1",
            &format!("--set=loader.num_workers={workers}"),
            &format!("--runs-dir={name}"),
        ]);
        assert!(outcome.succeeded, "{}", outcome.stderr);
        assert!(
            outcome.stderr.contains("broken shards: 1 (shards/2.tar: "),
            "{}",
            outcome.stderr
        );
        outcome
    };
    let losses = |outcome: &crate::run::Outcome| -> Vec<String> {
        let lines = outcome.stdout.lines().filter(|line| line.contains("  epoch "));
        lines
            .map(|line| {
                line.split("  speed")
                    .next()
                    .unwrap()
                    .split("  left")
                    .next()
                    .unwrap()
                    .to_owned()
            })
            .collect()
    };
    let [one, two] = [train("one", "0"), train("two", "3")].map(|outcome| losses(&outcome));
    assert_eq!(one.len(), 6, "{one:?}");
    assert_eq!(one, two);
}

/// Shards and a Parquet file in stated proportions; what an epoch is, is told.
#[test]
fn training_on_a_mixture_with_parquet() {
    let folder = shards();
    let parquet = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/fixtures/parquet/hugging_face.parquet"
    );
    std::fs::copy(parquet, folder.path().join("hf.parquet")).unwrap();
    let inspected = folder.success(&["data", "inspect", "hf.parquet"]);
    assert_snapshot!(inspected.lines().next().unwrap(), @"hf.parquet: 7 samples");
    let recipe = folder.success(&["recipes", "show", "tiny"]);
    let (before, data) = recipe.split_once("[data.train]\n").unwrap();
    let (_, after) = data.split_once("\n[").unwrap();
    let mixture = |parquet: &str, per_epoch: usize| {
        let sources = format!(
            "[data.train.sources.hf]\nkind = \"parquet\"\nshards = \"{parquet}\"\nweight = 1\n\
             [data.train.sources.tars]\nkind = \"webdataset\"\nshards = \"shards/0.tar\"\nweight = 3\n"
        );
        let train = format!("[data.train]\nkind = \"mixture\"\nsamples_per_epoch = {per_epoch}\n{sources}");
        folder.write("mixture.toml", format!("{before}{train}\n[{after}"));
        vec![
            "train",
            "mixture.toml",
            "--device=cpu",
            "--plain",
            "--set=run.num_steps=4",
            "--set=loader.batch_size=8",
            "--set=task.micro_batch_size=8",
        ]
    };
    let trained = folder.success(&mixture("hf.parquet", 18));
    assert_snapshot!(trained.lines().find(|line| line.starts_with("an epoch")).unwrap(), @"an epoch is 10 batches of 8 as loader.batches_per_epoch says; 18 samples fill 2, each time hf 4 of 7, tars 12 of 8; the 2 that fill no batch are not drawn");
    let refused = |arguments: &[&str]| folder.failure(arguments).lines().last().unwrap().to_owned();
    assert_snapshot!(refused(&mixture("*.pq", 18)), @"error: data.train: sources.hf: shards, *.pq: it matches no file");
    assert_snapshot!(refused(&mixture("hf.parquet", 7)), @"error: loader.batch_size = 8 but an epoch of the training data has 7 samples, so there is no full batch; lower batch_size to at most 7");
    folder.write("cut.parquet", &std::fs::read(parquet).unwrap()[..900]);
    assert_snapshot!(refused(&mixture("cut.parquet", 18)), @"error: data.train: sources.hf: cut.parquet: no Parquet file, or one that is cut short: Parquet error: Invalid Parquet file. Corrupt footer");
}

#[test]
fn a_collection_is_balanced_over_queries() {
    let folder = Folder::new();
    let rows: String = (0..400)
        .map(|number| match number % 8 {
            0 => format!("{number}.jpg,a red apple\n"),
            1 => format!("{number}.jpg,\"nothing, {number}\"\n"),
            _ => format!("{number}.jpg,a brown dog\n"),
        })
        .collect();
    folder.write("pairs.csv", format!("image,caption\n{rows}"));
    folder.write("corpus.txt", "the dog and the apple\na dog, an apple, a dog\n");
    folder.success(&["data", "queries", "corpus.txt", "--min-count=2", "-o=queries.txt"]);
    let queries = std::fs::read_to_string(folder.path().join("queries.txt")).unwrap();
    assert_eq!(queries, "dog\na\napple\nthe\n");
    // "a dog" comes twice among 11 words: log2(2 * 11 / (2 * 3)) = 1.87 bits.
    let bigrams = |bits: &str| {
        let arguments = ["data", "queries", "corpus.txt", "--min-count=2", bits, "-o=bigrams.txt"];
        let told = folder.success(&arguments);
        (
            told,
            std::fs::read_to_string(folder.path().join("bigrams.txt")).unwrap(),
        )
    };
    let (told, list) = bigrams("--bigrams=1.8");
    assert_snapshot!(told, @"5 queries, 1 of them bigrams: bigrams.txt");
    assert_eq!(list, "dog\na\na dog\napple\nthe\n");
    let (told, list) = bigrams("--bigrams=1.9");
    assert_snapshot!(told, @"4 queries, 0 of them bigrams: bigrams.txt");
    assert_eq!(list, queries);
    folder.write("queries.txt", "dog\napple\ndog\nzebra\n");
    let outcome = folder.twinflame(&[
        "data",
        "curate",
        "pairs.csv",
        "--queries=queries.txt",
        "--cap=60",
        "-o=kept.csv",
        "--counts=counts.tsv",
    ]);
    assert!(outcome.succeeded, "{}", outcome.stderr);
    assert_snapshot!(outcome.stderr, @"note: queries.txt repeats 1 queries");
    let shown: Vec<&str> = outcome.stdout.lines().map(str::trim_end).collect();
    assert_snapshot!(shown.join("\n"), @r#"
                               number
    ──────────────────────────────────
     pairs                        400
     pairs with a query           350
     pairs kept                   110
     queries                        3
     queries that pairs have        2
     queries above the cap          1

     most frequent queries   before   after
    ────────────────────────────────────────
     dog                        300      60
     apple                       50      50
     zebra                        0       0

    kept: kept.csv
    counts: counts.tsv
    "#);
    let kept = std::fs::read_to_string(folder.path().join("kept.csv")).unwrap();
    assert!(kept.starts_with("image,caption\n0.jpg,a red apple\n"), "{kept}");
    assert_eq!(kept.matches("apple").count(), 50, "fewer than the cap stay");
    let counts = std::fs::read_to_string(folder.path().join("counts.tsv")).unwrap();
    let dogs = kept.matches("dog").count();
    assert_eq!(
        counts,
        format!("query\tbefore\tafter\ndog\t300\t{dogs}\napple\t50\t50\nzebra\t0\t0\n")
    );
    // What is kept can be trained on, and curated again.
    folder.success(&["data", "curate", "kept.csv", "--queries=queries.txt", "-o=again.csv"]);
    assert_eq!(std::fs::read_to_string(folder.path().join("again.csv")).unwrap(), kept);
}

/// Both files of others have the pictures of rows 0, 1, 3, 4 and 5; one has captions in lists, the other lacks the picture of row 2.
#[test]
fn parquet_files_are_balanced_and_without_duplicates() {
    let folder = Folder::new();
    for name in ["hugging_face.parquet", "img2dataset.parquet"] {
        let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/parquet");
        std::fs::copy(format!("{fixtures}/{name}"), folder.path().join(name)).unwrap();
    }
    let text = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    folder.write("queries.txt", "nuance\n");
    let curate = |source: &str, more: &[&str]| {
        let fixed = ["data", "curate", source, "--queries=queries.txt", "-o=curated.jsonl"];
        folder.twinflame(&[&fixed[..], more].concat())
    };
    let curated = curate("*.parquet", &[]);
    assert!(curated.succeeded, "{}", curated.stderr);
    assert_snapshot!(curated.stderr, @"note: 1 damaged shards and samples are left out; `twinflame data inspect` names them");
    assert_snapshot!(text("curated.jsonl"), @r#"
    {"file":"hugging_face.parquet","row":0}
    {"file":"hugging_face.parquet","row":1}
    {"file":"hugging_face.parquet","row":3}
    {"file":"hugging_face.parquet","row":4}
    {"file":"hugging_face.parquet","row":6}
    "#);
    let error = curate("*.parquet", &["--column=TEXT"]).stderr;
    assert!(
        error.starts_with(
            r#"error: hugging_face.parquet has no column "TEXT"; its columns are image.bytes, image.path, caption."#
        ),
        "{error}"
    );

    let found = folder.success(&[
        "data",
        "dedup",
        "*.parquet",
        "--exact",
        "-o=kept.jsonl",
        "--groups=groups.jsonl",
    ]);
    assert!(found.contains("hugging_face.parquet, row 0"), "{found}");
    let rows: String = (0..7)
        .map(|row| format!("{{\"file\":\"hugging_face.parquet\",\"row\":{row}}}\n"))
        .collect();
    assert_eq!(text("kept.jsonl"), rows);
    let groups = text("groups.jsonl");
    assert_eq!(groups.lines().count(), 10);
    assert!(
        groups.ends_with("{\"file\":\"img2dataset.parquet\",\"group\":5,\"row\":5}\n"),
        "{groups}"
    );

    // What is kept can be trained on, and curated again.
    let lists = "keep = \"kept.jsonl\"\ngroups = \"groups.jsonl\"\n";
    folder.write(
        "kept.toml",
        format!("kind = \"parquet\"\nshards = \"*.parquet\"\n{lists}"),
    );
    let inspected = folder.success(&["data", "inspect", "kept.toml"]);
    assert_snapshot!(inspected.lines().next().unwrap(), @"kept.toml: 7 samples");
    let curated = text("curated.jsonl");
    let again = curate("kept.toml", &[]);
    assert!(again.succeeded && again.stderr.is_empty(), "{}", again.stderr);
    assert_eq!(text("curated.jsonl"), curated);
    folder.write("few.jsonl", "{\"file\": \"img2dataset.parquet\", \"sample\": \"3\"}\n");
    folder.write(
        "kept.toml",
        "kind = \"parquet\"\nshards = \"*.parquet\"\nkeep = \"few.jsonl\"\n",
    );
    assert_snapshot!(folder.failure(&["data", "inspect", "kept.toml"]), @r#"error: few.jsonl, line 1: missing field `row`; a line of keep is an object such as {"file": "00000.parquet", "row": 123}"#);
}

#[test]
fn mistakes_about_collections() {
    let folder = Folder::new();
    folder.write("pairs.csv", "image,text\n1.jpg,a dog\n");
    folder.write("queries.txt", "dog\n");
    let failure = |args: &[&str]| folder.failure(&[&["data"], args].concat());
    let curate = |source, queries| failure(&["curate", source, "--queries", queries, "-o=kept.csv"]);
    assert_snapshot!(curate("pairs.csv", "queries.txt"), @r#"error: pairs.csv has no column "caption"; its columns are image, text"#);
    assert_snapshot!(curate("pairs.zip", "queries.txt"), @"error: pairs.zip: unknown ending; captions come from .txt (one a line), .csv, .tsv, .jsonl, or tar shards or Parquet files (a pattern that ends in .tar or .parquet)");
    assert_snapshot!(curate("pairs.parquet", "queries.txt"), @"error: cannot read pairs.parquet: No such file or directory (os error 2)");
    assert_snapshot!(curate("pairs.csv", "none.txt"), @"error: cannot read none.txt: No such file or directory (os error 2)");
    assert_snapshot!(failure(&["queries", "pairs.csv", "--column=text", "-o=q.txt"]), @"error: no word of pairs.csv comes 100 times: lower --min-count");
    let no_number = failure(&["queries", "pairs.csv", "--bigrams=many", "-o=q.txt"]);
    assert!(
        no_number.contains("expected a number of bits, such as 5"),
        "{no_number}"
    );
    folder.write("folder.toml", "kind = \"folder\"\npath = \".\"\n");
    assert_snapshot!(curate("folder.toml", "queries.txt"), @r#"error: folder.toml: of a .toml file, captions are read with kind = "webdataset" or "parquet"; of a folder give the table of captions"#);
    assert!(!folder.path().join("kept.csv").exists() && !folder.path().join("kept.csv.partial").exists());
}

#[test]
fn a_folder_becomes_shards() {
    let folder = Folder::new();
    let mut table = "image,caption\n".to_owned();
    for number in 0..10_u8 {
        folder.write(&format!("photos/{number}.png"), png(number, 20));
        table.push_str(&format!("{number}.png,number {number}\n"));
    }
    folder.write("photos/captions.csv", table);
    folder.write("photos/7.png", "no picture");
    let shard = || folder.twinflame(&["data", "shard", "photos", "--samples-per-shard=4", "-o=shards"]);
    let outcome = shard();
    assert!(outcome.succeeded, "{}", outcome.stderr);
    assert_snapshot!(outcome.stderr, @"note: 1 samples cannot be read and are left out; index.json names them");
    assert_snapshot!(outcome.stdout, @"9 samples in 3 shards, 30 KiB: shards");
    let index = std::fs::read(folder.path().join("shards/index.json")).unwrap();
    assert_eq!(shard().stdout, outcome.stdout);
    assert_eq!(std::fs::read(folder.path().join("shards/index.json")).unwrap(), index);
    let shown = folder.success(&["data", "inspect", "shards/{00000..00002}.tar"]);
    assert!(shown.starts_with("shards/{00000..00002}.tar: 9 samples\n"), "{shown}");
    let other = folder.failure(&["data", "shard", "photos", "-o=shards"]);
    assert_snapshot!(other, @"error: shards holds shards of 10 samples, 4 in each, and not of 10, 10000 in each: give an empty folder");
}
