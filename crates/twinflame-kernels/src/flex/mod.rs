//! Kernels for burn's flex: f32 on the processor.
//!
//! A kernel is a function of one number without branches, which the compiler turns into vector code; [`elementwise`] compiles it
//! for the instruction sets that processors have and runs it on all threads. No fused multiplication is used, so every
//! instruction set and every number of threads gives the same bits.

pub(crate) mod elementwise;
mod exp;
pub(crate) mod normal;
pub(crate) mod sigmoid;
#[cfg(test)]
mod sweep;
