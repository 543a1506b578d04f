use super::Backend;

/// Why `--device` could not be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// The text names no device.
    #[error(
        "unknown device `{given}`: expected auto, cpu, ndarray, wgpu, vulkan, metal, cuda or rocm, \
         the GPU ones optionally with an index as in `wgpu:1`"
    )]
    Unknown {
        /// The text.
        given: String,
    },
    /// The index is not a number.
    #[error("device index `{given}` of `{backend}:{given}` is not a whole number from 0")]
    Index {
        /// The backend before the colon.
        backend: Backend,
        /// The text after the colon.
        given: String,
    },
    /// A host backend was given an index.
    #[error("device `{backend}` takes no index: it is the host processor, of which there is one")]
    Unindexed {
        /// The host backend.
        backend: Backend,
    },
    /// The backend exists, but this binary was built without it.
    #[error(
        "device `{backend}`: this binary was built without the `{backend}` backend (it has: {compiled}); \
         build it in with `cargo run --release --features {backend}`"
    )]
    NotCompiled {
        /// The backend asked for; also the Cargo feature that adds it.
        backend: Backend,
        /// The backends of this binary.
        compiled: String,
    },
    /// The backend is compiled in, but the machine lacks such an adapter.
    #[error("device `{requested}` is not on this machine ({why}); what is here: {available}")]
    NotThere {
        /// The device asked for.
        requested: String,
        /// What the search found instead.
        why: String,
        /// Every device that `--device` would accept.
        available: String,
    },
    /// The adapter is listed, but does not start.
    #[error("device `{requested}` ({name}) is on this machine but does not start: {reason}")]
    Broken {
        /// The device asked for.
        requested: String,
        /// The adapter's own name.
        name: String,
        /// What its driver said.
        reason: String,
    },
    /// The software rasteriser was asked for in a build that cannot use one.
    #[error(
        "device `wgpu:cpu`: with feature `vulkan` compiled in, burn takes its SPIR-V compiler, which \
         software rasterisers do not run; build with `--features wgpu` alone"
    )]
    SoftwareNeedsWgsl,
    /// No backend at all is compiled in.
    #[error("no backend is compiled in; build with `--features cpu` or `--features wgpu`")]
    NoBackend,
}
