//! `twinflame models`: the configurations that have a name.

use clap::Args;
use comfy_table::CellAlignment;
use twinflame_model::{ClipConfig, Layers, TextKind, presets};

use super::table::table;

/// Arguments of `twinflame models`.
#[derive(Args, Debug)]
pub(super) struct ModelsArgs {}

/// First of the columns that hold figures, which align to the right.
const FIRST_FIGURE: usize = 5;

/// Prints a line for each named configuration.
///
/// # Errors
///
/// Never so far; every verb has this signature.
pub(super) fn run(_: &ModelsArgs) -> anyhow::Result<()> {
    let mut table = table([
        "model",
        "image tower",
        "pixels",
        "text tower",
        "embed",
        "image params",
        "text params",
        "total",
        "GFLOPs image",
        "text",
        "total",
    ]);
    for preset in presets() {
        table.add_row(row(preset.name, &preset.config));
    }
    for column in table.column_iter_mut().skip(FIRST_FIGURE) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    println!("{table}\n");
    println!("Parameters leave out running statistics. GFLOPs: one image and one text of full length, forward,");
    println!("two operations for each multiply-add of a matrix product or convolution.");
    Ok(())
}

fn row(name: &str, config: &ClipConfig) -> [String; 11] {
    let parameters = config.num_params();
    let flops = config.flops();
    let giga = |flops: u64| match flops as f64 / 1e9 {
        small if small < 1.0 => format!("{small:.3}"),
        large => format!("{large:.2}"),
    };
    [
        name.to_owned(),
        image_tower(config),
        config.vision_cfg.image_size.to_string(),
        text_tower(config),
        config.embed_dim.to_string(),
        grouped(parameters.image),
        grouped(parameters.text),
        grouped(parameters.total),
        giga(flops.image),
        giga(flops.text),
        giga(flops.total),
    ]
}

fn image_tower(config: &ClipConfig) -> String {
    let vision = &config.vision_cfg;
    match (vision.layers, vision.patch_size) {
        (Layers::Depth(layers), patch) => {
            format!("ViT {layers}x{}/{}", vision.width, patch.unwrap_or_default())
        }
        (Layers::Stages(stages), _) => {
            let stages = stages.map(|blocks| blocks.to_string()).join("-");
            format!("ResNet {stages} x{}", vision.width)
        }
    }
}

fn text_tower(config: &ClipConfig) -> String {
    let text = &config.text_cfg;
    match text.kind {
        TextKind::Transformer => {
            format!("{}x{}, {} tokens", text.layers, text.width, text.context_length)
        }
        TextKind::Cbow => format!("CBOW {}, {} tokens", text.width, text.context_length),
    }
}

/// Digits in groups of three.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_come_in_threes() {
        assert_eq!(grouped(7), "7");
        assert_eq!(grouped(151_277_313), "151,277,313");
        assert_eq!(grouped(1_000), "1,000");
    }

    #[test]
    fn towers_are_described_by_their_sizes() {
        let config = ClipConfig::named("vit-b-32").unwrap();
        assert_eq!(image_tower(&config), "ViT 12x768/32");
        assert_eq!(text_tower(&config), "12x512, 77 tokens");
        let config = ClipConfig::named("rn50").unwrap();
        assert_eq!(image_tower(&config), "ResNet 3-4-6-3 x64");
    }
}
