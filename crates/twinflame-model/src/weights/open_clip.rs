//! open_clip's safetensors files.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
};

use burn::tensor::TensorData;

use super::{
    Allow, FileDType, Layout, LoadReport, NamedParam, Place, ReferenceNames, WeightsError,
    file::read_file,
    save_tensors,
    tensors::{load_some, to_tensors},
};
use crate::{
    Clip,
    pos_embed::{Resample, resize_sequence},
};

/// Entries of published state dicts that carry no weight: counters of PyTorch's batch normalisation, the causal mask,
/// and sizes that OpenAI's archives store.
const IGNORED: [&str; 5] = [
    "num_batches_tracked",
    "attn_mask",
    "input_resolution",
    "context_length",
    "vocab_size",
];

/// Replaces the weights of `clip` by those of a file with open_clip's names, of any kind that [`Archive`](super::Archive)
/// reads.
///
/// Position tables of another image size or context length are resampled as open_clip does.
///
/// # Errors
/// If the file cannot be read, or does not hold exactly the tensors of this model; `clip` is then unchanged.
pub fn load_open_clip(clip: &mut Clip, path: &Path) -> Result<LoadReport, WeightsError> {
    let (tensors, ignored) = read_file(path, is_ignored)?;
    let report = load_open_clip_tensors(clip, tensors)?;
    Ok(LoadReport { ignored, ..report })
}

/// Replaces the weights of `clip` by tensors with open_clip's names, in f32.
///
/// # Errors
/// As [`load_open_clip`].
pub fn load_open_clip_tensors(
    clip: &mut Clip,
    tensors: HashMap<String, TensorData>,
) -> Result<LoadReport, WeightsError> {
    load_some(clip, tensors, &HashSet::new(), Vec::new(), &Allow::default())
}

/// The same, but for tensors that may be missing or left over, and with entries that carry no weight.
///
/// # Errors
/// As [`load_open_clip`].
pub(super) fn load_allowing(
    clip: &mut Clip,
    tensors: HashMap<String, TensorData>,
    allow: &Allow,
) -> Result<LoadReport, WeightsError> {
    let (ignored, tensors): (HashMap<_, _>, HashMap<_, _>) =
        tensors.into_iter().partition(|(name, _)| is_ignored(name));
    load_some(clip, tensors, &HashSet::new(), ignored.into_keys().collect(), allow)
}

fn is_ignored(name: &str) -> bool {
    IGNORED.iter().any(|suffix| name.ends_with(suffix))
}

/// All weights with open_clip's names, shapes and order of elements, in f32, sorted by name.
///
/// # Errors
/// If a value cannot be read from the device.
pub fn to_open_clip_tensors(clip: &Clip) -> Result<Vec<(String, TensorData)>, WeightsError> {
    let mut tensors = to_tensors(clip)?;
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(tensors)
}

/// All of open_clip's state dict: [`to_open_clip_tensors`] and the counters of PyTorch's batch normalisation, 0.
///
/// # Errors
/// If a value cannot be read from the device.
pub fn to_open_clip_state_dict(clip: &Clip) -> Result<Vec<(String, TensorData)>, WeightsError> {
    let mut tensors = to_open_clip_tensors(clip)?;
    let counters: Vec<_> = tensors
        .iter()
        .filter_map(|(name, _)| name.strip_suffix("running_mean"))
        .map(|prefix| {
            let zero = TensorData::new(vec![0i64], [0usize; 0]);
            (format!("{prefix}num_batches_tracked"), zero)
        })
        .collect();
    tensors.extend(counters);
    Ok(tensors)
}

/// Writes a safetensors file that open_clip loads, all at once or not at all.
///
/// # Errors
/// If a value cannot be read from the device or the file cannot be written.
pub fn save_open_clip(clip: &Clip, path: &Path) -> Result<(), WeightsError> {
    save_tensors(path, to_open_clip_state_dict(clip)?, FileDType::F32, HashMap::new())
}

impl ReferenceNames for Clip {
    fn reference(&self, place: &Place<'_>) -> (String, Layout) {
        let name = open_clip_name(place.path);
        let layout = match name.as_str() {
            // Parameters and not layers in open_clip: multiplied from the right, as here.
            "visual.proj" | "text_projection" => Layout::Same,
            "visual.conv1.weight" if place.is_linear_weight => Layout::Patches,
            _ if place.is_linear_weight => Layout::Transposed,
            _ => Layout::Same,
        };
        (name, layout)
    }

    fn resize(param: &NamedParam, values: &[f32], found: &[usize]) -> Option<Vec<f32>> {
        match param.name.as_str() {
            "visual.positional_embedding" => param.resize_grid(values, found, Resample::Antialiased),
            "positional_embedding" => {
                let (&[_, from_width], &[to, width]) = (found, param.shape.as_slice()) else {
                    return None;
                };
                (from_width == width).then(|| resize_sequence(values, width, to))
            }
            _ => None,
        }
    }
}

/// Path of a tensor of a [`Clip`] to its name in open_clip.
fn open_clip_name(path: &[String]) -> String {
    // Below `image_encoder` and `text_encoder` comes the variant, which open_clip does not name.
    let (tower, inner) = match path.first().map(String::as_str) {
        Some("image_encoder") => (Some("visual"), &path[2..]),
        Some("text_encoder") => (None, &path[2..]),
        _ => (None, path),
    };
    let mut parts: Vec<&str> = tower.into_iter().collect();
    let mut inner = inner.iter().map(String::as_str).peekable();
    while let Some(part) = inner.next() {
        match part {
            "blocks" => parts.extend(["transformer", "resblocks"]),
            "gamma" => parts.push("weight"),
            "beta" => parts.push("bias"),
            "downsample" => parts.extend(["downsample", if inner.next() == Some("conv") { "0" } else { "1" }]),
            "in_proj" => match inner.next() {
                Some("weight") => parts.push("in_proj_weight"),
                _ => parts.push("in_proj_bias"),
            },
            "proj" | "text_projection" => {
                inner.next();
                parts.push(part);
            }
            _ => parts.push(part),
        }
    }
    parts.join(".")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use burn::tensor::Device;

    use super::*;
    use crate::{ClipConfig, weights::named_params};

    fn clip(preset: &str, seed: u64) -> Clip {
        ClipConfig::named(preset).unwrap().init(seed, &Device::flex())
    }

    #[test]
    fn a_saved_model_loads_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        for preset in ["tiny-vit", "tiny-rn", "emoji-cbow"] {
            let path = dir.path().join("model.safetensors");
            let saved = clip(preset, 1);
            save_open_clip(&saved, &path).unwrap();
            let mut loaded = clip(preset, 2);
            let report = load_open_clip(&mut loaded, &path).unwrap();
            assert_eq!(report.loaded, named_params(&saved).len());
            assert_eq!(
                to_open_clip_tensors(&saved).unwrap(),
                to_open_clip_tensors(&loaded).unwrap()
            );
        }
        assert_eq!(dir.path().read_dir().unwrap().count(), 1, "no partial file is left");
    }

    #[test]
    fn loading_keeps_parameters_trainable_and_their_identity() {
        let device = Device::flex().autodiff();
        let config = ClipConfig::named("tiny-vit").unwrap();
        let mut clip = config.init(0, &device);
        let before = named_params(&clip);
        let tensors = to_open_clip_tensors(&clip).unwrap().into_iter().collect();
        load_open_clip_tensors(&mut clip, tensors).unwrap();
        let after = named_params(&clip);
        assert!(before.iter().zip(&after).all(|(a, b)| a.id == b.id));
        assert!(clip.logit_scale.val().is_require_grad());
    }

    #[test]
    fn misfits_are_named_and_change_nothing() {
        let mut model = clip("tiny-vit", 0);
        let before = to_open_clip_tensors(&model).unwrap();
        let tensors = |change: &dyn Fn(&mut HashMap<String, TensorData>)| {
            let mut tensors: HashMap<_, _> = before.clone().into_iter().collect();
            change(&mut tensors);
            tensors
        };
        let message = |error: WeightsError| error.to_string();

        let lost = tensors(&|t| drop(t.remove("visual.proj")));
        let error = message(load_open_clip_tensors(&mut model, lost).unwrap_err());
        assert!(
            error.contains("1 tensors are missing in the file: `visual.proj`"),
            "{error}"
        );

        let extra = tensors(&|t| drop(t.insert("odd".into(), TensorData::from([1.0f32]))));
        let error = message(load_open_clip_tensors(&mut model, extra).unwrap_err());
        assert!(error.contains("`odd`"), "{error}");

        let wrong = tensors(&|t| drop(t.insert("ln_final.bias".into(), TensorData::from([1.0f32, 2.0]))));
        let error = message(load_open_clip_tensors(&mut model, wrong).unwrap_err());
        assert!(
            error.contains("`ln_final.bias` has shape [2], the model needs [64]"),
            "{error}"
        );

        let file = message(load_open_clip(&mut model, Path::new("/nowhere/clip.safetensors")).unwrap_err());
        assert!(file.contains("/nowhere/clip.safetensors"), "{file}");
        assert_eq!(before, to_open_clip_tensors(&model).unwrap());
    }

    #[test]
    fn another_image_size_and_context_are_resampled() {
        let small = clip("tiny-vit", 0);
        let mut config = ClipConfig::named("tiny-vit").unwrap();
        config.vision_cfg.image_size = 48;
        config.text_cfg.context_length = 20;
        let mut large = config.init(1, &Device::flex());
        let tensors = to_open_clip_tensors(&small).unwrap().into_iter().collect();
        let report = load_open_clip_tensors(&mut large, tensors).unwrap();
        assert_eq!(report.resized, ["visual.positional_embedding", "positional_embedding"]);
    }

    #[test]
    fn names_are_open_clips() {
        let names = |preset: &str| {
            let clip = ClipConfig::named(preset).unwrap().init(0, &Device::flex());
            let params = named_params(&clip);
            let names: HashSet<_> = params.iter().map(|param| param.name.clone()).collect();
            assert_eq!(names.len(), params.len());
            names
        };
        // Counts of open_clip's state dicts, `num_batches_tracked` left out.
        let vit = names("vit-b-32");
        assert_eq!(vit.len(), 302);
        let resnet = names("rn50");
        assert_eq!(resnet.len(), 324 + 110);
        for name in [
            "visual.conv1.weight",
            "visual.proj",
            "visual.class_embedding",
            "visual.ln_pre.weight",
            "visual.transformer.resblocks.11.attn.in_proj_bias",
            "visual.transformer.resblocks.0.mlp.c_fc.weight",
            "transformer.resblocks.11.attn.out_proj.weight",
            "token_embedding.weight",
            "ln_final.bias",
            "text_projection",
            "logit_scale",
        ] {
            assert!(vit.contains(name), "{name}");
        }
        for name in [
            "visual.bn3.running_var",
            "visual.layer1.0.downsample.0.weight",
            "visual.layer4.0.downsample.1.running_mean",
            "visual.attnpool.c_proj.bias",
        ] {
            assert!(resnet.contains(name), "{name}");
        }
    }
}
