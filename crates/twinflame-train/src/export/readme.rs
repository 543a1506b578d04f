//! The `README.md` of an exported folder.

use super::{Contents, ExportFormat};
use crate::card::Card;

/// What the folder is, how it is loaded, and where the other program differs.
pub(super) fn readme(card: &Card, format: ExportFormat, contents: &Contents, step: usize) -> String {
    let mut text = format!(
        "# {}\n\nTrained with Twinflame {} for {step} steps by the recipe `{}`{}.\n",
        card.recipe,
        card.version,
        card.recipe,
        card.commit
            .as_ref()
            .map_or_else(String::new, |commit| format!(", commit {commit}"))
    );
    text.push_str(&format!(
        "\n```{}\n{}```\n",
        language(format),
        how_to_load(format, contents.weights_file)
    ));
    let pixels = &card.preprocessing;
    text.push_str(&format!(
        "\n- activation: {}\n- pictures: {} px, mean {:?}, standard deviation {:?}\n- tokenizer: {}, {} ids, SHA-256 of its vocabulary \
         {}\n- joint space: {} values\n",
        card.activation,
        pixels.size,
        pixels.mean,
        pixels.std,
        card.tokenizer.kind,
        card.tokenizer.vocab_size,
        card.tokenizer.sha256,
        card.embed_dim
    ));
    if !contents.notes.is_empty() {
        text.push_str("\n## What to know\n\n");
        for note in &contents.notes {
            text.push_str(&format!("- {note}\n"));
        }
    }
    text
}

fn language(format: ExportFormat) -> &'static str {
    match format {
        ExportFormat::Safetensors => "rust",
        _ => "python",
    }
}

fn how_to_load(format: ExportFormat, weights_file: &str) -> String {
    match format {
        ExportFormat::OpenClip => "import open_clip\n\nmodel, _, preprocess = open_clip.create_model_and_transforms(\"local-dir:.\")\n\
             model.eval()\ntokenizer = open_clip.get_tokenizer(\"local-dir:.\")\n"
            .to_owned(),
        ExportFormat::Hf => "from transformers import CLIPModel, CLIPProcessor\n\nmodel = CLIPModel.from_pretrained(\".\")\n\
             processor = CLIPProcessor.from_pretrained(\".\")\n\
             # CLIP's texts are padded to the full length: processor(text=..., padding=\"max_length\", truncation=True)\n"
            .to_owned(),
        ExportFormat::Albef => format!(
            "import torch\nfrom safetensors.torch import load_file\n\n# What the reference's scripts take as --checkpoint:\n\
             torch.save({{\"model\": load_file(\"{weights_file}\")}}, \"albef.pth\")\n"
        ),
        ExportFormat::Safetensors => format!(
            "let ModelConfig::Clip(config) = ModelConfig::from_json(&std::fs::read_to_string(\"model.json\")?)? else {{ .. }};\n\
             let mut model = config.init(0, &device);\n\
             load_open_clip(&mut model, Path::new(\"{weights_file}\"))?; // or load_albef\n"
        ),
    }
}
