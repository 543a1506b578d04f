//! `twinflame data`: a look at a data set, and what to take of it.

mod bench;
mod curate;
mod dedup;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::figures;
use super::table::bytes;
use crate::data::dataset::Source;
use crate::data::inspect::{Histogram, Inspection, inspect};
use crate::data::report::{BadSamples, replay_list};
use crate::data::shard::{INDEX_FILE, write_shards};
use crate::data::{Tokenizer, TokenizerConfig};
use crate::train::eval::{
    ReportTable, SheetEntry, contact_sheet, data_config, progress_bar, save_png, to_dynamic, write_whole,
};

/// Images on a contact sheet.
const SHEET_IMAGES: usize = 40;

/// Arguments of `twinflame data`.
#[derive(Args, Debug)]
pub(super) struct DataArgs {
    #[command(subcommand)]
    verb: DataVerb,
}

#[derive(Debug, Subcommand)]
enum DataVerb {
    /// Count samples, sizes, caption lengths, scripts, duplicates, and what cannot be read
    Inspect(InspectArgs),
    /// Keep the pairs of a large collection that balance it over a list of queries, as CLIP's data was made
    Curate(curate::CurateArgs),
    /// Find images that are there twice, as the same file or nearly the same picture, and list the samples to keep
    Dedup(dedup::DedupArgs),
    /// Write a data set as tar shards, the image files as they are; called again, it goes on where it stopped
    Shard(ShardArgs),
    /// Make a list of queries of the frequent words, and bigrams, of a text
    Queries(curate::QueriesArgs),
    /// Make training batches and say what they cost the processor, by stage
    Bench(bench::BenchArgs),
}

#[derive(Args, Debug)]
struct ShardArgs {
    /// A folder with captions.csv, .tsv or .jsonl, a .json list like ALBEF's, tar shards such as 'd/{00..31}.tar' or
    /// 's3://bucket/*.tar', Parquet files, or a .toml file with the keys of a recipe's [data.train]
    source: PathBuf,
    /// Samples in a shard
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    samples_per_shard: u32,
    /// Folder for the shards, with index.json (hashes, and what could not be read) and sizes.json
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
}

#[derive(Args, Debug)]
struct InspectArgs {
    /// A folder with captions.csv, .tsv or .jsonl, a .json list like ALBEF's, tar shards such as 'd/{00..31}.tar' or
    /// 's3://bucket/*.tar', Parquet files, or a .toml file with the keys of a recipe's [data.train]
    source: PathBuf,
    /// Leave the images closed: look at captions and, of shards, at what is missing
    #[arg(long)]
    captions_only: bool,
    /// Tokens of a caption that the model will see: how many captions are longer is counted with CLIP's tokenizer
    #[arg(long, value_name = "N", default_value_t = 77)]
    context_length: u32,
    /// Write every sample and shard that cannot be used to this file, with the reason: one JSON object a line
    #[arg(long, value_name = "FILE")]
    skipped: Option<PathBuf>,
    /// Also write a contact sheet of images spread over the data, as PNG
    #[arg(short, long, value_name = "FILE", conflicts_with = "captions_only")]
    output: Option<PathBuf>,
}

/// Looks at a data set and prints what it finds.
///
/// # Errors
///
/// A source that cannot be opened, or a file that cannot be written.
pub(super) fn run(args: &DataArgs) -> anyhow::Result<()> {
    match &args.verb {
        DataVerb::Inspect(args) => run_inspect(args),
        DataVerb::Dedup(args) => dedup::run(args),
        DataVerb::Shard(args) => run_shard(args),
        DataVerb::Curate(args) => curate::run(args),
        DataVerb::Queries(args) => curate::run_queries(args),
        DataVerb::Bench(args) => bench::run(args),
    }
}

fn run_shard(args: &ShardArgs) -> anyhow::Result<()> {
    let source = data_config(&args.source)?.open()?;
    if !source.report().is_clean() {
        eprintln!("note: {}", source.report());
    }
    let bar = progress_bar("writing", source.num_samples());
    let index = write_shards(&*source, &args.output, args.samples_per_shard as usize, |samples| {
        bar.inc(samples as u64);
    })?;
    bar.finish_and_clear();
    let skipped: usize = index.shards.iter().map(|shard| shard.skipped.len()).sum();
    if skipped > 0 {
        eprintln!("note: {skipped} samples cannot be read and are left out; {INDEX_FILE} names them");
    }
    let (samples, size) = index.shards.iter().fold((0, 0), |(samples, size), shard| {
        (samples + shard.samples, size + shard.bytes)
    });
    println!(
        "{samples} samples in {} shards, {}: {}",
        index.shards.len(),
        bytes(size),
        args.output.display()
    );
    Ok(())
}

fn run_inspect(args: &InspectArgs) -> anyhow::Result<()> {
    let source = data_config(&args.source)?.open()?;
    let tokenizer = Tokenizer::new(&TokenizerConfig::default())?;
    let bar = progress_bar("reading", source.num_samples());
    let found = inspect(&*source, &tokenizer, !args.captions_only, |samples| {
        bar.inc(samples as u64);
    });
    bar.finish_and_clear();

    println!("{}: {}", args.source.display(), source.report());
    println!("\n{}", figures::render(&counts(&found, args)));
    println!("\n{}", figures::render(&spreads(&found)));
    println!("\n{}", figures::render(&scripts(&found)));
    for (caption, count) in &found.repeated_captions {
        println!("{count} samples have the caption {caption:?}");
    }
    if found.bad.total() > 0 {
        println!("\n{}", found.bad);
    }
    if let Some(path) = &args.skipped {
        println!();
        write_replay_list(path, &*source, &found.bad)?;
    }
    if let Some(path) = &args.output {
        save_png(&contact_sheet(&source.report().to_string(), &spread(&*source)), path)?;
        println!("\ncontact sheet: {}", path.display());
    }
    Ok(())
}

fn counts(found: &Inspection, args: &InspectArgs) -> ReportTable {
    let too_long = format!("captions over {} tokens", args.context_length);
    let mut rows = vec![
        ("samples", found.num_samples as u64),
        ("captions", found.num_captions as u64),
        ("captions that an earlier sample has", found.duplicate_captions),
        (&too_long, found.tokens.above(args.context_length)),
    ];
    if !args.captions_only {
        rows.extend([
            ("images", found.num_images as u64),
            ("images that an earlier sample has", found.duplicate_images),
        ]);
    }
    rows.push(("samples that cannot be read", found.bad.total() as u64));
    numbers(&rows)
}

/// A table of what was counted.
fn numbers(rows: &[(&str, u64)]) -> ReportTable {
    let row = |(what, count): &(&str, u64)| vec![(*what).to_owned(), count.to_string()];
    ReportTable {
        header: ["", "number"].map(str::to_owned).to_vec(),
        rows: rows.iter().map(row).collect(),
        num_word_columns: 1,
    }
}

fn spreads(found: &Inspection) -> ReportTable {
    let rows = [
        ("image width", &found.widths),
        ("image height", &found.heights),
        ("shorter side", &found.shorter_sides),
        ("captions of a sample", &found.captions_of_sample),
        ("characters of a caption", &found.chars),
        ("words of a caption", &found.words),
        ("tokens of a caption", &found.tokens),
    ];
    let row = |(what, histogram): (&str, &Histogram)| {
        let quantiles = [0.0, 0.05, 0.5, 0.95, 1.0].map(|share| histogram.quantile(share).to_string());
        [vec![what.to_owned()], quantiles.to_vec()].concat()
    };
    ReportTable {
        header: ["", "smallest", "5 %", "median", "95 %", "largest"]
            .map(str::to_owned)
            .to_vec(),
        rows: rows
            .into_iter()
            .filter(|(_, histogram)| histogram.total() > 0)
            .map(row)
            .collect(),
        num_word_columns: 1,
    }
}

fn scripts(found: &Inspection) -> ReportTable {
    let mut scripts: Vec<(&str, u64)> = found.scripts.iter().map(|(script, count)| (*script, *count)).collect();
    scripts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let all = found.num_captions.max(1) as f64;
    ReportTable {
        header: ["script", "captions", "share"].map(str::to_owned).to_vec(),
        rows: scripts
            .into_iter()
            .map(|(script, count)| {
                let share = format!("{:.1} %", 100.0 * count as f64 / all);
                vec![script.to_owned(), count.to_string(), share]
            })
            .collect(),
        num_word_columns: 1,
    }
}

/// Writes what opening left out and what could not be read.
fn write_replay_list(path: &Path, source: &dyn Source, bad: &BadSamples) -> anyhow::Result<()> {
    let text: String = replay_list(source.report(), bad).map(|line| line + "\n").collect();
    write_whole(path, text.as_bytes())?;
    println!("not usable, a line each: {}", path.display());
    Ok(())
}

/// Images at equal distances, with size and first caption.
fn spread(source: &dyn Source) -> Vec<SheetEntry> {
    let num_samples = source.num_samples();
    let shown = SHEET_IMAGES.min(num_samples);
    (0..shown)
        .map(|place| {
            let index = (2 * place + 1) * num_samples / (2 * shown);
            let image = source.image(index).ok();
            let size = image.as_ref().map_or_else(
                || "cannot be read".to_owned(),
                |image| format!("{} x {}", image.width(), image.height()),
            );
            let captions = source.captions(index).unwrap_or_default();
            let caption = captions.first().map_or("", String::as_str);
            SheetEntry::captioned(image.as_ref().map(to_dynamic), &size, caption)
        })
        .collect()
}
