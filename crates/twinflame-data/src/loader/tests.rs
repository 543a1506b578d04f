//! The loader over a source whose every property a test can choose.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use burn::data::dataloader::DataLoader;
use rand::RngExt;
use rand::rngs::ChaCha8Rng;

use super::*;
use crate::batch::ImageTextBatch;
use crate::dataset::{Classes, Draw, EvalSet, SampleError, Share, Source};
use crate::decode::{DecodedImage, PixelLayout};
use crate::report::OpenReport;
use crate::tokenizer::{Tokenizer, TokenizerConfig};
use crate::transform::{Transform, TransformConfig};

mod shares;

const SIZE: usize = 2;
const CONTEXT: usize = 6;

/// Sample `i` has image id `i / per_id`; its draws are random, its evaluation image is all `i`.
#[derive(Debug)]
struct Made {
    len: usize,
    per_id: usize,
    together: usize,
    unreadable: BTreeSet<usize>,
    panics: BTreeSet<usize>,
    shares: Vec<Share>,
    per_epoch: usize,
    report: OpenReport,
}

impl Made {
    fn new(len: usize) -> Self {
        Self {
            len,
            per_id: 1,
            together: 1,
            unreadable: BTreeSet::new(),
            panics: BTreeSet::new(),
            shares: Vec::new(),
            per_epoch: len,
            report: OpenReport::default(),
        }
    }

    fn image(&self, index: usize, pixel: u8) -> Result<DecodedImage, SampleError> {
        assert!(!self.panics.contains(&index), "made to panic");
        if self.unreadable.contains(&index) {
            let source = std::io::Error::other("made unreadable");
            return Err(SampleError::Read {
                path: index.to_string().into(),
                source,
            });
        }
        Ok(DecodedImage::new(
            SIZE as u32,
            SIZE as u32,
            PixelLayout::Rgb,
            vec![pixel; SIZE * SIZE * 3],
        ))
    }
}

impl Source for Made {
    fn num_samples(&self) -> usize {
        self.len
    }

    fn image_id(&self, index: usize) -> i64 {
        (index / self.per_id) as i64
    }

    fn num_together(&self) -> usize {
        self.together
    }

    fn shares(&self) -> &[Share] {
        &self.shares
    }

    fn samples_per_epoch(&self) -> usize {
        self.per_epoch
    }

    fn name(&self, index: usize) -> String {
        format!("made {index}")
    }

    fn draw(&self, index: usize, rng: &mut ChaCha8Rng) -> Result<Draw, SampleError> {
        let caption = format!("{}", rng.random::<u16>());
        Ok(Draw {
            image: self.image(index, rng.random())?,
            caption,
            image_id: self.image_id(index),
        })
    }

    fn image(&self, index: usize) -> Result<DecodedImage, SampleError> {
        self.image(index, index as u8)
    }

    fn captions(&self, _index: usize) -> Result<Vec<String>, SampleError> {
        Ok(["first", "second"].map(str::to_owned).to_vec())
    }

    fn eval_images(&self) -> Vec<usize> {
        (0..self.len).collect()
    }

    fn eval_captions(&self) -> Result<Vec<(i64, String)>, SampleError> {
        Ok(Vec::new())
    }

    fn classes(&self) -> Vec<Classes> {
        Vec::new()
    }

    fn report(&self) -> &OpenReport {
        &self.report
    }
}

fn transform() -> Arc<Transform> {
    Arc::new(
        Transform::eval(&TransformConfig {
            image_size: SIZE,
            ..TransformConfig::default()
        })
        .unwrap(),
    )
}

fn pipeline() -> Pipeline {
    let tokenizer = Tokenizer::new(&TokenizerConfig::Clip { vocab_size: 600 }).unwrap();
    Pipeline::new(transform(), Arc::new(tokenizer), CONTEXT).unwrap()
}

fn config(batch_size: usize, num_workers: usize) -> LoaderConfig {
    LoaderConfig {
        batch_size,
        num_workers: Some(num_workers),
        ..LoaderConfig::default()
    }
}

fn try_loader(source: Made, config: &LoaderConfig, mode: LoaderMode) -> Result<ImageTextLoader, LoaderError> {
    ImageTextLoader::new(Arc::new(source), pipeline(), config, mode, 11)
}

fn loader(source: Made, config: &LoaderConfig, mode: LoaderMode) -> ImageTextLoader {
    try_loader(source, config, mode).unwrap()
}

fn epoch(loader: &ImageTextLoader) -> Vec<ImageTextBatch> {
    loader.iter().map(Result::unwrap).collect()
}

/// All but the waiting time.
type Content = (Vec<u8>, Vec<i32>, Vec<i64>, Vec<i64>, Vec<usize>, Vec<u64>, [usize; 2]);

fn content(batch: ImageTextBatch) -> Content {
    let ImageTextBatch {
        images,
        tokens,
        image_ids,
        caption_ids,
        sample_indices,
        sample_seeds,
        epoch,
        index,
        ..
    } = batch;
    (
        images,
        tokens,
        image_ids,
        caption_ids,
        sample_indices,
        sample_seeds,
        [epoch, index],
    )
}

fn contents(batches: Vec<ImageTextBatch>) -> Vec<Content> {
    batches.into_iter().map(content).collect()
}

fn indices(batches: &[ImageTextBatch]) -> Vec<usize> {
    batches.iter().flat_map(|batch| batch.sample_indices.clone()).collect()
}

/// A source with everything in it that might make the order of work matter.
fn difficult() -> Made {
    Made {
        per_id: 3,
        unreadable: (0..200).step_by(9).collect(),
        panics: [4, 50].into(),
        ..Made::new(200)
    }
}

#[test]
fn batches_do_not_depend_on_workers_or_prefetching() {
    for distinct_ids in [false, true] {
        let run = |num_workers, prefetch_batches| {
            let config = LoaderConfig {
                prefetch_batches,
                distinct_ids,
                ..config(37, num_workers)
            };
            let loader = loader(difficult(), &config, LoaderMode::Train);
            let epochs = [epoch(&loader), epoch(&loader)].map(contents);
            (epochs, loader.bad_samples())
        };
        let expected = run(0, 1);
        assert_ne!(expected.0[0], expected.0[1]);
        for (num_workers, prefetch_batches) in [(0, 4), (1, 1), (1, 4), (3, 1), (3, 4)] {
            assert_eq!(
                run(num_workers, prefetch_batches),
                expected,
                "{num_workers} workers, {prefetch_batches} ahead"
            );
        }
    }
}

#[test]
fn a_run_continues_in_the_middle_of_an_epoch() {
    let make = || loader(difficult(), &config(20, 2), LoaderMode::Train);
    let whole = make();
    let epochs: Vec<Vec<Content>> = (0..3).map(|_| contents(epoch(&whole))).collect();
    assert_eq!(epochs[1].len(), 10);
    assert_eq!(epochs[1][4].6, [1, 4]);
    let resumed = make();
    resumed.start_at(1, 4);
    assert_eq!(contents(epoch(&resumed)), epochs[1][4..]);
    assert_eq!(resumed.next_start(), Cursor { epoch: 2, batch: 0 });
    assert_eq!(contents(epoch(&resumed)), epochs[2]);
    resumed.start_at(1, 10);
    assert!(epoch(&resumed).is_empty());
}

#[test]
fn a_pass_has_every_sample_once_and_draws_anew() {
    let loader = loader(Made::new(40), &config(10, 2), LoaderMode::Train);
    assert_eq!(
        (loader.num_batches(), loader.num_items(), loader.num_left_out()),
        (4, 40, 0)
    );
    let epochs = [epoch(&loader), epoch(&loader)];
    let seed_of = |batches: &[ImageTextBatch], sample| {
        let seeds = batches.iter().flat_map(|batch| batch.sample_seeds.clone());
        indices(batches)
            .into_iter()
            .zip(seeds)
            .find(|(index, _)| *index == sample)
            .unwrap()
            .1
    };
    for batches in &epochs {
        assert_eq!(indices(batches).into_iter().collect::<BTreeSet<_>>(), (0..40).collect());
    }
    assert_ne!(indices(&epochs[0]), indices(&epochs[1]));
    assert_ne!(seed_of(&epochs[0], 7), seed_of(&epochs[1], 7));
}

#[test]
fn epochs_of_another_length_cut_one_stream_of_passes() {
    let source = || Made::new(35);
    let whole = loader(source(), &config(10, 2), LoaderMode::Train);
    let passes: Vec<Content> = (0..5).flat_map(|_| contents(epoch(&whole))).collect();
    for batches_per_epoch in [2, 3, 5] {
        let config = LoaderConfig {
            batches_per_epoch: Some(batches_per_epoch),
            ..config(10, 2)
        };
        let cut = loader(source(), &config, LoaderMode::Train);
        assert_eq!(
            (cut.num_batches(), cut.num_items()),
            (batches_per_epoch, batches_per_epoch * 10)
        );
        let stream: Vec<Content> = (0..3).flat_map(|_| contents(epoch(&cut))).collect();
        assert_eq!(stream.len(), 3 * batches_per_epoch);
        for (found, expected) in stream.iter().zip(&passes) {
            assert_eq!((&found.0, &found.4, &found.5), (&expected.0, &expected.4, &expected.5));
        }
    }
}

#[test]
fn distinct_batches_have_no_id_twice() {
    let source = Made {
        per_id: 6,
        ..Made::new(200)
    };
    let config = LoaderConfig {
        distinct_ids: true,
        ..config(30, 2)
    };
    let loader = loader(source, &config, LoaderMode::Train);
    // 34 ids, 33 of 6 samples and one of 2: six batches of 30 from 200 samples.
    assert_eq!((loader.num_batches(), loader.num_left_out()), (6, 20));
    for batch in epoch(&loader) {
        assert_eq!(batch.image_ids.iter().collect::<HashSet<_>>().len(), 30);
    }
}

#[test]
fn evaluation_keeps_everything_in_order() {
    let loader = loader(Made::new(25), &config(10, 3), LoaderMode::Eval);
    let batches = epoch(&loader);
    assert_eq!(batches.iter().map(ImageTextBatch::len).collect::<Vec<_>>(), [10, 10, 5]);
    assert_eq!(indices(&batches), (0..25).collect::<Vec<_>>());
    assert_eq!(
        (batches[2].images[0], batches[2].images.len()),
        (20, 5 * SIZE * SIZE * 3)
    );
    assert_eq!((batches[0].image_size, batches[0].context_length), ([SIZE; 2], CONTEXT));
    assert_eq!(
        batches[0].tokens,
        pipeline().tokenizer().encode("first", CONTEXT).repeat(10)
    );
    assert!(
        batches
            .iter()
            .all(|batch| batch.caption_ids.iter().all(|id| *id == batches[0].caption_ids[0]))
    );
    assert_eq!(epoch(&loader).len(), 3);
}

#[test]
fn progress_ends_exactly() {
    for mode in [LoaderMode::Train, LoaderMode::Eval] {
        let loader = loader(Made::new(25), &config(10, 0), mode);
        let mut batches = loader.iter();
        assert_eq!(
            (batches.progress().items_processed, batches.progress().items_total),
            (0, loader.num_items())
        );
        let mut seen = 0;
        while let Some(batch) = batches.next() {
            seen += batch.unwrap().len();
            assert_eq!(batches.progress().items_processed, seen);
        }
        assert!(batches.progress().is_completed());
    }
}

#[test]
fn an_unreadable_sample_is_replaced_in_training() {
    let loader = loader(difficult(), &config(40, 2), LoaderMode::Train);
    let batches = epoch(&loader);
    assert!(
        batches
            .iter()
            .all(|batch| batch.len() == 40 && batch.images.len() == 40 * SIZE * SIZE * 3)
    );
    let made = difficult();
    assert!(
        indices(&batches)
            .iter()
            .all(|index| !made.unreadable.contains(index) && !made.panics.contains(index))
    );
    let bad = loader.bad_samples();
    assert_eq!(bad.by_reason()["cannot read file"].count, made.unreadable.len());
    assert_eq!(bad.by_reason()["decoder panicked"].count, 2);
    assert!(
        bad.by_reason()["decoder panicked"].named[0].contains("made to panic"),
        "{bad}"
    );
    epoch(&loader);
    assert_eq!(loader.bad_samples().total(), bad.total(), "a sample counts once");
}

#[test]
fn an_unreadable_sample_is_left_out_of_evaluation() {
    let loader = loader(
        Made {
            unreadable: [0, 3, 4].into(),
            ..Made::new(6)
        },
        &config(3, 1),
        LoaderMode::Eval,
    );
    assert_eq!(indices(&epoch(&loader)), [1, 2, 5]);
    assert_eq!(loader.bad_samples().total(), 3);
}

#[test]
fn too_many_unreadable_samples_end_the_epoch_with_the_list() {
    for num_workers in [0, 3] {
        let config = LoaderConfig {
            max_bad_samples: 2,
            ..config(10, num_workers)
        };
        let loader = loader(
            Made {
                unreadable: [11, 12, 23].into(),
                ..Made::new(60)
            },
            &config,
            LoaderMode::Eval,
        );
        let mut batches = loader.iter();
        assert!(batches.next().unwrap().is_ok());
        assert_eq!(batches.next().unwrap().unwrap().len(), 8);
        let error = batches.next().unwrap().unwrap_err().to_string();
        assert_eq!(
            error,
            "more unreadable samples than loader.max_bad_samples = 2: 3 unreadable samples; cannot read file: 3 \
             (11: made unreadable; 12: made unreadable; 23: made unreadable)"
        );
        assert!(batches.next().is_none());
    }
}

#[test]
fn nothing_readable_is_an_error_and_no_endless_search() {
    let loader = loader(
        Made {
            unreadable: (0..20).collect(),
            ..Made::new(20)
        },
        &config(10, 1),
        LoaderMode::Train,
    );
    let error = loader.iter().next().unwrap().unwrap_err().to_string();
    assert!(error.contains("no readable sample can replace made "), "{error}");
}

#[test]
fn what_cannot_be_loaded_is_refused_before_the_start() {
    let message =
        |source, config: &LoaderConfig| try_loader(source, config, LoaderMode::Train).err().unwrap().to_string();
    assert!(message(Made::new(9), &config(10, 0)).contains("lower batch_size to at most 9"));
    let distinct = LoaderConfig {
        distinct_ids: true,
        ..config(10, 0)
    };
    assert!(
        message(
            Made {
                per_id: 4,
                ..Made::new(36)
            },
            &distinct
        )
        .contains("has 9 different image ids")
    );
    assert_eq!(
        message(Made::new(9), &config(0, 0)),
        "loader.batch_size = 0: it must be at least 1"
    );
    assert!(try_loader(Made::new(9), &config(10, 0), LoaderMode::Eval).is_ok());
    let short = Pipeline::new(transform(), pipeline().tokenizer().clone(), 2)
        .err()
        .unwrap()
        .to_string();
    assert!(short.contains("context_length"), "{short}");
}

#[test]
fn dropping_an_epoch_early_ends_its_threads() {
    let source: Arc<dyn Source> = Arc::new(Made::new(10_000));
    let loader = ImageTextLoader::new(source.clone(), pipeline(), &config(10, 3), LoaderMode::Train, 0).unwrap();
    let idle = Arc::strong_count(&loader.inner);
    let mut batches = loader.iter();
    batches.next().unwrap().unwrap();
    assert!(Arc::strong_count(&loader.inner) > idle);
    drop(batches);
    assert_eq!(
        Arc::strong_count(&loader.inner),
        idle,
        "a thread still holds the loader"
    );
    assert_eq!(epoch(&loader)[0].epoch, 1, "the next iteration is the next epoch");
}

#[test]
fn slices_share_out_the_samples() {
    let loader = loader(Made::new(40), &config(5, 1), LoaderMode::Train);
    let mut seen = BTreeSet::new();
    for (start, end) in [(0, 20), (20, 40)] {
        let slice = loader.slice(start, end);
        assert_eq!(slice.num_items(), 20);
        let batches: Vec<ImageTextBatch> = slice.iter().map(Result::unwrap).collect();
        assert!(indices(&batches).iter().all(|index| (start..end).contains(index)));
        seen.extend(indices(&batches));
    }
    assert_eq!(seen.len(), 40);
}

#[test]
fn evaluation_images_come_once_and_in_order() {
    for num_workers in [0, 3] {
        let set = EvalSet::new(Arc::new(Made {
            unreadable: [2, 7].into(),
            ..Made::new(9)
        }))
        .unwrap();
        let mut images = EvalImages::new(&set, transform(), &config(4, num_workers)).unwrap();
        assert_eq!(images.num_batches(), 3);
        let batches: Vec<EvalImageBatch> = images.by_ref().map(Result::unwrap).collect();
        let rows: Vec<Vec<usize>> = batches.iter().map(|batch| batch.rows.clone()).collect();
        assert_eq!(rows, [vec![0, 1, 3], vec![4, 5, 6], vec![8]]);
        assert_eq!(
            batches[1]
                .images
                .chunks(SIZE * SIZE * 3)
                .map(|image| image[0])
                .collect::<Vec<_>>(),
            [4, 5, 6]
        );
        assert_eq!(images.bad_samples().total(), 2);

        let strict = LoaderConfig {
            max_bad_samples: 1,
            ..config(4, num_workers)
        };
        let mut images = EvalImages::new(&set, transform(), &strict).unwrap();
        assert!(images.next().unwrap().is_ok());
        assert!(matches!(
            images.next(),
            Some(Err(LoaderError::TooManyBad { max: 1, .. }))
        ));
        assert!(images.next().is_none());
    }
}

#[test]
fn samples_that_belong_together_share_a_batch_and_a_seed() {
    let source = || Made {
        together: 2,
        ..Made::new(40)
    };
    let batches = epoch(&loader(source(), &config(8, 2), LoaderMode::Train));
    assert_eq!(batches.len(), 5);
    for batch in &batches {
        for pair in batch.sample_indices.chunks(2) {
            assert_eq!((pair[0] % 2, pair[1]), (0, pair[0] + 1));
        }
        let seeds: HashSet<u64> = batch.sample_seeds.iter().copied().collect();
        assert_eq!(seeds.len(), 8, "what a task draws for them is drawn for each");
    }
    // What two of them draw differs all the same: each has a stream of its own.
    let mut pairs = batches.iter().flat_map(|batch| batch.tokens.chunks(2 * CONTEXT));
    assert!(pairs.all(|pair| pair[..CONTEXT] != pair[CONTEXT..]));
    let distinct = LoaderConfig {
        distinct_ids: true,
        ..config(8, 2)
    };
    let error = try_loader(source(), &distinct, LoaderMode::Train)
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.starts_with("loader.distinct_ids = true deals samples to batches one by one, but 2"),
        "{error}"
    );
}
