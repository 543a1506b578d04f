use std::{collections::HashMap, fs};

use burn::tensor::TensorData;

use super::*;
use crate::{
    albef_presets, presets,
    weights::{FileDType, hugging_face, save_open_clip, save_tensors, to_open_clip_tensors, to_tensors},
};

/// Writes a file as others do.
fn write_file(path: &Path, tensors: Vec<(String, TensorData)>) -> Result<(), WeightsError> {
    save_tensors(path, tensors, FileDType::F32, HashMap::new())
}

fn device() -> Device {
    Device::flex()
}

fn clip_config(name: &str) -> ClipConfig {
    ClipConfig::named(name).unwrap()
}

/// The tensors of a model under the reference's names.
fn tensors(model: &Model) -> Vec<(String, TensorData)> {
    match model {
        Model::Clip(clip) => to_open_clip_tensors(clip).unwrap(),
        Model::Albef(albef) => to_tensors(albef).unwrap(),
    }
}

fn message(result: Result<Imported, WeightsError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn every_named_configuration_is_inferred_from_its_shapes() {
    // Names and shapes alone: the large models have gigabytes of weights.
    for preset in presets() {
        let config = &preset.config;
        let clip = config.init(0, &device());
        let tensors: HashMap<String, Vec<usize>> = crate::weights::named_params(&clip)
            .into_iter()
            .map(|param| (param.name.clone(), param.layout.reference_shape(&param.shape)))
            .collect();
        let shapes = Shapes::of(Path::new(preset.name), tensors);
        // The widths of the small ones say nothing about heads.
        let given = ["tiny", "emoji"]
            .iter()
            .any(|own| preset.name.starts_with(own))
            .then_some(config);
        let mut found = clip_config::infer(&shapes, given, Some(config.quick_gelu)).unwrap();
        if config.text_cfg.kind == crate::TextKind::Cbow {
            found.text_cfg = config.text_cfg.clone();
        }
        assert_eq!(&found, config, "{}", preset.name);
    }
    for preset in albef_presets() {
        let albef = preset.config.init(0, &device());
        let mut tensors: HashMap<String, Vec<usize>> = crate::weights::named_params(&albef)
            .into_iter()
            .map(|param| (param.name.clone(), param.layout.reference_shape(&param.shape)))
            .collect();
        tensors.insert(
            "image_queue".into(),
            vec![preset.config.embed_dim, preset.config.queue_size],
        );
        let shapes = Shapes::of(Path::new(preset.name), tensors);
        let given = (!preset.name.starts_with("albef-base")).then_some(&preset.config);
        let found = albef_config::infer(&shapes, given).unwrap();
        let mut expected = preset.config.clone();
        expected.text_cfg.context_length = found.text_cfg.context_length;
        expected.init_std = found.init_std;
        assert_eq!(found, expected, "{}", preset.name);
    }
}

#[test]
fn open_clips_file_becomes_the_model_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("clip.safetensors");
    for name in ["tiny-vit", "tiny-rn", "emoji-cbow"] {
        let config = clip_config(name);
        let saved = Model::Clip(config.init(1, &device()));
        let Model::Clip(clip) = &saved else { unreachable!() };
        save_open_clip(clip, &file).unwrap();
        let given = ModelConfig::Clip(config);
        let imported = import(&file, Some(&given), &Allow::default(), &device()).unwrap();
        assert_eq!(tensors(&imported.model), tensors(&saved));
        assert_eq!(imported.config, given);
        assert_eq!(imported.layout, CheckpointLayout::OpenClip);
    }
}

#[test]
fn a_hugging_face_folder_needs_no_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let config = ClipConfig {
        quick_gelu: true,
        ..clip_config("tiny-vit")
    };
    let saved = config.init(1, &device());
    let hugging = hugging_face::to_tensors(to_open_clip_tensors(&saved).unwrap()).unwrap();
    write_file(&dir.path().join("model.safetensors"), hugging).unwrap();
    let json = hugging_face::config_to_json(&config).unwrap().to_string();
    fs::write(dir.path().join("config.json"), json).unwrap();
    let imported = import(dir.path(), None, &Allow::default(), &device()).unwrap();
    assert_eq!(tensors(&imported.model), to_open_clip_tensors(&saved).unwrap());
    let ModelConfig::Clip(found) = imported.config else {
        panic!("a CLIP")
    };
    assert!(found.quick_gelu && !imported.assumed_activation);
    // The activation that the folder names and the one that was asked for.
    let gelu = ModelConfig::Clip(clip_config("tiny-vit"));
    let error = message(import(dir.path(), Some(&gelu), &Allow::default(), &device()));
    assert!(
        error.contains("quick_gelu is true in the weights and false in the configuration"),
        "{error}"
    );
    import(dir.path(), Some(&gelu), &Allow::new(["quick_gelu"]), &device()).unwrap();
    // Heads do not show in shapes, but the folder names them.
    let mut other = config;
    other.text_cfg.heads *= 2;
    let error = message(import(
        dir.path(),
        Some(&ModelConfig::Clip(other)),
        &Allow::default(),
        &device(),
    ));
    assert!(error.contains("text_cfg.heads is 1 in the weights and 2"), "{error}");
}

#[test]
fn contradictions_are_named_with_both_values() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("clip.safetensors");
    save_open_clip(&clip_config("tiny-vit").init(1, &device()), &file).unwrap();
    let mut other = clip_config("tiny-vit");
    other.text_cfg.layers = 3;
    other.embed_dim = 64;
    let error = message(import(
        &file,
        Some(&ModelConfig::Clip(other)),
        &Allow::default(),
        &device(),
    ));
    assert!(
        error.contains("embed_dim is 32 in the weights and 64 in the configuration"),
        "{error}"
    );
    assert!(error.contains("text_cfg.layers is 2 in the weights and 3"), "{error}");
    // Another image size and text length are no contradiction.
    let mut larger = clip_config("tiny-vit");
    larger.vision_cfg.image_size = 48;
    larger.text_cfg.context_length = 20;
    let imported = import(&file, Some(&ModelConfig::Clip(larger)), &Allow::default(), &device()).unwrap();
    assert_eq!(imported.report.resized.len(), 2);
    let albef = ModelConfig::named("tiny-albef").unwrap();
    assert!(message(import(&file, Some(&albef), &Allow::default(), &device())).contains("it holds a CLIP"));
}

#[test]
fn what_is_unexpected_has_to_be_allowed_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("clip.safetensors");
    let config = clip_config("tiny-vit");
    let mut list = to_open_clip_tensors(&config.init(1, &device())).unwrap();
    list.retain(|(name, _)| name != "visual.proj" && name != "logit_scale");
    list.push(("text_decoder.weight".into(), TensorData::from([1.0f32])));
    write_file(&file, list.clone()).unwrap();
    let given = ModelConfig::Clip(config);
    let load = |allow: &[&str]| import(&file, Some(&given), &Allow::new(allow.iter().copied()), &device());
    // Without its projection nothing says how wide the joint space is.
    assert!(message(load(&[])).contains("`visual.proj` is missing"));
    list.push(("visual.proj".into(), TensorData::zeros::<f32, _>([64, 32])));
    write_file(&file, list).unwrap();
    let error = message(load(&["text_decoder.*"]));
    assert!(
        error.contains("`logit_scale`") && !error.contains("text_decoder"),
        "{error}"
    );
    assert!(message(load(&["logit_scale"])).contains("`text_decoder.weight`"));
    let report = load(&["logit_scale", "text_decoder.*"]).unwrap().report;
    assert_eq!(report.missing, ["logit_scale"]);
    assert_eq!(report.ignored, ["text_decoder.weight"]);
}

#[test]
fn an_albef_starts_from_a_vision_transformer_and_a_bert() {
    let dir = tempfile::tempdir().unwrap();
    let config = AlbefConfig::named("tiny-albef").unwrap();
    let source = tensors(&Model::Albef(config.init(1, &device())));
    let part = |prefix: &str, keep: &dyn Fn(&str) -> bool| -> Vec<(String, TensorData)> {
        let strip = |(name, data): &(String, TensorData)| Some((name.strip_prefix(prefix)?.to_owned(), data.clone()));
        source.iter().filter_map(strip).filter(|(name, _)| keep(name)).collect()
    };
    let vit = dir.path().join("vit.safetensors");
    let mut list = part("visual_encoder.", &|_| true);
    list.push(("head.weight".into(), TensorData::from([1.0f32])));
    write_file(&vit, list).unwrap();
    let bert = dir.path().join("bert.safetensors");
    let mut list = part("text_encoder.", &|name| !name.contains("crossattention"));
    list.push(("bert.pooler.dense.bias".into(), TensorData::from([1.0f32])));
    list.push(("cls.seq_relationship.bias".into(), TensorData::from([1.0f32])));
    write_file(&bert, list).unwrap();

    let mut model = Model::Albef(config.init(2, &device()));
    let before: HashMap<_, _> = tensors(&model).into_iter().collect();
    let report = import_image_encoder(&mut model, &vit, &Allow::default()).unwrap();
    assert_eq!(report.ignored, ["head.weight"]);
    let report = import_text_encoder(&mut model, &bert, &Allow::default()).unwrap();
    assert_eq!(report.ignored, ["bert.pooler.dense.bias", "cls.seq_relationship.bias"]);
    for ((name, value), (_, from)) in tensors(&model).iter().zip(&source) {
        let comes_with_them = (name.starts_with("visual_encoder.") || name.starts_with("text_encoder."))
            && !name.contains("crossattention");
        let expected = if comes_with_them { from } else { &before[name] };
        assert_eq!(value, expected, "{name}");
    }

    let clip = dir.path().join("clip.safetensors");
    save_open_clip(&clip_config("tiny-vit").init(1, &device()), &clip).unwrap();
    let error = import_image_encoder(&mut model, &clip, &Allow::default())
        .unwrap_err()
        .to_string();
    assert!(error.contains("timm or DeiT"), "{error}");
    let error = message(import(&bert, None, &Allow::default(), &device()));
    assert!(error.contains("init.text"), "{error}");
}

#[test]
fn folders_say_which_file_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let load = || message(import(dir.path(), None, &Allow::default(), &device()));
    assert!(load().contains("no file of weights"));
    fs::write(dir.path().join("a.pt"), "").unwrap();
    fs::write(dir.path().join("b.pt"), "").unwrap();
    assert!(load().contains("several files"));
    let odd = dir.path().join("model.safetensors");
    write_file(&odd, vec![("x".into(), TensorData::from([1.0f32]))]).unwrap();
    assert!(load().contains("`x`"));
}
