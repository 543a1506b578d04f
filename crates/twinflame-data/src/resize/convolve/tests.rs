use super::*;

/// Vectors of any width give the same sums, whatever is left beyond the blocks.
#[test]
fn wide_and_narrow_sums_are_the_same() {
    let pixels: Vec<u8> = (0..97 * 41_usize).map(|i| (i * i % 251) as u8).collect();
    let weights = Weights::new(41, 13, 2, 9, Interpolation::Bicubic);
    for width in [1, 15, 16, 47, 48, 50, 64, 97] {
        let sums = |sum: fn(Rows<'_>, usize, &Weights, &mut [u8])| {
            let mut output = vec![0; 9 * width];
            sum(Rows::new(&pixels, 97), 0, &weights, &mut output);
            output
        };
        let narrow = sums(sum_columns_in::<false>);
        assert_eq!(sums(sum_columns_in::<true>), narrow, "{width}");
        assert_eq!(sums(sum_columns), narrow, "{width}");
    }
}

/// The pass along rows is the pass along columns of the transposed image, also where a block of rows is not full.
#[test]
fn rows_are_summed_like_columns() {
    fn check<const N: usize>(width: usize, height: usize) {
        let pixels: Vec<u8> = (0..width * height * N).map(|i| (i * i % 253) as u8).collect();
        let weights = Weights::new(width as u32, 11, 1, 8, Interpolation::Bicubic);
        let turn = |pixels: &[u8], width: usize| -> Vec<u8> {
            let pixels = pixels.as_chunks::<N>().0;
            let height = pixels.len() / width;
            let turned = (0..pixels.len()).flat_map(|at| pixels[at % height * width + at / height]);
            turned.collect()
        };
        let turned = turn(&pixels, width);
        let expected = along_columns(Rows::new(&turned, height * N), height * N, 0, &weights);
        let found = along_rows::<N>(Rows::new(&pixels, width * N), height, &weights);
        assert_eq!(found, turn(&expected, height), "{width}x{height}x{N}");
    }
    for (width, height) in [(30, 1), (17, 16), (40, 33), (29, 50), (11, 49)] {
        check::<1>(width, height);
        check::<2>(width, height);
        check::<3>(width, height);
        check::<4>(width, height);
    }
}
