use std::fmt;

/// A way to compute that burn offers and Twinflame has a Cargo feature for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Backend {
    /// burn's flex: the host processor, pure Rust.
    Cpu,
    /// burn's ndarray backend: the host processor, kept for comparison.
    NdArray,
    /// Any GPU through wgpu: Vulkan, Metal, DX12 or GL, whichever the machine has.
    Wgpu,
    /// GPUs with a Vulkan driver, through burn's SPIR-V compiler.
    Vulkan,
    /// Apple GPUs, through burn's Metal compiler.
    Metal,
    /// NVIDIA GPUs.
    Cuda,
    /// AMD GPUs.
    Rocm,
}

impl Backend {
    /// Every backend, in the order in which tables list them.
    pub const ALL: [Self; 7] = [
        Self::Cpu,
        Self::NdArray,
        Self::Wgpu,
        Self::Vulkan,
        Self::Metal,
        Self::Cuda,
        Self::Rocm,
    ];

    /// The backends of a GPU, the fastest way to the same card first.
    pub(super) const GPU_BY_PREFERENCE: [Self; 5] = [Self::Cuda, Self::Rocm, Self::Metal, Self::Vulkan, Self::Wgpu];

    /// Name on the command line, and of the Cargo feature that compiles the backend in.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::NdArray => "ndarray",
            Self::Wgpu => "wgpu",
            Self::Vulkan => "vulkan",
            Self::Metal => "metal",
            Self::Cuda => "cuda",
            Self::Rocm => "rocm",
        }
    }

    /// What the backend runs on, for the table of `twinflame devices`.
    pub fn serves(self) -> &'static str {
        match self {
            Self::Cpu => "any processor (burn flex; AVX2 or AVX-512 where present)",
            Self::NdArray => "any processor (burn ndarray, for comparison)",
            Self::Wgpu => "any vendor's GPU over Vulkan, Metal, DX12 or GL (WGSL)",
            Self::Vulkan => "GPUs with a Vulkan driver (SPIR-V)",
            Self::Metal => "Apple GPUs (MSL)",
            Self::Cuda => "NVIDIA GPUs",
            Self::Rocm => "AMD GPUs",
        }
    }

    /// Whether this binary was built with the backend.
    pub fn is_compiled(self) -> bool {
        match self {
            Self::Cpu => cfg!(feature = "cpu"),
            Self::NdArray => cfg!(feature = "ndarray"),
            Self::Wgpu => cfg!(feature = "wgpu"),
            Self::Vulkan => cfg!(feature = "vulkan"),
            Self::Metal => cfg!(feature = "metal"),
            Self::Cuda => cfg!(feature = "cuda"),
            Self::Rocm => cfg!(feature = "rocm"),
        }
    }

    /// Whether the backend computes on the host processor, of which there is one.
    pub fn is_host(self) -> bool {
        matches!(self, Self::Cpu | Self::NdArray)
    }

    /// The backends of this binary.
    pub fn compiled() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|backend| backend.is_compiled())
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|backend| backend.name() == name)
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
