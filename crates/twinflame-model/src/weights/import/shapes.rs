//! Shapes of a checkpoint's tensors, to infer a configuration from.

use std::{collections::HashMap, path::Path};

use burn::tensor::TensorData;

use super::Checkpoint;
use crate::{Layers, VisionConfig, weights::WeightsError};

/// Most blocks of a tower; the largest that exist have 48.
const MAX_BLOCKS: usize = 1000;
/// Longest side of an image, and widest layer: beyond, sizes are no model's.
const MAX_SIZE: usize = 1 << 20;
/// Width of an attention head in all named CLIPs but three, in DeiT and in BERT.
pub(super) const HEAD_WIDTH: usize = 64;

pub(super) struct Shapes<'a> {
    file: &'a Path,
    shapes: HashMap<String, Vec<usize>>,
}

impl<'a> Shapes<'a> {
    pub(super) fn new(checkpoint: &'a Checkpoint) -> Self {
        let shape = |(name, tensor): (&String, &TensorData)| (name.clone(), tensor.shape().to_vec());
        Self::of(&checkpoint.file, checkpoint.tensors.iter().map(shape).collect())
    }

    /// Of tensors from a file of this name.
    pub(super) fn of(file: &'a Path, shapes: HashMap<String, Vec<usize>>) -> Self {
        Self { file, shapes }
    }

    pub(super) fn wrong(&self, message: impl Into<String>) -> WeightsError {
        WeightsError::Foreign {
            path: self.file.to_owned(),
            message: message.into(),
        }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.shapes.contains_key(name)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.shapes.keys().map(String::as_str)
    }

    /// The shape of a tensor, which must have `D` axes, none of them empty.
    pub(super) fn get<const D: usize>(&self, name: &str) -> Result<[usize; D], WeightsError> {
        let shape = self.shapes.get(name);
        let shape = shape.ok_or_else(|| {
            self.wrong(format!(
                "tensor `{name}` is missing, so its configuration cannot be told"
            ))
        })?;
        match <[usize; D]>::try_from(shape.as_slice()) {
            Ok(dims) if dims.iter().all(|dim| (1..MAX_SIZE).contains(dim)) => Ok(dims),
            _ => Err(self.wrong(format!(
                "tensor `{name}` has shape {shape:?}; it should have {D} axes, none of them empty"
            ))),
        }
    }

    /// Blocks that are numbered behind a prefix: one more than the largest number.
    pub(super) fn blocks(&self, prefix: &str) -> Result<usize, WeightsError> {
        let number = |name: &str| name.strip_prefix(prefix)?.split_once('.')?.0.parse::<usize>().ok();
        let blocks = self
            .names()
            .filter_map(number)
            .max()
            .map_or(0, |last| last.saturating_add(1));
        match (1..=MAX_BLOCKS).contains(&blocks) {
            true => Ok(blocks),
            false => Err(self.wrong(format!(
                "there are {blocks} blocks `{prefix}<n>`; a tower has 1 to {MAX_BLOCKS}"
            ))),
        }
    }

    /// Width of the heads: the one that was given, else 64.
    pub(super) fn head_width(&self, what: &str, width: usize, given: Option<usize>) -> Result<usize, WeightsError> {
        match given {
            Some(given) => Ok(given),
            None if width.is_multiple_of(HEAD_WIDTH) => Ok(HEAD_WIDTH),
            None => Err(self.wrong(format!(
                "the number of attention heads of {what} does not show in shapes, and its width of {width} is no multiple \
                 of {HEAD_WIDTH}: give the configuration"
            ))),
        }
    }

    /// A vision transformer, whose positions are rows of a table of `tokens`.
    pub(super) fn vit(
        &self,
        names: &VitNames<'_>,
        tokens: usize,
        given: Option<&VisionConfig>,
    ) -> Result<VisionConfig, WeightsError> {
        let [width, _, patch, _] = self.get(names.patches)?;
        let [d_ff, _] = self.get(&format!("{}0.{}", names.blocks, names.d_ff))?;
        Ok(VisionConfig {
            image_size: self.side(names.positions, tokens)? * patch,
            layers: Layers::Depth(self.blocks(names.blocks)?),
            width,
            patch_size: Some(patch),
            head_width: self.head_width("the image encoder", width, given.map(|given| given.head_width))?,
            mlp_ratio: mlp_ratio(width, d_ff, given.map(|given| given.mlp_ratio)),
            patch_dropout: 0.0,
        })
    }

    /// The side of the square grid of a position table that begins with one row for the image as a whole.
    pub(super) fn side(&self, name: &str, tokens: usize) -> Result<usize, WeightsError> {
        let side = (tokens - 1).isqrt();
        match side > 0 && side * side + 1 == tokens {
            true => Ok(side),
            false => Err(self.wrong(format!(
                "tensor `{name}` has {tokens} positions, which is no square of patches and one more"
            ))),
        }
    }
}

/// Names in a vision transformer.
pub(super) struct VitNames<'a> {
    pub(super) patches: &'a str,
    pub(super) positions: &'a str,
    /// Up to the number of a block.
    pub(super) blocks: &'a str,
    /// The wide layer, below a block.
    pub(super) d_ff: &'a str,
}

/// The ratio that gives `d_ff` when it is multiplied and cut; the one that was given, if it does.
pub(super) fn mlp_ratio(width: usize, d_ff: usize, given: Option<f64>) -> f64 {
    let gives = |ratio: f64| (width as f64 * ratio) as usize == d_ff;
    let exact = d_ff as f64 / width as f64;
    match given {
        Some(given) if gives(given) => given,
        // Rounding may have cut one off.
        _ if !gives(exact) => exact + 1e-9,
        _ => exact,
    }
}
