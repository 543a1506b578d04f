use burn::tensor::{Int, Tensor};

use crate::one_hot::one_hot;

/// Which tokens come out of a pass through a [`Bert`](super::Bert).
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "one of it lives at a time")]
pub enum Readout {
    /// All: `[batch, tokens, width]`.
    All,
    /// The first, `[CLS]`, which stands for the whole: `[batch, 1, width]`.
    Class,
    /// Those at these positions, `[batch, slots]`: `[batch, slots, width]`.
    At(Tensor<2, Int>),
}

impl Readout {
    /// The tokens of `[batch, tokens, width]` that are read.
    pub(super) fn pick(&self, x: Tensor<3>) -> Tensor<3> {
        match self {
            Self::All => x,
            Self::Class => x.narrow(1, 0, 1),
            Self::At(positions) => {
                let [_, tokens, _] = x.dims();
                one_hot(positions.clone(), tokens, &x).matmul(x)
            }
        }
    }
}
