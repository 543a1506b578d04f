//! Is the loader a pure function of seed, epoch and index, whatever the number of workers, on real data?

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a panic is the report of a test"
)]

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use burn::data::dataloader::DataLoader;
use proptest::prelude::*;
use twinflame::data::dataset::{EmojiConfig, EmojiSplit, FolderConfig, WebDatasetConfig};
use twinflame::data::transform::{AffineConfig, ColorJitterConfig, RandAugmentConfig, RandomResizedCropConfig};
use twinflame::data::{
    DataConfig, EvalImages, EvalSet, ImageTextBatch, ImageTextLoader, LoaderConfig, LoaderMode, Pipeline, Source,
    Tokenizer, TokenizerConfig, Transform, TransformConfig,
};

const SIZE: usize = 16;
const CONTEXT: usize = 24;

/// Everything random that there is.
fn transform_config() -> TransformConfig {
    TransformConfig {
        image_size: SIZE,
        random_resized_crop: Some(RandomResizedCropConfig {
            scale: [0.5, 1.0],
            ..RandomResizedCropConfig::default()
        }),
        affine: Some(AffineConfig {
            scale: [0.5, 1.2],
            rotation_degrees: 15.0,
            translate: 0.1,
        }),
        flip_probability: 0.5,
        rand_augment: Some(RandAugmentConfig::default()),
        color_jitter: Some(ColorJitterConfig {
            brightness: 0.3,
            contrast: 0.3,
            saturation: 0.5,
            hue: 0.1,
            probability: 0.8,
        }),
        greyscale_probability: 0.15,
        ..TransformConfig::default()
    }
}

fn pipeline(mode: LoaderMode) -> Pipeline {
    static TOKENIZER: OnceLock<Arc<Tokenizer>> = OnceLock::new();
    let tokenizer =
        TOKENIZER.get_or_init(|| Arc::new(Tokenizer::new(&TokenizerConfig::Clip { vocab_size: 8192 }).unwrap()));
    let transform = match mode {
        LoaderMode::Train => Transform::train(&transform_config()),
        LoaderMode::Eval => Transform::eval(&transform_config()),
    };
    Pipeline::new(Arc::new(transform.unwrap()), tokenizer.clone(), CONTEXT).unwrap()
}

/// Opened once: every opening decodes nothing anew, but the catalog is filtered.
fn emoji() -> Arc<dyn Source> {
    static SOURCE: OnceLock<Arc<dyn Source>> = OnceLock::new();
    SOURCE
        .get_or_init(|| {
            DataConfig::Emoji(EmojiConfig {
                scene_prob: 0.1,
                ..EmojiConfig::default()
            })
            .open()
            .unwrap()
        })
        .clone()
}

fn loader(source: Arc<dyn Source>, config: &LoaderConfig, mode: LoaderMode, seed: u64) -> ImageTextLoader {
    ImageTextLoader::new(source, pipeline(mode), config, mode, seed).unwrap()
}

fn config(batch_size: usize, num_workers: usize) -> LoaderConfig {
    LoaderConfig {
        batch_size,
        num_workers: Some(num_workers),
        distinct_ids: true,
        ..LoaderConfig::default()
    }
}

#[derive(Debug, PartialEq)]
struct Content {
    images: Vec<u8>,
    tokens: Vec<i32>,
    ids: [Vec<i64>; 2],
    samples: Vec<usize>,
    seeds: Vec<u64>,
}

fn content(batch: ImageTextBatch) -> Content {
    Content {
        images: batch.images,
        tokens: batch.tokens,
        ids: [batch.image_ids, batch.caption_ids],
        samples: batch.sample_indices,
        seeds: batch.sample_seeds,
    }
}

/// `count` batches from a position on.
fn batches(loader: &ImageTextLoader, epoch: usize, batch: usize, count: usize) -> Vec<Content> {
    loader.start_at(epoch, batch);
    loader.iter().take(count).map(|batch| content(batch.unwrap())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_batch_depends_on_seed_and_position_alone(
        seed: u64,
        epoch in 0_usize..1000,
        batch in 0_usize..200,
        num_workers in 1_usize..5,
        prefetch_batches in 1_usize..4,
    ) {
        let plain = loader(emoji(), &config(24, 0), LoaderMode::Train, seed);
        let threaded = LoaderConfig { prefetch_batches, ..config(24, num_workers) };
        let threaded = loader(emoji(), &threaded, LoaderMode::Train, seed);
        let expected = batches(&plain, epoch, batch, 3);
        prop_assert_eq!(&batches(&threaded, epoch, batch, 3), &expected);
        // From one batch earlier, the same batches come second and third.
        if batch > 0 {
            prop_assert_eq!(&batches(&threaded, epoch, batch - 1, 3)[1..], &expected[..2]);
        }
        prop_assert_ne!(&batches(&threaded, epoch + 1, batch, 1)[0], &expected[0]);
    }
}

/// `num_shards` shards of unequal size, one of them empty, `num_samples` samples in all.
fn shards(folder: &Path, num_shards: usize, num_samples: usize) -> Arc<dyn Source> {
    let mut next = 0;
    for shard in 0..num_shards {
        let mut tar = tar::Builder::new(Vec::new());
        let end = match shard + 1 == num_shards {
            true => num_samples,
            // 0, 1, 4, 9 … of 1, 4, 9 … shards.
            false => num_samples * shard * shard / (num_shards * num_shards),
        };
        while next < end {
            let mut png = std::io::Cursor::new(Vec::new());
            let picture = image::GrayImage::from_pixel(5, 4, image::Luma([next as u8]));
            picture.write_to(&mut png, image::ImageFormat::Png).unwrap();
            let members = [
                ("png", png.into_inner()),
                ("txt", format!("number {next}").into_bytes()),
            ];
            for (ending, bytes) in members {
                let mut header = tar::Header::new_gnu();
                header.set_size(bytes.len() as u64);
                tar.append_data(&mut header, format!("{next:05}.{ending}"), &bytes[..])
                    .unwrap();
            }
            next += 1;
        }
        fs::write(folder.join(format!("{shard:03}.tar")), tar.into_inner().unwrap()).unwrap();
    }
    let config = WebDatasetConfig::new([folder.join("*.tar").display().to_string()]);
    DataConfig::WebDataset(config).open().unwrap()
}

#[test]
fn an_epoch_of_shards_has_every_sample_once() {
    // Batches that divide the samples, so that nothing is left out.
    for (num_shards, num_samples, batch_size, shuffle_shards) in [
        (1, 30, 10, None),
        (3, 36, 6, None),
        (7, 60, 12, Some(2)),
        (20, 60, 5, Some(1)),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let source = shards(folder.path(), num_shards, num_samples);
        let mut of_workers = Vec::new();
        for num_workers in [0, 1, 4] {
            let config = LoaderConfig {
                shuffle_shards,
                distinct_ids: false,
                ..config(batch_size, num_workers)
            };
            let loader = loader(source.clone(), &config, LoaderMode::Train, 3);
            assert_eq!(loader.num_batches(), num_samples / batch_size);
            let epochs: Vec<Vec<Content>> = (0..2)
                .map(|epoch| batches(&loader, epoch, 0, loader.num_batches()))
                .collect();
            for epoch in &epochs {
                let seen: BTreeSet<usize> = epoch.iter().flat_map(|batch| batch.samples.clone()).collect();
                assert_eq!(
                    seen,
                    (0..num_samples).collect(),
                    "{num_shards} shards, {num_workers} workers"
                );
            }
            let samples = |epoch: &[Content]| epoch.iter().flat_map(|batch| batch.samples.clone()).collect::<Vec<_>>();
            assert_ne!(samples(&epochs[0]), samples(&epochs[1]));
            // Three processes: the same number of batches each, together every sample at most once.
            let ranks = (0..3).filter_map(|rank| loader.for_rank(rank, 3).ok());
            let epochs_of_ranks: Vec<Vec<Content>> =
                ranks.map(|rank| batches(&rank, 1, 0, rank.num_batches())).collect();
            let num_batches = num_samples / batch_size / 3;
            assert!(epochs_of_ranks.iter().all(|epoch| epoch.len() == num_batches));
            let dealt: Vec<usize> = epochs_of_ranks.iter().flat_map(|epoch| samples(epoch)).collect();
            assert_eq!(dealt.len(), 3 * num_batches * batch_size, "{num_shards} shards");
            assert_eq!(dealt.iter().collect::<HashSet<_>>().len(), dealt.len());
            // From the middle of an epoch on, as a resumed run does.
            let middle = loader.num_batches() / 2;
            assert_eq!(batches(&loader, 1, middle, 1)[0], epochs[1][middle]);
            of_workers.push(epochs);
        }
        assert!(of_workers.windows(2).all(|pair| pair[0] == pair[1]));
    }
}

#[test]
fn an_emoji_is_in_a_batch_once() {
    let source = emoji();
    let loader = loader(source.clone(), &config(256, 2), LoaderMode::Train, 5);
    // 6,798 pairs are 26 batches of 256 and 142 more; the rule costs none.
    assert_eq!(
        (loader.num_batches(), loader.num_items(), loader.num_left_out()),
        (26, 6656, 142)
    );
    for batch in batches(&loader, 3, 20, 6) {
        let ids: HashSet<i64> = batch.samples.iter().map(|&sample| source.image_id(sample)).collect();
        assert_eq!(ids.len(), 256);
        assert_eq!(
            batch.ids[0].iter().collect::<HashSet<_>>().len(),
            256,
            "scenes have ids of their own"
        );
    }
}

#[test]
fn captions_are_equal_where_their_ids_are() {
    let loader = loader(emoji(), &config(256, 2), LoaderMode::Train, 5);
    let mut text_of_id: HashMap<i64, Vec<i32>> = HashMap::new();
    for batch in batches(&loader, 0, 0, 4) {
        for (id, tokens) in batch.ids[1].iter().zip(batch.tokens.chunks(CONTEXT)) {
            assert_eq!(text_of_id.entry(*id).or_insert_with(|| tokens.to_vec()), tokens);
        }
    }
    let texts: HashSet<&Vec<i32>> = text_of_id.values().collect();
    assert_eq!(texts.len(), text_of_id.len());
    assert!(
        (100..1024).contains(&texts.len()),
        "groups and subgroups repeat, labels do not: {}",
        texts.len()
    );
}

/// A 24-bit BMP of one colour.
fn write_bmp(path: &Path, side: u32, [red, green, blue]: [u8; 3]) {
    let row = (3 * side).next_multiple_of(4);
    let mut bytes = b"BM".to_vec();
    bytes.extend(
        [54 + row * side, 0, 54, 40, side, side]
            .into_iter()
            .flat_map(u32::to_le_bytes),
    );
    bytes.extend([1_u16, 24].into_iter().flat_map(u16::to_le_bytes));
    bytes.extend([0_u32; 6].into_iter().flat_map(u32::to_le_bytes));
    for _ in 0..side {
        let mut line: Vec<u8> = [blue, green, red].repeat(side as usize);
        line.resize(row as usize, 0);
        bytes.extend(line);
    }
    fs::write(path, bytes).unwrap();
}

/// 40 images, of which 7 and 19 are no images and 23 is cut off.
fn photos(folder: &Path) -> Arc<dyn Source> {
    let mut table = "image,caption\n".to_owned();
    for number in 0..40_u8 {
        let path = folder.join(format!("{number}.bmp"));
        write_bmp(&path, 8 + u32::from(number), [number, 2 * number, 200]);
        match number {
            7 | 19 => fs::write(path, "<html>404</html>").unwrap(),
            23 => fs::write(&path, &fs::read(&path).unwrap()[..60]).unwrap(),
            _ => {}
        }
        table += &format!("{number}.bmp,colour number {number}\n");
    }
    fs::write(folder.join("captions.csv"), table).unwrap();
    DataConfig::Folder(FolderConfig::new(folder)).open().unwrap()
}

#[test]
fn a_folder_is_read_around_its_broken_files() {
    let folder = tempfile::tempdir().unwrap();
    let source = photos(folder.path());
    assert!(source.report().is_clean(), "broken files show only when they are read");
    let train = |num_workers| loader(source.clone(), &config(10, num_workers), LoaderMode::Train, 1);
    let one_pass = batches(&train(0), 0, 0, 4);
    let threaded = train(3);
    assert_eq!(batches(&threaded, 0, 0, 4), one_pass);
    assert!(
        one_pass
            .iter()
            .all(|batch| batch.samples.len() == 10 && batch.images.len() == 10 * SIZE * SIZE * 3)
    );
    let seen: BTreeSet<usize> = one_pass.iter().flat_map(|batch| batch.samples.clone()).collect();
    assert_eq!(seen, (0..40).filter(|number| ![7, 19, 23].contains(number)).collect());
    let bad = threaded.bad_samples();
    assert_eq!((bad.total(), bad.by_reason()["not an image"].count), (3, 2));
    assert!(bad.to_string().contains("7.bmp: not an image"), "{bad}");

    let eval = loader(source.clone(), &config(16, 2), LoaderMode::Eval, 1);
    let sizes: Vec<usize> = eval.iter().map(|batch| batch.unwrap().len()).collect();
    assert_eq!(sizes, [15, 14, 8]);

    let strict = LoaderConfig {
        max_bad_samples: 1,
        ..config(16, 2)
    };
    let error = loader(source, &strict, LoaderMode::Eval, 1)
        .iter()
        .find_map(Result::err)
        .unwrap()
        .to_string();
    assert!(
        error.starts_with("more unreadable samples than loader.max_bad_samples = 1: 2 unreadable samples"),
        "{error}"
    );
}

#[test]
fn evaluation_shows_every_picture_of_a_test_set() {
    let source = DataConfig::Emoji(EmojiConfig {
        split: EmojiSplit::C,
        ..EmojiConfig::default()
    })
    .open()
    .unwrap();
    let set = EvalSet::new(source).unwrap();
    let transform = pipeline(LoaderMode::Eval).transform().clone();
    let images = |num_workers| {
        let images = EvalImages::new(&set, transform.clone(), &config(100, num_workers)).unwrap();
        images.map(Result::unwrap).collect::<Vec<_>>()
    };
    let expected = images(0);
    assert_eq!(
        expected.iter().map(|batch| batch.rows.len()).collect::<Vec<_>>(),
        [100, 100, 94]
    );
    assert_eq!(images(3), expected);
}
