//! Does this device compute, in both passes, what the plain twins of the kernels compute in f64 on the processor?
//!
//! `crates/twinflame-kernels/tests` tries the kernels of the processor harder; these are the ones that every backend has to pass.

#[path = "../../crates/twinflame-kernels/tests/common/mod.rs"]
mod common;

use burn::module::{Module, Param};
use burn::tensor::{Device, FloatDType, Int, Tensor, TensorData};
use common::values;
use twinflame_kernels::{Visibility, embedding, gelu, layer_norm, plain, quick_gelu, recomputed, self_attention};
use twinflame_tests::device;

/// Largest error allowed, of the largest element.
const TOLERANCE: f64 = 1e-5;

/// Where and in what type to compute.
#[derive(Clone)]
struct Place {
    device: Device,
    dtype: FloatDType,
}

impl Place {
    /// The device under test, in its own type.
    fn here() -> Self {
        Self {
            device: device(),
            dtype: FloatDType::F32,
        }
    }

    fn reference() -> Self {
        Self {
            device: Device::flex(),
            dtype: FloatDType::F64,
        }
    }

    /// A tensor that asks for its gradient.
    fn leaf<const D: usize>(&self, shape: [usize; D], seed: u64) -> Tensor<D> {
        Tensor::from_inner(self.constant(shape, seed)).require_grad()
    }

    fn constant<const D: usize>(&self, shape: [usize; D], seed: u64) -> Tensor<D> {
        Tensor::<D>::from_data(common::tensor(shape, seed).into_data(), &self.device).cast(self.dtype)
    }

    /// The gradients of the sum of `y`, each element weighted with a number of its own.
    fn grads<const D: usize>(&self, y: &Tensor<D>) -> burn::tensor::Gradients {
        let weights = Tensor::from_inner(self.constant(y.dims(), 99));
        (y.clone() * weights).sum().backward()
    }
}

/// Compares what is called by the same name here and in f64.
fn compare(what: &str, compute: impl Fn(&Place, bool) -> Vec<(&'static str, Vec<f64>)>) {
    let found = compute(&Place::here(), true);
    let expected = compute(&Place::reference(), false);
    for ((name, found), (_, expected)) in found.iter().zip(&expected) {
        // It allows 32 times the epsilon of a type.
        common::check(&format!("{what}, {name}"), found, expected, 1e-3, TOLERANCE / 32.0);
    }
}

#[test]
fn activations() {
    for (what, kernel, twin) in [
        (
            "gelu",
            gelu as fn(Tensor<2>) -> Tensor<2>,
            plain::gelu as fn(Tensor<2>) -> Tensor<2>,
        ),
        ("quick_gelu", quick_gelu, plain::quick_gelu),
    ] {
        compare(what, |place, is_kernel| {
            let x = place.leaf([33, 65], 1);
            let y = (if is_kernel { kernel } else { twin })(x.clone() * 5.0);
            let grads = place.grads(&y);
            vec![
                ("value", values(y.inner())),
                ("gradient", values(x.grad(&grads).unwrap())),
            ]
        });
    }
}

#[test]
fn layer_norms() {
    // one row and many, a row shorter than the units of a cube and longer than four times as many
    for shape in [[1, 7], [300, 100], [5, 1030]] {
        compare(&format!("layer_norm of {shape:?}"), |place, is_kernel| {
            let x = place.leaf(shape, 2);
            let [gamma, beta] = [3, 4].map(|seed| place.leaf([shape[1]], seed));
            let y = (if is_kernel { layer_norm } else { plain::layer_norm })(
                x.clone() * 3.0,
                gamma.clone(),
                beta.clone(),
                1e-5,
            );
            let grads = place.grads(&y);
            vec![
                ("value", values(y.inner())),
                ("gradient of x", values(x.grad(&grads).unwrap())),
                ("gradient of gamma", values(gamma.grad(&grads).unwrap())),
                ("gradient of beta", values(beta.grad(&grads).unwrap())),
            ]
        });
    }
}

#[test]
fn a_view_is_normalised_by_its_rows() {
    compare("layer_norm of a transposed view", |place, is_kernel| {
        let x = place.leaf([40, 9], 2);
        let [gamma, beta] = [3, 4].map(|seed| place.leaf([40], seed));
        let y = (if is_kernel { layer_norm } else { plain::layer_norm })(x.clone().transpose(), gamma, beta, 1e-5);
        let grads = place.grads(&y);
        vec![
            ("value", values(y.inner())),
            ("gradient", values(x.grad(&grads).unwrap())),
        ]
    });
}

#[test]
fn self_attentions() {
    for (visibility, [batch, tokens, n_heads, d_head]) in
        [(Visibility::All, [2, 17, 3, 8]), (Visibility::Causal, [1, 77, 2, 32])]
    {
        let what = format!("self_attention of {tokens} tokens, {visibility:?}");
        compare(&what, |place, is_kernel| {
            let function = if is_kernel {
                self_attention
            } else {
                plain::self_attention
            };
            let qkv = place.leaf([batch, tokens, 3 * n_heads * d_head], 5);
            let y = function(qkv.clone() * 2.0, n_heads, visibility);
            let grads = place.grads(&y);
            let alone = function(qkv.clone().inner() * 2.0, n_heads, visibility);
            vec![
                ("value", values(y.inner())),
                ("gradient", values(qkv.grad(&grads).unwrap())),
                ("value without a tape", values(alone)),
            ]
        });
    }
}

/// Words that occur often, once and never; more of them, and more tokens, than a cube takes at a time.
#[test]
fn embeddings() {
    for (rows, width, [batch, tokens]) in [(200, 40, [4, 77]), (70, 300, [1, 64])] {
        compare(
            &format!("embedding of {batch} x {tokens} in {rows} x {width}"),
            |place, _| {
                let numbers = values(common::tensor([batch * tokens], 6));
                let ids = numbers.into_iter().enumerate().map(|(at, number)| {
                    let word = number * number * rows as f64;
                    // as padding does
                    if at % 3 == 0 { 0 } else { word as i32 }
                });
                let ids = TensorData::new(ids.collect(), [batch, tokens]);
                let ids = Tensor::<2, Int>::from_data(ids, &place.device);
                let table = place.leaf([rows, width], 7);
                let y = embedding(table.clone(), ids);
                let grads = place.grads(&y);
                vec![
                    ("value", values(y.inner())),
                    ("gradient", values(table.grad(&grads).unwrap())),
                ]
            },
        );
    }
}

/// A block of a network that is computed again in the backward pass.
#[derive(Module, Debug)]
struct Block {
    weight: Param<Tensor<2>>,
}

#[test]
fn a_recomputed_block_has_the_same_gradients() {
    compare("recomputed", |place, is_recomputed| {
        let x = place.leaf([7, 12], 8);
        let block = Block {
            weight: Param::from_tensor(place.leaf([12, 5], 9)),
        };
        let forward = |block: &Block, [x]: [Tensor<2>; 1]| plain::gelu(x.matmul(block.weight.val()));
        let y = if is_recomputed {
            recomputed(&block, [x.clone()], forward)
        } else {
            forward(&block, [x.clone()])
        };
        let grads = place.grads(&y);
        let of_weight = block.weight.val().grad(&grads).unwrap();
        vec![
            ("value", values(y.inner())),
            ("gradient of x", values(x.grad(&grads).unwrap())),
            ("gradient of the weight", values(of_weight)),
        ]
    });
}
