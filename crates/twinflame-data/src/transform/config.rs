//! What a recipe says about images (`[transform]`).

use super::normalization::{Normalization, OPENAI_MEAN, OPENAI_STD};
use crate::resize::Interpolation;
use serde::{Deserialize, Serialize};

/// How an image of any shape becomes a square, in evaluation and wherever training does not crop at random.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResizeMode {
    /// The shorter edge becomes `image_size`, then the centre is cut out (CLIP).
    #[default]
    ShortestCrop,
    /// Both edges become `image_size`, the aspect ratio is lost (ALBEF).
    Squash,
    /// The longer edge becomes `image_size`, the rest is filled with `fill` (open_clip's `longest`).
    LongestPad,
}

/// When an image that is not RGB becomes RGB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColorConversion {
    /// After resizing (open_clip): alpha is resized premultiplied, palettes with the nearest pixel.
    #[default]
    AfterResize,
    /// Before anything else (ALBEF).
    BeforeResize,
}

/// From decoded image to model input.
///
/// Fields without a number of their own follow open_clip's evaluation; everything random is off by default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TransformConfig {
    /// Edge of the square that the model sees, in pixels. 0 until the model's is filled in.
    pub image_size: usize,
    /// Fitting a rectangle into the square.
    pub mode: ResizeMode,
    /// Kernel of every resize.
    pub interpolation: Interpolation,
    /// When to turn to RGB.
    pub color_conversion: ColorConversion,
    /// Colour of padding, and of what an affine transform uncovers in an image without a background of its own.
    pub fill: [u8; 3],
    /// Mean of red, green and blue to subtract, of values in 0..=1.
    pub mean: [f32; 3],
    /// Standard deviation of red, green and blue to divide by, of values in 0..=1.
    pub std: [f32; 3],
    /// Training: a random part of the image, resized to the square, instead of `mode`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub random_resized_crop: Option<RandomResizedCropConfig>,
    /// Training: random zoom, rotation about the centre, and shift.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affine: Option<AffineConfig>,
    /// Training: probability of mirroring left and right, 0..=1.
    pub flip_probability: f64,
    /// Training: two random operations of ALBEF's list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rand_augment: Option<RandAugmentConfig>,
    /// Training: random brightness, contrast, saturation and hue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub color_jitter: Option<ColorJitterConfig>,
    /// Training: probability of losing the colours, 0..=1.
    pub greyscale_probability: f64,
}

impl Default for TransformConfig {
    fn default() -> Self {
        Self {
            image_size: 0,
            mode: ResizeMode::default(),
            interpolation: Interpolation::default(),
            color_conversion: ColorConversion::default(),
            fill: [0; 3],
            mean: OPENAI_MEAN,
            std: OPENAI_STD,
            random_resized_crop: None,
            affine: None,
            flip_probability: 0.0,
            rand_augment: None,
            color_jitter: None,
            greyscale_probability: 0.0,
        }
    }
}

/// torchvision's `RandomResizedCrop`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RandomResizedCropConfig {
    /// Smallest and largest share of the image's area, within 0..=1. ALBEF pre-trains with 0.2 to 1.
    pub scale: [f64; 2],
    /// Smallest and largest width / height of the part.
    pub ratio: [f64; 2],
}

impl Default for RandomResizedCropConfig {
    /// open_clip's scale, torchvision's ratio.
    fn default() -> Self {
        Self {
            scale: [0.9, 1.0],
            ratio: [3.0 / 4.0, 4.0 / 3.0],
        }
    }
}

/// Random zoom, rotation about the centre of the image, and shift.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AffineConfig {
    /// Smallest and largest zoom; 1 keeps the size, 0.5 halves it.
    pub scale: [f64; 2],
    /// Largest rotation to either side, in degrees.
    pub rotation_degrees: f64,
    /// Largest shift to either side, up and down, as a share of the square (torchvision's `translate`).
    pub translate: f64,
}

impl Default for AffineConfig {
    /// No change.
    fn default() -> Self {
        Self {
            scale: [1.0, 1.0],
            rotation_degrees: 0.0,
            translate: 0.0,
        }
    }
}

/// torchvision's `ColorJitter`: each factor is drawn from `max(0, 1 - x)..=1 + x`, and the four come in random order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ColorJitterConfig {
    /// Range of the brightness factor about 1.
    pub brightness: f64,
    /// Range of the contrast factor about 1.
    pub contrast: f64,
    /// Range of the saturation factor about 1.
    pub saturation: f64,
    /// Largest turn of the hue to either side, in turns, at most 0.5.
    pub hue: f64,
    /// Probability that an image is changed at all, 0..=1.
    pub probability: f64,
}

impl Default for ColorJitterConfig {
    /// No change, to every image.
    fn default() -> Self {
        Self {
            brightness: 0.0,
            contrast: 0.0,
            saturation: 0.0,
            hue: 0.0,
            probability: 1.0,
        }
    }
}

/// RandAugment with the ten operations that ALBEF lists.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RandAugmentConfig {
    /// Operations drawn per image, each then applied with probability one half (ALBEF's N).
    pub num_ops: usize,
    /// Strength, 0..=10 (ALBEF's M).
    pub magnitude: f64,
}

impl Default for RandAugmentConfig {
    /// ALBEF's N = 2, M = 7.
    fn default() -> Self {
        Self {
            num_ops: 2,
            magnitude: 7.0,
        }
    }
}

/// A transform that cannot be.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TransformError {
    /// No image size.
    #[error("transform.image_size is 0; it must be the image size of the model, in pixels")]
    ImageSize,
    /// A probability outside of 0..=1.
    #[error("transform.{key} is {value}; a probability lies within 0 and 1")]
    Probability {
        /// The field.
        key: &'static str,
        /// The value found.
        value: f64,
    },
    /// A value outside of what makes sense.
    #[error("transform.{key} is {value}; it must be {allowed}")]
    Value {
        /// The field.
        key: &'static str,
        /// The value found.
        value: String,
        /// What would be right.
        allowed: &'static str,
    },
}

impl TransformConfig {
    /// The statistics to normalise with on the device.
    #[must_use]
    pub fn normalization(&self) -> Normalization {
        Normalization {
            mean: self.mean,
            std: self.std,
        }
    }

    /// Whether every value makes sense.
    ///
    /// # Errors
    /// Names the first field that does not, its value and what would be right.
    pub fn validate(&self) -> Result<(), TransformError> {
        if self.image_size == 0 {
            return Err(TransformError::ImageSize);
        }
        check_probability("flip_probability", self.flip_probability)?;
        check_probability("greyscale_probability", self.greyscale_probability)?;
        check(
            "std",
            &self.std,
            self.std.iter().all(|&std| std > 0.0),
            "above 0 in every channel",
        )?;
        if let Some(crop) = &self.random_resized_crop {
            let [low, high] = crop.scale;
            let ok = 0.0 < low && low <= high && high <= 1.0;
            check(
                "random_resized_crop.scale",
                &crop.scale,
                ok,
                "two shares, 0 < low <= high <= 1",
            )?;
            let ok = is_range(crop.ratio);
            check(
                "random_resized_crop.ratio",
                &crop.ratio,
                ok,
                "two ratios, 0 < low <= high",
            )?;
        }
        if let Some(affine) = &self.affine {
            let ok = is_range(affine.scale) && affine.scale[1] <= 16.0;
            check("affine.scale", &affine.scale, ok, "two factors, 0 < low <= high <= 16")?;
            let ok = (0.0..=180.0).contains(&affine.rotation_degrees);
            check(
                "affine.rotation_degrees",
                &affine.rotation_degrees,
                ok,
                "between 0 and 180",
            )?;
            let ok = (0.0..=1.0).contains(&affine.translate);
            check("affine.translate", &affine.translate, ok, "between 0 and 1")?;
        }
        if let Some(augment) = &self.rand_augment {
            let ok = (0.0..=10.0).contains(&augment.magnitude);
            check("rand_augment.magnitude", &augment.magnitude, ok, "between 0 and 10")?;
        }
        match &self.color_jitter {
            Some(jitter) => jitter.validate(),
            None => Ok(()),
        }
    }
}

impl ColorJitterConfig {
    fn validate(&self) -> Result<(), TransformError> {
        check_probability("color_jitter.probability", self.probability)?;
        let amounts = [
            ("color_jitter.brightness", self.brightness),
            ("color_jitter.contrast", self.contrast),
            ("color_jitter.saturation", self.saturation),
        ];
        for (key, value) in amounts {
            let ok = value.is_finite() && value >= 0.0;
            check(key, &value, ok, "0 or more")?;
        }
        let ok = (0.0..=0.5).contains(&self.hue);
        check("color_jitter.hue", &self.hue, ok, "between 0 and 0.5")
    }
}

fn is_range([low, high]: [f64; 2]) -> bool {
    0.0 < low && low <= high && high.is_finite()
}

fn check_probability(key: &'static str, value: f64) -> Result<(), TransformError> {
    if (0.0..=1.0).contains(&value) {
        Ok(())
    } else {
        Err(TransformError::Probability { key, value })
    }
}

fn check(
    key: &'static str,
    value: &dyn std::fmt::Debug,
    ok: bool,
    allowed: &'static str,
) -> Result<(), TransformError> {
    if ok {
        return Ok(());
    }
    Err(TransformError::Value {
        key,
        value: format!("{value:?}"),
        allowed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_an_error() {
        let error = serde_json::from_str::<TransformConfig>(r#"{"flip": 0.5}"#).unwrap_err();
        assert!(error.to_string().contains("unknown field `flip`"), "{error}");
    }

    #[test]
    fn nested_sections_have_defaults() {
        let json =
            r#"{"image_size": 8, "mode": "longest_pad", "affine": {"rotation_degrees": 15}, "rand_augment": {}}"#;
        let config: TransformConfig = serde_json::from_str(json).unwrap();
        assert_eq!(config.mode, ResizeMode::LongestPad);
        assert_eq!(config.affine.as_ref().unwrap().scale, [1.0, 1.0]);
        assert_eq!(config.rand_augment.as_ref().unwrap().num_ops, 2);
        assert_eq!(config.validate(), Ok(()));
    }

    #[test]
    fn mistakes_are_named() {
        let with = |change: fn(&mut TransformConfig)| {
            let mut config = TransformConfig {
                image_size: 32,
                ..TransformConfig::default()
            };
            change(&mut config);
            config.validate().unwrap_err().to_string()
        };
        assert_eq!(
            with(|c| c.image_size = 0),
            "transform.image_size is 0; it must be the image size of the model, in pixels"
        );
        assert_eq!(
            with(|c| c.flip_probability = 50.0),
            "transform.flip_probability is 50; a probability lies within 0 and 1"
        );
        assert_eq!(
            with(|c| c.random_resized_crop = Some(RandomResizedCropConfig {
                scale: [0.9, 0.5],
                ..Default::default()
            })),
            "transform.random_resized_crop.scale is [0.9, 0.5]; it must be two shares, 0 < low <= high <= 1"
        );
        assert_eq!(
            with(|c| c.color_jitter = Some(ColorJitterConfig {
                hue: 0.7,
                ..Default::default()
            })),
            "transform.color_jitter.hue is 0.7; it must be between 0 and 0.5"
        );
        assert_eq!(
            with(|c| c.affine = Some(AffineConfig {
                scale: [0.0, f64::NAN],
                ..Default::default()
            })),
            "transform.affine.scale is [0.0, NaN]; it must be two factors, 0 < low <= high <= 16"
        );
    }
}
