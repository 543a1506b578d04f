//! Images to pixels, as open_clip and ALBEF evaluate.

use std::{collections::BTreeMap, fs};

use burn::tensor::{DType, TensorData};
use rand::{SeedableRng, rngs::ChaCha8Rng};
use twinflame_data::{
    DecodeLimits, DecodedImage, Normalization, Transform, TransformConfig, decode,
    transform::{ColorConversion, ResizeMode},
};

use super::{Check, Fixture, Rule, Tensors, VerifyError, compare::Levels};

/// For images without loss.
const EXACT: Levels = Levels { most: 1.0, mean: 0.01 };
/// For a JPEG, which another decoder than libjpeg-turbo has decoded.
const LOSSY: Levels = Levels { most: 4.0, mean: 0.5 };
/// Edge of the squares that open_clip's models see, if the configuration does not say.
const SIZES: [usize; 2] = [32, 224];
/// What a fixture may make us allocate.
const MAX_SIZE: usize = 2048;

/// Computes pixels and normalised tensors of every image of the fixture.
///
/// # Errors
/// If an image cannot be read, or the configuration lacks something.
pub(super) fn checks(fixture: &Fixture) -> Result<Vec<Check>, VerifyError> {
    let images = fixture.value("images").as_object();
    let images = images.ok_or_else(|| fixture.wrong("images", "an object with a key for each file"))?;
    let names = fixture
        .tensors_if_any("outputs")?
        .map(|outputs| outputs.into_keys().collect());
    let names: Vec<String> = names.unwrap_or_default();
    let normalization = Normalization {
        mean: channels(fixture, "mean")?,
        std: channels(fixture, "std")?,
    };
    let (mut outputs, mut allowed) = (Tensors::new(), BTreeMap::new());
    for file in images.keys() {
        let path = fixture.dir().join(file);
        let bytes = fs::read(&path).map_err(|source| VerifyError::read(&path, source))?;
        let image = decode(&bytes, &DecodeLimits::default()).map_err(|source| VerifyError::Image { path, source })?;
        let stem = file.rsplit_once('.').map_or(file.as_str(), |(stem, _)| stem);
        let is_jpeg = [".jpg", ".jpeg"].iter().any(|end| file.to_lowercase().ends_with(end));
        let listed = names
            .iter()
            .filter_map(|name| name.strip_prefix(stem)?.strip_prefix('.'));
        let mut kinds: Vec<Kind> = listed.filter_map(Kind::parse).collect();
        if names.is_empty() {
            kinds = Kind::usual(is_jpeg);
        }
        for kind in kinds {
            let name = format!("{stem}.{}", kind.name());
            allowed.insert(name.clone(), if is_jpeg { LOSSY } else { EXACT });
            outputs.insert(name, kind.compute(&image, &normalization)?);
        }
    }
    let deviation = normalization.std.iter().fold(f32::INFINITY, |min, std| min.min(*std));
    let rule = Rule::Pixels {
        allowed,
        level: 1.0 / 255.0 / deviation,
    };
    Ok(vec![Check::file("outputs", outputs, rule)])
}

fn channels(fixture: &Fixture, key: &str) -> Result<[f32; 3], VerifyError> {
    let expected = "three positive numbers";
    let values: Option<Vec<f32>> = fixture
        .list(key)?
        .iter()
        .map(|v| v.as_f64().map(|v| v as f32))
        .collect();
    let values: Option<[f32; 3]> = values.and_then(|values| values.try_into().ok());
    let values = values.filter(|values| values.iter().all(|value| *value > 0.0));
    values.ok_or_else(|| fixture.wrong(key, expected))
}

/// What is computed of an image; the end of a tensor's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// `decoded_u8_hwc`: the image as it is, `[height, width, channels]`, grey without the last axis.
    Decoded,
    /// `SIZE.pixels_u8`: open_clip's square, `[3, SIZE, SIZE]`.
    Pixels(usize),
    /// `SIZE.tensor`, or `SIZE.tensor_everyN` with one of `N` rows and columns: the same, normalised.
    Tensor(usize, usize),
    /// `albefSIZE.tensor`: ALBEF's square, normalised.
    Albef(usize),
}

impl Kind {
    fn parse(name: &str) -> Option<Self> {
        let size = |text: &str| text.parse().ok().filter(|size: &usize| (1..=MAX_SIZE).contains(size));
        if name == "decoded_u8_hwc" {
            return Some(Self::Decoded);
        }
        let (square, what) = name.split_once('.')?;
        if let Some(square) = square.strip_prefix("albef") {
            return (what == "tensor").then_some(Self::Albef(size(square)?));
        }
        match what {
            "pixels_u8" => Some(Self::Pixels(size(square)?)),
            "tensor" => Some(Self::Tensor(size(square)?, 1)),
            _ => Some(Self::Tensor(size(square)?, size(what.strip_prefix("tensor_every")?)?)),
        }
    }

    /// What a fixture has of an image, where its outputs are not there to say.
    fn usual(is_jpeg: bool) -> Vec<Self> {
        let [small, large] = SIZES;
        let mut kinds = vec![
            Self::Pixels(small),
            Self::Tensor(small, 1),
            Self::Albef(small),
            Self::Pixels(large),
            Self::Tensor(large, 7),
        ];
        kinds.extend(is_jpeg.then_some(Self::Decoded));
        kinds
    }

    fn name(self) -> String {
        match self {
            Self::Decoded => "decoded_u8_hwc".to_owned(),
            Self::Pixels(size) => format!("{size}.pixels_u8"),
            Self::Tensor(size, 1) => format!("{size}.tensor"),
            Self::Tensor(size, every) => format!("{size}.tensor_every{every}"),
            Self::Albef(size) => format!("albef{size}.tensor"),
        }
    }

    fn compute(self, image: &DecodedImage, normalization: &Normalization) -> Result<TensorData, VerifyError> {
        let open_clip = |size| TransformConfig {
            image_size: size,
            ..TransformConfig::default()
        };
        let albef = |size| TransformConfig {
            mode: ResizeMode::Squash,
            color_conversion: ColorConversion::BeforeResize,
            ..open_clip(size)
        };
        Ok(match self {
            Self::Decoded => decoded(image),
            Self::Pixels(size) => {
                let pixels = square(image, &open_clip(size))?;
                TensorData::from_bytes_vec(pixels, [3, size, size], DType::U8)
            }
            Self::Tensor(size, every) => normalized(&square(image, &open_clip(size))?, size, every, normalization),
            Self::Albef(size) => normalized(&square(image, &albef(size))?, size, 1, normalization),
        })
    }
}

fn decoded(image: &DecodedImage) -> TensorData {
    let [height, width] = [image.height(), image.width()].map(|side| side as usize);
    let pixels = image.pixels().to_vec();
    let shape = match pixels.len() / (height * width).max(1) {
        1 => vec![height, width],
        channels => vec![height, width, channels],
    };
    TensorData::from_bytes_vec(pixels, shape, DType::U8)
}

/// The pixels of an evaluation, `[3, size, size]`.
fn square(image: &DecodedImage, config: &TransformConfig) -> Result<Vec<u8>, VerifyError> {
    // Evaluation draws nothing.
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let rgb = Transform::eval(config)?.apply(image, &mut rng);
    let channel = |channel: usize| rgb.pixels.iter().copied().skip(channel).step_by(3);
    Ok((0..3).flat_map(channel).collect())
}

/// One of `every` rows and columns, `[3, ceil(size / every), ceil(size / every)]`.
fn normalized(pixels: &[u8], size: usize, every: usize, normalization: &Normalization) -> TensorData {
    let side = size.div_ceil(every);
    let places = (0..3).flat_map(|channel| {
        let rows = (0..size).step_by(every);
        rows.flat_map(move |row| (0..size).step_by(every).map(move |column| (channel, row, column)))
    });
    let values: Vec<f32> = places
        .map(|(channel, row, column)| normalization.apply(channel, pixels[(channel * size + row) * size + column]))
        .collect();
    TensorData::new(values, [3, side, side])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_is_computed() {
        for kind in Kind::usual(true) {
            assert_eq!(Kind::parse(&kind.name()), Some(kind));
        }
        for name in [
            "32",
            "32.u8",
            "albef.tensor",
            "0.tensor",
            "9999999.tensor",
            "32.tensor_every0",
        ] {
            assert_eq!(Kind::parse(name), None, "{name}");
        }
    }
}
