//! What the kernels take of the processor, beside burn's own: `cargo bench -p twinflame-kernels --bench cpu_time`.
//!
//! divan measures how long a call takes, which on a machine with other work says little. Here both sides take turns, call by
//! call, and the processor's time of all threads is summed up.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark prints and may stop at once"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use burn::tensor::{Device, Tensor, activation, module};
use cpu_time::ProcessTime;
use twinflame_kernels::{gelu, layer_norm, quick_gelu};

const SHAPES: [[usize; 2]; 2] = [[16 * 50, 3_072], [32 * 77, 2_048]];
const TURNS: usize = 30;

type Function = fn(Tensor<2>) -> Tensor<2>;

fn burns_quick_gelu(x: Tensor<2>) -> Tensor<2> {
    x.clone() * activation::sigmoid(x * 1.702)
}

/// With parameters that want gradients, as in a model.
fn parameters(x: &Tensor<2>) -> [Tensor<1>; 2] {
    let width = x.dims()[1];
    [0.9, 0.1]
        .map(|value| Tensor::full([width], value, &x.device()))
        .map(|parameter| {
            if x.is_autodiff() {
                parameter.require_grad()
            } else {
                parameter
            }
        })
}

fn normed(x: Tensor<2>) -> Tensor<2> {
    let [gamma, beta] = parameters(&x);
    layer_norm(x, gamma, beta, 1e-5)
}

fn burns_normed(x: Tensor<2>) -> Tensor<2> {
    let [gamma, beta] = parameters(&x);
    module::layer_norm(x, gamma, Some(beta), 1e-5)
}

fn main() {
    println!("{TURNS} turns each; median ms of CPU (of wall time) per call: kernel, burn, ratio of CPU");
    for shape in SHAPES {
        for (name, kernel, burn) in [
            ("gelu", gelu as Function, activation::gelu as Function),
            ("quick_gelu", quick_gelu, burns_quick_gelu),
        ] {
            compare(&format!("{name} {shape:?} forward"), [kernel, burn], |function| {
                let x = input(shape, &Device::flex());
                Box::new(move || drop(black_box(function(x.clone()))))
            });
            compare(&format!("{name} {shape:?} step"), [kernel, burn], |function| {
                let x = input(shape, &Device::flex().autodiff()).require_grad();
                Box::new(move || drop(black_box(x.grad(&function(x.clone()).backward()).unwrap())))
            });
        }
    }
    for shape in [[16 * 50, 768], [32 * 77, 512]] {
        compare(
            &format!("layer_norm {shape:?} forward"),
            [normed, burns_normed],
            |function| {
                let x = input(shape, &Device::flex());
                Box::new(move || drop(black_box(function(x.clone()))))
            },
        );
        compare(
            &format!("layer_norm {shape:?} step"),
            [normed, burns_normed],
            |function| {
                let x = input(shape, &Device::flex().autodiff()).require_grad();
                Box::new(move || drop(black_box(x.grad(&function(x.clone()).backward()).unwrap())))
            },
        );
    }
    // What of a step is neither forward nor backward pass of an activation.
    let nothing: Function = |x| x * 1.0;
    compare("times 1 (twice: noise)", [nothing, nothing], |function| {
        let x = input(SHAPES[0], &Device::flex().autodiff()).require_grad();
        Box::new(move || drop(black_box(x.grad(&function(x.clone()).backward()).unwrap())))
    });
}

fn input(shape: [usize; 2], device: &Device) -> Tensor<2> {
    let count = shape.iter().product::<usize>();
    let values: Vec<f32> = (0..count)
        .map(|i| (i * 7_919 % 10_007) as f32 / 1_251.0 - 4.0)
        .collect();
    Tensor::<1>::from_floats(values.as_slice(), device).reshape(shape)
}

fn compare(name: &str, functions: [Function; 2], work: impl Fn(Function) -> Box<dyn Fn()>) {
    let work = functions.map(work);
    let mut times = [vec![], vec![]];
    for turn in 0..TURNS + 3 {
        for (work, times) in work.iter().zip(&mut times) {
            let (cpu, wall) = (ProcessTime::now(), Instant::now());
            work();
            // the first ones warm up
            if turn >= 3 {
                times.push([cpu.elapsed(), wall.elapsed()]);
            }
        }
    }
    let [kernel, burn] = times.map(|times| [0, 1].map(|clock| median(times.iter().map(|time| time[clock]))));
    let [[cpu, wall], [burn_cpu, burn_wall]] = [kernel, burn];
    println!(
        "{name}: {cpu:.2} ({wall:.2}), {burn_cpu:.2} ({burn_wall:.2}), {:.3}",
        cpu / burn_cpu
    );
}

fn median(times: impl Iterator<Item = Duration>) -> f64 {
    let mut times: Vec<f64> = times.map(|time| time.as_secs_f64() * 1e3).collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
