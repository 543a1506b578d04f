//! Hugging Face's `CLIPModel`: its `config.json`, and the names and shapes of its tensors.
//!
//! Both directions are pure functions between that layout and open_clip's, which the rest of this module reads and
//! writes. `CLIPModel` keeps query, key and value apart, has its projections transposed, and calls everything something
//! else. Sources: `configuration_clip.py` and `modeling_clip.py` of transformers 4 and 5, which agree on this.

mod config;
mod names;

use std::collections::BTreeMap;

use burn::tensor::TensorData;

use super::{WeightsError, layout::transpose_bytes};

pub use config::{config_from_json, config_to_json};

/// The parts of open_clip's joint projection, in its order.
const PARTS: [&str; 3] = ["q_proj", "k_proj", "v_proj"];

/// Tensors of a `CLIPModel` under open_clip's names and in its shapes; elements keep their type.
///
/// Queries, keys and values are joined, the two projections transposed. The buffers `position_ids` of old files are left
/// out. A name that no `CLIPModel` has stays as it is, so that whoever loads the result can name it.
///
/// # Errors
/// If one or two of query, key and value are missing, or they or a projection have impossible shapes or types.
pub fn from_tensors(tensors: Vec<(String, TensorData)>) -> Result<Vec<(String, TensorData)>, WeightsError> {
    let mut out = Vec::with_capacity(tensors.len());
    // open_clip's name of a joint tensor, to the parts found of it.
    let mut joint: BTreeMap<String, [Option<(String, TensorData)>; 3]> = BTreeMap::new();
    for (name, data) in tensors {
        if name.ends_with(".position_ids") {
            continue;
        }
        match names::to_open_clip(&name) {
            None => out.push((name, data)),
            Some((target, None)) if names::is_projection(&target) => out.push((target, transposed(&name, &data)?)),
            Some((target, None)) => out.push((target, data)),
            Some((target, Some(part))) => joint.entry(target).or_default()[part] = Some((name, data)),
        }
    }
    for (target, parts) in joint {
        out.push(join(target, parts)?);
    }
    Ok(out)
}

/// Tensors with open_clip's names under those of a `CLIPModel`: the reverse of [`from_tensors`].
///
/// # Errors
/// If a tensor has no place in a `CLIPModel` (a ResNet's, a bias of the logits), or has an impossible shape.
pub fn to_tensors(tensors: Vec<(String, TensorData)>) -> Result<Vec<(String, TensorData)>, WeightsError> {
    let mut out = Vec::with_capacity(tensors.len() * 2);
    for (name, data) in tensors {
        let Some(target) = names::from_open_clip(&name) else {
            return Err(inexpressible(format!("a CLIPModel has no tensor for `{name}`")));
        };
        if names::is_projection(&name) {
            out.push((target, transposed(&name, &data)?));
        } else if let Some((layer, end)) = target.split_once(names::JOINT) {
            for (part, rows) in PARTS.into_iter().zip(split(&name, data)?) {
                out.push((format!("{layer}{part}{end}"), rows));
            }
        } else {
            out.push((target, data));
        }
    }
    Ok(out)
}

fn inexpressible(reason: String) -> WeightsError {
    WeightsError::Inexpressible {
        format: "Hugging Face's CLIPModel",
        reason,
    }
}

/// Query, key and value below each other.
fn join(target: String, parts: [Option<(String, TensorData)>; 3]) -> Result<(String, TensorData), WeightsError> {
    let mut missing = Vec::new();
    let mut found = Vec::new();
    for (part, tensor) in PARTS.into_iter().zip(parts) {
        match tensor {
            Some(tensor) => found.push(tensor),
            None => missing.push(format!("{part} of {target}")),
        }
    }
    let unexpected = Vec::new();
    let Some((_, first)) = found.first().filter(|_| missing.is_empty()) else {
        return Err(WeightsError::Names { missing, unexpected });
    };
    let (mut shape, dtype) = (first.shape().to_vec(), first.dtype());
    for (name, data) in &found {
        if data.shape().to_vec() != shape || shape.is_empty() || data.dtype() != dtype {
            return Err(WeightsError::Shape {
                name: name.clone(),
                found: data.shape().to_vec(),
                expected: shape,
            });
        }
    }
    let bytes = found.iter().flat_map(|(_, data)| data.as_bytes()).copied().collect();
    shape[0] *= PARTS.len();
    Ok((target, TensorData::from_bytes_vec(bytes, shape, dtype)))
}

/// The three equal parts of a joint tensor.
fn split(name: &str, data: TensorData) -> Result<[TensorData; 3], WeightsError> {
    let mut shape = data.shape().to_vec();
    match shape.first_mut() {
        Some(rows) if rows.is_multiple_of(PARTS.len()) => *rows /= PARTS.len(),
        _ => {
            return Err(WeightsError::Shape {
                name: name.to_owned(),
                expected: vec![3 * shape.get(1).copied().unwrap_or(1)],
                found: shape,
            });
        }
    }
    let length = data.as_bytes().len() / PARTS.len();
    let part = |index: usize| {
        let bytes = data.as_bytes()[index * length..][..length].to_vec();
        TensorData::from_bytes_vec(bytes, shape.clone(), data.dtype())
    };
    Ok([part(0), part(1), part(2)])
}

fn transposed(name: &str, data: &TensorData) -> Result<TensorData, WeightsError> {
    let &[rows, columns] = data.shape().to_vec().as_slice() else {
        return Err(WeightsError::Shape {
            name: name.to_owned(),
            found: data.shape().to_vec(),
            expected: vec![0, 0],
        });
    };
    let bytes = transpose_bytes(data.as_bytes(), rows, columns);
    Ok(TensorData::from_bytes_vec(bytes, vec![columns, rows], data.dtype()))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use burn::tensor::{DType, Device};

    use super::*;
    use crate::{
        ClipConfig,
        weights::{load_open_clip_tensors, to_open_clip_tensors},
    };

    fn tensors(preset: &str) -> Vec<(String, TensorData)> {
        let clip = ClipConfig::named(preset).unwrap().init(3, &Device::flex());
        to_open_clip_tensors(&clip).unwrap()
    }

    fn sorted(mut tensors: Vec<(String, TensorData)>) -> Vec<(String, TensorData)> {
        tensors.sort_by(|a, b| a.0.cmp(&b.0));
        tensors
    }

    #[test]
    fn there_and_back_is_the_same_model() {
        let open_clip = tensors("tiny-vit");
        let there = to_tensors(open_clip.clone()).unwrap();
        let shapes: HashMap<_, _> = there
            .iter()
            .map(|(name, data)| (name.as_str(), data.shape().to_vec()))
            .collect();
        // Names and shapes that transformers 5.24 gives a model of this size.
        assert_eq!(shapes["vision_model.pre_layrnorm.weight"], [64]);
        assert_eq!(shapes["vision_model.embeddings.patch_embedding.weight"], [64, 3, 8, 8]);
        assert_eq!(
            shapes["vision_model.encoder.layers.1.self_attn.v_proj.weight"],
            [64, 64]
        );
        assert_eq!(shapes["text_model.encoder.layers.0.mlp.fc2.weight"], [64, 256]);
        assert_eq!(shapes["text_projection.weight"], [32, 64]);
        // Per block 16; 8 around them in the image tower, 5 in the text tower; the scale.
        assert_eq!(there.len(), 2 * 2 * 16 + 8 + 5 + 1);
        assert!(
            there.iter().all(|(name, _)| names::to_open_clip(name).is_some()),
            "{shapes:?}"
        );
        assert_eq!(sorted(from_tensors(there).unwrap()), open_clip);
    }

    #[test]
    fn half_precision_stays_half() {
        let half = tensors("tiny-vit").into_iter();
        let half: Vec<_> = half
            .map(|(name, data)| (name, data.convert_dtype(DType::F16)))
            .collect();
        let back = sorted(from_tensors(to_tensors(half.clone()).unwrap()).unwrap());
        assert!(back.iter().all(|(_, data)| data.dtype() == DType::F16));
        assert_eq!(back, half);
    }

    #[test]
    fn what_is_no_clip_model_is_named() {
        let error = to_tensors(tensors("tiny-rn")).unwrap_err().to_string();
        assert!(error.contains("no tensor for `visual."), "{error}");
        let mut lacking = to_tensors(tensors("tiny-vit")).unwrap();
        lacking.retain(|(name, _)| name != "text_model.encoder.layers.1.self_attn.k_proj.bias");
        let error = from_tensors(lacking).unwrap_err().to_string();
        assert!(
            error.contains("k_proj of transformer.resblocks.1.attn.in_proj_bias"),
            "{error}"
        );
        let mut strange = to_tensors(tensors("tiny-vit")).unwrap();
        strange.push(("text_model.odd".into(), TensorData::from([1.0f32])));
        strange.push(("text_model.embeddings.position_ids".into(), TensorData::from([0i64])));
        let mut clip = ClipConfig::named("tiny-vit").unwrap().init(0, &Device::flex());
        let strange = from_tensors(strange).unwrap().into_iter().collect();
        let error = load_open_clip_tensors(&mut clip, strange).unwrap_err().to_string();
        assert!(
            error.contains("1 tensors of the file are not in the model: `text_model.odd`"),
            "{error}"
        );
    }

    #[test]
    fn impossible_shapes_are_errors() {
        let one = |name: &str, shape: [usize; 1]| vec![(name.to_owned(), TensorData::zeros::<f32, _>(shape))];
        from_tensors(one("visual_projection.weight", [4])).unwrap_err();
        to_tensors(one("visual.proj", [4])).unwrap_err();
        to_tensors(one("transformer.resblocks.0.attn.in_proj_bias", [4])).unwrap_err();
        let mut unequal = one("text_model.encoder.layers.0.self_attn.q_proj.bias", [4]);
        unequal.extend(one("text_model.encoder.layers.0.self_attn.k_proj.bias", [4]));
        unequal.extend(one("text_model.encoder.layers.0.self_attn.v_proj.bias", [5]));
        from_tensors(unequal).unwrap_err();
    }
}
