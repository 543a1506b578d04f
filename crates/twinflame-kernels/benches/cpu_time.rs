//! What the kernels take of the processor, beside burn's own: `cargo bench -p twinflame-kernels --bench cpu_time`.
//!
//! divan measures how long a call takes, which on a machine with other work says little. Here both sides take turns, call by
//! call, and the processor's time of all threads is summed up.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark prints and may stop at once"
)]

use std::cell::RefCell;
use std::hint::black_box;
use std::time::{Duration, Instant};

use burn::tensor::{Device, Int, Tensor, TensorData, activation, module};
use cpu_time::ProcessTime;
use twinflame_kernels::{
    AdamWStep, Moments, Then, Visibility, adamw, batch_norm, embedding, gelu, layer_norm, linear, matmul,
    moving_average, plain, quick_gelu, self_attention,
};

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
    for (name, [rows, columns], pair) in [
        (
            "self_attention 16 x 50 tokens, 12 heads",
            [16 * 50, 3 * 768],
            [attended::<50, 12>, burns_attended::<50, 12>],
        ),
        (
            "self_attention 4 x 257 tokens, 12 heads",
            [4 * 257, 3 * 768],
            [attended::<257, 12>, burns_attended::<257, 12>],
        ),
        (
            "linear 768 to 3072",
            [16 * 50, 768],
            [projected::<3_072> as Function, burns_projected::<3_072>],
        ),
        (
            "linear 3072 to 768",
            [16 * 50, 3_072],
            [projected::<768>, burns_projected::<768>],
        ),
    ] {
        compare(&format!("{name} {rows} rows forward"), pair, |function| {
            let x = input([rows, columns], &Device::flex());
            Box::new(move || drop(black_box(function(x.clone()))))
        });
        compare(&format!("{name} {rows} rows step"), pair, |function| {
            let x = input([rows, columns], &Device::flex().autodiff()).require_grad();
            Box::new(move || drop(black_box(x.grad(&function(x.clone()).backward()).unwrap())))
        });
    }
    compare(
        "embedding 1232 of 49408 rows of 512, step",
        [embedded as Function, burns_embedded],
        |function| {
            let table = input([49_408, 512], &Device::flex().autodiff()).require_grad();
            Box::new(move || drop(black_box(table.grad(&function(table.clone()).backward()).unwrap())))
        },
    );
    for (name, pair) in [
        ("batch_norm and relu", [batch_normed as Function, burns_batch_normed]),
        (
            "batch_norm, shortcut and relu",
            [batch_normed_block, burns_batch_normed_block],
        ),
    ] {
        // a stage of RN50
        let shape = [256, 16 * 28 * 28];
        compare(&format!("{name} {shape:?} step"), pair, |function| {
            let x = input(shape, &Device::flex().autodiff()).require_grad();
            Box::new(move || drop(black_box(x.grad(&function(x.clone()).backward()).unwrap())))
        });
    }
    compare(
        "1x1 convolution of 256 to 64 channels, step",
        [convolved as Function, burns_convolved],
        |function| {
            let x = input([256, 16 * 28 * 28], &Device::flex().autodiff()).require_grad();
            Box::new(move || drop(black_box(x.grad(&function(x.clone()).backward()).unwrap())))
        },
    );
    compare_optimisers();
    // What of a step is neither forward nor backward pass of an activation.
    let nothing: Function = |x| x * 1.0;
    compare("times 1 (twice: noise)", [nothing, nothing], |function| {
        let x = input(SHAPES[0], &Device::flex().autodiff()).require_grad();
        Box::new(move || drop(black_box(x.grad(&function(x.clone()).backward()).unwrap())))
    });
}

fn attended<const TOKENS: usize, const HEADS: usize>(x: Tensor<2>) -> Tensor<2> {
    by_samples(x, TOKENS, |qkv| self_attention(qkv, HEADS, Visibility::All))
}

fn burns_attended<const TOKENS: usize, const HEADS: usize>(x: Tensor<2>) -> Tensor<2> {
    by_samples(x, TOKENS, |qkv| plain::self_attention(qkv, HEADS, Visibility::All))
}

fn by_samples(x: Tensor<2>, tokens: usize, function: impl Fn(Tensor<3>) -> Tensor<3>) -> Tensor<2> {
    let [rows, columns] = x.dims();
    let y = function(x.reshape([rows / tokens, tokens, columns]));
    y.reshape([rows as i32, -1])
}

fn projected<const OUTPUTS: usize>(x: Tensor<2>) -> Tensor<2> {
    let (weight, bias) = layer(&x, OUTPUTS);
    linear(x, weight, bias)
}

fn burns_projected<const OUTPUTS: usize>(x: Tensor<2>) -> Tensor<2> {
    let (weight, bias) = layer(&x, OUTPUTS);
    module::linear(x, weight, Some(bias))
}

/// A layer that is trained where `x` has a tape.
fn layer(x: &Tensor<2>, outputs: usize) -> (Tensor<2>, Tensor<1>) {
    let [_, inputs] = x.dims();
    let weight = input([inputs, outputs], &x.device());
    let bias = Tensor::full([outputs], 0.1, &x.device());
    if x.is_autodiff() {
        (weight.require_grad(), bias.require_grad())
    } else {
        (weight, bias)
    }
}

fn ids(device: &Device) -> Tensor<2, Int> {
    let ids: Vec<i64> = (0..16 * 77).map(|i| i * 7_919 % 49_408).collect();
    Tensor::from_data(TensorData::new(ids, [16, 77]), device)
}

fn embedded(table: Tensor<2>) -> Tensor<2> {
    let ids = ids(&table.device());
    embedding(table, ids).reshape([16 * 77, 512])
}

fn burns_embedded(table: Tensor<2>) -> Tensor<2> {
    let ids = ids(&table.device());
    module::embedding(table, ids).reshape([16 * 77, 512])
}

/// Gain and offset of each channel.
fn of_channels(x: &Tensor<2>) -> [Tensor<1>; 2] {
    [0.9, 0.1].map(|value| Tensor::full([x.dims()[0]], value, &x.device()).require_grad())
}

fn batch_normed(x: Tensor<2>) -> Tensor<2> {
    let [gamma, beta] = of_channels(&x);
    batch_norm(x, gamma, beta, 1e-5, Then::Relu).output
}

fn burns_batch_normed(x: Tensor<2>) -> Tensor<2> {
    let [gamma, beta] = of_channels(&x);
    plain::batch_norm(x, gamma, beta, 1e-5, Then::Relu).output
}

fn batch_normed_block(x: Tensor<2>) -> Tensor<2> {
    let [gamma, beta] = of_channels(&x);
    batch_norm(x.clone(), gamma, beta, 1e-5, Then::AddRelu(x)).output
}

fn burns_batch_normed_block(x: Tensor<2>) -> Tensor<2> {
    let [gamma, beta] = of_channels(&x);
    plain::batch_norm(x.clone(), gamma, beta, 1e-5, Then::AddRelu(x)).output
}

fn convolved(x: Tensor<2>) -> Tensor<2> {
    matmul(input([64, x.dims()[0]], &x.device()).require_grad(), x)
}

fn burns_convolved(x: Tensor<2>) -> Tensor<2> {
    input([64, x.dims()[0]], &x.device()).require_grad().matmul(x)
}

/// A step of AdamW and one of a moving average on 7.9 million elements that nobody else holds.
fn compare_optimisers() {
    let device = Device::flex();
    let step = AdamWStep {
        lr: 1e-3,
        beta_1: 0.9,
        beta_2: 0.98,
        epsilon: 1e-6,
        weight_decay: 0.2,
        time: 10,
    };
    type Adam = fn(Tensor<2>, Tensor<2>, Option<Moments<2>>, AdamWStep) -> (Tensor<2>, Moments<2>);
    let shape = [2_560, 3_072];
    let work = |adam: Adam| -> Box<dyn Fn()> {
        let state = RefCell::new(Some((input(shape, &device), None)));
        let grad = input(shape, &device);
        Box::new(move || {
            let (param, moments) = state.borrow_mut().take().unwrap();
            let (param, moments) = adam(param, grad.clone(), moments, step);
            *state.borrow_mut() = Some((param, Some(moments)));
        })
    };
    take_turns("adamw, 7.9 M elements", [work(adamw), work(plain::adamw)]);
    type Average = fn(Tensor<2>, Tensor<2>, f64) -> Tensor<2>;
    let work = |average: Average| -> Box<dyn Fn()> {
        let state = RefCell::new(Some(input(shape, &device)));
        let value = input(shape, &device);
        Box::new(move || {
            let old = state.borrow_mut().take().unwrap();
            *state.borrow_mut() = Some(average(old, value.clone(), 0.995));
        })
    };
    take_turns(
        "moving_average, 7.9 M elements",
        [work(moving_average), work(plain::moving_average)],
    );
}

fn input(shape: [usize; 2], device: &Device) -> Tensor<2> {
    let count = shape.iter().product::<usize>();
    let values: Vec<f32> = (0..count)
        .map(|i| (i * 7_919 % 10_007) as f32 / 1_251.0 - 4.0)
        .collect();
    Tensor::<1>::from_floats(values.as_slice(), device).reshape(shape)
}

fn compare(name: &str, functions: [Function; 2], work: impl Fn(Function) -> Box<dyn Fn()>) {
    take_turns(name, functions.map(work));
}

fn take_turns(name: &str, work: [Box<dyn Fn()>; 2]) {
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
