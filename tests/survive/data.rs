//! Tar shards to train on, and the recipe.

use std::fs::{self, File};
use std::io::Cursor;
use std::path::Path;

use image::{ImageFormat, Rgb, RgbImage};

/// Steps of the run.
pub(crate) const NUM_STEPS: usize = 30;

/// Steps of an epoch, one less than a pass over the shards: passes begin in the middle of epochs.
pub(crate) const STEPS_PER_EPOCH: usize = 11;

const SHARDS: usize = 6;
const SAMPLES_PER_SHARD: usize = 16;

/// Writes the shards into `dir`, and the recipe that trains on them.
pub(crate) fn write(dir: &Path) {
    for shard in 0..SHARDS {
        write_shard(&dir.join(format!("train-{shard}.tar")), shard * SAMPLES_PER_SHARD);
    }
    write_shard(&dir.join("held-out.tar"), SHARDS * SAMPLES_PER_SHARD);
    let recipe = RECIPE.replace("DIR", &dir.display().to_string());
    fs::write(dir.join("survivor.toml"), recipe).unwrap();
}

fn write_shard(path: &Path, first: usize) {
    let mut tar = tar::Builder::new(File::create(path).unwrap());
    for sample in first..first + SAMPLES_PER_SHARD {
        let mut png = Cursor::new(Vec::new());
        picture(sample).write_to(&mut png, ImageFormat::Png).unwrap();
        let mut bytes = png.into_inner();
        if sample == 7 {
            // Found when it is drawn: another sample takes its place, and that is to be the same one every time.
            bytes.truncate(40);
        }
        append(&mut tar, &format!("{sample:04}.png"), &bytes);
        let caption = format!("stripes of width {} in colour {}", sample % 7 + 1, sample % 11);
        append(&mut tar, &format!("{sample:04}.txt"), caption.as_bytes());
    }
    tar.finish().unwrap();
}

fn append(tar: &mut tar::Builder<File>, name: &str, bytes: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    tar.append_data(&mut header, name, bytes).unwrap();
}

fn picture(sample: usize) -> RgbImage {
    let colour = (sample % 11 * 23) as u8;
    let width = sample as u32 % 7 + 1;
    RgbImage::from_fn(40, 32, |x, y| match x / width % 2 {
        0 => Rgb([colour, 255 - colour, 8 * y as u8]),
        _ => Rgb([255, 255, 255]),
    })
}

/// Two and a half epochs; checkpoints often, so that kills meet them.
const RECIPE: &str = r#"
name = "survivor"
seed = 3

[model]
name = "tiny-vit"
patch_dropout = 0.25

[tokenizer]
kind = "clip"
vocab_size = 1024

[data.train]
kind = "webdataset"
shards = "DIR/train-*.tar"

[data.valid]
kind = "webdataset"
shards = "DIR/held-out.tar"

[data.test.held-out]
kind = "webdataset"
shards = "DIR/held-out.tar"

[transform]
greyscale_probability = 0.15
affine = { scale = [0.7, 1.2], rotation_degrees = 15.0 }
color_jitter = { brightness = 0.3, contrast = 0.3, saturation = 0.3 }

[loader]
batch_size = 8
num_workers = 2
shuffle_shards = 3
batches_per_epoch = 11

[task]
kind = "clip"
targets = "by-id"
micro_batch_size = 4
ema_decay = 0.9
max_grad_norm = 1.0

[optim]
lr = 1e-3
weight_decay = 0.1

[run]
num_steps = 30
save_every_steps = 2
save_every_minutes = 0.01
log_every_steps = 1
"#;
