//! Which operation a stack belongs to, by the names of its functions.

/// An operation, and parts of the names of the functions that do nothing else.
struct Operation {
    name: &'static str,
    frames: &'static [&'static str],
}

const fn operation(name: &'static str, frames: &'static [&'static str]) -> Operation {
    Operation { name, frames }
}

/// Whatever runs inside of it.
const UPDATE: Operation = operation(
    "AdamW, moving average",
    &[
        "burn_optim::",
        "twinflame_kernels::optim",
        "fused_adamw",
        "fused_moving_average",
    ],
);

/// The first that knows a frame has the stack, from the innermost frame outwards: what a kernel copies is the kernel's.
const OPERATIONS: &[Operation] = &[
    operation(
        "GELU",
        &[
            "activation::gelu",
            "erff",
            "float_erf",
            "twinflame_kernels::activation",
            "flex::normal",
            "flex::sigmoid",
            "Gelu",
        ],
    ),
    operation(
        "attention around its products",
        &["softmax", "twinflame_kernels::attention", "flex::heads"],
    ),
    operation("layer norm", &["layer_norm"]),
    operation("embedding", &["embedding"]),
    operation(
        "zeros for outputs",
        &["FlexTensor::empty", "FlexTensor::zeros", "FlexTensor::filled"],
    ),
    operation("packing for products", &["pack_operands", "gemm_common::simd"]),
    operation(
        "matrix products",
        &["gemm_f32", "gemm_common", "ops::matmul", "flex::gemm"],
    ),
    operation("convolution, pooling", &["ops::conv", "ops::pool", "batch_norm"]),
    operation(
        "copies, selections",
        &[
            "contiguous",
            "copy_2d",
            "ops::slice",
            "ops::cat",
            "ops::gather_scatter",
            "ops::expand",
            "ops::flip",
            "ops::repeat",
        ],
    ),
    operation("sums", &["ops::reduce", "flex::columns"]),
    operation(
        "element by element",
        &[
            "burn_flex::ops",
            "burn_flex::zip",
            "burn_flex::simd",
            "burn_flex::strided",
        ],
    ),
    operation("initial weights", &["init::Values", "rand_distr", "chacha"]),
    WAITING,
];

/// A thread with nothing to do that looks for work before it sleeps, or wakes another.
const WAITING: Operation = operation(
    "waiting for other threads",
    &[
        "rayon_core::sleep",
        "rayon_core::latch",
        "rayon_core::registry",
        "futex_wait",
        "futex_wake",
        "Condvar",
        "sched_yield",
    ],
);

/// Where no frame tells the operation: a thread of the pool knows its piece of work, and not whose it is.
const PIECES: Operation = operation(
    "vector code in the pool's threads",
    &["macerator", "bridge_producer_consumer", "memcpy", "memmove", "memset"],
);

const REST: &str = "the rest";

impl Operation {
    fn knows(&self, frame: &str) -> bool {
        self.frames.iter().any(|part| frame.contains(part))
    }
}

/// The operation that a stack belongs to; its frames from the innermost outwards.
pub(super) fn operation_of<'a>(frames: impl Iterator<Item = &'a str> + Clone) -> &'static str {
    if frames.clone().any(|frame| UPDATE.knows(frame)) {
        return UPDATE.name;
    }
    let mut is_piece = false;
    for frame in frames {
        match OPERATIONS.iter().find(|operation| operation.knows(frame)) {
            // A thread of the pool works inside of the loop that waits for work.
            Some(found) if is_piece && found.name == WAITING.name => break,
            Some(found) => return found.name,
            None => is_piece |= PIECES.knows(frame),
        }
    }
    if is_piece { PIECES.name } else { REST }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholder() {
        assert_eq!(
            operation_of(["gemm_f32::microkernel::avx512f::f32::x4x6"].into_iter()),
            "matrix products"
        );
    }
}
