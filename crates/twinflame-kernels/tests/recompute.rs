//! A recomputed block has the output and the gradients of one that keeps everything, to the last bit.

mod common;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{FloatDType, GradientCheckpointingStrategy, Gradients, Tensor};
use common::tensor;
use twinflame_kernels::{gelu, layer_norm, linear, recomputed};

const WIDTH: usize = 24;

/// Multiplies by a context, and uses a parameter three times, so that the order of its gradients counts.
#[derive(Module, Debug)]
struct Block {
    weight: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
    gamma: Param<Tensor<1>>,
}

impl Block {
    fn new() -> Self {
        Self {
            weight: Param::from_tensor(tensor([WIDTH, WIDTH], 1).autodiff()),
            bias: Param::from_tensor(tensor([WIDTH], 2).autodiff()),
            gamma: Param::from_tensor(tensor([WIDTH], 3).autodiff()),
        }
    }

    fn forward(&self, [x, context]: [Tensor<3>; 2]) -> Tensor<3> {
        let normed = layer_norm(x.clone(), self.gamma.val(), self.bias.val(), 1e-5);
        let hidden = gelu(linear(normed, self.weight.val(), self.bias.val()));
        // Four gradients of x.
        x.clone() + linear(hidden, self.weight.val(), self.bias.val()) * context * x.clone() + x
    }

    fn recomputed(&self, inputs: [Tensor<3>; 2]) -> Tensor<3> {
        recomputed(self, inputs, Self::forward)
    }

    /// The values of its parameters' gradients.
    fn gradients(&self, grads: &Gradients) -> [Option<Vec<f32>>; 3] {
        [
            gradient(&self.weight.val(), grads),
            gradient(&self.bias.val(), grads),
            gradient(&self.gamma.val(), grads),
        ]
    }
}

fn gradient<const D: usize>(x: &Tensor<D>, grads: &Gradients) -> Option<Vec<f32>> {
    x.grad(grads).map(floats)
}

fn floats<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.into_data().try_to_vec_as().expect("readable")
}

fn inputs() -> [Tensor<3>; 2] {
    [4, 5].map(|seed| tensor([2, 7, WIDTH], seed).autodiff())
}

/// Output and gradients, the inputs' first, of two blocks in a row which the loss weighs.
fn pass(
    blocks: &[Block; 2],
    inputs: [Tensor<3>; 2],
    forward: fn(&Block, [Tensor<3>; 2]) -> Tensor<3>,
) -> (Vec<f32>, Vec<Option<Vec<f32>>>) {
    let [x, context] = inputs.clone();
    let first = forward(&blocks[0], [x, context.clone()]);
    let second = forward(&blocks[1], [first, context]);
    let weights = tensor([2, 7, WIDTH], 6);
    let grads = (second.clone() * weights).sum().backward();
    let of_inputs = inputs.iter().map(|input| gradient(input, &grads));
    let of_blocks = blocks.iter().flat_map(|block| block.gradients(&grads));
    (floats(second), of_inputs.chain(of_blocks).collect())
}

/// Asserts that both ways give the same, and how many gradients there are.
fn assert_same(blocks: &[Block; 2], inputs: &[Tensor<3>; 2], gradients: usize) {
    let kept = pass(blocks, inputs.clone(), Block::forward);
    let again = pass(blocks, inputs.clone(), Block::recomputed);
    assert!(kept.0.iter().any(|value| *value != 0.0));
    assert_eq!(kept.1.iter().flatten().count(), gradients);
    assert!(kept == again, "other numbers when recomputed");
}

#[test]
fn output_and_gradients_are_the_same_bits() {
    let inputs = inputs().map(Tensor::require_grad);
    assert_same(&[Block::new(), Block::new()], &inputs, 8);
}

#[test]
fn inputs_without_a_gradient_and_frozen_parameters_get_none() {
    let constants = inputs();
    assert_same(&[Block::new(), Block::new()], &constants, 6);
    let frozen = [Block::new().no_grad(), Block::new()];
    assert_same(&frozen, &constants, 3);
    let [x, context] = constants;
    assert_same(&frozen, &[x, context.require_grad()], 4);
    // Constants that were never on a tape.
    let plain = inputs().map(Tensor::without_autodiff);
    assert_same(&[Block::new(), Block::new()], &plain, 6);
}

#[test]
fn a_tensor_that_is_two_inputs_gets_both_gradients() {
    let [x, _] = inputs().map(Tensor::require_grad);
    let blocks = [Block::new(), Block::new()];
    // The kept block adds them up with others in between, so these are close and not equal.
    let [kept, again] = [Block::forward, Block::recomputed].map(|forward: fn(&Block, [Tensor<3>; 2]) -> Tensor<3>| {
        let (_, gradients) = pass(&blocks, [x.clone(), x.clone()], forward);
        gradients[0].clone().expect("tracked")
    });
    let largest = kept.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
    for (kept, again) in kept.iter().zip(&again) {
        assert!((kept - again).abs() <= 1e-5 * largest, "{again}, not {kept}");
    }
}

/// Parameters that are themselves computed, as those of a model in mixed precision are.
struct Cast(FloatDType);

impl ModuleMapper for Cast {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|tensor| tensor.cast(self.0))
    }
}

#[test]
fn gradients_go_on_to_what_the_parameters_were_computed_from() {
    for dtype in [FloatDType::BF16, FloatDType::F16, FloatDType::F64] {
        let masters = [Block::new(), Block::new()];
        let inputs = inputs().map(Tensor::require_grad);
        let [kept, again] =
            [Block::forward, Block::recomputed].map(|forward: fn(&Block, [Tensor<3>; 2]) -> Tensor<3>| {
                let [x, context] = inputs.clone().map(|input| input.cast(dtype));
                let [first, second] = masters.clone().map(|block| block.map(&mut Cast(dtype)));
                let x = forward(&first, [x, context.clone()]);
                let y = forward(&second, [x, context]).cast(FloatDType::F32);
                let grads = y.clone().square().sum().backward();
                let of_masters = masters.each_ref().map(|block| block.gradients(&grads));
                (floats(y), inputs.each_ref().map(|x| gradient(x, &grads)), of_masters)
            });
        assert!(kept.2.iter().flatten().all(Option::is_some));
        assert!(kept == again, "other numbers when recomputed in {dtype:?}");
    }
}

#[test]
fn the_backward_pass_computes_a_block_again_and_nothing_else_does() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = |block: &Block, inputs: [Tensor<3>; 2]| {
        let calls = Arc::clone(&calls);
        recomputed(block, inputs, move |block, inputs| {
            calls.fetch_add(1, Ordering::Relaxed);
            block.forward(inputs)
        })
    };
    let block = Block::new();
    let y = counted(&block, inputs());
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    y.sum().backward();
    assert_eq!(calls.load(Ordering::Relaxed), 2);
    // Without a tape there is no backward pass, and nothing is kept for one.
    let _ = counted(&block.valid(), inputs().map(Tensor::without_autodiff));
    assert_eq!(calls.load(Ordering::Relaxed), 3);
    assert_eq!(Arc::strong_count(&calls), 1);
}

#[test]
fn a_recomputed_block_may_hold_another() {
    let nested = |block: &Block, inputs: [Tensor<3>; 2]| {
        recomputed(block, inputs, |block, [x, context]| {
            block.recomputed([x, context.clone()]) * context
        })
    };
    let plain = |block: &Block, [x, context]: [Tensor<3>; 2]| block.forward([x, context.clone()]) * context;
    let blocks = [Block::new(), Block::new()];
    let [x, context] = inputs();
    let inputs = [x.require_grad(), context];
    assert!(pass(&blocks, inputs.clone(), plain) == pass(&blocks, inputs, nested));
}

#[test]
fn a_device_that_recomputes_cheap_operations_may_recompute_blocks_as_well() {
    let balanced = GradientCheckpointingStrategy::Balanced;
    struct On(GradientCheckpointingStrategy);
    impl ModuleMapper for On {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(|tensor| tensor.with_gradient_checkpointing_strategy(self.0))
        }
    }
    let blocks = [Block::new(), Block::new()].map(|block| block.map(&mut On(balanced)));
    let inputs = inputs().map(|input| input.with_gradient_checkpointing_strategy(balanced).require_grad());
    let [x, context] = inputs.clone();
    let y = blocks[0].recomputed([x, context]);
    assert_eq!(y.gradient_checkpointing_strategy(), Some(balanced));
    assert_same(&blocks, &inputs, 8);
}

#[test]
#[should_panic(expected = "at most 64")]
fn more_tensors_than_a_step_has_places_for_are_refused() {
    let many: Vec<Block> = (0..22).map(|_| Block::new()).collect();
    let [x, _] = inputs();
    let _ = recomputed(&many, [x], |many, [x]| many[0].forward([x.clone(), x]));
}
