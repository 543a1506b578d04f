//! burn-flex 0.22.1: rows selected from the beginning of a tensor cost a copy of all of that beginning.
//!
//! `gather_scatter::select` asks for contiguous memory with `to_contiguous`, which takes a view as it is only if the view is the whole
//! buffer (`FlexTensor::into_contiguous`). The rows of a view that begins at the start and ends early lie side by side all the same.
//!
//! ```console
//! $ cargo bench -p twinflame-kernels --bench flex_select
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark prints and may stop at once"
)]

use std::hint::black_box;
use std::time::Duration;

use burn::tensor::{Device, Int, Tensor};
use cpu_time::ProcessTime;

const ROWS: i64 = 1 << 14;
const COLUMNS: usize = 256;
const TURNS: usize = 50;

fn main() {
    let device = Device::flex();
    let table = Tensor::<2>::ones([ROWS as usize, COLUMNS], &device);
    let beginning = table.clone().narrow(0, 0, ROWS as usize - 1);
    let rows = Tensor::<1, Int>::arange(0..16, &device);
    println!(
        "median microseconds of CPU for 16 rows of a table of {} MiB, {TURNS} turns",
        (ROWS as usize * COLUMNS * 4) >> 20
    );
    for (name, table) in [("the whole table", table), ("all but its last row", beginning)] {
        let mut times: Vec<Duration> = Vec::new();
        for _ in 0..TURNS {
            let start = ProcessTime::now();
            drop(black_box(table.clone().select(0, rows.clone())));
            times.push(start.elapsed());
        }
        times.sort_unstable();
        println!("{name}: {:.0}", times[times.len() / 2].as_secs_f64() * 1e6);
    }
}
