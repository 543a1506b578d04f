//! `twinflame models`: the configurations that have a name.

use clap::Args;
use comfy_table::{CellAlignment, Table};
use twinflame_model::albef::BertConfig;
use twinflame_model::{AlbefConfig, ClipConfig, Layers, Preset, TextKind, VisionConfig, albef_presets, presets};

use super::table::table;

/// Arguments of `twinflame models`.
#[derive(Args, Debug)]
pub(super) struct ModelsArgs {}

/// Prints what is known of each named configuration.
///
/// # Errors
///
/// Never so far; every verb has this signature.
pub(super) fn run(_: &ModelsArgs) -> anyhow::Result<()> {
    println!("{}\n", clip_table(presets()));
    println!("{}\n", albef_table(albef_presets()));
    println!("Parameters leave out running statistics and queues; `trainable` is with heads and temperature.");
    println!("GFLOPs: one image and one text of full length, forward, once through each encoder, two operations for");
    println!("each multiply-add of a matrix product or convolution.");
    Ok(())
}

/// A line for each model.
fn clip_table(presets: &[Preset]) -> Table {
    const FIRST_FIGURE: usize = 5;
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
    for preset in presets {
        table.add_row(clip_row(preset.name, &preset.config));
    }
    align_right(&mut table, FIRST_FIGURE);
    table
}

/// A column for each model: they are few, and a line of all figures would not fit into 80 columns.
fn albef_table(presets: &[Preset<AlbefConfig>]) -> Table {
    let names = presets.iter().map(|preset| preset.name);
    let mut table = table(std::iter::once("model").chain(names));
    for (name, value) in ALBEF_LINES {
        let values = presets.iter().map(|preset| value(&preset.config));
        table.add_row(std::iter::once((*name).to_owned()).chain(values));
    }
    align_right(&mut table, 1);
    table
}

/// Name and value of something that is said about an ALBEF.
type AlbefLine = (&'static str, fn(&AlbefConfig) -> String);

const ALBEF_LINES: &[AlbefLine] = &[
    ("image tower", |config| image_tower(&config.vision_cfg)),
    ("pixels", |config| config.vision_cfg.image_size.to_string()),
    ("text layers", |config| {
        layers(config.text_cfg.text_layers, &config.text_cfg)
    }),
    ("fusion layers", |config| {
        layers(config.text_cfg.fusion_layers, &config.text_cfg)
    }),
    ("tokens", |config| config.text_cfg.context_length.to_string()),
    ("embed", |config| config.embed_dim.to_string()),
    ("queue", |config| grouped(config.queue_size as u64)),
    ("image params", |config| grouped(config.num_params().image)),
    ("text params", |config| grouped(config.num_params().text)),
    ("fusion params", |config| grouped(config.num_params().fusion)),
    ("trainable", |config| grouped(config.num_params().trainable)),
    ("momentum copy", |config| grouped(config.num_params().momentum)),
    ("GFLOPs image", |config| giga(config.flops().image)),
    ("text", |config| giga(config.flops().text)),
    ("fusion", |config| giga(config.flops().fusion)),
    ("total", |config| giga(config.flops().total)),
];

fn align_right(table: &mut Table, first_column: usize) {
    for column in table.column_iter_mut().skip(first_column) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}

fn clip_row(name: &str, config: &ClipConfig) -> [String; 11] {
    let parameters = config.num_params();
    let flops = config.flops();
    [
        name.to_owned(),
        image_tower(&config.vision_cfg),
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

/// Billions, the small ones with a digit more.
fn giga(flops: u64) -> String {
    match flops as f64 / 1e9 {
        small if small < 1.0 => format!("{small:.3}"),
        large => format!("{large:.2}"),
    }
}

fn image_tower(vision: &VisionConfig) -> String {
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

fn layers(number: usize, config: &BertConfig) -> String {
    format!("{number}x{}", config.width)
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
    use comfy_table::ContentArrangement;

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
        assert_eq!(image_tower(&config.vision_cfg), "ViT 12x768/32");
        assert_eq!(text_tower(&config), "12x512, 77 tokens");
        let config = ClipConfig::named("rn50").unwrap();
        assert_eq!(image_tower(&config.vision_cfg), "ResNet 3-4-6-3 x64");
    }

    /// As into a file, also where the tests run in a narrow terminal.
    fn unwrapped(mut table: Table) -> String {
        table.set_content_arrangement(ContentArrangement::Disabled).to_string()
    }

    #[test]
    fn every_model_is_listed() {
        let clip = unwrapped(clip_table(presets()));
        assert!(
            presets()
                .iter()
                .all(|preset| clip.contains(&format!(" {} ", preset.name)))
        );
        let albef = unwrapped(albef_table(albef_presets()));
        assert!(
            albef_presets()
                .iter()
                .all(|preset| albef.contains(&format!(" {} ", preset.name)))
        );
    }

    #[test]
    fn the_albef_table_fits_into_80_columns() {
        let table = unwrapped(albef_table(albef_presets()));
        let line = |name: &str| table.lines().find(|line| line.starts_with(name)).unwrap();
        assert!(line(" trainable").contains(" 209,937,725 "));
        assert!(line(" momentum copy").contains(" 209,936,186 "));
        assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
    }
}
