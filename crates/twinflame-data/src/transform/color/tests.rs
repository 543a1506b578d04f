use super::*;

/// Six pixels, and what torchvision 0.29 makes of them on Pillow 13.
const PIXELS: [u8; 18] = [
    200, 30, 90, 10, 240, 60, 128, 128, 128, 77, 13, 254, 255, 255, 0, 1, 2, 3,
];

fn changed(change: impl Fn(&mut [u8])) -> [u8; 18] {
    let mut pixels = PIXELS;
    change(&mut pixels);
    pixels
}

#[test]
fn brightness_is_torchvisions() {
    let darker = [120, 18, 54, 6, 144, 36, 76, 76, 76, 46, 7, 152, 153, 153, 0, 0, 1, 1];
    let lighter = [
        255, 42, 126, 14, 255, 84, 179, 179, 179, 107, 18, 255, 255, 255, 0, 1, 2, 4,
    ];
    assert_eq!(changed(|p| brightness(p, 0.6)), darker);
    assert_eq!(changed(|p| brightness(p, 1.4)), lighter);
}

#[test]
fn contrast_is_torchvisions() {
    let lower = [
        163, 61, 97, 49, 187, 79, 120, 120, 120, 89, 51, 196, 196, 196, 43, 44, 44, 45,
    ];
    let higher = [236, 0, 82, 0, 255, 40, 135, 135, 135, 64, 0, 255, 255, 255, 0, 0, 0, 0];
    assert_eq!(changed(|p| contrast(p, 0.6)), lower);
    assert_eq!(changed(|p| contrast(p, 1.4)), higher);
}

#[test]
fn saturation_is_torchvisions() {
    let lower = [
        121, 70, 88, 108, 177, 123, 128, 128, 128, 65, 45, 118, 234, 234, 158, 1, 2, 2,
    ];
    let higher = [255, 0, 91, 0, 255, 0, 128, 128, 128, 88, 0, 255, 255, 255, 0, 0, 2, 3];
    assert_eq!(changed(|p| saturation(p, 0.3)), lower);
    assert_eq!(changed(|p| saturation(p, 1.7)), higher);
}

#[test]
fn hue_is_torchvisions() {
    let forth = [
        200, 66, 31, 10, 240, 194, 128, 128, 128, 217, 14, 254, 108, 255, 0, 1, 1, 3,
    ];
    let back = [
        58, 31, 200, 240, 178, 10, 128, 128, 128, 14, 254, 200, 255, 0, 120, 1, 3, 1,
    ];
    assert_eq!(changed(|p| hue(p, 0.1)), forth);
    assert_eq!(changed(|p| hue(p, -0.25)), back);
}

#[test]
fn greyscale_is_torchvisions() {
    let grey = [
        88, 88, 88, 151, 151, 151, 128, 128, 128, 60, 60, 60, 226, 226, 226, 2, 2, 2,
    ];
    assert_eq!(changed(greyscale), grey);
}

#[test]
fn factor_one_changes_nothing() {
    assert_eq!(changed(|p| brightness(p, 1.0)), PIXELS);
    assert_eq!(changed(|p| contrast(p, 1.0)), PIXELS);
    assert_eq!(changed(|p| saturation(p, 1.0)), PIXELS);
}

#[test]
fn jitter_keeps_to_its_probability() {
    use rand::SeedableRng;
    let config = ColorJitterConfig {
        brightness: 0.5,
        contrast: 0.5,
        saturation: 0.5,
        hue: 0.1,
        probability: 0.3,
    };
    let mut rng = rand::rngs::ChaCha8Rng::seed_from_u64(5);
    let untouched = (0..1000).filter(|_| {
        let mut pixels = PIXELS;
        jitter(&mut rng, &mut pixels, &config);
        pixels == PIXELS
    });
    let share = untouched.count() as f64 / 1000.0;
    assert!((0.65..0.75).contains(&share), "{share}");
}
