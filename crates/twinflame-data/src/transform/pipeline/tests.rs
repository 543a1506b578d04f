use super::super::config::{AffineConfig, ColorJitterConfig, RandAugmentConfig, RandomResizedCropConfig, ResizeMode};
use super::*;
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

fn picture(width: u32, height: u32) -> DecodedImage {
    let pixels = (0..width * height).flat_map(|i| [(i * 7 % 251) as u8, (i % width * 5) as u8, (i / width * 9) as u8]);
    DecodedImage::new(width, height, PixelLayout::Rgb, pixels.collect())
}

fn plain(size: usize) -> TransformConfig {
    TransformConfig {
        image_size: size,
        ..TransformConfig::default()
    }
}

/// Everything random at once.
fn wild(size: usize) -> TransformConfig {
    TransformConfig {
        random_resized_crop: Some(RandomResizedCropConfig {
            scale: [0.3, 1.0],
            ..RandomResizedCropConfig::default()
        }),
        affine: Some(AffineConfig {
            scale: [0.5, 1.2],
            rotation_degrees: 15.0,
            ..AffineConfig::default()
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
        greyscale_probability: 0.2,
        ..plain(size)
    }
}

fn seeded(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

fn train(config: &TransformConfig, image: &DecodedImage, seed: u64) -> RgbTensor {
    Transform::train(config).unwrap().apply(image, &mut seeded(seed))
}

fn eval(config: &TransformConfig, image: &DecodedImage) -> RgbTensor {
    Transform::eval(config).unwrap().apply(image, &mut seeded(0))
}

#[test]
fn training_without_randomness_is_evaluation() {
    let still = TransformConfig {
        affine: Some(AffineConfig::default()),
        color_jitter: Some(ColorJitterConfig::default()),
        ..plain(16)
    };
    for (width, height) in [(40, 40), (16, 16), (10, 12)] {
        let image = picture(width, height);
        for config in [&plain(16), &still] {
            assert_eq!(train(config, &image, 3), eval(config, &image), "{width}x{height}");
        }
    }
}

#[test]
fn a_seed_decides_everything() {
    let image = picture(50, 40);
    for seed in 0..20 {
        let first = train(&wild(24), &image, seed);
        assert_eq!(first, train(&wild(24), &image, seed));
        assert_ne!(first, train(&wild(24), &image, seed + 100));
    }
}

/// Bits of a result must not change from one machine or release to the next: runs could not be repeated.
#[test]
fn the_pixels_of_a_seed_are_fixed() {
    let hash = (0..50).fold(0_u64, |hash, seed| {
        let tensor = train(&wild(24), &picture(50, 40), seed);
        let fold = |hash: u64, &byte: &u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        tensor.pixels.iter().fold(hash, fold)
    });
    assert_eq!(hash, 11_373_843_673_676_470_210);
}

#[test]
fn flipping_mirrors() {
    let flipping = TransformConfig {
        flip_probability: 1.0,
        ..plain(8)
    };
    let image = picture(8, 8);
    let flipped = train(&flipping, &image, 0).pixels;
    assert_eq!(flipped[..3], image.pixels()[21..24]);
    assert_eq!(flipped[21..24], image.pixels()[..3]);
}

#[test]
fn the_longer_edge_is_padded_on_both_sides() {
    let config = TransformConfig {
        mode: ResizeMode::LongestPad,
        fill: [9, 8, 7],
        ..plain(8)
    };
    let image = DecodedImage::new(16, 10, PixelLayout::Grey, vec![100; 160]);
    let pixels = eval(&config, &image).pixels;
    let rows: Vec<&[u8]> = pixels.chunks(24).collect();
    // 10 rows become 5: one row of fill above, two below
    assert_eq!(rows[0][..3], [9, 8, 7]);
    assert!(rows[1..6].iter().all(|row| row.iter().all(|&value| value == 100)));
    assert_eq!([&rows[6][..3], &rows[7][..3]], [[9, 8, 7]; 2]);
}

#[test]
fn a_background_is_behind_the_image_and_around_it() {
    let clear = DecodedImage::new(6, 6, PixelLayout::Rgba, vec![0; 144]).with_background([10, 20, 30]);
    let config = TransformConfig {
        affine: Some(AffineConfig {
            scale: [0.5, 0.5],
            rotation_degrees: 10.0,
            ..AffineConfig::default()
        }),
        ..plain(6)
    };
    for tensor in [eval(&config, &clear), train(&config, &clear, 1)] {
        assert!(tensor.pixels.chunks(3).all(|pixel| pixel == [10, 20, 30]));
    }
}

#[test]
fn greyscale_has_three_equal_channels() {
    let config = TransformConfig {
        greyscale_probability: 1.0,
        ..plain(8)
    };
    let tensor = train(&config, &picture(9, 9), 0);
    assert!(tensor.pixels.chunks(3).all(|p| p[0] == p[1] && p[1] == p[2]));
}

#[test]
#[should_panic(expected = "bytes of an RGB image of edge 8")]
fn a_wrong_output_length_panics() {
    let transform = Transform::eval(&plain(8)).unwrap();
    transform.apply_into(&picture(8, 8), &mut seeded(0), &mut [0; 3]);
}
