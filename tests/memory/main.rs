//! How much memory does a training step keep?

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a panic is the report of a test"
)]

#[path = "../hostile/memory.rs"]
mod allocated;
mod tasks;

use burn::optim::GradientsParams;
use twinflame::model::{AlbefConfig, ClipConfig, Layers, Pass, loss::Targets};
use twinflame::train::task::Purpose;

/// One test, because it measures what the whole process allocates.
#[test]
fn recomputed_blocks_keep_their_inputs_only() {
    let mut clip = ClipConfig::named("tiny-vit").unwrap();
    clip.vision_cfg.layers = Layers::Depth(DEPTH);
    clip.text_cfg.layers = DEPTH;
    assert_less("CLIP", |recompute| {
        let (task, batch) = tasks::clip(&clip, recompute);
        let inputs = task.upload(&batch, 0..batch.len(), Pass::Train);
        move || task.backward(&task.forward_loss(inputs.clone(), &Targets::Diagonal, Pass::Train))
    });

    let mut albef = AlbefConfig::named("tiny-albef").unwrap();
    albef.vision_cfg.layers = Layers::Depth(DEPTH);
    albef.text_cfg.text_layers = DEPTH / 2;
    albef.text_cfg.fusion_layers = DEPTH / 2;
    assert_less("ALBEF", |recompute| {
        let (task, batch) = tasks::albef(&albef, recompute);
        let inputs = task.upload(&batch, Purpose::Train);
        move || task.backward(&task.score(&inputs, 0.4))
    });
}

/// Blocks of an encoder.
const DEPTH: usize = 8;

/// Asserts that gradients take less than 40 percent of the memory when blocks are recomputed. A block of width `w` keeps some
/// `15 w` numbers for a token, its input is one of them, and the backward pass holds those of one block.
fn assert_less<G: Fn() -> GradientsParams>(name: &str, prepared: impl Fn(bool) -> G) {
    let [kept, recomputed] = [false, true].map(|recompute| {
        let gradients = prepared(recompute);
        // Tables that are made once, and the threads' scratch memory.
        drop(gradients());
        let (gradients, peak) = allocated::peak(&gradients);
        assert!(gradients.len() > 100);
        peak
    });
    println!("{name}: peak of {recomputed} bytes, {kept} when all is kept");
    assert!(
        recomputed * 10 < kept * 4,
        "{name}: {recomputed} bytes, {kept} when all is kept"
    );
}
