//! burn-flex 0.22.1: every output of a matrix product is zeroed, and then copied, before the product writes it.
//!
//! `FlexTensor::empty` makes a `Vec<u8>` of zeros and hands it to `Bytes::from_bytes_vec`, which wants an alignment that a vector
//! of bytes never promises, and so copies the zeros to other memory (`try_enforce_runtime_align` in cubecl-environment 0.11.3). The
//! product then writes over them. All of it runs on one thread. `Vec<f32>` through `Bytes::from_elems` is taken as it is.
//!
//! A product of a column and a row does one multiplication for each element of its output, so its time is that of its output:
//!
//! ```console
//! $ cargo bench -p twinflame-kernels --bench flex_outputs
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark prints and may stop at once"
)]

use std::hint::black_box;
use std::time::Duration;

use burn::tensor::{Device, Tensor, TensorData};
use cpu_time::ProcessTime;

const SIZE: usize = 4_096;
const TURNS: usize = 20;

fn main() {
    let device = Device::flex();
    let ones = || TensorData::new(vec![1.0_f32; SIZE], [SIZE, 1]);
    let column = Tensor::<2>::from_data(ones(), &device);
    let row = column.clone().transpose();
    let mut product = Vec::new();
    let mut written = Vec::new();
    for _ in 0..TURNS {
        product.push(cpu_time_of(|| drop(black_box(column.clone().matmul(row.clone())))));
        // the same elements, each written once, in a vector of f32
        written.push(cpu_time_of(|| {
            let elements: Vec<f32> = (0..SIZE * SIZE).map(|index| black_box(index) as f32).collect();
            let tensor = Tensor::<2>::from_data(TensorData::new(elements, [SIZE, SIZE]), &device);
            drop(black_box(tensor));
        }));
    }
    println!(
        "median ms of CPU for an output of {} MiB, {TURNS} turns",
        (SIZE * SIZE * 4) >> 20
    );
    println!("product of a column and a row: {:.1}", median(product));
    println!("a tensor of numbers written one by one: {:.1}", median(written));
}

fn cpu_time_of(work: impl FnOnce()) -> Duration {
    let start = ProcessTime::now();
    work();
    start.elapsed()
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e3
}
