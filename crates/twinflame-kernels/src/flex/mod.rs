//! Kernels for burn's flex: f32 on the processor.
//!
//! Kernels are loops without branches, which the compiler turns into vector code; macerator compiles them for the instruction sets
//! that processors have, chooses at run time, and rayon spreads them over threads. No fused multiplication is used, and the order
//! of every sum is fixed: every instruction set and every number of threads gives the same bits.

pub(crate) mod batch_norm;
pub(crate) mod blocks;
pub(crate) mod columns;
pub(crate) mod elementwise;
mod exp;
pub(crate) mod gemm;
pub(crate) mod heads;
pub(crate) mod layer_norm;
pub(crate) mod normal;
pub(crate) mod sigmoid;
pub(crate) mod softmax;
#[cfg(test)]
mod sweep;
