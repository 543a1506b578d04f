//! Lists of samples and an index over shards on a server.

use std::fs;

use super::*;

/// Samples 0 to 3, 4 to 7 and 8 to 11, and the folder for lists and index.
fn three() -> (TestServer, tempfile::TempDir) {
    let server = TestServer::new(&[
        ("d/0.tar", good(0, 4)),
        ("d/1.tar", good(4, 4)),
        ("d/2.tar", good(8, 4)),
    ]);
    (server, tempfile::tempdir().unwrap())
}

fn captions(source: &WebDatasetSource) -> Vec<String> {
    (0..source.num_samples())
        .map(|sample| source.captions(sample).unwrap().remove(0))
        .collect()
}

fn ids(source: &WebDatasetSource) -> Vec<i64> {
    (0..source.num_samples())
        .map(|sample| source.image_id(sample))
        .collect()
}

/// Requests for more than the first block that tells size and version.
fn read(server: &TestServer) -> Vec<String> {
    let mut requests = server.requests();
    requests.retain(|request| !request.ends_with(" 0-511"));
    requests
}

#[test]
fn listed_samples_are_used_and_other_shards_not_asked_for() {
    let (server, folder) = three();
    let (keep, groups) = (folder.path().join("keep"), folder.path().join("groups"));
    // As `data dedup` writes them of these shards, and as it writes them of the files in their folder.
    for url in [format!("{}/d/", server.url()), String::new()] {
        let line = |shard: u8, sample: u8, more: &str| {
            format!("{{\"file\": \"{url}{shard}.tar\", \"sample\": \"{sample:04}\"{more}}}\n")
        };
        let grouped = |shard, sample| line(shard, sample, ", \"group\": 3");
        fs::write(
            &keep,
            line(2, 9, "") + &line(0, 3, "") + &line(2, 11, "") + &line(0, 1, ""),
        )
        .unwrap();
        fs::write(&groups, grouped(0, 3) + &grouped(2, 11) + &grouped(1, 5)).unwrap();
        let config = WebDatasetConfig {
            keep: Some(keep.clone()),
            groups: Some(groups.clone()),
            ..config(&server, "d/{0..2}.tar")
        };
        server.requests();
        // Nobody asks for it.
        server.fail("d/1.tar", Fault::Hang, usize::MAX);
        let source = config.open().unwrap();
        server.heal();
        assert!(source.report().is_clean(), "{}", source.report());
        assert_eq!(captions(&source), ["grey 1", "grey 3", "grey 9", "grey 11"]);
        assert_eq!(
            (ids(&source), source.shard_starts()),
            (vec![0, 1, 2, 1], &[0, 2, 2][..])
        );
        let log = server.requests();
        assert!(!log.iter().any(|request| request.contains("1.tar")), "{log:?}");
    }
    fs::write(&keep, "{\"file\": \"9.tar\", \"sample\": \"0000\"}\n").unwrap();
    let config = WebDatasetConfig {
        keep: Some(keep),
        ..config(&server, "d/{0..2}.tar")
    };
    let error = config.open().unwrap_err().to_string();
    let expected = format!(
        "One of the list is 9.tar, 0000; the first shard is {}/d/0.tar",
        server.url()
    );
    assert!(error.ends_with(&expected), "{error}");
}

#[test]
fn an_index_spares_what_did_not_change() {
    let (server, folder) = three();
    let config = WebDatasetConfig {
        index: Some(folder.path().join("index")),
        ..config(&server, "d/{0..2}.tar")
    };
    let first = samples(&config.open().unwrap());
    assert_eq!(read(&server).len(), 3 + 12, "each shard and each sample once");
    let source = config.open().unwrap();
    assert_eq!((source.num_samples(), read(&server)), (12, Vec::new()));
    assert_eq!(samples(&source), first);
    read(&server);

    // Another one of the same size, and a longer one.
    server.put("d/1.tar", good(20, 4));
    server.put("d/2.tar", good(8, 30));
    let changed = config.open().unwrap();
    let log = read(&server);
    assert_eq!(log.len(), 2, "{log:?}");
    assert_eq!(
        captions(&changed)[4..10],
        ["grey 20", "grey 21", "grey 22", "grey 23", "grey 8", "grey 9"]
    );
    read(&server);
    config.open().unwrap();
    assert_eq!(read(&server), Vec::<String>::new());

    // Changed after an opening that read nothing.
    let source = config.open().unwrap();
    server.put("d/2.tar", good(8, 4));
    let error = source.image(8).unwrap_err().to_string();
    assert!(error.contains("not as it was when it was opened"), "{error}");

    // Gone: what the index says of it does not count.
    server.fail("d/0.tar", Fault::Status(404), usize::MAX);
    let without = config.open().unwrap();
    assert_eq!((without.num_samples(), without.report().broken_files.count), (8, 1));
}

#[test]
fn a_list_leaves_the_index_of_other_shards_as_it_is() {
    let (server, folder) = three();
    let (index, keep) = (folder.path().join("index"), folder.path().join("keep"));
    fs::write(&keep, "{\"file\": \"1.tar\", \"sample\": \"0006\"}\n").unwrap();
    let all = WebDatasetConfig {
        index: Some(index.clone()),
        ..config(&server, "d/{0..2}.tar")
    };
    let listed = WebDatasetConfig {
        keep: Some(keep),
        ..all.clone()
    };
    // The index of a shard is of all its samples.
    assert_eq!(captions(&listed.open().unwrap()), ["grey 6"]);
    assert_eq!(all.open().unwrap().num_samples(), 12);
    let written = fs::read(&index).unwrap();
    server.requests();
    let again = listed.open().unwrap();
    assert_eq!((again.num_samples(), read(&server)), (1, Vec::new()));
    assert_eq!(captions(&again), ["grey 6"]);
    // Another one is read, and the rest is kept.
    server.put("d/1.tar", good(4, 5));
    assert_eq!(listed.open().unwrap().num_samples(), 1);
    assert_ne!(fs::read(&index).unwrap(), written);
    server.requests();
    assert_eq!((all.open().unwrap().num_samples(), read(&server)), (13, Vec::new()));
}
