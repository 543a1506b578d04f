//! The colours of scenes.

use std::fmt;

/// A colour with a name. None is so near another that the name would be in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Colour {
    /// Only of backgrounds, as grey, orange and pink are.
    White,
    /// Middle grey.
    Grey,
    /// Red.
    Red,
    /// Orange.
    Orange,
    /// Yellow.
    Yellow,
    /// Green.
    Green,
    /// Blue.
    Blue,
    /// Purple.
    Purple,
    /// Pink.
    Pink,
}

impl Colour {
    /// All colours; `colour as usize` is the position here.
    pub const ALL: [Self; 9] = [
        Self::White,
        Self::Grey,
        Self::Red,
        Self::Orange,
        Self::Yellow,
        Self::Green,
        Self::Blue,
        Self::Purple,
        Self::Pink,
    ];

    /// Colours that an emoji may be tinted with: the unmistakable ones.
    pub const TINTS: [Self; 5] = [Self::Red, Self::Yellow, Self::Green, Self::Blue, Self::Purple];

    /// Name, as captions have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        [
            "white", "grey", "red", "orange", "yellow", "green", "blue", "purple", "pink",
        ][self as usize]
    }

    /// Red, green and blue.
    #[must_use]
    pub fn rgb(self) -> [u8; 3] {
        [
            [255, 255, 255],
            [150, 150, 150],
            [220, 50, 50],
            [245, 140, 40],
            [250, 210, 60],
            [70, 165, 75],
            [60, 115, 225],
            [145, 80, 190],
            [250, 165, 195],
        ][self as usize]
    }
}

impl fmt::Display for Colour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
