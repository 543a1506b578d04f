//! Fused operations for CLIP and ALBEF, behind plain functions of tensors.
//!
//! ```
//! use burn::tensor::{Device, Tensor};
//!
//! let x = Tensor::<2>::from_floats([[-1.0, 0.0, 2.0]], &Device::flex().autodiff()).require_grad();
//! let grads = twinflame_kernels::gelu(x.clone()).sum().backward();
//! assert!(x.grad(&grads).is_some());
//! ```
//!
//! # How a kernel reaches a `Tensor<D>`
//!
//! The tensors of burn 0.22 name no backend: a `Tensor<D>` holds a `DispatchTensor`, an enum over the backends compiled in
//! which itself implements burn's `Backend`. An operation of our own joins in four steps, which [`ActivationKernels`] shows:
//!
//! 1. A trait over `Backend`, marked `#[backend_extension(..)]`, has one function for each operation and one for its backward
//!    pass; their default bodies are made of burn's primitives. The attribute writes the trait's implementation for `Dispatch`,
//!    which finds the backend in its arguments, unwraps them and wraps the result. `Autodiff` in its list says that a tensor
//!    on a tape goes to our implementation for `Autodiff<B, C>`.
//! 2. Each listed backend implements the trait: with a kernel, or with an empty body that takes the defaults. The conditions
//!    in the list are features of this crate, so each goes along with burn's feature of the same name.
//! 3. One implementation for `Autodiff<B, C>` serves all of them. It calls the backend's own forward function, puts one step
//!    on the tape, and that step calls the backend's backward function.
//! 4. A plain function takes a `Tensor<D>` apart with `into_dispatch` and puts the result together with `from_dispatch`.
//!
//! The generated code panics on a backend that is compiled in and not listed. The plain functions never let it come to that:
//! there they compute the default body on `Dispatch`, of which burn knows the derivatives.
//!
//! # Which kernels there are
//!
//! | function | flex, f32 | flex, other types | ndarray | cubecl: CUDA, ROCm, Vulkan, Metal, WGSL | any other backend |
//! | --- | --- | --- | --- | --- | --- |
//! | [`gelu`], [`quick_gelu`] | vectors, threads | GELU: burn's; QuickGELU: plain, own backward | plain, own backward | plain, own backward, fused by burn | plain |
//! | [`layer_norm()`] | vectors, threads | 16 bits: the kernel, in f32; f64: plain, own backward | plain, own backward | a kernel each way; f64: plain, own backward | plain |
//! | [`self_attention`] | a head at a time; keeps no scores | plain, own backward | plain, own backward | burn's forward, own backward: keeps no scores | plain; burn's without a tape |
//! | [`batch_norm()`] | a channel at a time, with ReLU and shortcut | burn's | burn's | burn's | burn's |
//! | [`linear`], [`linear_transposed`], [`matmul`] | nothing is zeroed first; product onto the bias | burn's | burn's | burn's | burn's |
//! | [`embedding`] | threads | burn's | burn's | burn's forward; backward: word by word side by side | burn's |
//! | [`adamw`], [`moving_average`] | one pass, in place | plain | plain | plain, fused by burn | plain |
//!
//! [`recomputed`] is no kernel: it runs a module with its inputs as one step of the tape, which keeps no more than them.
//!
//! [`plain`] has a twin of each function that burn does not have itself, written with burn's operations only. The tests compare
//! with that or with burn's, in f64.
//!
//! # `unsafe`
//!
//! `flex::gemm` calls the library of matrix products that burn's flex calls, which takes pointers, and makes vectors of elements
//! that it has written, as `flex::elementwise` and `flex::batch_norm` do. Each place says what holds there; nothing else here is
//! `unsafe`.

// The code that burn's attribute generates names it too.
#![cfg_attr(
    feature = "ndarray",
    allow(
        deprecated,
        reason = "burn deprecates the backend; Twinflame keeps it for comparison"
    )
)]

mod activation;
mod attention;
mod batch_norm;
#[cfg(feature = "cube")]
mod cube;
mod embedding;
#[cfg(feature = "flex")]
mod flex;
mod layer_norm;
mod linear;
mod listed;
mod optim;
pub mod plain;
mod recompute;

pub use activation::{ActivationKernels, gelu, quick_gelu};
pub use attention::{AttentionKernel, AttentionPasses, Visibility, self_attention};
#[cfg(feature = "flex")]
pub use batch_norm::{BatchNormForward, BatchNormGradients, BatchNormKept, BatchNormKernel, BatchNormPasses};
pub use batch_norm::{BatchNormalised, Then, batch_norm};
#[cfg(feature = "cube")]
pub use cube::CubeKernels;
pub use embedding::embedding;
#[cfg(any(feature = "cube", feature = "flex"))]
pub use embedding::{EmbeddingKernel, EmbeddingPasses};
pub use layer_norm::{Gradients, Kept, LayerNormKernel, LayerNormPasses, Normalised, layer_norm};
#[cfg(feature = "flex")]
pub use linear::{LinearKernel, LinearPasses};
pub use linear::{linear, linear_transposed, matmul};
#[cfg(feature = "flex")]
pub use optim::OptimKernels;
pub use optim::{AdamWStep, Moments, adamw, moving_average};
pub use recompute::recomputed;
