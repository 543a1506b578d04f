//! Tar shards on servers, and what is said without them.

use insta::assert_snapshot;

use crate::run::Folder;
#[cfg(feature = "remote")]
use crate::test_server::{Fault, TestServer};

#[cfg(not(feature = "remote"))]
#[test]
fn a_url_says_what_has_to_be_built() {
    let shown = Folder::new().failure(&["data", "inspect", "s3://bucket/{00..31}.tar"]);
    assert_snapshot!(shown, @"error: shards, s3://bucket/{00..31}.tar: this binary was built without the feature remote, which reads URLs: cargo install --path crates/twinflame --features remote");
}

/// Three samples.
#[cfg(feature = "remote")]
fn shard() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for sample in 0..3_u8 {
        let mut png = std::io::Cursor::new(Vec::new());
        let picture = image::GrayImage::from_pixel(20, 24, image::Luma([sample]));
        picture.write_to(&mut png, image::ImageFormat::Png).unwrap();
        let caption = format!("grey number {sample}").into_bytes();
        for (ending, bytes) in [("png", png.into_inner()), ("txt", caption)] {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            tar.append_data(&mut header, format!("{sample}.{ending}"), &*bytes)
                .unwrap();
        }
    }
    tar.into_inner().unwrap()
}

#[cfg(feature = "remote")]
#[test]
fn a_look_at_shards_on_servers() {
    let folder = Folder::new();
    folder.write("local/0.tar", shard());
    folder.write("local/1.tar", shard());
    let server = TestServer::new(&[("web/0.tar", shard()), ("web/1.tar", shard())]);
    let url = format!("{}/web", server.url());
    let s3 = [
        ("AWS_ENDPOINT", &*server.url()),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_ACCESS_KEY_ID", "id"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ];
    let gs = [
        ("GOOGLE_BASE_URL", &*server.url()),
        ("GOOGLE_ALLOW_HTTP", "true"),
        ("GOOGLE_SKIP_SIGNATURE", "true"),
    ];
    let local = folder
        .success(&["data", "inspect", "local/{0..1}.tar"])
        .replace("local/{0..1}.tar", "SOURCE");
    server.fail("web/0.tar", Fault::Status(503), 1);
    server.fail("web/1.tar", Fault::Cut, 1);
    let sources: [(&[(&str, &str)], String); 3] = [
        (&[], format!("{url}/{{0..1}}.tar")),
        (&s3, "s3://web/*.tar".to_owned()),
        (&gs, "gs://web/*.tar".to_owned()),
    ];
    for (vars, source) in sources {
        let outcome = folder.twinflame_with(vars, &["data", "inspect", &source]);
        assert!(outcome.succeeded, "{source}: {}", outcome.stderr);
        assert_eq!(outcome.stdout.replace(&source, "SOURCE"), local);
    }
    // Of a signed URL the ending is no `.tar`.
    let signed = folder.success(&["data", "inspect", &format!("{url}/0.tar?X-Amz-Signature=0123")]);
    assert!(signed.contains(": 3 samples\n"), "{signed}");
}

/// They find of a server what they find of the files, for which a list serves as well.
#[cfg(feature = "remote")]
#[test]
fn tools_take_shards_on_servers() {
    let folder = Folder::new();
    folder.write("web/0.tar", shard());
    folder.write("web/1.tar", shard());
    folder.write("queries.txt", "grey\nnumber\n");
    let server = TestServer::new(&[("web/0.tar", shard()), ("web/1.tar", shard())]);
    let text = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let run = |place: &str, url: &str| {
        let source = format!("{url}/{{0..1}}.tar");
        let queries = "--queries=queries.txt";
        let curated = folder.success(&["data", "curate", &source, queries, &format!("-o={place}-curated.jsonl")]);
        let deduped = folder.success(&["data", "dedup", "--exact", &source, &format!("-o={place}-kept.jsonl")]);
        folder.success(&["data", "shard", &source, &format!("-o={place}-shards")]);
        let config = format!("kind = \"webdataset\"\nshards = \"{source}\"\nkeep = \"here-kept.jsonl\"\n");
        folder.write(&format!("{place}.toml"), config);
        let inspected = folder.success(&["data", "inspect", &format!("{place}.toml")]);
        let written = ["curated", "kept"].map(|list| text(&format!("{place}-{list}.jsonl")));
        let sizes = text(&format!("{place}-shards/sizes.json"));
        let tar = std::fs::read(folder.path().join(format!("{place}-shards/00000.tar"))).unwrap();
        // Columns are as wide as what is in them.
        let words = |told: String| -> Vec<String> {
            let told = told.replace(url, "URL").replace(place, "PLACE").replace('─', "");
            told.split_whitespace().map(str::to_owned).collect()
        };
        let told = [curated, deduped, inspected].map(words);
        (told, written.map(|list| list.replace(url, "URL")), sizes, tar)
    };
    let (told, lists, sizes, tar) = run("here", "web");
    assert_eq!(lists[1].lines().count(), 3, "the second shard is the first again");
    let remote = run("there", &format!("{}/web", server.url()));
    assert_eq!((remote.0, remote.1, remote.2), (told, lists, sizes));
    assert!(remote.3 == tar, "a server's samples are written as other shards");
}

#[cfg(feature = "remote")]
#[test]
fn mistakes_with_servers() {
    let folder = Folder::new();
    let server = TestServer::new(&[("web/0.tar", shard())]);
    let portable = |text: &str| text.replace(&server.url(), "http://HOST");
    let inspect =
        |pattern: &str| portable(&folder.failure(&["data", "inspect", &format!("{}/web/{pattern}", server.url())]));
    assert_snapshot!(inspect("*.tar"), @"error: shards, http://HOST/web/*.tar: files on a web server cannot be listed: name them with braces, such as {00000..00331}");
    assert_snapshot!(inspect("1.tar"), @"error: no usable sample in http://HOST/web/1.tar: 0 samples, broken shards: 1 (http://HOST/web/1.tar: status 404 Not Found: <Error><Code>NoSuchKey</Code></Error> (1 try))");
    assert_snapshot!(inspect("captions.csv"), @"error: shards, http://HOST/web/captions.csv: only tar shards are read from URLs: copy the files to this machine");
    let url = server.url();
    let public = [
        ("AWS_ENDPOINT", &*url),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_SKIP_SIGNATURE", "true"),
    ];
    let nothing = folder.twinflame_with(&public, &["data", "inspect", "s3://web/x-*.tar"]);
    assert_snapshot!(nothing.stderr, @"error: shards, s3://web/x-*.tar: it matches no file");
}

/// No variable, no file in the home folder, and nobody where the machines of a cloud ask.
#[cfg(feature = "remote")]
#[test]
fn servers_without_credentials() {
    let folder = Folder::new();
    let none = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let none_given = |source: &str, expected: &str| {
        let (url, host, home) = (
            format!("http://{none}"),
            none.to_string(),
            folder.path().display().to_string(),
        );
        let vars = [
            ("AWS_METADATA_ENDPOINT", &*url),
            ("GCE_METADATA_HOST", &*host),
            ("GCE_METADATA_IP", &*host),
            ("HOME", &*home),
        ];
        let outcome = folder.twinflame_with(&vars, &["data", "inspect", source]);
        let expected = format!("error: shards, {source}: no credentials: set {expected}");
        assert!(
            !outcome.succeeded && outcome.stderr.starts_with(&expected),
            "{}",
            outcome.stderr
        );
    };
    none_given(
        "s3://bucket/*.tar",
        "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_SKIP_SIGNATURE=true for a public bucket",
    );
    none_given(
        "gs://bucket/0.tar",
        "GOOGLE_APPLICATION_CREDENTIALS to the file of a service account",
    );
}
