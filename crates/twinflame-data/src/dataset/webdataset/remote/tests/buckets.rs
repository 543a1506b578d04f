//! Buckets, their lists and credentials.

use std::time::Duration;

use super::super::{Patience, Stores};
use super::*;
use crate::dataset::webdataset::index::Opened;
use crate::dataset::webdataset::scan::Span;
use crate::dataset::webdataset::shard::Shard;

fn stores(vars: &[(&str, &str)]) -> Stores {
    stores_with(2.0, vars)
}

fn stores_with(timeout_seconds: f64, vars: &[(&str, &str)]) -> Stores {
    let patience = Patience {
        timeout: Duration::from_secs_f64(timeout_seconds),
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

/// The variables of a bucket of S3 on a server that asks for no credentials.
fn public(url: &str) -> [(&str, &str); 3] {
    [
        ("AWS_ENDPOINT", url),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_SKIP_SIGNATURE", "true"),
    ]
}

#[test]
fn a_list_that_is_refused_or_does_not_come_is_an_error() {
    let server = bucket();
    let url = server.url();
    for (fault, reason) in [
        (
            Fault::Status(403),
            "status 403 Forbidden: <html> out of order</html> (1 try of ",
        ),
        (Fault::Status(503), "status 503 Service Unavailable: "),
        (Fault::Hang, "no answer within 0.3 s (3 tries of "),
    ] {
        let mut stores = stores_with(0.3, &public(&url));
        server.fail("bucket", fault, usize::MAX);
        let error = stores.objects("s3://bucket/d/*.tar").unwrap_err();
        let expected = format!("s3://bucket cannot be listed: {reason}");
        assert!(error.starts_with(&expected), "{error}");
        server.heal();
    }
    server.fail("bucket", Fault::Status(503), 2);
    let mut stores = stores_with(2.0, &public(&url));
    assert_eq!(stores.objects("s3://bucket/d/*.tar").unwrap().len(), 3);
}

#[test]
fn an_object_that_changes_afterwards_is_an_error_even_at_the_same_size() {
    let server = bucket();
    let url = server.url();
    let object = stores(&public(&url)).objects("s3://bucket/d/b.tar").unwrap().remove(0);
    let stat = object.stat().unwrap();
    let span = Span { at: 0, len: 100 };
    assert_eq!(object.read(span).unwrap(), good(0, 3)[..100]);
    server.put("bucket/d/b.tar", good(1, 3));
    let error = object.read(span).unwrap_err().to_string();
    assert_eq!(error, "the shard is not as it was when it was opened");
    let again = stores(&public(&url)).objects("s3://bucket/d/b.tar").unwrap().remove(0);
    let changed = again.stat().unwrap();
    assert!(changed.len == stat.len && changed.stamp != stat.stamp, "{changed:?}");
}

/// Outside of a cloud nobody answers where machines ask for their roles, and some networks swallow the question.
#[test]
fn a_machine_without_a_role_is_not_waited_for() {
    let server = TestServer::new(&[]);
    let url = server.url();
    server.fail("latest/api/token", Fault::Hang, usize::MAX);
    let mut stores = stores_with(600.0, &[("AWS_METADATA_ENDPOINT", &url)]);
    let error = stores.objects("s3://bucket/a.tar").unwrap_err();
    assert!(error.starts_with("no credentials: set AWS_ACCESS_KEY_ID"), "{error}");
    let expected = format!("no answer within 1 s (2 tries of {url}/latest/api/token)");
    assert!(error.ends_with(&expected), "{error}");
}
