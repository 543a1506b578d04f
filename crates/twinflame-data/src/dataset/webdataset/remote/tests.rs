use std::time::Duration;

use super::test_server::{Fault, TestServer};
use super::*;
use crate::dataset::webdataset::index::Opened;
use crate::dataset::webdataset::shard::Shard;
use crate::dataset::webdataset::tests::{Shards, draw, good, png, tar_of};
use crate::dataset::webdataset::{WebDatasetConfig, WebDatasetSource};
use crate::dataset::{DataError, Source};

/// Three shards: of three samples, cut inside its second of four, and of two samples of which one lacks its caption.
fn shards() -> [(&'static str, Vec<u8>); 3] {
    let image = png(9);
    let faulty: [(&str, &[u8]); 3] = [("7.png", &image), ("8.png", &image), ("8.txt", b"grey 9")];
    [
        ("0.tar", good(0, 3)),
        ("1.tar", good(3, 4)[..2048 + 520].to_vec()),
        ("2.tar", tar_of(&faulty)),
    ]
}

fn config(server: &TestServer, pattern: &str) -> WebDatasetConfig {
    WebDatasetConfig {
        timeout_seconds: 0.5,
        retries: 2,
        ..WebDatasetConfig::new([format!("{}/{pattern}", server.url())])
    }
}

fn samples(source: &WebDatasetSource) -> Vec<(u8, String)> {
    (0..source.num_samples()).map(|index| draw(source, index, 3)).collect()
}

/// What was opened, with the part of the names that differs taken out.
fn opened(source: &WebDatasetSource, place: &str) -> String {
    let names: Vec<String> = (0..source.num_samples()).map(|index| source.name(index)).collect();
    let told = format!(
        "{}\n{:?}\n{:?}\n{names:?}\n{:?}",
        source.report(),
        source.report().skipped,
        source.shard_starts(),
        source.eval_captions().unwrap()
    );
    told.replace(place, "PLACE")
}

#[test]
fn a_web_server_gives_what_the_files_give() {
    let files = Shards::new(&shards());
    let local = files.config("{0..2}.tar").open().unwrap();
    let server = TestServer::new(&shards());
    let remote = config(&server, "{0..2}.tar").open().unwrap();
    let folder = files.path("").display().to_string();
    assert_eq!(opened(&remote, &format!("{}/", server.url())), opened(&local, &folder));
    assert_eq!(samples(&remote), samples(&local));
    assert_eq!(remote.num_samples(), 5);
    server.requests();
    draw(&remote, 1, 0);
    assert_eq!(server.requests().len(), 1, "caption and image come at once");
}

#[test]
fn what_passes_is_tried_again() {
    let files = Shards::new(&shards());
    let local = samples(&files.config("0.tar").open().unwrap());
    let server = TestServer::new(&shards());
    let passing = [
        Fault::Status(503),
        Fault::Status(429),
        Fault::Cut,
        Fault::Hang,
        Fault::Announced(10),
        Fault::Announced(-10),
        Fault::Reset,
    ];
    for fault in passing {
        server.fail("0.tar", fault.clone(), 2);
        let source = config(&server, "0.tar").open().unwrap();
        assert!(source.report().is_clean(), "{fault:?}: {}", source.report());
        server.fail("0.tar", fault.clone(), 2);
        assert_eq!(samples(&source), local, "{fault:?}");
    }
}

#[test]
fn what_does_not_pass_is_a_broken_shard_or_sample_with_its_reason() {
    let server = TestServer::new(&shards());
    let source = config(&server, "0.tar").open().unwrap();
    let cases = [
        (
            Fault::Status(503),
            "status 503 Service Unavailable: <html> out of order</html> (3 tries)",
        ),
        (
            Fault::Status(404),
            "status 404 Not Found: <html> out of order</html> (1 try)",
        ),
        (
            Fault::Status(403),
            "status 403 Forbidden: <html> out of order</html> (1 try)",
        ),
        (Fault::NoRange, "it does not support range requests"),
        (Fault::Cut, "(3 tries)"),
        (Fault::Announced(-10), "(3 tries)"),
        (Fault::Hang, "no answer within 0.5 s (3 tries)"),
    ];
    for (fault, reason) in cases {
        server.fail("0.tar", fault.clone(), usize::MAX);
        let error = source.image(1).unwrap_err();
        assert_eq!(error.reason(), "cannot read file");
        let error = error.to_string();
        assert!(error.starts_with(&format!("{}/0.tar: ", server.url())), "{error}");
        assert!(error.contains(reason), "{error}");
        if !matches!(fault, Fault::Cut | Fault::Hang | Fault::Announced(_)) {
            // The other shard is asked first: the server is there.
            let opened = config(&server, "{2,0}.tar").open().unwrap();
            let broken = opened.report().broken_files.to_string();
            assert!(broken.starts_with("1 (") && broken.contains(reason), "{broken}");
            assert_eq!(opened.num_samples(), 1);
        }
        server.heal();
    }
}

#[test]
fn a_connection_that_breaks_later_leaves_no_half_shards() {
    let long = vec![7; 3 << 20];
    let image = png(1);
    let members: [(&str, &[u8]); 5] = [
        ("0.png", &image),
        ("0.txt", b"grey 1"),
        ("0.bin", &long),
        ("1.png", &image),
        ("1.txt", b"grey 1"),
    ];
    let server = TestServer::new(&[("0.tar", tar_of(&members)), ("1.tar", good(0, 1))]);
    let all = config(&server, "{0,1}.tar").open().unwrap();
    assert_eq!((all.num_samples(), all.report().is_clean()), (3, true));
    let log = server.requests();
    assert!(
        log.iter().any(|line| line.starts_with("GET 0.tar 31")),
        "{log:?}: the long member is left out"
    );
    // Two answers, one to the question whether the server is there, then none.
    server.fail("0.tar", Fault::Announced(0), 2);
    server.fail("0.tar", Fault::Cut, usize::MAX);
    let some = config(&server, "{0,1}.tar").open().unwrap();
    assert_eq!(
        (some.num_samples(), some.report().broken_files.count),
        (1, 1),
        "{}",
        some.report()
    );
}

#[test]
fn a_server_that_is_not_there_ends_the_opening() {
    let gone = TestServer::new(&[]);
    gone.fail("0.tar", Fault::Hang, usize::MAX);
    let error = config(&gone, "{0..900}.tar").open().unwrap_err();
    assert!(matches!(error, DataError::Read { .. }), "{error}");
    assert!(
        error.to_string().contains("no answer within 0.5 s (3 tries)"),
        "{error}"
    );
    assert_eq!(gone.requests().len(), 3);

    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let nobody = WebDatasetConfig {
        retries: 1,
        ..WebDatasetConfig::new([format!("http://127.0.0.1:{port}/a.tar")])
    };
    let error = nobody.open().unwrap_err().to_string();
    assert!(
        error.contains("Connection refused") && error.contains("(2 tries)"),
        "{error}"
    );
}

#[test]
fn a_shard_that_changes_afterwards_is_an_error_of_the_sample() {
    let server = TestServer::new(&shards());
    let source = config(&server, "0.tar").open().unwrap();
    server.put("0.tar", good(0, 4));
    let error = source.image(1).unwrap_err().to_string();
    assert!(error.contains("not as it was when it was opened"), "{error}");
}

#[test]
fn mistakes_in_urls_are_named() {
    let message = |url: &str| WebDatasetConfig::new([url]).open().unwrap_err().to_string();
    assert!(message("http://127.0.0.1:1/a-*.tar").contains("name them with braces"));
    assert!(message("ftp://host/a.tar").contains("ftp:// is none of http://, https://, s3:// and gs://"));
    assert!(message("s3://bucket").contains("it has to be s3://BUCKET/NAME"));
    assert!(message("http://").contains("http://"), "{}", message("http://"));
    let timeout = WebDatasetConfig {
        timeout_seconds: 0.0,
        ..WebDatasetConfig::new(["http://127.0.0.1:1/a.tar"])
    };
    assert!(timeout.open().unwrap_err().to_string().contains("timeout_seconds = 0"));
}

fn stores(vars: &[(&str, &str)]) -> Stores {
    let patience = Patience {
        timeout: Duration::from_secs(2),
        retries: 2,
    };
    let owned = vars.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
    Stores::with_vars(patience, owned.collect())
}

/// Names and number of samples of what a pattern matches.
fn found(stores: &mut Stores, pattern: &str) -> Result<Vec<(String, usize)>, String> {
    let objects = stores.objects(pattern)?;
    let config = WebDatasetConfig::new([""]);
    let read = |object| {
        let shard = Shard::Object(object);
        let found = Opened::read(&shard, &config, None);
        assert_eq!(found.scan.broken, None);
        (shard.name(), found.entries.len())
    };
    Ok(objects.into_iter().map(read).collect())
}

/// A bucket with names that a pattern has to tell apart.
fn bucket() -> TestServer {
    let names = [
        "d/a-2.tar",
        "d/a-10.tar",
        "d/b.tar",
        "d/e/a-1.tar",
        "d-x/a-1.tar",
        "d/a-3.txt",
    ];
    let files: Vec<(String, Vec<u8>)> = names
        .iter()
        .zip(1..)
        .map(|(name, n)| (format!("bucket/{name}"), good(0, n)))
        .collect();
    let files: Vec<(&str, Vec<u8>)> = files.iter().map(|(name, bytes)| (&**name, bytes.clone())).collect();
    TestServer::new(&files)
}

fn check_bucket(stores: &mut Stores, scheme: &str) {
    let mut names = |pattern: &str| {
        let pairs = found(stores, &format!("{scheme}://bucket/{pattern}")).unwrap();
        let bare = |name: &str| name.strip_prefix(&format!("{scheme}://bucket/")).unwrap().to_owned();
        pairs
            .into_iter()
            .map(|(name, count)| (bare(&name), count))
            .collect::<Vec<_>>()
    };
    let named = |pairs: &[(&str, usize)]| pairs.iter().map(|&(name, n)| (name.to_owned(), n)).collect::<Vec<_>>();
    assert_eq!(names("d/a-10.tar"), named(&[("d/a-10.tar", 2)]));
    assert_eq!(
        names("d/a-*.tar"),
        named(&[("d/a-10.tar", 2), ("d/a-2.tar", 1)]),
        "as files are sorted"
    );
    assert_eq!(names("d*/a-?.tar"), named(&[("d/a-2.tar", 1), ("d-x/a-1.tar", 5)]));
    assert_eq!(names("d/*/*.tar"), named(&[("d/e/a-1.tar", 4)]));
    assert_eq!(names("[d]/b.tar"), named(&[("d/b.tar", 3)]));
    assert_eq!(names("d/z*.tar"), named(&[]));
}

#[test]
fn s3_lists_and_reads_with_signed_requests() {
    let server = bucket();
    server.sign();
    let url = server.url();
    let keys = [("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "secret")];
    let place = [
        ("AWS_ENDPOINT", &*url),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_REGION", "eu-west-1"),
    ];
    check_bucket(&mut stores(&[&place[..], &keys].concat()), "s3");

    server.fail("bucket/d/b.tar", Fault::Status(503), 2);
    let mut signed = stores(&[&place[..], &keys].concat());
    assert_eq!(found(&mut signed, "s3://bucket/d/b.tar").unwrap()[0].1, 3);
    let mut public = stores(&[&place[..], &[("AWS_SKIP_SIGNATURE", "true")]].concat());
    let object = public.objects("s3://bucket/d/b.tar").unwrap().remove(0);
    let error = object.stat().unwrap_err().to_string();
    let expected =
        format!("status 403 Forbidden: <Error><Code>AccessDenied</Code></Error> (1 try of {url}/bucket/d/b.tar)");
    assert_eq!(error, expected);
}

#[test]
fn google_cloud_storage_lists_and_reads() {
    let server = bucket();
    let folder = tempfile::tempdir().unwrap();
    let account = folder.path().join("account.json");
    let json = serde_json::json!({
        "gcs_base_url": server.url(), "disable_oauth": true, "client_email": "", "private_key": "", "private_key_id": "",
    });
    std::fs::write(&account, json.to_string()).unwrap();
    let vars = [
        ("GOOGLE_SERVICE_ACCOUNT", account.to_str().unwrap()),
        ("GOOGLE_ALLOW_HTTP", "true"),
    ];
    check_bucket(&mut stores(&vars), "gs");
}

#[test]
fn missing_credentials_are_an_error_at_once() {
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let nobody = format!("http://127.0.0.1:{port}");
    let mut none = stores(&[("AWS_METADATA_ENDPOINT", &nobody)]);
    let error = none.objects("s3://bucket/a.tar").unwrap_err();
    assert!(
        error.starts_with("no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
        "{error}"
    );
    let half = stores(&[("AWS_ACCESS_KEY_ID", "id")])
        .objects("s3://bucket/a.tar")
        .unwrap_err();
    assert!(
        half.to_lowercase().contains("secretaccesskey") || half.contains("secret"),
        "{half}"
    );
    let absent = stores(&[("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere/a.json")]);
    let error = { absent }.objects("gs://bucket/a.tar").unwrap_err();
    assert!(error.contains("/nowhere/a.json"), "{error}");
    let plain = stores(&[("AWS_ENDPOINT", "http://minio:9000")])
        .objects("s3://bucket/a.tar")
        .unwrap_err();
    assert_eq!(
        plain,
        "AWS_ENDPOINT = http://minio:9000 is not encrypted: set AWS_ALLOW_HTTP=true if that is meant"
    );
}
