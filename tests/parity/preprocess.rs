//! Preprocessing against open_clip 3.3.0 on Pillow 13 and libjpeg-turbo, and against ALBEF
//! (`fixtures/clip_preprocess`).
//!
//! Resizing is exact. JPEG and lossy WebP go through other decoders than Pillow's: up to four levels, where chroma is
//! upsampled, and less than half a level on average.

use std::fs;

use safetensors::SafeTensors;
use twinflame::data::transform::{ColorConversion, ResizeMode};
use twinflame::data::{DecodeLimits, DecodedImage, Normalization, PixelLayout, Transform, TransformConfig, decode};

/// File and Pillow's mode.
const FILES: [(&str, PixelLayout); 11] = [
    ("a_rgb_50x37.png", PixelLayout::Rgb),
    ("b_rgb_64x66.png", PixelLayout::Rgb),
    ("c_rgb_74x64.png", PixelLayout::Rgb),
    ("d_gray_45x60.png", PixelLayout::Grey),
    ("e_rgba_61x40.png", PixelLayout::Rgba),
    ("f_palette_48x40.png", PixelLayout::Indexed),
    ("g_rgb_301x257_q95.jpg", PixelLayout::Rgb),
    ("h_rgb_70x52_q95_444.jpg", PixelLayout::Rgb),
    ("i_la_40x52.png", PixelLayout::GreyAlpha),
    ("j_gray_64x50_q95.jpg", PixelLayout::Grey),
    ("k_rgb_32x32.png", PixelLayout::Rgb),
];

const JPEGS: [&str; 3] = ["g_rgb_301x257_q95", "h_rgb_70x52_q95_444", "j_gray_64x50_q95"];

fn read(name: &str) -> Vec<u8> {
    let path = twinflame_tests::fixtures().join("clip_preprocess").join(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn image(name: &str) -> DecodedImage {
    decode(&read(name), &DecodeLimits::default()).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The expected tensors, by name.
struct Golden(Vec<u8>);

impl Golden {
    fn open() -> Self {
        Self(read("outputs.safetensors"))
    }

    /// `None` if the fixture has no such tensor.
    fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        let tensors = SafeTensors::deserialize(&self.0).unwrap();
        tensors.tensor(name).ok().map(|view| view.data().to_vec())
    }

    fn floats(&self, name: &str) -> Option<Vec<f32>> {
        let bytes = self.bytes(name)?;
        let floats = bytes.as_chunks::<4>().0.iter();
        Some(floats.map(|&value| f32::from_le_bytes(value)).collect())
    }
}

fn config(size: usize) -> TransformConfig {
    TransformConfig {
        image_size: size,
        ..TransformConfig::default()
    }
}

/// The evaluation transform's pixels, `[3, size, size]` as in the fixture.
fn transformed(image: &DecodedImage, config: &TransformConfig) -> Vec<u8> {
    let size = config.image_size;
    let mut output = vec![0; size * size * 3];
    let transform = Transform::eval(config).unwrap();
    transform.apply_into(image, &mut Untouched, &mut output);
    let channel = |c: usize| output.iter().copied().skip(c).step_by(3);
    (0..3).flat_map(channel).collect()
}

/// A generator that must not be asked: evaluation is not random.
struct Untouched;

impl rand::TryRng for Untouched {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        panic!("evaluation drew a random number")
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        panic!("evaluation drew a random number")
    }

    fn try_fill_bytes(&mut self, _: &mut [u8]) -> Result<(), Self::Error> {
        panic!("evaluation drew a random number")
    }
}

/// Levels by which a lossy decoder may differ from libjpeg-turbo or libwebp.
const LOSSY: u8 = 4;

fn assert_levels(found: &[u8], expected: &[u8], tolerance: u8, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}: number of values");
    let distances = found.iter().zip(expected).map(|(a, b)| a.abs_diff(*b));
    let largest = distances.clone().max().unwrap();
    let mean = distances.map(f64::from).sum::<f64>() / found.len() as f64;
    println!("{what}: largest difference {largest}, mean {mean:.5}");
    assert!(
        largest <= tolerance,
        "{what}: off by {largest} levels, {tolerance} allowed"
    );
    assert!(mean < 0.5, "{what}: off by {mean} levels on average");
}

/// Normalises `[3, ...]` bytes.
fn normalized(pixels: &[u8]) -> Vec<f32> {
    let plane = pixels.len() / 3;
    let normalization = Normalization::default();
    let values = pixels.iter().enumerate();
    values
        .map(|(i, &pixel)| normalization.apply(i / plane, pixel))
        .collect()
}

fn assert_tensor(pixels: &[u8], expected: &[f32], levels: f32, what: &str) {
    let found = normalized(pixels);
    assert_eq!(found.len(), expected.len(), "{what}: number of values");
    // one level of 255 in units of the smallest standard deviation
    let tolerance = levels / 255.0 / 0.261 + 1e-5;
    for (i, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= tolerance, "{what}[{i}]: {a} instead of {b}");
    }
}

fn stem(file: &str) -> &str {
    file.split('.').next().unwrap()
}

fn is_jpeg(file: &str) -> bool {
    file.ends_with(".jpg")
}

#[test]
fn files_keep_pillows_mode() {
    for (file, layout) in FILES {
        assert_eq!(image(file).layout(), layout, "{file}");
    }
}

#[test]
fn crops_at_32_are_open_clips() {
    let golden = Golden::open();
    for (file, _) in FILES {
        let pixels = transformed(&image(file), &config(32));
        let name = stem(file);
        let expected = golden.bytes(&format!("{name}.32.pixels_u8")).unwrap();
        let tolerance = if is_jpeg(file) { LOSSY } else { 0 };
        assert_levels(&pixels, &expected, tolerance, &format!("{file} at 32"));
        let expected = golden.floats(&format!("{name}.32.tensor")).unwrap();
        assert_tensor(&pixels, &expected, f32::from(tolerance), file);
    }
}

#[test]
fn crops_at_224_are_open_clips() {
    let golden = Golden::open();
    let mut compared = 0;
    for (file, _) in FILES {
        let name = stem(file);
        let Some(expected) = golden.bytes(&format!("{name}.224.pixels_u8")) else {
            continue;
        };
        let pixels = transformed(&image(file), &config(224));
        let tolerance = if is_jpeg(file) { LOSSY } else { 0 };
        assert_levels(&pixels, &expected, tolerance, &format!("{file} at 224"));
        compared += 1;
    }
    assert_eq!(compared, 6, "files with a crop at 224");
}

#[test]
fn albefs_squash_is_albefs() {
    let golden = Golden::open();
    let albef = TransformConfig {
        mode: ResizeMode::Squash,
        color_conversion: ColorConversion::BeforeResize,
        ..config(32)
    };
    for (file, _) in FILES {
        let pixels = transformed(&image(file), &albef);
        let expected = golden.floats(&format!("{}.albef32.tensor", stem(file))).unwrap();
        let tolerance = if is_jpeg(file) { f32::from(LOSSY) } else { 0.0 };
        assert_tensor(&pixels, &expected, tolerance, file);
    }
}

#[test]
fn jpegs_decode_like_libjpeg_turbo() {
    let golden = Golden::open();
    for name in JPEGS {
        let expected = golden.bytes(&format!("{name}.decoded_u8_hwc")).unwrap();
        let found = image(&format!("{name}.jpg"));
        assert_levels(found.pixels(), &expected, LOSSY, name);
    }
}

/// The resize of a JPEG apart from its decoder: from libjpeg-turbo's pixels.
#[test]
fn jpegs_resize_like_pillow_from_the_same_pixels() {
    let golden = Golden::open();
    for name in JPEGS {
        let ours = image(&format!("{name}.jpg"));
        let pixels = golden.bytes(&format!("{name}.decoded_u8_hwc")).unwrap();
        let theirs = DecodedImage::new(ours.width(), ours.height(), ours.layout(), pixels);
        let expected = golden.bytes(&format!("{name}.32.pixels_u8")).unwrap();
        assert_levels(&transformed(&theirs, &config(32)), &expected, 0, name);
    }
}

/// Other kinds of files that a folder may hold (`fixtures/image_modes`, written by `reference/image_modes.py`): Pillow's
/// mode, and open_clip's pixels at 16.
mod image_modes {
    use super::{Golden, LOSSY, assert_levels, config, transformed};
    use twinflame::data::{DecodeError, DecodeLimits, PixelLayout, decode};

    fn files() -> Vec<(String, String)> {
        let modes: serde_json::Value = serde_json::from_slice(&read("modes.json")).unwrap();
        let modes = modes.as_object().unwrap();
        let pair = |(file, mode): (&String, &serde_json::Value)| (file.clone(), mode.as_str().unwrap().to_owned());
        modes.iter().map(pair).collect()
    }

    fn read(name: &str) -> Vec<u8> {
        super::read(&format!("../image_modes/{name}"))
    }

    #[test]
    fn pixels_are_open_clips() {
        let golden = Golden(read("outputs.safetensors"));
        let files = files();
        assert_eq!(files.len(), 27);
        for (file, mode) in files {
            let image =
                decode(&read(&file), &DecodeLimits::default()).unwrap_or_else(|error| panic!("{file}: {error}"));
            let layout = match mode.as_str() {
                "L" => PixelLayout::Grey,
                "LA" => PixelLayout::GreyAlpha,
                "RGB" => PixelLayout::Rgb,
                // Pillow opens 16-bit grey with alpha as RGBA
                "RGBA" if file == "la16.png" => PixelLayout::GreyAlpha,
                "RGBA" => PixelLayout::Rgba,
                "P" | "1" => PixelLayout::Indexed,
                "CMYK" => PixelLayout::Cmyk,
                other => panic!("{file}: mode {other}"),
            };
            assert_eq!(image.layout(), layout, "{file}");
            let expected = golden.bytes(&file).unwrap();
            let lossy = file.ends_with(".jpg") || file == "lossy.webp";
            assert_levels(
                &transformed(&image, &config(16)),
                &expected,
                if lossy { LOSSY } else { 0 },
                &file,
            );
        }
    }

    /// A file that ends early is an error, in every format, wherever it ends.
    #[test]
    fn truncated_files_are_errors() {
        for (file, _) in files() {
            let bytes = read(&file);
            // an animation may end after its first frame
            let shares: &[usize] = if file.starts_with("animated") {
                &[20, 30]
            } else {
                &[30, 50, 70, 85]
            };
            for share in shares {
                let cut = &bytes[..bytes.len() * share / 100];
                let error = match decode(cut, &DecodeLimits::default()) {
                    Err(error) => error,
                    Ok(_) => panic!("{file} cut to {share} % was decoded"),
                };
                println!("{file} at {share} %: {error}");
                let named = matches!(error, DecodeError::Truncated { .. } | DecodeError::Damaged { .. });
                assert!(named, "{file} cut to {share} %: {error}");
            }
        }
    }

    #[test]
    fn limits_come_before_the_pixels() {
        for (file, _) in files() {
            let limits = DecodeLimits {
                max_pixels: 400,
                ..DecodeLimits::default()
            };
            let error = decode(&read(&file), &limits).unwrap_err();
            assert!(matches!(error, DecodeError::TooManyPixels { .. }), "{file}: {error}");
            let limits = DecodeLimits {
                max_alloc_bytes: 300,
                ..DecodeLimits::default()
            };
            let error = decode(&read(&file), &limits).unwrap_err();
            assert!(matches!(error, DecodeError::TooManyBytes { .. }), "{file}: {error}");
        }
    }
}
