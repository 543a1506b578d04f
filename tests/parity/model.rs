//! The model computes what open_clip computes: outputs, every block, running statistics, names, position tables.

use std::collections::HashMap;

use burn::{
    module::{Module, ModuleVisitor, Param},
    tensor::{Device, Int, Tensor, TensorData},
};
use proptest::prelude::*;
use twinflame::model::{
    BlockOutput, Clip, ClipConfig, ImageEncoder, ImageInput, Pass, TextEncoder,
    block::ResidualBlock,
    normalize,
    pos_embed::{Resample, resize_grid, resize_sequence},
    weights::{named_params, to_open_clip_tensors},
};

use crate::fixture::{Fixture, assert_close};

const TRANSFORMER_FIXTURES: [&str; 3] = ["clip_vit_tiny", "clip_vit_quickgelu_tiny", "siglip_tiny"];

/// Features, normalised features and logits, named with a prefix as the fixture does.
fn check_outputs(
    clip: &Clip,
    (image, text): (Tensor<4>, Tensor<2, Int>),
    pass: Pass,
    expected: &HashMap<String, TensorData>,
    prefix: &str,
) {
    // The fixture leaves out the text side of the evaluation after training, where nothing can have changed.
    let only_image = prefix == "eval_after_bn_update.";
    let check = |name: &str, actual: TensorData| {
        if only_image && !name.contains("image") {
            return;
        }
        let name = format!("{prefix}{name}");
        let expected = expected
            .get(&name)
            .unwrap_or_else(|| panic!("{name} is not in the fixture"));
        assert_close(&name, actual, expected);
    };
    // One pass only, because a training pass moves the running statistics.
    let image = clip.encode_image(image, pass);
    let text = clip.encode_text(text);
    check("image_features_raw", image.clone().into_data());
    check("text_features_raw", text.clone().into_data());
    let (image, text) = (normalize(image), normalize(text));
    check("image_features", image.clone().into_data());
    check("text_features", text.clone().into_data());
    let scale = clip.logit_scale.val().exp();
    let mut logits = image.matmul(text.transpose()) * scale.reshape([1, 1]);
    if let Some(bias) = &clip.logit_bias {
        logits = logits + bias.val().reshape([1, 1]);
    }
    check("logits_per_image", logits.clone().into_data());
    check("logits_per_text", logits.transpose().into_data());
}

/// Every tensor of the fixture whose name starts with this prefix and `hidden.`, and no other.
fn check_blocks(blocks: Vec<(&str, Vec<BlockOutput>)>, expected: &HashMap<String, TensorData>, prefix: &str) {
    let prefix = format!("{prefix}hidden.");
    let mut unchecked: Vec<_> = expected.keys().filter(|name| name.starts_with(&prefix)).collect();
    for (tower, outputs) in blocks {
        for output in outputs {
            let name = format!("{prefix}{tower}{}", output.name);
            let expected = expected
                .get(&name)
                .unwrap_or_else(|| panic!("{name} is not in the fixture"));
            assert_close(&name, output.value.into_data(), expected);
            unchecked.retain(|other| **other != name);
        }
    }
    assert!(unchecked.is_empty(), "not computed: {unchecked:?}");
}

/// On a plain device attention is the backend's fused one, on an autodiff device our differentiable one.
fn plain_and_autodiff() -> [Device; 2] {
    let device = twinflame_tests::device();
    [device.clone(), device.autodiff()]
}

#[test]
fn transformers_outputs() {
    for name in TRANSFORMER_FIXTURES {
        let fixture = Fixture::new(name);
        let expected = fixture.tensors("outputs");
        for device in plain_and_autodiff() {
            let clip = fixture.clip(&device);
            check_outputs(&clip, fixture.inputs(&device), Pass::Train, &expected, "");
        }
    }
}

#[test]
fn transformers_blocks() {
    for name in TRANSFORMER_FIXTURES {
        let fixture = Fixture::new(name);
        let expected = fixture.tensors("outputs");
        for device in plain_and_autodiff() {
            let clip = fixture.clip(&device);
            let (image, text) = fixture.inputs(&device);
            let (features, visual) = clip.image_encoder.forward_with_blocks(image.into(), Pass::Train);
            assert_close("image", features.into_data(), &expected["image_features_raw"]);
            let (features, textual) = clip.text_encoder.forward_with_blocks(text);
            assert_close("text", features.into_data(), &expected["text_features_raw"]);
            check_blocks(vec![("visual.", visual), ("", textual)], &expected, "");
        }
    }
}

#[test]
fn resnet_outputs_blocks_and_running_statistics() {
    let fixture = Fixture::new("clip_rn_tiny");
    let expected = fixture.tensors("outputs");
    for device in plain_and_autodiff() {
        let clip = fixture.clip(&device);
        let inputs = || fixture.inputs(&device);
        check_outputs(&clip, inputs(), Pass::Eval, &expected, "eval.");
        // Previewing computes what training computes, and must not show in what follows.
        check_outputs(&clip, inputs(), Pass::Preview, &expected, "");
        for (pass, prefix) in [(Pass::Eval, "eval."), (Pass::Preview, "")] {
            let (image, text) = inputs();
            let (_, visual) = clip.image_encoder.forward_with_blocks(image.into(), pass);
            let (_, textual) = clip.text_encoder.forward_with_blocks(text);
            check_blocks(vec![("visual.", visual), ("", textual)], &expected, prefix);
        }

        check_outputs(&clip, inputs(), Pass::Train, &expected, "");
        let tensors: HashMap<_, _> = to_open_clip_tensors(&clip).unwrap().into_iter().collect();
        let mut statistics = 0;
        for (name, expected) in &expected {
            if let Some(name) = name.strip_prefix("bn_after_train_forward.")
                && !name.ends_with("num_batches_tracked")
            {
                assert_close(name, tensors[name].clone(), expected);
                statistics += 1;
            }
        }
        assert_eq!(
            statistics,
            named_params(&clip).iter().filter(|param| param.is_buffer).count()
        );
        check_outputs(&clip, inputs(), Pass::Eval, &expected, "eval_after_bn_update.");
    }
}

#[test]
fn weights_come_back_under_their_names() {
    for name in ["clip_vit_tiny", "clip_rn_tiny", "siglip_tiny"] {
        let fixture = Fixture::new(name);
        let mut expected = fixture.tensors("weights");
        expected.retain(|name, _| !name.ends_with("num_batches_tracked"));
        let actual: HashMap<_, _> = to_open_clip_tensors(&fixture.clip(&twinflame_tests::device()))
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
    let fixture = Fixture::new("clip_vit_tiny");
    let end = fixture.config["eot_id"].as_i64().unwrap() as i32;
    let device = twinflame_tests::device();
    let clip = fixture.clip(&device);
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
    let fixture = Fixture::new("clip_vit_tiny");
    let device = twinflame_tests::device();
    let clip = fixture.clip(&device);
    assert_eq!(clip.num_patches(), Some(16));
    let (image, _) = fixture.inputs(&device);
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

#[test]
fn position_tables_are_resampled_as_the_references_do() {
    let fixture = Fixture::new("pos_embed");
    let inputs = fixture.tensors("inputs");
    let outputs = fixture.tensors("outputs");
    let mut checked = 0;
    for (name, expected) in &outputs {
        let (kind, sizes) = name.split_once('.').unwrap();
        let input = match kind {
            "open_clip_text" => &inputs[&format!("text.{sizes}")],
            _ => &inputs[sizes],
        };
        let table: Vec<f32> = input.iter().collect();
        let (from, to) = sizes.split_once("to").unwrap();
        let side = |size: &str| match size.split_once('x') {
            Some((rows, columns)) => [rows.parse().unwrap(), columns.parse().unwrap()],
            None => [size.parse().unwrap(); 2],
        };
        let actual = match kind {
            "open_clip_text" => resize_sequence(&table, 6, to.parse().unwrap()),
            "open_clip" => resize_grid(&table, 6, side(from), side(to), Resample::Antialiased),
            "albef" => resize_grid(&table, 6, side(from), side(to), Resample::Plain),
            other => panic!("{other}"),
        };
        let expected: Vec<f32> = expected.iter().collect();
        assert_eq!(actual.len(), expected.len(), "{name}");
        let worst = actual
            .iter()
            .zip(&expected)
            .fold(0.0f32, |max, (a, b)| max.max((a - b).abs()));
        assert!(worst <= 1e-5, "{name}: off by {worst}");
        checked += 1;
    }
    assert_eq!(checked, 20);
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
