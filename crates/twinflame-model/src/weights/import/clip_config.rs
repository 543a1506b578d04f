//! What a CLIP looks like, from the shapes of its tensors under open_clip's names.

use super::shapes::{Shapes, VitNames, mlp_ratio};
use crate::{
    ClipConfig, DEFAULT_LOGIT_SCALE, Layers, TextConfig, TextKind, TextPool, VisionConfig, presets,
    weights::WeightsError,
};

/// SigLIP's initial bias; it only says that there is one.
const LOGIT_BIAS: f64 = -10.0;

/// `given` decides what does not show in shapes.
pub(super) fn infer(
    shapes: &Shapes<'_>,
    given: Option<&ClipConfig>,
    quick_gelu: Option<bool>,
) -> Result<ClipConfig, WeightsError> {
    let vision = given.map(|given| &given.vision_cfg);
    let (embed_dim, vision_cfg) = match shapes.has("visual.class_embedding") {
        true => vit(shapes, vision)?,
        false => resnet(shapes, vision)?,
    };
    let found = ClipConfig {
        embed_dim,
        vision_cfg,
        text_cfg: text(shapes, given.map(|given| &given.text_cfg))?,
        quick_gelu: quick_gelu.or(given.map(|given| given.quick_gelu)).unwrap_or(false),
        init_logit_scale: given.map_or(DEFAULT_LOGIT_SCALE, |given| given.init_logit_scale),
        init_logit_bias: shapes
            .has("logit_bias")
            .then(|| given.and_then(|given| given.init_logit_bias).unwrap_or(LOGIT_BIAS)),
    };
    Ok(match given {
        Some(_) => found,
        None => with_named_heads(found),
    })
}

/// The heads of a named configuration that has all the same shapes.
fn with_named_heads(found: ClipConfig) -> ClipConfig {
    let same = |named: &&ClipConfig| {
        let mut with_heads = found.clone();
        with_heads.vision_cfg.head_width = named.vision_cfg.head_width;
        with_heads.vision_cfg.mlp_ratio = mlp_ratio(
            found.vision_cfg.width,
            found.vision_cfg.d_ff(),
            Some(named.vision_cfg.mlp_ratio),
        );
        with_heads.text_cfg.heads = named.text_cfg.heads;
        with_heads.quick_gelu = named.quick_gelu;
        with_heads == **named
    };
    match presets().iter().map(|preset| &preset.config).find(same) {
        Some(named) => ClipConfig {
            quick_gelu: found.quick_gelu,
            ..named.clone()
        },
        None => found,
    }
}

fn vit(shapes: &Shapes<'_>, given: Option<&VisionConfig>) -> Result<(usize, VisionConfig), WeightsError> {
    const NAMES: VitNames<'_> = VitNames {
        patches: "visual.conv1.weight",
        positions: "visual.positional_embedding",
        blocks: "visual.transformer.resblocks.",
        d_ff: "mlp.c_fc.weight",
    };
    let [tokens, _] = shapes.get(NAMES.positions)?;
    let [_, embed_dim] = shapes.get("visual.proj")?;
    Ok((embed_dim, shapes.vit(&NAMES, tokens, given)?))
}

fn resnet(shapes: &Shapes<'_>, given: Option<&VisionConfig>) -> Result<(usize, VisionConfig), WeightsError> {
    let [width, _, _, _] = shapes.get("visual.layer1.0.conv1.weight")?;
    let [tokens, _] = shapes.get("visual.attnpool.positional_embedding")?;
    let [embed_dim, _] = shapes.get("visual.attnpool.c_proj.weight")?;
    let mut stages = [0; 4];
    for (index, blocks) in stages.iter_mut().enumerate() {
        *blocks = shapes.blocks(&format!("visual.layer{}.", index + 1))?;
    }
    let config = VisionConfig {
        image_size: shapes.side("visual.attnpool.positional_embedding", tokens)? * 32,
        layers: Layers::Stages(stages),
        width,
        patch_size: None,
        head_width: shapes.head_width("the image encoder", width * 32, given.map(|given| given.head_width))?,
        mlp_ratio: given.map_or(4.0, |given| given.mlp_ratio),
        patch_dropout: 0.0,
    };
    Ok((embed_dim, config))
}

fn text(shapes: &Shapes<'_>, given: Option<&TextConfig>) -> Result<TextConfig, WeightsError> {
    const BLOCKS: &str = "transformer.resblocks.";
    let [vocab_size, width] = shapes.get("token_embedding.weight")?;
    let pool = given.map_or(TextPool::Argmax, |given| given.pool);
    if !shapes.has("positional_embedding") {
        // A bag of words: how long its texts are does not show.
        return Ok(TextConfig {
            kind: TextKind::Cbow,
            context_length: given.map_or(77, |given| given.context_length),
            vocab_size,
            width,
            heads: given.map_or(1, |given| given.heads),
            layers: given.map_or(1, |given| given.layers),
            mlp_ratio: given.map_or(4.0, |given| given.mlp_ratio),
            pool,
        });
    }
    let [context_length, _] = shapes.get("positional_embedding")?;
    let [d_ff, _] = shapes.get(&format!("{BLOCKS}0.mlp.c_fc.weight"))?;
    Ok(TextConfig {
        kind: TextKind::Transformer,
        context_length,
        vocab_size,
        width,
        heads: match given {
            Some(given) => given.heads,
            None => width / shapes.head_width("the text encoder", width, None)?,
        },
        layers: shapes.blocks(BLOCKS)?,
        mlp_ratio: mlp_ratio(width, d_ff, given.map(|given| given.mlp_ratio)),
        pool,
    })
}
