//! Which operation a stack belongs to, by the names of its functions.

/// An operation, and parts of the names of the functions that do nothing else.
struct Operation {
    name: &'static str,
    frames: &'static [&'static str],
}

const fn operation(name: &'static str, frames: &'static [&'static str]) -> Operation {
    Operation { name, frames }
}

/// Whatever runs inside of them is theirs: they are made of others' operations, on some backends or on all.
const WHOLES: &[Operation] = &[
    operation(
        "AdamW, moving average",
        &[
            "burn_optim::",
            "twinflame_kernels::optim",
            "fused_adamw",
            "fused_moving_average",
        ],
    ),
    operation("batch norm", &["batch_norm"]),
    operation("ReLU", &["::relu", "Relu"]),
];

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
        &[
            "FlexTensor::empty",
            "FlexTensor::zeros",
            "FlexTensor::filled",
            "spec_from_elem",
            "spec_fill",
            "alloc_zeroed",
        ],
    ),
    operation("biases of linear layers", &["gemm::product_and_bias::{{closure}}"]),
    operation("packing for products", &["pack_operands", "gemm_common::simd"]),
    operation(
        "matrix products",
        &["gemm_f32", "gemm_common", "ops::matmul", "flex::gemm"],
    ),
    operation("convolution, pooling", &["ops::conv", "ops::pool"]),
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

/// The operation that a stack belongs to: a whole, or what the innermost frame that is known says; its frames from the innermost outwards.
pub(super) fn operation_of<'a>(frames: impl Iterator<Item = &'a str> + Clone) -> &'static str {
    let whole = |whole: &&Operation| frames.clone().any(|frame| whole.knows(frame));
    if let Some(whole) = WHOLES.iter().find(whole) {
        return whole.name;
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

    const CALLED: &str =
        "<rayon::iter::for_each::ForEachConsumer<F> as rayon::iter::plumbing::Folder<T>>::consume_iter";
    const DISPATCH: &str = "macerator::backend::arch::AutoArch::dispatch";
    const DIVISION: &str = "rayon::iter::plumbing::bridge_producer_consumer::helper";
    const IDLE: &str = "rayon_core::registry::WorkerThread::wait_until_cold";
    const LOOP: &str = "rayon_core::registry::main_loop";

    #[track_caller]
    fn is(operation: &str, frames: &[&str]) {
        assert_eq!(operation_of(frames.iter().copied()), operation, "{frames:?}");
    }

    /// Of a thread of the pool that works on a piece of it.
    #[track_caller]
    fn is_in_the_pool(operation: &str, innermost: &[&str]) {
        is(operation, &[innermost, &[CALLED, DIVISION, IDLE, LOOP]].concat());
    }

    #[test]
    fn the_innermost_that_is_known_counts() {
        is_in_the_pool(
            "matrix products",
            &[
                "core::core_arch::x86::avx512f::_mm512_fmadd_ps",
                "gemm_f32::microkernel::avx512f::f32::x4x6::KernelIter::execute",
                "gemm_common::gemm::gemm_basic_generic::{{closure}}",
            ],
        );
        is_in_the_pool(
            "packing for products",
            &[
                "core::ptr::write",
                "gemm_common::pack_operands::pack_generic_inner_loop",
                "gemm_common::gemm::gemm_basic_generic::{{closure}}",
            ],
        );
        is_in_the_pool(
            "biases of linear layers",
            &[
                "__memcpy_avx512_unaligned_erms",
                "twinflame_kernels::flex::gemm::product_and_bias::{{closure}}",
            ],
        );
        is_in_the_pool(
            "GELU",
            &[
                "twinflame_kernels::flex::exp::polynomial",
                "twinflame_kernels::flex::normal::cdf_and_exp",
                "twinflame_kernels::flex::elementwise::scale_by::{{closure}}",
                DISPATCH,
            ],
        );
        is_in_the_pool(
            "layer norm",
            &[
                "<twinflame_kernels::flex::layer_norm::BackwardRows as macerator::backend::arch::WithSimd>::with_simd",
                DISPATCH,
            ],
        );
        // A product of attention is a product, what lies around it is attention.
        let attention = "twinflame_kernels::attention::flex::by_head::{{closure}}";
        is_in_the_pool(
            "matrix products",
            &["twinflame_kernels::flex::gemm::product_into", attention],
        );
        is_in_the_pool(
            "attention around its products",
            &["__memcpy_avx512_unaligned_erms", attention],
        );
        // Zeros are told by themselves, whoever wants them.
        is(
            "zeros for outputs",
            &[
                "__memset_avx512_unaligned_erms",
                "<T as alloc::vec::spec_from_elem::SpecFromElem>::from_elem",
                "<twinflame_kernels::embedding::autodiff::Step as burn_autodiff::ops::backward::Backward<B,1_usize>>::backward",
            ],
        );
        is(
            "element by element",
            &[
                "burn_flex::simd::portable::add_inplace_f32_seq",
                "burn_flex::ops::binary::binary_op",
                "<burn_autodiff::ops::base::OpsStep<B,T,SB,_> as burn_autodiff::graph::base::Step>::step",
            ],
        );
    }

    /// On every backend, with whatever they are made of there.
    #[test]
    fn wholes_keep_their_parts() {
        is_in_the_pool(
            "AdamW, moving average",
            &[
                "<twinflame_kernels::optim::flex::AdamW as macerator::backend::arch::WithSimd>::with_simd",
                DISPATCH,
            ],
        );
        is(
            "AdamW, moving average",
            &[
                "burn_flex::ops::binary::binary_op",
                "<O as burn_optim::optim::module::base::DynOptimizer>::step_dyn",
            ],
        );
        is(
            "batch norm",
            &[
                "burn_flex::ops::binary::binary_op_typed",
                "burn_backend::backend::ops::modules::base::ModuleOps::batch_norm_train_backward",
                "burn_autodiff::runtime::server::AutodiffServer::execute_steps",
            ],
        );
        is(
            "ReLU",
            &[
                "burn_flex::ops::mask::mask_where",
                "<burn_autodiff::ops::activation::<impl burn_backend::backend::ops::activation::ActivationOps<burn_autodiff::backend::\
                 Autodiff<B,C>> for burn_autodiff::backend::Autodiff<B,C>>::relu::Relu as burn_autodiff::ops::backward::\
                 Backward<B,1_usize>>::backward",
            ],
        );
    }

    #[test]
    fn a_thread_of_the_pool_waits_or_works() {
        is("waiting for other threads", &["__GI_sched_yield", IDLE, LOOP]);
        is(
            "waiting for other threads",
            &["rayon_core::sleep::Sleep::sleep", IDLE, LOOP],
        );
        // What it works on is not told.
        is_in_the_pool("vector code in the pool's threads", &[DISPATCH]);
        // Others look for the end of a product.
        is(
            "waiting for other threads",
            &[
                "syscall",
                "std::sys::pal::unix::futex::futex_wait",
                "rayon_core::latch::LockLatch::wait_and_reset",
                "gemm_common::gemm::gemm_basic_generic",
            ],
        );
    }

    #[test]
    fn what_no_name_tells_is_the_rest() {
        is(REST, &["hashbrown::raw::RawTableInner::drop_inner_table"]);
        is(REST, &[]);
    }
}
