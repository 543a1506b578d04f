use super::test_server::{Fault, TestServer};
use crate::dataset::webdataset::tests::{Shards, draw, good, png, tar_of};
use crate::dataset::webdataset::{WebDatasetConfig, WebDatasetSource, for_each_caption};
use crate::dataset::{DataError, Source};

mod batches;
mod buckets;
mod lists;

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
        Fault::Stall,
        Fault::Endless,
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
        (Fault::Stall, "no more of the answer within 0.5 s, after "),
        (Fault::Endless, "the server sent more than "),
    ];
    for (fault, reason) in cases {
        server.fail("0.tar", fault.clone(), usize::MAX);
        let error = source.image(1).unwrap_err();
        assert_eq!(error.reason(), "cannot read file");
        let error = error.to_string();
        assert!(error.starts_with(&format!("{}/0.tar: ", server.url())), "{error}");
        assert!(error.contains(reason), "{error}");
        if !matches!(fault, Fault::Cut | Fault::Hang | Fault::Stall | Fault::Announced(_)) {
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
fn a_shard_that_is_not_there_is_one_of_those_that_may_be_skipped() {
    let server = TestServer::new(&shards());
    let with = |max_skipped| WebDatasetConfig {
        max_skipped,
        ..config(&server, "{0,7}.tar")
    };
    let source = with(1).open().unwrap();
    assert_eq!((source.num_samples(), source.report().broken_files.count), (3, 1));
    let error = with(0).open().unwrap_err();
    let expected = format!("broken shards: 1 ({}/7.tar: status 404 Not Found", server.url());
    assert!(matches!(error, DataError::TooManySkipped { .. }), "{error}");
    assert!(error.to_string().contains(&expected), "{error}");
}

#[test]
fn captions_alone_end_at_a_shard_that_cannot_be_read() {
    let server = TestServer::new(&shards());
    let mut captions = Vec::new();
    let mut read = |pattern| {
        captions.clear();
        for_each_caption::<DataError>(&config(&server, pattern), |shard, key, texts| {
            captions.push(format!("{shard} {key} {}", texts.join("|")).replace(&server.url(), ""));
            Ok(())
        })
    };
    assert_eq!(read("2.tar").unwrap(), 1, "a sample without its caption");
    let error = read("{0,7}.tar").unwrap_err().to_string();
    assert!(error.contains("/7.tar: status 404 Not Found"), "{error}");
    assert_eq!(
        captions,
        ["/0.tar 0000 grey 0", "/0.tar 0001 grey 1", "/0.tar 0002 grey 2"]
    );
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
