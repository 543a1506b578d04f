//! Position tables for another image size or text length.

use burn::tensor::TensorData;
use twinflame_model::pos_embed::{Resample, resize_grid, resize_sequence};

use super::{Check, Fixture, Rule, Tensors, VerifyError};

/// How far an element may be off.
const TOLERANCE: f32 = 1e-5;

/// Sizes in the name of an input: `4to3x6` is a grid of 4 by 4 that becomes 3 rows of 6, `text.16to77` a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sizes {
    Grid([usize; 2], [usize; 2]),
    Sequence(usize, usize),
}

impl Sizes {
    /// `None` for the name of something else.
    fn parse(name: &str) -> Option<Self> {
        let size = |text: &str| text.parse().ok().filter(|size: &usize| (1..=MAX_SIDE).contains(size));
        let grid = |text: &str| match text.split_once('x') {
            Some((rows, columns)) => Some([size(rows)?, size(columns)?]),
            None => Some([size(text)?; 2]),
        };
        match name.strip_prefix("text.") {
            Some(sizes) => {
                let (from, to) = sizes.split_once("to")?;
                Some(Self::Sequence(size(from)?, size(to)?))
            }
            None => {
                let (from, to) = name.split_once("to")?;
                Some(Self::Grid(grid(from)?, grid(to)?))
            }
        }
    }
}

/// No reference has more positions along one axis; what a name may make us allocate.
const MAX_SIDE: usize = 4096;

/// Whether these are the names of position tables.
pub(super) fn are_inputs(inputs: &Tensors) -> bool {
    !inputs.is_empty() && inputs.keys().all(|name| Sizes::parse(name).is_some())
}

/// Resamples every table, as each reference does.
///
/// # Errors
/// If a table has not the size that its name says.
pub(super) fn checks(fixture: &Fixture, inputs: &Tensors) -> Result<Vec<Check>, VerifyError> {
    let mut outputs = Tensors::new();
    for (name, table) in inputs {
        let Some(sizes) = Sizes::parse(name) else {
            continue;
        };
        let rows = match sizes {
            Sizes::Grid([rows, columns], _) => 1 + rows * columns,
            Sizes::Sequence(length, _) => length,
        };
        let width = match table.shape()[..] {
            [found, width] if found == rows && width > 0 => width,
            _ => {
                return Err(VerifyError::Input {
                    path: fixture.path("inputs"),
                    name: name.clone(),
                    found: format!("has shape {:?}", &table.shape()[..]),
                    expected: format!("have {rows} rows"),
                });
            }
        };
        let values: Vec<f32> = table.iter().collect();
        match sizes {
            Sizes::Grid(from, to) => {
                let resized = |resample| resize_grid(&values, width, from, to, resample);
                let rows = 1 + to[0] * to[1];
                let open_clip = TensorData::new(resized(Resample::Antialiased), [rows, width]);
                outputs.insert(format!("open_clip.{name}"), open_clip);
                let albef = TensorData::new(resized(Resample::Plain), [1, rows, width]);
                outputs.insert(format!("albef.{name}"), albef);
            }
            Sizes::Sequence(_, to) => {
                let name = name.replacen("text.", "open_clip_text.", 1);
                let resized = resize_sequence(&values, width, to);
                outputs.insert(name, TensorData::new(resized, [to, width]));
            }
        }
    }
    Ok(vec![Check::file("outputs", outputs, Rule::Absolute(TOLERANCE))])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_in_the_name() {
        assert_eq!(Sizes::parse("4to3x6"), Some(Sizes::Grid([4, 4], [3, 6])));
        assert_eq!(Sizes::parse("text.16to77"), Some(Sizes::Sequence(16, 77)));
        for name in ["image", "4to", "0to3", "photo", "text.a", "4to99999999999"] {
            assert_eq!(Sizes::parse(name), None, "{name}");
        }
    }
}
