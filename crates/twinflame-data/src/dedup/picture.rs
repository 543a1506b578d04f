//! What is known of a picture by what it shows: a perceptual hash and its colours.

use image::RgbImage;
use image_hasher::{HashAlg, Hasher, HasherConfig};

use crate::decode::{DecodedImage, PixelLayout};
use crate::resize::{Interpolation, resize};

/// Side of the picture that is hashed, in pixels: twice that of the hash, whose cosines are the lower half of each side's.
const SIDE: u32 = 16;
/// Parts of a side whose mean colour is kept.
const PARTS: usize = 2;
/// Most that a mean colour of one thing differs, of 255: JPEG at low quality moves it by less, another colour by more.
const MAX_COLOUR_DIFFERENCE: u8 = 12;

/// A picture as it is compared: 24 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Picture {
    /// Which of 64 cosines are above their median.
    pub(super) hash: u64,
    /// Mean red, green and blue of each quarter: the hash does not see colours, nor that a plain picture is black or white.
    pub(super) colours: [u8; PARTS * PARTS * 3],
    /// Number of the sample.
    pub(super) sample: u32,
}

impl Picture {
    /// Whether the hashes differ in at most `distance` bits and all colours by little. As half of the bits are set, hashes differ
    /// in an even number of them, but for those of plain pictures.
    pub(super) fn is_near(&self, other: &Self, distance: u32) -> bool {
        (self.hash ^ other.hash).count_ones() <= distance
            && self
                .colours
                .iter()
                .zip(other.colours)
                .all(|(own, other)| own.abs_diff(other) <= MAX_COLOUR_DIFFERENCE)
    }
}

/// Hashes pictures.
pub(super) struct PictureHasher(Hasher<[u8; 8]>);

impl PictureHasher {
    /// pHash: the lowest 8 x 8 frequencies of a discrete cosine transform, each compared with their median (Krawetz,
    /// <https://www.hackerfactor.com/blog/index.php?/archives/432-Looks-Like-It.html>, with the median of phash.org).
    pub(super) fn new() -> Self {
        let config = HasherConfig::with_bytes_type::<[u8; 8]>();
        let config = config.hash_size(SIDE / 2, SIDE / 2).hash_alg(HashAlg::Median);
        Self(config.preproc_dct().to_hasher())
    }

    /// Looks at the picture of a sample; what is transparent counts as white.
    pub(super) fn picture(&self, image: DecodedImage, sample: u32) -> Picture {
        let (width, height) = (image.width(), image.height());
        // A palette would be resized with the nearest pixel: 256 pixels of it would say little.
        let image = match image.layout() {
            PixelLayout::Indexed => DecodedImage::new(width, height, PixelLayout::Rgb, image.into_pixels()),
            _ => image,
        };
        let image = image.with_background([255; 3]);
        let pixels = resize(&image, SIDE, SIDE, Interpolation::Bicubic).to_rgb();
        let colours = mean_colours(&pixels);
        let hash = RgbImage::from_raw(SIDE, SIDE, pixels).map(|small| self.0.hash_image(&small));
        let bytes = hash.and_then(|hash| hash.as_bytes().try_into().ok());
        Picture {
            hash: u64::from_le_bytes(bytes.unwrap_or_default()),
            colours,
            sample,
        }
    }
}

/// Mean colour of each quarter of `[SIDE, SIDE, 3]`, rounded down.
fn mean_colours(pixels: &[u8]) -> [u8; PARTS * PARTS * 3] {
    let part = SIDE as usize / PARTS;
    let mut sums = [0_u32; PARTS * PARTS * 3];
    for (at, pixel) in pixels.as_chunks::<3>().0.iter().enumerate() {
        let (row, column) = (at / SIDE as usize, at % SIDE as usize);
        let quarter = row / part * PARTS + column / part;
        for (sum, &value) in sums[3 * quarter..].iter_mut().zip(pixel) {
            *sum += u32::from(value);
        }
    }
    sums.map(|sum| (sum / (part * part) as u32) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{DecodeLimits, decode};

    /// Waves of all lengths that the hash sees, other ones for each seed.
    fn scene(seed: u32, width: u32, height: u32) -> DecodedImage {
        let wave = |x: f32, y: f32, number: u32| {
            let phase = (seed * 7 + number * 13) as f32;
            let (across, down) = ((phase * 0.7).sin() * 24.0, (phase * 1.3).cos() * 24.0);
            (x * across + y * down + phase).sin()
        };
        let pixels = (0..height).flat_map(|row| (0..width).map(move |column| (row, column)));
        let pixels = pixels.flat_map(|(row, column)| {
            let (x, y) = ((column as f32 + 0.5) / width as f32, (row as f32 + 0.5) / height as f32);
            [0, 1, 2].map(|channel| {
                let sum: f32 = (0..24).map(|number| wave(x, y, 3 * number + channel)).sum();
                (128.0 + 12.0 * sum).clamp(0.0, 255.0) as u8
            })
        });
        DecodedImage::new(width, height, PixelLayout::Rgb, pixels.collect())
    }

    fn picture(image: &DecodedImage) -> Picture {
        PictureHasher::new().picture(image.clone(), 0)
    }

    fn jpeg(image: &DecodedImage, quality: u8) -> DecodedImage {
        let mut bytes = Vec::new();
        image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, quality)
            .encode(
                image.pixels(),
                image.width(),
                image.height(),
                image::ExtendedColorType::Rgb8,
            )
            .unwrap();
        decode(&bytes, &DecodeLimits::default()).unwrap()
    }

    #[test]
    fn another_encoding_or_size_is_near_and_another_picture_is_not() {
        for seed in 0..20 {
            let image = scene(seed, 160, 120);
            let original = picture(&image);
            for copy in [jpeg(&image, 40), scene(seed, 80, 60), scene(seed, 301, 199)] {
                let copy = picture(&copy);
                assert!(original.is_near(&copy, 4), "{seed}: {original:?} {copy:?}");
            }
            let other = picture(&scene(seed + 1, 160, 120));
            assert!(
                (original.hash ^ other.hash).count_ones() > 12,
                "{seed}: {original:?} {other:?}"
            );
        }
    }

    #[test]
    fn colours_tell_pictures_of_one_shape_apart() {
        let image = scene(3, 64, 64);
        let mut pixels = image.pixels().to_vec();
        pixels.as_chunks_mut::<3>().0.iter_mut().for_each(|pixel| pixel[2] /= 4);
        let reddish = picture(&DecodedImage::new(64, 64, PixelLayout::Rgb, pixels.clone()));
        pixels
            .as_chunks_mut::<3>()
            .0
            .iter_mut()
            .for_each(|pixel| pixel.swap(0, 2));
        let swapped = picture(&DecodedImage::new(64, 64, PixelLayout::Rgb, pixels));
        assert!(!reddish.is_near(&swapped, 64) && reddish.is_near(&reddish, 0));
        let plain = |shade: u8| picture(&DecodedImage::new(5, 5, PixelLayout::Grey, vec![shade; 25]));
        assert_eq!(
            plain(0).hash,
            plain(200).hash,
            "nothing but the colour is left of a plain picture"
        );
        assert!(plain(100).is_near(&plain(112), 0) && !plain(100).is_near(&plain(113), 64));
    }

    #[test]
    fn what_is_transparent_counts_as_white() {
        // Black on nothing, as symbols often are: without a background all of them would be black.
        let symbol: Vec<u8> = (0..64 * 64)
            .flat_map(|at| [0, 0, 0, if at % 64 < 32 { 255 } else { 0 }])
            .collect();
        let found = picture(&DecodedImage::new(64, 64, PixelLayout::Rgba, symbol));
        let drawn = (0..64 * 64).flat_map(|at| if at % 64 < 32 { [0; 3] } else { [255; 3] });
        let drawn = picture(&DecodedImage::new(64, 64, PixelLayout::Rgb, drawn.collect()));
        assert!(found.is_near(&drawn, 2), "{found:?} {drawn:?}");
        assert!(found.colours[0] < 5 && found.colours[3] > 250, "{found:?}");
    }
}
