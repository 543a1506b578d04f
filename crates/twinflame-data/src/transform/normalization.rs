//! Channel statistics.

/// Mean of red, green and blue that OpenAI's CLIP subtracts (of values in 0..=1).
#[allow(clippy::excessive_precision, reason = "as published")]
pub const OPENAI_MEAN: [f32; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];

/// Standard deviation of red, green and blue that OpenAI's CLIP divides by (of values in 0..=1).
#[allow(clippy::excessive_precision, reason = "as published")]
pub const OPENAI_STD: [f32; 3] = [0.268_629_54, 0.261_302_58, 0.275_777_11];

/// `(pixel / 255 - mean) / std`, per channel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Normalization {
    /// Mean of red, green and blue, of values in 0..=1.
    pub mean: [f32; 3],
    /// Standard deviation of red, green and blue, of values in 0..=1.
    pub std: [f32; 3],
}

impl Default for Normalization {
    /// OpenAI's.
    fn default() -> Self {
        Self {
            mean: OPENAI_MEAN,
            std: OPENAI_STD,
        }
    }
}

impl Normalization {
    /// One channel value of one pixel, normalised.
    ///
    /// # Panics
    /// If `channel` is not 0, 1 or 2.
    #[must_use]
    pub fn apply(&self, channel: usize, pixel: u8) -> f32 {
        (f32::from(pixel) / 255.0 - self.mean[channel]) / self.std[channel]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_becomes_zero_and_one_std_one() {
        let normalization = Normalization {
            mean: [0.2, 0.4, 0.6],
            std: [0.2, 0.4, 0.4],
        };
        assert!(normalization.apply(0, 51).abs() < 1e-6);
        assert!((normalization.apply(1, 204) - 1.0).abs() < 1e-6);
        assert!((normalization.apply(2, 255) - 1.0).abs() < 1e-6);
    }
}
