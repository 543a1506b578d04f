//! What is computed, under the reference's names.

use burn::tensor::{Int, Tensor, TensorData};

use super::{Tensors, VerifyError};

/// Collects tensors whose names start with `prefix`.
#[derive(Debug)]
pub(super) struct Outputs<'a> {
    pub(super) tensors: &'a mut Tensors,
    pub(super) prefix: &'a str,
}

impl Outputs<'_> {
    pub(super) fn data(&mut self, name: &str, data: TensorData) {
        self.tensors.insert(format!("{}{name}", self.prefix), data);
    }

    pub(super) fn tensor<const D: usize>(&mut self, name: &str, tensor: &Tensor<D>) -> Result<(), VerifyError> {
        self.reshaped(name, tensor, tensor.dims().to_vec())
    }

    /// The same elements in a shape of another rank.
    pub(super) fn reshaped<const D: usize>(
        &mut self,
        name: &str,
        tensor: &Tensor<D>,
        shape: Vec<usize>,
    ) -> Result<(), VerifyError> {
        let values = tensor.try_to_vec_as::<f32>()?;
        self.data(name, TensorData::new(values, shape));
        Ok(())
    }

    /// The references' numbers have no axis, ours have one.
    pub(super) fn scalar(&mut self, name: &str, tensor: &Tensor<1>) -> Result<(), VerifyError> {
        self.reshaped(name, tensor, Vec::new())
    }

    pub(super) fn number(&mut self, name: &str, value: f32) {
        self.data(name, TensorData::new(vec![value], [0usize; 0]));
    }

    pub(super) fn integers<const D: usize>(&mut self, name: &str, tensor: &Tensor<D, Int>) -> Result<(), VerifyError> {
        let values = tensor.try_to_vec_as::<i64>()?;
        self.data(name, TensorData::new(values, tensor.dims().to_vec()));
        Ok(())
    }
}
