//! Memory of a batch in micro-batches, against a batch of the micro-batch's size:
//! `cargo bench -p twinflame-train --bench micro_batch_memory -- [PRESET] [BATCH] [MICRO_BATCH]`.
//!
//! Two steps each, on the CPU, in a process of its own, whose peak is read from `/proc/self/status`. What a batch of
//! 4,096 holds of necessity is listed apart: its bytes on the host, and its embeddings with their gradients.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark may stop at once")]

use std::{env, fs, process::Command};

use burn::{tensor::Device, train::TrainStep};
use twinflame_data::{ImageTextBatch, Normalization};
use twinflame_model::ClipConfig;
use twinflame_train::{
    optim::{OptimConfig, adamw},
    task::{ClipTask, ClipTaskConfig},
};

/// Set for the processes that measure: the batch size and the micro-batch size.
const CHILD: &str = "TWINFLAME_MICRO_BATCH_CHILD";

const MIB: f64 = 1024.0 * 1024.0;

fn main() {
    let mut arguments: Vec<String> = env::args().skip(1).collect();
    // `cargo test` and `cargo nextest` run benchmarks, too, without this flag.
    if !arguments.iter().any(|argument| argument == "--bench") {
        return;
    }
    arguments.retain(|argument| argument != "--bench");
    let argument = |index: usize, default: &str| arguments.get(index).map_or(default, String::as_str).to_owned();
    let preset = argument(0, "emoji-vit");
    let config = ClipConfig::named(&preset).unwrap();
    if let Ok(sizes) = env::var(CHILD) {
        let (batch, micro) = sizes.split_once(' ').unwrap();
        return measure(&config, batch.parse().unwrap(), micro.parse().unwrap());
    }

    let (batch, micro) = (argument(1, "4096"), argument(2, "32"));
    let (small, large) = (peak(&preset, &micro, &micro), peak(&preset, &batch, &micro));
    let (batch, micro): (usize, usize) = (batch.parse().unwrap(), micro.parse().unwrap());
    let host = |pairs: usize| {
        let image = config.vision_cfg.image_size * config.vision_cfg.image_size * 3;
        (pairs * (image + 4 * config.text_cfg.context_length)) as f64 / MIB
    };
    // Images and texts, and the gradients of both, in f32.
    let features = (batch * config.embed_dim * 4 * 4) as f64 / MIB;
    let (small_net, large_net) = (small - host(micro), large - host(batch) - features);
    println!("{preset}, CPU (flex), f32, two steps, MiB");
    println!(
        "batch {micro}: peak {small:.0}, of which the batch on the host {:.1}",
        host(micro)
    );
    println!(
        "batch {batch} in micro-batches of {micro}: peak {large:.0}, of which the batch on the host {:.1}, features {features:.1}",
        host(batch)
    );
    println!(
        "ratio without these: {:.2}; of the peaks: {:.2}",
        large_net / small_net,
        large / small
    );
}

/// Peak of a process that trains with these sizes, in MiB.
fn peak(preset: &str, batch: &str, micro: &str) -> f64 {
    let output = Command::new(env::current_exe().unwrap())
        .args([preset, "--bench"])
        .env(CHILD, format!("{batch} {micro}"))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    text.trim()
        .parse()
        .unwrap_or_else(|_| panic!("batch {batch}: {text}{errors}"))
}

fn measure(config: &ClipConfig, batch_size: usize, micro_batch_size: usize) {
    let model = config.init(0, &Device::flex().autodiff());
    let mut optimizer = adamw(&OptimConfig::default(), &model);
    let task = ClipTaskConfig {
        micro_batch_size: Some(micro_batch_size),
        ..ClipTaskConfig::default()
    };
    let mut task = ClipTask::new(model, task, 0.0, Normalization::default()).unwrap();
    for _ in 0..2 {
        let output = TrainStep::step(&task, batch(config, batch_size));
        assert!(output.item.values().unwrap().loss().is_finite());
        task = task.optimize(&mut optimizer, 1e-4.into(), output.grads);
    }
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    let kibibytes: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    println!("{}", kibibytes / 1024.0);
}

fn batch(config: &ClipConfig, batch_size: usize) -> ImageTextBatch {
    let (size, context_length) = (config.vision_cfg.image_size, config.text_cfg.context_length);
    let last = config.text_cfg.vocab_size as i32 - 1;
    let scattered = |index: usize| index.wrapping_mul(2_654_435_761) >> 7;
    let token = |index: usize| match index % context_length {
        // The largest id ends a text.
        7 => last,
        _ => (scattered(index) % last as usize) as i32,
    };
    let ids: Vec<i64> = (0..batch_size as i64).collect();
    ImageTextBatch {
        images: (0..batch_size * size * size * 3)
            .map(|index| scattered(index) as u8)
            .collect(),
        image_size: [size, size],
        tokens: (0..batch_size * context_length).map(token).collect(),
        context_length,
        image_ids: ids.clone(),
        caption_ids: ids,
        sample_indices: (0..batch_size).collect(),
        sample_seeds: (0..batch_size as u64).collect(),
        ..ImageTextBatch::default()
    }
}
