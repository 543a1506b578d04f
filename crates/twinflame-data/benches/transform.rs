//! What one sample costs: decoding, transforming, tokenizing. `cargo bench -p twinflame-data --bench transform`.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark may stop at once")]

use divan::Bencher;
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use std::hint::black_box;
use twinflame_data::transform::{AffineConfig, ColorJitterConfig, RandAugmentConfig, RandomResizedCropConfig};
use twinflame_data::{
    DecodeLimits, DecodedImage, PixelLayout, Tokenizer, TokenizerConfig, Transform, TransformConfig, decode,
};

fn main() {
    divan::main();
}

/// A round blob in changing colours on transparent ground, like an emoji.
fn emoji() -> DecodedImage {
    let mut pixels = Vec::with_capacity(64 * 64 * 4);
    for y in 0..64_i32 {
        for x in 0..64_i32 {
            let radius = (x - 32).pow(2) + (y - 32).pow(2);
            let alpha = if radius < 900 { 255 } else { 0 };
            pixels.extend([(x * 4) as u8, (y * 4) as u8, (radius / 8) as u8, alpha]);
        }
    }
    DecodedImage::new(64, 64, PixelLayout::Rgba, pixels).with_background([255; 3])
}

/// A photo-sized gradient with some texture.
fn photo() -> DecodedImage {
    let pixel = |i: usize| [(i % 251) as u8, (i / 640 % 256) as u8, (i * 7 % 255) as u8];
    let pixels = (0..640 * 480).flat_map(pixel).collect();
    DecodedImage::new(640, 480, PixelLayout::Rgb, pixels)
}

fn emoji_config() -> TransformConfig {
    TransformConfig {
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
    }
}

fn albef_config() -> TransformConfig {
    TransformConfig {
        image_size: 224,
        random_resized_crop: Some(RandomResizedCropConfig {
            scale: [0.2, 1.0],
            ..RandomResizedCropConfig::default()
        }),
        flip_probability: 0.5,
        rand_augment: Some(RandAugmentConfig::default()),
        ..TransformConfig::default()
    }
}

fn run(bencher: Bencher<'_, '_>, transform: &Transform, image: &DecodedImage) {
    let size = transform.image_size();
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut output = vec![0; size * size * 3];
    bencher.bench_local(|| transform.apply_into(black_box(image), &mut rng, &mut output));
}

#[divan::bench]
fn emoji_64_to_32_train(bencher: Bencher<'_, '_>) {
    run(bencher, &Transform::train(&emoji_config()).unwrap(), &emoji());
}

#[divan::bench]
fn emoji_64_to_32_eval(bencher: Bencher<'_, '_>) {
    run(bencher, &Transform::eval(&emoji_config()).unwrap(), &emoji());
}

#[divan::bench]
fn photo_640_to_224_train_albef(bencher: Bencher<'_, '_>) {
    run(bencher, &Transform::train(&albef_config()).unwrap(), &photo());
}

#[divan::bench]
fn photo_640_to_224_eval(bencher: Bencher<'_, '_>) {
    run(bencher, &Transform::eval(&albef_config()).unwrap(), &photo());
}

#[divan::bench]
fn decode_jpeg_301x257(bencher: Bencher<'_, '_>) {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/fixtures/clip_preprocess/g_rgb_301x257_q95.jpg"
    );
    let bytes = std::fs::read(path).unwrap();
    bencher.bench_local(|| decode(black_box(&bytes), &DecodeLimits::default()));
}

#[divan::bench]
fn tokenize_short_caption(bencher: Bencher<'_, '_>) {
    let tokenizer = Tokenizer::new(&TokenizerConfig::default()).unwrap();
    bencher.bench_local(|| tokenizer.encode(black_box("an emoji of a grinning face with big eyes, smile, happy"), 24));
}

#[divan::bench]
fn tokenize_curly_caption(bencher: Bencher<'_, '_>) {
    let tokenizer = Tokenizer::new(&TokenizerConfig::default()).unwrap();
    bencher.bench_local(|| tokenizer.encode(black_box("the dog’s “best” friend – a café in Zürich"), 24));
}
