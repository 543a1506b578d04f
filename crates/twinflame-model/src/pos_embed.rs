//! Position tables for another image size or text length.
//!
//! Done once on the host when weights are loaded, in f64: no backend's interpolation is involved, and none of it is in
//! a training graph.

/// How a grid of positions is resampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resample {
    /// open_clip: bicubic with `a = -0.5`, widened when shrinking.
    Antialiased,
    /// ALBEF: bicubic with `a = -0.75` over four neighbours, edges repeated.
    Plain,
}

/// Resamples an image encoder's position table from one grid to another.
///
/// # Shapes
/// - table: `[1 + rows columns, width]`, the class token first; it is kept
/// - output: `[1 + new rows new columns, width]`
///
/// # Panics
/// If `table` has another number of elements.
pub fn resize_grid(
    table: &[f32],
    width: usize,
    [rows, columns]: [usize; 2],
    [new_rows, new_columns]: [usize; 2],
    resample: Resample,
) -> Vec<f32> {
    assert_eq!(table.len(), (1 + rows * columns) * width, "table of another size");
    if [rows, columns] == [new_rows, new_columns] {
        return table.to_vec();
    }
    let (class, grid) = table.split_at(width);
    let grid: Vec<f64> = grid.iter().map(|&v| f64::from(v)).collect();
    let taps = |from, to| match resample {
        Resample::Antialiased => antialiased_taps(from, to),
        Resample::Plain => plain_taps(from, to),
    };
    // Columns, then rows: [rows, columns, width] as `rows` sequences, then as one sequence of rows.
    let wide: Vec<f64> = grid
        .chunks(columns * width)
        .flat_map(|row| apply(row, width, &taps(columns, new_columns)))
        .collect();
    let grid = apply(&wide, new_columns * width, &taps(rows, new_rows));
    let mut out = class.to_vec();
    out.extend(grid.into_iter().map(|v| v as f32));
    out
}

/// Resamples a text encoder's position table linearly, as open_clip does.
///
/// # Shapes
/// - table: `[context_length, width]`
/// - output: `[new_length, width]`
///
/// # Panics
/// If `table` is empty or no whole number of rows.
pub fn resize_sequence(table: &[f32], width: usize, new_length: usize) -> Vec<f32> {
    assert!(
        !table.is_empty() && table.len().is_multiple_of(width),
        "table of another width"
    );
    let table: Vec<f64> = table.iter().map(|&v| f64::from(v)).collect();
    let taps = linear_taps(table.len() / width, new_length);
    apply(&table, width, &taps).into_iter().map(|v| v as f32).collect()
}

/// For each output: inputs and their weights.
type Taps = Vec<Vec<(usize, f64)>>;

/// `[taps, width]`, each row a weighted sum of rows of `[.., width]`.
fn apply(rows: &[f64], width: usize, taps: &[Vec<(usize, f64)>]) -> Vec<f64> {
    taps.iter()
        .flat_map(|taps| {
            (0..width).map(move |column| {
                taps.iter()
                    .map(|&(row, weight)| rows[row * width + column] * weight)
                    .sum()
            })
        })
        .collect()
}

/// Keys' cubic convolution kernel (1981) with parameter `a`, at distance `x`.
fn cubic(x: f64, a: f64) -> f64 {
    let x = x.abs();
    if x < 1.0 {
        ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        a * (((x - 5.0) * x + 8.0) * x - 4.0)
    } else {
        0.0
    }
}

/// PyTorch's `_upsample_bicubic2d_aa`, `align_corners=False`.
fn antialiased_taps(from: usize, to: usize) -> Taps {
    let scale = from as f64 / to as f64;
    let stretch = scale.max(1.0);
    let support = 2.0 * stretch;
    (0..to)
        .map(|out| {
            let center = scale * (out as f64 + 0.5);
            let first = (center - support + 0.5).max(0.0) as usize;
            let last = ((center + support + 0.5) as usize).min(from);
            let weights: Vec<_> = (first..last)
                .map(|input| (input, cubic((input as f64 - center + 0.5) / stretch, -0.5)))
                .collect();
            let total: f64 = weights.iter().map(|tap| tap.1).sum();
            weights
                .into_iter()
                .map(|(input, weight)| (input, weight / total))
                .collect()
        })
        .collect()
}

/// PyTorch's `upsample_bicubic2d`, `align_corners=False`.
fn plain_taps(from: usize, to: usize) -> Taps {
    let scale = from as f64 / to as f64;
    (0..to)
        .map(|out| {
            let center = scale * (out as f64 + 0.5) - 0.5;
            let floor = center.floor();
            (-1..3)
                .map(|offset| {
                    let input = floor + f64::from(offset);
                    let clamped = input.clamp(0.0, (from - 1) as f64) as usize;
                    (clamped, cubic(center - input, -0.75))
                })
                .collect()
        })
        .collect()
}

/// PyTorch's `upsample_linear1d`, `align_corners=False`.
fn linear_taps(from: usize, to: usize) -> Taps {
    let scale = from as f64 / to as f64;
    (0..to)
        .map(|out| {
            let center = (scale * (out as f64 + 0.5) - 0.5).max(0.0);
            let left = (center as usize).min(from - 1);
            let right = (left + 1).min(from - 1);
            let share = center - left as f64;
            vec![(left, 1.0 - share), (right, share)]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_sum_to_one() {
        for (from, to) in [(2, 5), (7, 3), (16, 24), (1, 4)] {
            for taps in [antialiased_taps(from, to), plain_taps(from, to), linear_taps(from, to)] {
                assert_eq!(taps.len(), to);
                for taps in taps {
                    let total: f64 = taps.iter().map(|tap| tap.1).sum();
                    assert!((total - 1.0).abs() < 1e-12);
                }
            }
        }
    }

    #[test]
    fn the_class_token_and_an_equal_size_stay() {
        let table: Vec<f32> = (0..10).map(|v| v as f32).collect();
        assert_eq!(resize_grid(&table, 2, [2, 2], [2, 2], Resample::Plain), table);
        let larger = resize_grid(&table, 2, [2, 2], [3, 3], Resample::Antialiased);
        assert_eq!(larger.len(), 20);
        assert_eq!(larger[..2], table[..2]);
    }
}
