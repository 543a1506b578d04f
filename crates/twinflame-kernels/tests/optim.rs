//! Do AdamW and the moving average give the bits of their plain twins?

mod common;

use burn::tensor::{FloatDType, Tensor, s};
use common::tensor;
use twinflame_kernels::{AdamWStep, Moments, adamw, moving_average, plain};

type Function = fn(Tensor<2>, Tensor<2>, Option<Moments<2>>, AdamWStep) -> (Tensor<2>, Moments<2>);

fn steps(param: Tensor<2>, function: Function, hold: bool) -> [Tensor<2>; 3] {
    let dtype = FloatDType::from(param.dtype());
    let (mut param, mut moments) = (param, None);
    for time in 1..=6 {
        let step = AdamWStep {
            lr: 1e-2 / time as f64,
            beta_1: 0.9,
            beta_2: 0.98,
            epsilon: 1e-6,
            weight_decay: if time % 2 == 0 { 0.2 } else { 0.0 },
            time,
        };
        let grad = tensor(param.dims(), time as u64).cast(dtype) * 10.0_f64.powi(time as i32 - 4);
        let held = hold.then(|| (param.clone(), grad.clone(), moments.clone()));
        let (new_param, new_moments) = function(param, grad, moments, step);
        (param, moments) = (new_param, Some(new_moments));
        drop(held);
    }
    let Moments { first, second } = moments.expect("six steps");
    [param, first, second]
}

/// With several chunks of threads, with parts of larger tensors, and with arguments that someone else holds and that nobody does.
#[test]
fn steps_of_adamw_are_the_twins() {
    let turned = tensor([7, 9], 30).transpose();
    let part = tensor([12, 9], 31).slice(s![2..9, 1..8]);
    for param in [
        tensor([1, 1], 20),
        tensor([3, 17], 20),
        tensor([150, 333], 20),
        turned,
        part,
    ] {
        let expected = steps(param.clone(), plain::adamw, false);
        for hold in [false, true] {
            for (expected, found) in expected.iter().zip(steps(param.clone(), adamw, hold)) {
                expected.to_data().assert_eq(&found.into_data(), true);
            }
        }
    }
}

#[test]
fn other_types_take_the_twin() {
    let param = tensor([3, 5], 20).cast(FloatDType::F64);
    for (expected, found) in steps(param.clone(), plain::adamw, false)
        .iter()
        .zip(steps(param, adamw, false))
    {
        expected.to_data().assert_eq(&found.into_data(), true);
    }
}

#[test]
fn moving_averages_are_the_twins() {
    for shape in [[1, 1], [3, 17], [150, 333]] {
        let [average, value] = [tensor(shape, 1), tensor(shape, 2)];
        let expected = plain::moving_average(average.clone(), value.clone(), 0.995).into_data();
        let held = average.clone();
        moving_average(average, value.clone(), 0.995)
            .into_data()
            .assert_eq(&expected, true);
        moving_average(held, value, 0.995)
            .into_data()
            .assert_eq(&expected, true);
    }
}
