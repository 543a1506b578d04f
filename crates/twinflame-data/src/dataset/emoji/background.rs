//! What stands behind an emoji: its pictures are cut out.

use std::fmt;
use std::str::FromStr;

use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// Background of training pictures: `"random"` or a fixed colour such as `"#ffffff"` (or `"white"`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Background {
    /// A uniformly random colour (white with the probability that the configuration gives).
    #[default]
    Random,
    /// Always this colour.
    Fixed([u8; 3]),
}

pub(super) const WHITE: [u8; 3] = [255; 3];

impl Background {
    /// Draws the colour of one picture.
    pub(super) fn draw(self, white_prob: f64, rng: &mut ChaCha8Rng) -> [u8; 3] {
        match self {
            Self::Fixed(colour) => colour,
            Self::Random if rng.random_bool(white_prob) => WHITE,
            Self::Random => rng.random(),
        }
    }

    /// The colour of evaluation pictures: the fixed one, else white.
    pub(super) fn for_evaluation(self) -> [u8; 3] {
        match self {
            Self::Fixed(colour) => colour,
            Self::Random => WHITE,
        }
    }
}

impl FromStr for Background {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let error = || format!("background {text:?} is none of \"random\", \"white\" or a colour such as \"#ffcc00\"");
        match text {
            "random" => Ok(Self::Random),
            "white" => Ok(Self::Fixed(WHITE)),
            _ => {
                let digits = text
                    .strip_prefix('#')
                    .filter(|digits| digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
                    .ok_or_else(error)?;
                let [_, red, green, blue] = u32::from_str_radix(digits, 16).map_err(|_| error())?.to_be_bytes();
                Ok(Self::Fixed([red, green, blue]))
            }
        }
    }
}

impl TryFrom<String> for Background {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Background> for String {
    fn from(background: Background) -> Self {
        background.to_string()
    }
}

impl fmt::Display for Background {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Random => f.write_str("random"),
            Self::Fixed([red, green, blue]) => write!(f, "#{red:02x}{green:02x}{blue:02x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn a_background_reads_and_prints_alike() {
        for text in ["random", "#ffffff", "#0a10fe"] {
            assert_eq!(text.parse::<Background>().unwrap().to_string(), text);
        }
        assert_eq!("white".parse(), Ok(Background::Fixed(WHITE)));
        for wrong in ["", "blue", "#fff", "#gggggg", "#é1234"] {
            assert!(
                wrong.parse::<Background>().unwrap_err().contains("\"random\""),
                "{wrong}"
            );
        }
    }

    #[test]
    fn white_comes_as_often_as_asked() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let white = (0..10_000)
            .filter(|_| Background::Random.draw(0.8, &mut rng) == WHITE)
            .count();
        assert!((7_800..8_200).contains(&white), "{white}");
        assert_eq!(Background::Fixed([1, 2, 3]).draw(0.8, &mut rng), [1, 2, 3]);
    }
}
