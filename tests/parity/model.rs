//! The model computes what open_clip computes, beyond what `verify` compares: on a plain device, names, patch dropout.

use std::collections::HashMap;

use burn::{
    module::{Module, ModuleVisitor, Param},
    tensor::{Device, Int, Tensor, TensorData},
};
use proptest::prelude::*;
use twinflame::{
    data::Normalization,
    model::{
        Clip, ClipConfig, ImageEncoder, ImageInput, Pass, TextEncoder,
        block::ResidualBlock,
        normalize,
        weights::{named_params, to_open_clip_tensors},
    },
    train::{
        task::ClipTask,
        verify::{Check, Rule, clip},
    },
};

use crate::fixture::{assert_agrees, assert_close, fixture, inputs, model};

const CLIP_FIXTURES: [&str; 4] = [
    "clip_vit_tiny",
    "clip_vit_quickgelu_tiny",
    "siglip_tiny",
    "clip_rn_tiny",
];

/// On a plain device attention is the backend's fused one, on an autodiff device our differentiable one.
fn plain_and_autodiff() -> [Device; 2] {
    let device = twinflame_tests::device();
    [device.clone(), device.autodiff()]
}

/// Training computes on an autodiff device, which `verify` covers; evaluation on a plain one.
#[test]
fn outputs_on_a_plain_device() {
    for name in CLIP_FIXTURES {
        let fixture = fixture(name);
        let device = twinflame_tests::device();
        let batch = clip::batch(&fixture, &device).unwrap();
        let loss = clip::task(&fixture, &device, None).unwrap().config().clone();
        let task = ClipTask::new(model(name, &device), loss, 0.0, Normalization::default()).unwrap();
        let prefix = if name == "clip_rn_tiny" { "eval." } else { "" };
        let computed = clip::forward(&task, &batch, Pass::Eval, prefix).unwrap();
        let mut golden = fixture.tensors("outputs").unwrap();
        golden.retain(|name, _| name.starts_with(prefix));
        assert_agrees(&Check::file("outputs", computed, Rule::Output), &golden);
    }
}

#[test]
fn blocks_lead_to_the_features() {
    for name in CLIP_FIXTURES {
        for device in plain_and_autodiff() {
            let clip = model(name, &device);
            let (image, text) = inputs(name, &device);
            let (features, _) = clip.image_encoder.forward_with_blocks(image.clone().into(), Pass::Eval);
            let expected = clip.encode_image(image, Pass::Eval).into_data();
            assert_close("image", features.into_data(), &expected);
            let (features, _) = clip.text_encoder.forward_with_blocks(text.clone());
            assert_close("text", features.into_data(), &clip.encode_text(text).into_data());
        }
    }
}

#[test]
fn weights_come_back_under_their_names() {
    for name in ["clip_vit_tiny", "clip_rn_tiny", "siglip_tiny"] {
        let mut expected: HashMap<_, _> = fixture(name).tensors("weights").unwrap().into_iter().collect();
        expected.retain(|name, _| !name.ends_with("num_batches_tracked"));
        let actual: HashMap<_, _> = to_open_clip_tensors(&model(name, &twinflame_tests::device()))
            .unwrap()
            .into_iter()
            .collect();
        assert_eq!(actual, expected);
    }
}

fn text_blocks(clip: &Clip) -> &Vec<ResidualBlock> {
    match &clip.text_encoder {
        TextEncoder::Transformer(text) => &text.blocks,
        TextEncoder::Cbow(_) => panic!("a transformer was expected"),
    }
}

#[test]
fn text_is_causal_and_padding_does_not_matter() {
    let end = fixture("clip_vit_tiny").config()["eot_id"].as_i64().unwrap() as i32;
    let device = twinflame_tests::device();
    let clip = model("clip_vit_tiny", &device);
    let text = [510, 7, 8, 9, end, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let run = |text: [i32; 16]| {
        let tokens = Tensor::<2, Int>::from_data([text], &device);
        let (features, blocks) = clip.text_encoder.forward_with_blocks(tokens.clone());
        assert_close(
            "shortcut",
            clip.encode_text(tokens).into_data(),
            &features.clone().into_data(),
        );
        let last: Vec<f32> = blocks.last().unwrap().value.clone().into_data().iter().collect();
        (last, features.into_data())
    };
    assert_eq!(text_blocks(&clip).len(), 2);
    let (hidden, features) = run(text);
    let mut other = text;
    other[2] = 100;
    let (changed, changed_features) = run(other);
    assert_eq!(hidden[..2 * 32], changed[..2 * 32], "an earlier position saw token 2");
    assert_ne!(hidden[2 * 32..3 * 32], changed[2 * 32..3 * 32]);
    assert_ne!(features, changed_features);
    let mut padded = text;
    padded[9] = 55;
    assert_eq!(run(padded).1, features, "padding reached the features");
}

#[test]
fn cbow_means_real_tokens_only() {
    let mut config = ClipConfig::named("emoji-cbow").unwrap();
    config.text_cfg.context_length = 6;
    let device = twinflame_tests::device();
    let clip = config.init(0, &device);
    let encode = |tokens: [i32; 6]| {
        clip.encode_text(Tensor::<2, Int>::from_data([tokens], &device))
            .into_data()
    };
    let features = encode([8190, 5, 6, 8191, 0, 0]);
    assert_eq!(features, encode([8190, 5, 6, 8191, 7, 8]), "padding counts");
    assert_close("order", encode([8190, 6, 5, 8191, 0, 0]), &features);
    assert_ne!(features, encode([8190, 5, 7, 8191, 0, 0]));
    // By hand: mean of four rows, then the projection.
    let TextEncoder::Cbow(cbow) = &clip.text_encoder else {
        panic!("no bag of words");
    };
    let rows = Tensor::<1, Int>::from_ints([8190, 5, 6, 8191], &device);
    let mean = cbow.token_embedding.weight.val().select(0, rows).mean_dim(0);
    assert_close(
        "mean",
        features,
        &mean.matmul(cbow.text_projection.weight.val()).into_data(),
    );
}

#[test]
fn patch_dropout_sees_the_kept_patches_only() {
    let device = twinflame_tests::device();
    let clip = model("clip_vit_tiny", &device);
    assert_eq!(clip.num_patches(), Some(16));
    let (image, _) = inputs("clip_vit_tiny", &device);
    let run = |pixels: Tensor<4>, keep: Vec<i32>| {
        let kept = keep.len() / 4;
        let input = ImageInput {
            pixels,
            keep_patches: Some(Tensor::from_data(TensorData::new(keep, [4, kept]), &device)),
        };
        clip.encode_image(input, Pass::Train).into_data()
    };
    let all = clip.encode_image(image.clone(), Pass::Eval).into_data();
    let reversed: Vec<i32> = (0..4).flat_map(|_| (0..16).rev()).collect();
    assert_close("all patches in another order", run(image.clone(), reversed), &all);
    // Patch 0 is the upper left corner: without it, its pixels do not matter.
    let without: Vec<i32> = (0..4).flat_map(|_| 1..16).collect();
    let black = image.clone().slice_fill([0..4, 0..3, 0..8, 0..8], 0.0);
    let expected = run(image.clone(), without.clone());
    assert_close("a dropped patch", run(black.clone(), without), &expected);
    assert_ne!(run(black, (0..4).flat_map(|_| 0..16).collect()), all);
    assert_ne!(expected, all);
}

#[test]
fn a_fresh_bottleneck_is_its_shortcut() {
    let device = twinflame_tests::device();
    let clip = ClipConfig::named("tiny-rn").unwrap().init(0, &device);
    let ImageEncoder::ResNet(resnet) = &clip.image_encoder else {
        panic!("no ResNet");
    };
    let mut block = resnet.layer1[0].clone();
    block.downsample = None;
    block.conv1 = resnet.layer2[0].conv1.clone(); // 32 channels in, 16 out
    block.bn1 = resnet.layer2[0].bn1.clone();
    block.conv2 = resnet.layer2[0].conv2.clone();
    block.bn2 = resnet.layer2[0].bn2.clone();
    block.conv3 = Clone::clone(&resnet.layer1[0].conv3);
    block.conv3.weight = Param::from_tensor(Tensor::ones([32, 16, 1, 1], &device));
    let x = Tensor::<4>::random([32, 2, 4, 4], burn::tensor::Distribution::Uniform(0.0, 1.0), &device);
    assert_eq!(block.forward(x.clone(), Pass::Train).into_data(), x.into_data());
}

/// All four pairs of encoders train: every parameter gets a finite gradient.
#[test]
fn all_four_pairs_of_encoders() {
    let device = twinflame_tests::device().autodiff();
    for (image, text) in [
        ("tiny-vit", "tiny-vit"),
        ("tiny-vit", "emoji-cbow"),
        ("tiny-rn", "tiny-vit"),
        ("tiny-rn", "emoji-cbow"),
    ] {
        let mut config = ClipConfig::named(image).unwrap();
        config.text_cfg = ClipConfig::named(text).unwrap().text_cfg;
        config.validate().unwrap();
        let clip = config.init(0, &device);
        let images = Tensor::<4>::random([3, 3, 32, 32], burn::tensor::Distribution::Default, &device);
        let context = config.text_cfg.context_length;
        let tokens = Tensor::<1, Int>::arange(1..1 + 3 * context as i64, &device).reshape([3, context]);
        let out = clip.forward(images, tokens, Pass::Train);
        assert_eq!(out.image_embeds.dims(), [3, 32]);
        assert_eq!(out.text_embeds.dims(), [3, 32]);
        let logits = out.image_embeds.matmul(out.text_embeds.transpose()) * out.logit_scale.exp().reshape([1, 1]);
        let loss = (logits * Tensor::eye(3, &device)).sum();
        let grads = loss.backward();
        let mut check = Gradients { grads: &grads, seen: 0 };
        clip.visit(&mut check);
        let expected = named_params(&clip).iter().filter(|param| !param.is_buffer).count();
        assert_eq!(check.seen, expected, "{image} with {text}");
    }
}

struct Gradients<'a> {
    grads: &'a burn::tensor::Gradients,
    seen: usize,
}

impl ModuleVisitor for Gradients<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(grad) = param.val().grad(self.grads) {
            assert!(grad.into_data().iter::<f32>().all(f32::is_finite));
            self.seen += 1;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn embeddings_have_length_one(rows in prop::collection::vec(prop::array::uniform4(-1e3f32..1e3), 1..5)) {
        let count = rows.len();
        let values: Vec<f32> = rows.iter().flatten().copied().collect();
        prop_assume!(rows.iter().all(|row| row.iter().any(|v| v.abs() > 1e-3)));
        let x = Tensor::<2>::from_data(TensorData::new(values, [count, 4]), &twinflame_tests::device());
        let lengths = normalize(x).square().sum_dim(1).into_data();
        prop_assert!(lengths.iter::<f32>().all(|length| (length - 1.0).abs() < 1e-5));
    }
}
