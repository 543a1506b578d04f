//! What a training batch of emoji costs, per part. `cargo bench -p twinflame-data --bench loader`.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark may stop at once")]

use std::hint::black_box;
use std::sync::Arc;

use burn::data::dataloader::DataLoader;
use divan::Bencher;
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use twinflame_data::dataset::{ScenesConfig, ScenesSplit};
use twinflame_data::transform::{AffineConfig, ColorJitterConfig};
use twinflame_data::{
    DataConfig, ImageTextLoader, LoaderConfig, LoaderMode, Pipeline, Source, Tokenizer, TokenizerConfig, Transform,
    TransformConfig,
};

const BATCH: usize = 256;

fn main() {
    divan::main();
}

fn source() -> Arc<dyn Source> {
    let source = DataConfig::default().open().expect("the embedded set opens");
    // Decodes the sheets.
    source.image(0).expect("the embedded set decodes");
    source
}

fn tokenizer() -> Tokenizer {
    Tokenizer::new(&TokenizerConfig::Clip { vocab_size: 8192 }).expect("the embedded merges")
}

/// The quick start's.
fn transform() -> Transform {
    let config = TransformConfig {
        image_size: 32,
        affine: Some(AffineConfig {
            scale: [0.5, 1.2],
            rotation_degrees: 15.0,
            ..AffineConfig::default()
        }),
        color_jitter: Some(ColorJitterConfig {
            brightness: 0.3,
            contrast: 0.3,
            saturation: 0.5,
            ..ColorJitterConfig::default()
        }),
        greyscale_probability: 0.15,
        ..TransformConfig::default()
    };
    Transform::train(&config).expect("a valid transform")
}

/// Drawing 256 samples: caption, picture over a background.
#[divan::bench]
fn draw(bencher: Bencher) {
    let source = source();
    bencher.bench_local(|| {
        for index in 0..BATCH {
            let mut rng = ChaCha8Rng::seed_from_u64(index as u64);
            black_box(source.draw(index * 7, &mut rng).is_ok());
        }
    });
}

/// Drawing 256 scenes: description, caption and picture.
#[divan::bench]
fn draw_scenes(bencher: Bencher) {
    let config = ScenesConfig::default();
    let source = DataConfig::Scenes(config).open().expect("scenes of the embedded set");
    bencher.bench_local(|| {
        for index in 0..BATCH {
            let mut rng = ChaCha8Rng::seed_from_u64(index as u64);
            black_box(source.draw(index, &mut rng).is_ok());
        }
    });
}

/// The scenes of a test set: 500, with 1,500 captions of which none fits two.
#[divan::bench]
fn open_scenes(bencher: Bencher) {
    let config = DataConfig::Scenes(ScenesConfig {
        split: ScenesSplit::Known,
        ..ScenesConfig::default()
    });
    bencher.bench_local(|| black_box(config.open().is_ok()));
}

/// Tokenizing 256 captions, always others.
#[divan::bench]
fn tokenize(bencher: Bencher) {
    let (source, tokenizer) = (source(), tokenizer());
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    bencher
        .with_inputs(|| {
            (0..BATCH)
                .filter_map(|index| source.draw(index * 7, &mut rng).ok())
                .map(|draw| draw.caption)
                .collect::<Vec<_>>()
        })
        .bench_local_values(|captions| {
            for caption in captions {
                black_box(tokenizer.encode(&caption, 24));
            }
        });
}

/// Transforming 256 pictures.
#[divan::bench]
fn transform_images(bencher: Bencher) {
    let (source, transform) = (source(), transform());
    let images: Vec<_> = (0..BATCH).filter_map(|index| source.image(index * 7).ok()).collect();
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    bencher.bench_local(|| {
        for image in &images {
            black_box(transform.apply(image, &mut rng));
        }
    });
}

/// A batch of 256 in the consuming thread.
#[divan::bench]
fn batch(bencher: Bencher) {
    let pipeline = Pipeline::new(Arc::new(transform()), Arc::new(tokenizer()), 24).expect("a context of 24");
    let config = LoaderConfig {
        batch_size: BATCH,
        num_workers: Some(0),
        distinct_ids: true,
        batches_per_epoch: Some(1_000_000),
        ..LoaderConfig::default()
    };
    let loader = ImageTextLoader::new(source(), pipeline, &config, LoaderMode::Train, 0).expect("full batches");
    let mut batches = loader.iter();
    bencher.bench_local(|| black_box(batches.next()));
}
