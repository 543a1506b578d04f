//! What an ALBEF looks like, from the shapes of its tensors under the reference's names.

use super::shapes::{Shapes, VitNames, mlp_ratio};
use crate::{
    AlbefConfig,
    albef::{BertConfig, DEFAULT_TEMP},
    weights::WeightsError,
};

/// Tokens of a text in the reference's pre-training and fine-tuning (`max_length` in `Pretrain.py` and `Retrieval.py`).
const PRETRAIN_TOKENS: usize = 25;
const FINE_TUNE_TOKENS: usize = 30;
/// The reference's queue, where the checkpoint has none.
const QUEUE_SIZE: usize = 65_536;

/// `given` decides what does not show in shapes.
pub(super) fn infer(shapes: &Shapes<'_>, given: Option<&AlbefConfig>) -> Result<AlbefConfig, WeightsError> {
    const NAMES: VitNames<'_> = VitNames {
        patches: "visual_encoder.patch_embed.proj.weight",
        positions: "visual_encoder.pos_embed",
        blocks: "visual_encoder.blocks.",
        d_ff: "mlp.fc1.weight",
    };
    let [_, tokens, _] = shapes.get(NAMES.positions)?;
    let [embed_dim, _] = shapes.get("vision_proj.weight")?;
    let queue_size = match shapes.has("image_queue") {
        true => shapes.get::<2>("image_queue")?[1],
        false => QUEUE_SIZE,
    };
    Ok(AlbefConfig {
        embed_dim,
        vision_cfg: shapes.vit(&NAMES, tokens, given.map(|given| &given.vision_cfg))?,
        text_cfg: bert(shapes, given.map(|given| &given.text_cfg))?,
        queue_size,
        init_temp: DEFAULT_TEMP,
        init_std: 0.02,
    })
}

fn bert(shapes: &Shapes<'_>, given: Option<&BertConfig>) -> Result<BertConfig, WeightsError> {
    // The reference's text encoder is another class in pre-training.
    let prefix = match shapes.has("text_encoder.bert.embeddings.word_embeddings.weight") {
        true => "text_encoder.bert.",
        false => "text_encoder.",
    };
    let mlm_head = shapes.has("text_encoder.cls.predictions.bias");
    let [vocab_size, width] = shapes.get(&format!("{prefix}embeddings.word_embeddings.weight"))?;
    let [max_positions, _] = shapes.get(&format!("{prefix}embeddings.position_embeddings.weight"))?;
    let layer = format!("{prefix}encoder.layer.");
    let [d_ff, _] = shapes.get(&format!("{layer}0.intermediate.dense.weight"))?;
    let layers = shapes.blocks(&layer)?;
    let fuses = |index: &usize| shapes.has(&format!("{layer}{index}.crossattention.self.query.weight"));
    let text_layers = (0..layers).find(fuses).unwrap_or(layers);
    if let Some(index) = (text_layers..layers).find(|index| !fuses(index)) {
        return Err(shapes.wrong(format!(
            "layer {index} of the text encoder has no cross-attention, layer {text_layers} before it has: that is no ALBEF"
        )));
    }
    let tokens = if mlm_head { PRETRAIN_TOKENS } else { FINE_TUNE_TOKENS };
    Ok(BertConfig {
        context_length: tokens.min(max_positions),
        vocab_size,
        width,
        heads: match given {
            Some(given) => given.heads,
            None => width / shapes.head_width("the text encoder", width, None)?,
        },
        text_layers,
        fusion_layers: layers - text_layers,
        mlp_ratio: mlp_ratio(width, d_ff, given.map(|given| given.mlp_ratio)),
        max_positions,
        dropout: given.map_or(0.1, |given| given.dropout),
        mlm_head,
    })
}
