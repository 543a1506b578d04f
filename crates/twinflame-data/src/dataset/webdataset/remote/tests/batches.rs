//! Batches of the loader.

use std::sync::Arc;

use burn::data::dataloader::DataLoader;

use super::*;
use crate::tokenizer::{Tokenizer, TokenizerConfig};
use crate::transform::{Transform, TransformConfig};
use crate::{ImageTextLoader, LoaderConfig, LoaderMode, Pipeline};

/// Pixels, tokens, samples and seeds of a batch.
type Content = (Vec<u8>, Vec<i32>, Vec<usize>, Vec<u64>);

fn loader(source: &Arc<dyn Source>) -> ImageTextLoader {
    let transform = TransformConfig {
        image_size: 4,
        ..TransformConfig::default()
    };
    let transform = Transform::train(&transform).unwrap();
    let tokenizer = Tokenizer::new(&TokenizerConfig::Clip { vocab_size: 600 }).unwrap();
    let pipeline = Pipeline::new(Arc::new(transform), Arc::new(tokenizer), 6).unwrap();
    let config = LoaderConfig {
        batch_size: 6,
        num_workers: Some(3),
        shuffle_shards: Some(2),
        distinct_ids: false,
        max_bad_samples: 48,
        ..LoaderConfig::default()
    };
    ImageTextLoader::new(source.clone(), pipeline, &config, LoaderMode::Train, 5).unwrap()
}

fn batches(loader: &ImageTextLoader, first: usize, count: usize) -> Vec<Content> {
    loader.start_at(1, first);
    let batches = loader.iter().take(count).map(Result::unwrap);
    batches
        .map(|batch| (batch.images, batch.tokens, batch.sample_indices, batch.sample_seeds))
        .collect()
}

/// A server gives the batches that the files give, from the middle of an epoch on too, whatever passes or stays in its way.
#[test]
fn shards_on_a_server_give_the_batches_of_the_files() {
    let shards = [
        ("0.tar", good(0, 12)),
        ("1.tar", good(12, 3)),
        ("2.tar", good(15, 9)),
        ("3.tar", good(24, 24)),
    ];
    let files = Shards::new(&shards);
    let local: Arc<dyn Source> = Arc::new(files.config("{0..3}.tar").open().unwrap());
    let server = TestServer::new(&shards);
    let remote: Arc<dyn Source> = Arc::new(config(&server, "{0..3}.tar").open().unwrap());
    let expected = batches(&loader(&local), 0, 8);
    server.fail("2.tar", Fault::Status(500), 2);
    server.fail("3.tar", Fault::Cut, 2);
    assert_eq!(batches(&loader(&remote), 0, 8), expected);
    assert_eq!(batches(&loader(&remote), 5, 3), expected[5..]);

    // A shard that is gone: its samples are replaced and counted.
    server.fail("2.tar", Fault::Status(404), usize::MAX);
    let without = loader(&remote);
    let drawn = batches(&without, 0, 8);
    let samples: Vec<usize> = drawn.into_iter().flat_map(|(_, _, samples, _)| samples).collect();
    assert!(samples.iter().all(|sample| !(15..24).contains(sample)), "{samples:?}");
    assert_eq!(without.bad_samples().total(), 9);
}
