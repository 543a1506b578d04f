//! Names of a `CLIPModel`'s tensors beside open_clip's.

use super::PARTS;

/// Takes the place of `q_proj`, `k_proj` and `v_proj` in the name of a joint tensor.
pub(super) const JOINT: &str = "qkv";

/// Outside of the blocks: open_clip's name, this one's. Where they end in `.`, `weight` or `bias` follows.
const WHOLE: [(&str, &str); 11] = [
    ("logit_scale", "logit_scale"),
    ("token_embedding.weight", "text_model.embeddings.token_embedding.weight"),
    (
        "positional_embedding",
        "text_model.embeddings.position_embedding.weight",
    ),
    ("ln_final.", "text_model.final_layer_norm."),
    ("text_projection", "text_projection.weight"),
    ("visual.class_embedding", "vision_model.embeddings.class_embedding"),
    ("visual.conv1.weight", "vision_model.embeddings.patch_embedding.weight"),
    (
        "visual.positional_embedding",
        "vision_model.embeddings.position_embedding.weight",
    ),
    // Misspelt in transformers.
    ("visual.ln_pre.", "vision_model.pre_layrnorm."),
    ("visual.ln_post.", "vision_model.post_layernorm."),
    ("visual.proj", "visual_projection.weight"),
];

/// Prefix of the blocks of a tower: open_clip's, this one's.
const TOWERS: [(&str, &str); 2] = [
    ("transformer.resblocks.", "text_model.encoder.layers."),
    ("visual.transformer.resblocks.", "vision_model.encoder.layers."),
];

/// Within a block; `weight` or `bias` follows.
const BLOCK: [(&str, &str); 6] = [
    ("ln_1.", "layer_norm1."),
    ("ln_2.", "layer_norm2."),
    ("attn.in_proj_", "self_attn.qkv."),
    ("attn.out_proj.", "self_attn.out_proj."),
    ("mlp.c_fc.", "mlp.fc1."),
    ("mlp.c_proj.", "mlp.fc2."),
];

/// Whether open_clip keeps this tensor transposed: a parameter there, the weight of a layer here.
pub(super) fn is_projection(open_clip: &str) -> bool {
    ["visual.proj", "text_projection"].contains(&open_clip)
}

/// open_clip's name of a tensor, and which part of it this is, if it is the part of a joint projection.
pub(super) fn to_open_clip(name: &str) -> Option<(String, Option<usize>)> {
    if let Some(whole) = WHOLE.iter().find_map(|&(there, here)| renamed(name, here, there)) {
        return Some((whole, None));
    }
    let part = PARTS.iter().position(|part| name.contains(part));
    let name = match part {
        Some(part) => name.replacen(PARTS[part], JOINT, 1),
        None => name.to_owned(),
    };
    let found = TOWERS.iter().find_map(|&(there, here)| {
        let (layer, inner) = name.strip_prefix(here)?.split_once('.')?;
        let inner = BLOCK.iter().find_map(|&(there, here)| renamed(inner, here, there))?;
        layer.parse::<usize>().ok()?;
        Some(format!("{there}{layer}.{inner}"))
    })?;
    Some((found, part))
}

/// The name of open_clip's tensor here; with [`JOINT`] for that of its part where it becomes three.
pub(super) fn from_open_clip(name: &str) -> Option<String> {
    if let Some(whole) = WHOLE.iter().find_map(|&(there, here)| renamed(name, there, here)) {
        return Some(whole);
    }
    TOWERS.iter().find_map(|&(there, here)| {
        let (layer, inner) = name.strip_prefix(there)?.split_once('.')?;
        let inner = BLOCK.iter().find_map(|&(there, here)| renamed(inner, there, here))?;
        Some(format!("{here}{layer}.{inner}"))
    })
}

/// `name` with `from` replaced by `to`: the whole of it, or the beginning if `weight` or `bias` follows.
fn renamed(name: &str, from: &str, to: &str) -> Option<String> {
    let end = name.strip_prefix(from)?;
    let fits = match from.ends_with(['.', '_']) {
        true => ["weight", "bias"].contains(&end),
        false => end.is_empty(),
    };
    fits.then(|| format!("{to}{end}"))
}
