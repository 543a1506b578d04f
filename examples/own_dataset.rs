//! A dataset and a training loop of your own: pictures of coloured shapes, drawn on the fly.
//!
//! ```console
//! cargo run --release --example own_dataset
//! ```

#![allow(clippy::print_stdout, reason = "what it shows goes to the terminal")]

use std::sync::Arc;

use burn::data::dataloader::DataLoader;
use burn::train::TrainStep;
use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use twinflame::data::dataset::{Classes, Draw, SampleError};
use twinflame::data::decode::{DecodedImage, PixelLayout};
use twinflame::data::report::OpenReport;
use twinflame::data::tokenizer::{Tokenizer, TokenizerConfig};
use twinflame::data::transform::{Transform, TransformConfig};
use twinflame::data::{ImageTextLoader, LoaderConfig, LoaderMode, Pipeline, Source};
use twinflame::model::ClipConfig;
use twinflame::train::metric::spec;
use twinflame::train::optim::{OptimConfig, adamw};
use twinflame::train::task::{ClipTask, ClipTaskConfig};

const COLORS: [(&str, [u8; 3]); 6] = [
    ("red", [220, 40, 40]),
    ("green", [40, 170, 60]),
    ("blue", [50, 80, 220]),
    ("yellow", [240, 210, 50]),
    ("purple", [150, 60, 190]),
    ("black", [20, 20, 20]),
];
const SHAPES: [&str; 3] = ["circle", "square", "triangle"];
const SIZE: u32 = 32;

/// Every colour in every shape; a training step draws each at a random place and size.
#[derive(Debug)]
struct Shapes {
    captions: Vec<String>,
    report: OpenReport,
}

impl Shapes {
    fn new() -> Self {
        let captions = COLORS
            .iter()
            .flat_map(|(color, _)| SHAPES.map(|shape| format!("a {color} {shape}")))
            .collect();
        Self {
            captions,
            report: OpenReport::default(),
        }
    }

    /// Sample `index` with its centre and radius in pixels.
    fn paint(index: usize, center: (i32, i32), radius: i32) -> DecodedImage {
        let (_, color) = COLORS[index / SHAPES.len()];
        let mut pixels = vec![255; (SIZE * SIZE * 3) as usize];
        for (place, pixel) in pixels.chunks_exact_mut(3).enumerate() {
            let x = (place as i32 % SIZE as i32) - center.0;
            let y = (place as i32 / SIZE as i32) - center.1;
            let inside = match SHAPES[index % SHAPES.len()] {
                "circle" => x * x + y * y <= radius * radius,
                "square" => x.abs().max(y.abs()) <= radius,
                _ => y.abs() <= radius && 2 * x.abs() <= y + radius,
            };
            if inside {
                pixel.copy_from_slice(&color);
            }
        }
        DecodedImage::new(SIZE, SIZE, PixelLayout::Rgb, pixels)
    }
}

impl Source for Shapes {
    fn num_samples(&self) -> usize {
        self.captions.len()
    }

    fn image_id(&self, index: usize) -> i64 {
        index as i64
    }

    fn name(&self, index: usize) -> String {
        self.captions[index].clone()
    }

    // Everything random comes from `rng`: that keeps a run the same whatever the number of workers.
    fn draw(&self, index: usize, rng: &mut ChaCha8Rng) -> Result<Draw, SampleError> {
        let center = (rng.random_range(10..22), rng.random_range(10..22));
        let image = Self::paint(index, center, rng.random_range(6..10));
        Ok(Draw {
            image,
            caption: self.captions[index].clone(),
            image_id: self.image_id(index),
        })
    }

    fn image(&self, index: usize) -> Result<DecodedImage, SampleError> {
        Ok(Self::paint(index, (16, 16), 8))
    }

    fn captions(&self, index: usize) -> Result<Vec<String>, SampleError> {
        Ok(vec![self.captions[index].clone()])
    }

    fn eval_images(&self) -> Vec<usize> {
        (0..self.num_samples()).collect()
    }

    fn eval_captions(&self) -> Result<Vec<(i64, String)>, SampleError> {
        let captions = self.captions.iter().cloned().enumerate();
        Ok(captions.map(|(index, text)| (index as i64, text)).collect())
    }

    fn classes(&self) -> Vec<Classes> {
        Vec::new()
    }

    fn report(&self) -> &OpenReport {
        &self.report
    }
}

fn main() -> anyhow::Result<()> {
    let selected = twinflame::device::select("auto")?;
    println!("{}", selected.description);

    let config = ClipConfig::named("tiny-vit")?;
    let transform = Transform::train(&TransformConfig {
        image_size: SIZE as usize,
        ..TransformConfig::default()
    })?;
    let normalization = transform.normalization();
    let tokenizer = Tokenizer::new(&TokenizerConfig::Clip {
        vocab_size: config.text_cfg.vocab_size,
    })?;
    let pipeline = Pipeline::new(Arc::new(transform), Arc::new(tokenizer), config.text_cfg.context_length)?;
    let loader_config = LoaderConfig {
        batch_size: 18,
        distinct_ids: true,
        ..LoaderConfig::default()
    };
    let loader = ImageTextLoader::new(Arc::new(Shapes::new()), pipeline, &loader_config, LoaderMode::Train, 0)?;

    let model = config.init(0, &selected.device.clone().autodiff());
    let mut optimizer = adamw(&OptimConfig::default(), &model);
    let mut task = ClipTask::new(model, ClipTaskConfig::default(), 0.0, normalization)?;
    // A pass over 18 samples is one batch, so each epoch is a step.
    for step in 1..=200 {
        for batch in loader.iter() {
            let output = task.step(batch?);
            task = task.optimize(&mut optimizer, 1e-3.into(), output.grads);
            if step % 25 == 0 {
                // Reading a value waits for the device, so not in every step.
                let values = output.item.values()?;
                println!(
                    "step {step:3}: loss {:.3}, right pictures {:.0} %",
                    values.loss(),
                    values.get(&spec::ACCURACY_T2I).unwrap_or_default()
                );
            }
        }
    }
    Ok(())
}
