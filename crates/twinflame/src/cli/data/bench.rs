//! `twinflame data bench`: what training batches of a data set cost the processor.

use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use burn::data::dataloader::DataLoader;
use clap::{Args, value_parser};
use cpu_time::{ProcessTime, ThreadTime};
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use serde::Serialize;

use crate::cli::figures;
use crate::data::dataset::Source;
use crate::data::transform::RandomResizedCropConfig;
use crate::data::{
    DecodeLimits, ImageTextLoader, LoaderConfig, LoaderMode, Pipeline, Tokenizer, TokenizerConfig, Transform,
    TransformConfig, decode,
};
use crate::train::eval::{ReportTable, data_config};

/// Tokens of a caption in CLIP.
const CONTEXT_LENGTH: usize = 77;

/// Samples whose stages are timed one by one.
const STAGED_SAMPLES: usize = 1000;

/// Arguments of `twinflame data bench`.
#[derive(Args, Debug)]
pub(super) struct BenchArgs {
    /// A folder with captions.csv, .tsv or .jsonl, a .json list like ALBEF's, tar shards such as 'd/{00..31}.tar', or a
    /// .toml file with the keys of a recipe's [data.train]
    source: PathBuf,
    /// Edge of the images that the model would see, in pixels
    #[arg(long, value_name = "N", default_value_t = 224, value_parser = value_parser!(u32).range(1..=4096))]
    image_size: u32,
    /// Pairs in a batch
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = value_parser!(u32).range(1..))]
    batch_size: u32,
    /// Worker threads; 0 works in the thread that takes the batches. Left out: as many as there are cores
    #[arg(long, value_name = "N")]
    num_workers: Option<u16>,
    /// Passes over the data to time, after one that warms up
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = value_parser!(u32).range(1..))]
    epochs: u32,
    /// Print one JSON object in place of the table
    #[arg(long)]
    json: bool,
}

/// What was timed: seconds for 1,000 images.
#[derive(Debug, Serialize)]
struct Measured {
    images: usize,
    workers: usize,
    /// User and system time of all threads, for each pass.
    cpu_s_per_1000: Vec<f64>,
    wall_s_per_1000: Vec<f64>,
    /// Time in one thread, from one sample to the next.
    stages_cpu_s_per_1000: Stages,
}

/// The parts of the work on a sample.
#[derive(Debug, Default, Serialize)]
struct Stages {
    read: f64,
    decode: f64,
    transform: f64,
    tokenize: f64,
}

/// Makes batches as training does, with open_clip's random part of each image and CLIP's tokenizer, and prints what it cost.
///
/// # Errors
///
/// A source that cannot be opened, that does not fill a batch, or of which too much cannot be read.
pub(super) fn run(args: &BenchArgs) -> anyhow::Result<()> {
    let source = data_config(&args.source)?.open()?;
    let config = TransformConfig {
        image_size: args.image_size as usize,
        random_resized_crop: Some(RandomResizedCropConfig::default()),
        ..TransformConfig::default()
    };
    let transform = Arc::new(Transform::train(&config)?);
    let tokenizer = Arc::new(Tokenizer::new(&TokenizerConfig::default())?);
    let pipeline = Pipeline::new(transform, tokenizer, CONTEXT_LENGTH)?;
    let measured = measure(&source, pipeline, args)?;
    if args.json {
        println!("{}", serde_json::to_string(&measured)?);
    } else {
        println!("{}", figures::render(&table(&measured)));
    }
    Ok(())
}

fn measure(source: &Arc<dyn Source>, pipeline: Pipeline, args: &BenchArgs) -> anyhow::Result<Measured> {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let workers = args.num_workers.map_or(cores, usize::from);
    let config = LoaderConfig {
        batch_size: args.batch_size as usize,
        num_workers: Some(workers),
        ..LoaderConfig::default()
    };
    let stages = pipeline.clone();
    let loader = ImageTextLoader::new(source.clone(), pipeline, &config, LoaderMode::Train, 0)?;
    let mut measured = Measured {
        images: loader.num_items(),
        workers,
        cpu_s_per_1000: Vec::new(),
        wall_s_per_1000: Vec::new(),
        stages_cpu_s_per_1000: Stages::default(),
    };
    for epoch in 0..=args.epochs {
        let (wall, cpu) = (Instant::now(), ProcessTime::try_now()?);
        for batch in loader.iter() {
            drop(batch?);
        }
        if epoch > 0 {
            let images = measured.images;
            measured.cpu_s_per_1000.push(per_1000(cpu.try_elapsed()?, images));
            measured.wall_s_per_1000.push(per_1000(wall.elapsed(), images));
        }
    }
    measured.stages_cpu_s_per_1000 = time_stages(&**source, &stages)?;
    Ok(measured)
}

/// The stages one after another in this thread. Samples that cannot be read are passed over.
fn time_stages(source: &dyn Source, pipeline: &Pipeline) -> anyhow::Result<Stages> {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut spent = [Duration::ZERO; 4];
    let mut images = 0;
    for index in 0..source.num_samples().min(STAGED_SAMPLES) {
        let mut laps = [Duration::ZERO; 4];
        let mut last = ThreadTime::try_now()?;
        let mut lap = |stage: usize| -> std::io::Result<()> {
            let now = ThreadTime::try_now()?;
            laps[stage] = now.duration_since(last);
            last = now;
            Ok(())
        };
        let (Ok((_, bytes)), Ok(caption)) = (source.encoded(index), source.draw_caption(index, &mut rng)) else {
            continue;
        };
        lap(0)?;
        let Ok(image) = decode(&bytes, &DecodeLimits::default()) else {
            continue;
        };
        lap(1)?;
        drop(pipeline.transform().apply(&image, &mut rng));
        lap(2)?;
        drop(pipeline.tokenizer().encode(&caption, pipeline.context_length()));
        lap(3)?;
        images += 1;
        spent.iter_mut().zip(laps).for_each(|(sum, lap)| *sum += lap);
    }
    let [read, decode, transform, tokenize] = spent.map(|time| per_1000(time, images));
    Ok(Stages {
        read,
        decode,
        transform,
        tokenize,
    })
}

/// Seconds for 1,000 images, to the millisecond.
fn per_1000(time: Duration, images: usize) -> f64 {
    (time.as_secs_f64() * 1e6 / images.max(1) as f64).round() / 1e3
}

fn table(measured: &Measured) -> ReportTable {
    let least = |times: &[f64]| times.iter().copied().fold(f64::INFINITY, f64::min);
    let whole = format!(
        "batches, {} workers, best of {} passes",
        measured.workers,
        measured.cpu_s_per_1000.len()
    );
    let stages = &measured.stages_cpu_s_per_1000;
    let rows = [
        (
            &*whole,
            least(&measured.cpu_s_per_1000),
            Some(least(&measured.wall_s_per_1000)),
        ),
        ("one thread: reading", stages.read, None),
        ("one thread: decoding", stages.decode, None),
        ("one thread: cropping and resizing", stages.transform, None),
        ("one thread: tokenizing", stages.tokenize, None),
    ];
    ReportTable {
        header: ["seconds for 1,000 images", "CPU", "wall"].map(str::to_owned).to_vec(),
        rows: rows
            .map(|(what, cpu, wall)| {
                let wall = wall.map_or_else(String::new, |wall| format!("{wall:.3}"));
                vec![what.to_owned(), format!("{cpu:.3}"), wall]
            })
            .to_vec(),
        num_word_columns: 1,
    }
}
