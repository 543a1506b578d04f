//! Dropout that one seed makes the same on every backend.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::{Device, FloatDType, Int, Tensor, TensorData};
use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};

use crate::ConfigError;

/// Elements of the table: 4 MiB in f32, some 1,400 rows of width 768.
const TABLE_LENGTH: usize = 1 << 20;

/// Random zeros for dropout (Srivastava et al. 2014, <https://jmlr.org/papers/v15/srivastava14a.html>), drawn once on
/// the host and kept on the device.
///
/// A backend's own random numbers differ from backend to backend and live in a state that no checkpoint holds. Drawing
/// a mask for every layer on the host would cost more than the layers. So there is one table of zeros and
/// `1 / (1 - probability)`, and a layer multiplies each row of its input by a row of the table: consecutive rows, from
/// a place that is drawn for every layer of every pass. Rows repeat after `2^20 / width`, which is far more than a
/// text has tokens.
#[derive(Clone, Debug)]
pub struct DropoutTable {
    rows: Arc<TableRows>,
}

/// The table in rows of every length that was asked for: a view of its beginning would be copied for every mask.
#[derive(Debug)]
struct TableRows {
    table: Tensor<1>,
    by_columns: Mutex<BTreeMap<usize, Tensor<2>>>,
}

impl TableRows {
    /// `[TABLE_LENGTH / columns, columns]`.
    fn of(&self, columns: usize) -> Tensor<2> {
        let mut by_columns = self.by_columns.lock().unwrap_or_else(PoisonError::into_inner);
        let rows = by_columns.entry(columns).or_insert_with(|| {
            let rows = TABLE_LENGTH / columns;
            let start = self.table.clone().narrow(0, 0, rows * columns);
            // A product has memory of its own.
            start.reshape([rows, columns]) * 1.0
        });
        rows.clone()
    }
}

impl DropoutTable {
    /// Draws a table.
    ///
    /// # Errors
    /// If `probability` is not in `[0, 1)`.
    pub fn new(probability: f64, seed: u64, device: &Device) -> Result<Self, ConfigError> {
        check_probability(probability)?;
        let keep = 1.0 - probability;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let scale = (1.0 / keep) as f32;
        let values: Vec<f32> = (0..TABLE_LENGTH)
            .map(|_| if rng.random::<f32>() < keep as f32 { scale } else { 0.0 })
            .collect();
        let device = device.clone().without_autodiff();
        let rows = TableRows {
            table: Tensor::from_data(TensorData::new(values, [TABLE_LENGTH]), &device),
            by_columns: Mutex::default(),
        };
        Ok(Self { rows: Arc::new(rows) })
    }

    /// The masks of one pass: a function of `seed` alone, which the caller takes from the run's seed, the step and the
    /// pass within the step.
    #[must_use]
    pub fn draw(&self, seed: u64) -> Dropout {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let starts: Vec<i32> = (0..MAX_SITES)
            .map(|_| rng.random_range(0..TABLE_LENGTH as i32))
            .collect();
        let starts = TensorData::new(starts, [MAX_SITES]);
        Dropout {
            rows: Arc::clone(&self.rows),
            starts: Tensor::from_data(starts, &self.rows.table.device()),
        }
    }
}

/// Checks that something can be dropped with this probability.
pub(crate) fn check_probability(probability: f64) -> Result<(), ConfigError> {
    if (0.0..1.0).contains(&probability) {
        Ok(())
    } else {
        Err(ConfigError::Dropout(probability))
    }
}

/// Most places of a network that can drop something in one pass.
pub(crate) const MAX_SITES: usize = 1024;

/// Dropout masks of one pass through a text encoder.
#[derive(Clone, Debug)]
pub struct Dropout {
    rows: Arc<TableRows>,
    /// `[sites]`, first row of each site's mask, before the remainder is taken.
    starts: Tensor<1, Int>,
}

/// One place that drops something.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Site<'a> {
    dropout: &'a Dropout,
    index: usize,
}

impl Dropout {
    /// The place with this number, below [`MAX_SITES`]: no two of one pass may share it.
    pub(crate) fn site(&self, index: usize) -> Site<'_> {
        Site { dropout: self, index }
    }
}

impl Site<'_> {
    /// Sets elements to zero and scales the others, so that the expectation stays.
    pub(crate) fn apply<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        let dims = x.dims();
        let columns = dims[D - 1];
        let rows = x.shape().num_elements() / columns;
        let table = self.dropout.rows.of(columns);
        let [table_rows, _] = table.dims();
        let start = self.dropout.starts.clone().narrow(0, self.index, 1);
        let index = (Tensor::<1, Int>::arange(0..rows as i64, (&start.device(), start.dtype())) + start)
            .remainder_scalar(table_rows as i64);
        let mask = table.select(0, index).reshape(dims);
        let dtype = FloatDType::from(x.dtype());
        x * mask.cast(dtype)
    }
}

/// Applies dropout where there is any.
pub(crate) fn drop_at<const D: usize>(x: Tensor<D>, site: Option<Site<'_>>) -> Tensor<D> {
    match site {
        Some(site) => site.apply(x),
        None => x,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values<const D: usize>(x: Tensor<D>) -> Vec<f32> {
        x.into_data().iter().collect()
    }

    fn mask(dropout: &Dropout, site: usize, shape: [usize; 3]) -> Vec<f32> {
        values(dropout.site(site).apply(Tensor::<3>::ones(shape, &Device::flex())))
    }

    #[test]
    fn drops_its_share_and_keeps_the_expectation() {
        for (probability, shape) in [(0.1, [6, 50, 48]), (0.5, [3, 100, 25]), (0.1, [2, 1, 4000])] {
            let table = DropoutTable::new(probability, 3, &Device::flex()).unwrap();
            let mask = mask(&table.draw(5), 7, shape);
            let scale = (1.0 / (1.0 - probability)) as f32;
            assert!(mask.iter().all(|v| *v == 0.0 || *v == scale));
            let dropped = mask.iter().filter(|v| **v == 0.0).count() as f64 / mask.len() as f64;
            assert!((dropped - probability).abs() < 0.02, "{dropped}, not {probability}");
        }
    }

    #[test]
    fn rows_places_and_passes_differ_and_a_pass_repeats() {
        let table = DropoutTable::new(0.3, 3, &Device::flex()).unwrap();
        let shape = [2, 3, 64];
        let first = mask(&table.draw(5), 0, shape);
        let rows: Vec<_> = first.chunks(64).collect();
        assert!((1..rows.len()).all(|row| rows[row] != rows[row - 1]));
        assert_ne!(first, mask(&table.draw(5), 1, shape));
        assert_ne!(first, mask(&table.draw(6), 0, shape));
        assert_eq!(first, mask(&table.draw(5), 0, shape));
        let again = DropoutTable::new(0.3, 3, &Device::flex()).unwrap();
        assert_eq!(first, mask(&again.draw(5), 0, shape));
    }

    #[test]
    fn the_gradient_goes_through_what_was_kept() {
        let device = Device::flex().autodiff();
        let dropout = DropoutTable::new(0.3, 3, &device).unwrap().draw(0);
        let x = Tensor::<3>::ones([2, 3, 8], &device).require_grad();
        let y = dropout.site(2).apply(x.clone());
        let grads = y.clone().sum().backward();
        assert_eq!(values(x.grad(&grads).unwrap()), values(y));
    }

    #[test]
    fn a_probability_of_one_is_an_error() {
        let error = DropoutTable::new(1.0, 0, &Device::flex()).unwrap_err().to_string();
        assert!(error.contains('1'), "{error}");
    }
}
