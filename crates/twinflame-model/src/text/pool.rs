//! Where a text ends.

use burn::tensor::{Int, Tensor};

use crate::config::TextPool;

/// Position of the end-of-text token, `[batch, 1]`: the first one, also where a text contains several.
///
/// A text without the token [`TextPool::Eos`] names ends at its last position.
pub(super) fn end_of_text(tokens: &Tensor<2, Int>, pool: TextPool) -> Tensor<2, Int> {
    let [batch, context] = tokens.dims();
    let is_end = match pool {
        TextPool::Argmax => {
            let largest = tokens.clone().max_dim(1).expand([batch, context]);
            tokens.clone().equal(largest)
        }
        TextPool::Eos(id) => tokens.clone().equal_elem(i64::from(id)),
    };
    // Not `argmax`: backends differ in which of several equal elements they return.
    positions(tokens)
        .mask_fill(is_end.bool_not(), context as i64 - 1)
        .min_dim(1)
}

/// `0, 1, ..` in every row, `[batch, context]`, in the integer type of `tokens`.
pub(super) fn positions(tokens: &Tensor<2, Int>) -> Tensor<2, Int> {
    let [batch, context] = tokens.dims();
    Tensor::<1, Int>::arange(0..context as i64, (&tokens.device(), tokens.dtype()))
        .reshape([1, context])
        .expand([batch, context])
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn the_first_end_counts() {
        let tokens = Tensor::<2, Int>::from_ints([[8, 3, 9, 9], [8, 9, 0, 0], [8, 1, 2, 3]], &Device::flex());
        let ends = |pool| end_of_text(&tokens, pool).into_data().iter::<i64>().collect::<Vec<_>>();
        assert_eq!(ends(TextPool::Argmax), [2, 1, 0]);
        assert_eq!(ends(TextPool::Eos(9)), [2, 1, 3]);
    }
}
