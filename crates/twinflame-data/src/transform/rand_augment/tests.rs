use super::*;
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

const SIZE: usize = 24;

/// The picture of the reference figures below.
fn picture() -> Vec<u8> {
    let pixel = |i: usize| [(i * 37 % 97 + 20) as u8, (i * i % 200) as u8, (i / SIZE * 8) as u8];
    (0..SIZE * SIZE).flat_map(pixel).collect()
}

fn at(pixels: &[u8], y: usize, x: usize) -> [u8; 3] {
    let start = (y * SIZE + x) * 3;
    [pixels[start], pixels[start + 1], pixels[start + 2]]
}

fn sum(pixels: &[u8]) -> u32 {
    pixels.iter().map(|&value| u32::from(value)).sum()
}

fn after(operation: Operation, level: f64, sign: f64) -> Vec<u8> {
    let mut pixels = picture();
    apply(operation, level, sign, &mut pixels, SIZE);
    pixels
}

/// Figures of ALBEF's `autocontrast_func`, which equals Pillow's.
#[test]
fn auto_contrast_is_albefs() {
    let pixels = after(Operation::AutoContrast, 0.7, 1.0);
    assert_eq!(
        [at(&pixels, 0, 1), at(&pixels, 5, 7), at(&pixels, 23, 23)],
        [[98, 1, 0], [114, 167, 55], [85, 32, 255]]
    );
    assert_eq!(sum(&pixels), 207_186);
}

/// Figures of ALBEF's `equalize_func`, which equals Pillow's.
#[test]
fn equalize_is_albefs() {
    let pixels = after(Operation::Equalize, 0.7, 1.0);
    assert_eq!(
        [at(&pixels, 0, 1), at(&pixels, 5, 7), at(&pixels, 23, 23)],
        [[110, 15, 0], [128, 213, 60], [95, 55, 255]]
    );
    assert_eq!(sum(&pixels), 238_983);
}

#[test]
fn a_flat_picture_survives_tone_operations() {
    for operation in [
        Operation::AutoContrast,
        Operation::Equalize,
        Operation::Sharpness,
        Operation::Identity,
    ] {
        let mut pixels = vec![90; SIZE * SIZE * 3];
        apply(operation, 0.7, 1.0, &mut pixels, SIZE);
        assert!(pixels.iter().all(|&value| value == 90), "{operation:?}");
    }
}

/// Level 1 means 10 pixels, 0.3 of shear and 30 degrees.
#[test]
fn translation_moves_whole_pixels() {
    let original = picture();
    let right = after(Operation::TranslateX, 0.5, -1.0);
    assert_eq!(at(&right, 3, 9), at(&original, 3, 4));
    assert_eq!(at(&right, 3, 4), [FILL; 3]);
    let up = after(Operation::TranslateY, 0.5, 1.0);
    assert_eq!(at(&up, 3, 9), at(&original, 8, 9));
    assert_eq!(at(&up, 20, 9), [FILL; 3]);
}

#[test]
fn shear_leaves_the_first_line_and_moves_the_tenth_by_three() {
    let original = picture();
    let sheared = after(Operation::ShearX, 1.0, 1.0);
    assert_eq!(at(&sheared, 0, 7), at(&original, 0, 7));
    assert_eq!(at(&sheared, 10, 7), at(&original, 10, 4));
    let sheared = after(Operation::ShearY, 1.0, 1.0);
    assert_eq!(at(&sheared, 7, 10), at(&original, 4, 10));
}

/// A right angle about (12, 12), where pixel centres are whole numbers.
#[test]
fn rotation_is_counter_clockwise() {
    let mut pixels = picture();
    warp(&mut pixels, SIZE, rotation(90.0, SIZE));
    // OpenCV's matrix for 90 degrees sends (x, y) to (y, 24 - x)
    assert_eq!(at(&pixels, 24 - 5, 8), at(&picture(), 8, 5));
}

#[test]
fn sharpening_leaves_the_border() {
    let (original, pixels) = (picture(), after(Operation::Sharpness, 0.7, 1.0));
    assert_ne!(pixels, original);
    assert_eq!(pixels[..SIZE * 3], original[..SIZE * 3]);
    // factor 0.1 at level 0 is nearly the smoothed picture: (4 * centre + sum of 3x3) / 13
    let smooth = after(Operation::Sharpness, 0.0, 1.0);
    let mean: u32 = (4..7)
        .flat_map(|y| (4..7).map(move |x| (y, x)))
        .map(|(y, x)| u32::from(at(&original, y, x)[0]))
        .sum();
    let centre = f64::from(at(&original, 5, 5)[0]);
    let expected = 0.9 * (f64::from(mean) + 4.0 * centre) / 13.0 + 0.1 * centre;
    assert!((f64::from(at(&smooth, 5, 5)[0]) - expected).abs() <= 1.0);
}

#[test]
fn every_operation_is_drawn() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let config = RandAugmentConfig::default();
    let results: std::collections::HashSet<Vec<u8>> = (0..200)
        .map(|_| {
            let mut pixels = picture();
            rand_augment(&mut rng, &mut pixels, SIZE, &config);
            pixels
        })
        .collect();
    // ten operations, five of them with a sign, in pairs: far more than this when all occur
    assert!(results.len() > 40, "{}", results.len());
    assert!(results.contains(&picture()));
}
