//! `twinflame data`: a look at a data set, and what to take of it.

mod dedup;

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::{Args, Subcommand};
use serde::Serialize;

use super::figures;
use super::table::bytes;
use crate::data::curate::{CaptionFile, Curation, count_words, curate, read_queries};
use crate::data::dataset::Source;
use crate::data::inspect::{Histogram, Inspection, Unreadable, inspect};
use crate::data::shard::{INDEX_FILE, write_shards};
use crate::data::{Tokenizer, TokenizerConfig};
use crate::train::eval::{
    PartialFile, ReportTable, SheetEntry, contact_sheet, data_config, progress_bar, save_png, spinner, to_dynamic,
    write_whole,
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
    Curate(CurateArgs),
    /// Find images that are there twice, as the same file or nearly the same picture, and list the samples to keep
    Dedup(dedup::DedupArgs),
    /// Write a data set as tar shards, the image files as they are; called again, it goes on where it stopped
    Shard(ShardArgs),
    /// Make a list of queries of the frequent words of a text
    Queries(QueriesArgs),
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
struct CurateArgs {
    /// The captions: .txt (one a line), .csv, .tsv, .jsonl, or tar shards such as 'd/{00..31}.tar'
    source: PathBuf,
    /// The queries, one a line
    #[arg(long, value_name = "FILE")]
    queries: PathBuf,
    /// Pairs that are expected to be kept of a query that more have: 20,000 of 400 million in CLIP
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..))]
    cap: u64,
    /// Column of a table, or key of JSON lines, that holds the caption
    #[arg(long, value_name = "NAME", default_value = "caption")]
    column: String,
    /// Another seed keeps others
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// File for what is kept: lines as they stand in the source; of shards, an object with shard and key on each line
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Also write how many pairs each query has before and after, as a table separated by tabs
    #[arg(long, value_name = "FILE")]
    counts: Option<PathBuf>,
}

#[derive(Args, Debug)]
struct QueriesArgs {
    /// The text: .txt, or captions in .csv, .tsv, .jsonl or tar shards
    corpus: PathBuf,
    /// Words that come less often are left out
    #[arg(long, value_name = "N", default_value_t = 100)]
    min_count: u64,
    /// Column of a table, or key of JSON lines, that holds the text
    #[arg(long, value_name = "NAME", default_value = "caption")]
    column: String,
    /// File for the queries, one a line, the most frequent first
    #[arg(short, long, value_name = "FILE")]
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
        DataVerb::Curate(args) => run_curate(args),
        DataVerb::Queries(args) => run_queries(args),
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

fn run_curate(args: &CurateArgs) -> anyhow::Result<()> {
    let file = CaptionFile::open(&args.source, &args.column)?;
    let (queries, repeated) = read_queries(&args.queries)?;
    if repeated > 0 {
        eprintln!("note: {} repeats {repeated} queries", args.queries.display());
    }
    let mut output = PartialFile::create(&args.output)?;
    let bar = spinner("pairs, read twice");
    let found = curate(&file, &queries, args.cap, args.seed, &mut output, |pairs| {
        bar.inc(pairs)
    })?;
    output.finish()?;
    bar.finish_and_clear();
    if found.num_damaged > 0 {
        eprintln!(
            "note: {} damaged shards and samples are left out; `twinflame data inspect` names them",
            found.num_damaged
        );
    }
    println!("{}", figures::render(&curation(&found, args.cap)));
    println!("\n{}", figures::render(&head(&found)));
    println!("\nkept: {}", args.output.display());
    if let Some(path) = &args.counts {
        let mut text = "query\tbefore\tafter\n".to_owned();
        for count in &found.counts {
            text.push_str(&format!("{}\t{}\t{}\n", count.query, count.before, count.after));
        }
        write_whole(path, text.as_bytes())?;
        println!("counts: {}", path.display());
    }
    Ok(())
}

fn curation(found: &Curation, cap: u64) -> ReportTable {
    let with = |of: fn(u64, u64) -> bool| found.counts.iter().filter(|count| of(count.before, cap)).count() as u64;
    let rows = [
        ("pairs", found.num_pairs),
        ("pairs with a query", found.num_matched),
        ("pairs kept", found.num_kept),
        ("queries", found.counts.len() as u64),
        ("queries that pairs have", with(|before, _| before > 0)),
        ("queries above the cap", with(|before, cap| before > cap)),
    ];
    ReportTable {
        header: ["", "number"].map(str::to_owned).to_vec(),
        rows: rows
            .map(|(what, count)| vec![what.to_owned(), count.to_string()])
            .to_vec(),
        num_word_columns: 1,
    }
}

/// The most frequent queries.
fn head(found: &Curation) -> ReportTable {
    let mut counts: Vec<_> = found.counts.iter().collect();
    counts.sort_by_key(|count| std::cmp::Reverse(count.before));
    ReportTable {
        header: ["most frequent queries", "before", "after"].map(str::to_owned).to_vec(),
        rows: counts
            .into_iter()
            .take(10)
            .map(|count| vec![count.query.clone(), count.before.to_string(), count.after.to_string()])
            .collect(),
        num_word_columns: 1,
    }
}

fn run_queries(args: &QueriesArgs) -> anyhow::Result<()> {
    let file = CaptionFile::open(&args.corpus, &args.column)?;
    let bar = spinner("lines");
    let words = count_words(&file, args.min_count, |lines| bar.inc(lines))?;
    bar.finish_and_clear();
    if words.is_empty() {
        bail!(
            "no word of {} comes {} times: lower --min-count",
            args.corpus.display(),
            args.min_count
        );
    }
    let text: String = words.iter().flat_map(|(word, _)| [word, "\n"]).collect();
    write_whole(&args.output, text.as_bytes())?;
    println!("{} queries: {}", words.len(), args.output.display());
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
        write_replay_list(path, &*source, &found.unreadable)?;
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

/// A line of the replay list.
#[derive(Serialize)]
#[serde(untagged)]
enum Line<'a> {
    Skipped(&'a crate::data::report::Skipped),
    Unreadable(&'a Unreadable),
}

/// Writes what opening left out and what could not be read.
fn write_replay_list(path: &Path, source: &dyn Source, unreadable: &[Unreadable]) -> anyhow::Result<()> {
    let skipped = source.report().skipped.iter().map(Line::Skipped);
    let lines = skipped.chain(unreadable.iter().map(Line::Unreadable));
    let mut text = String::new();
    for line in lines {
        text.push_str(&serde_json::to_string(&line)?);
        text.push('\n');
    }
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
