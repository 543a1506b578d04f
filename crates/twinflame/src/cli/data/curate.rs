//! `twinflame data curate` and `data queries`: which pairs of a large collection to train on.

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::Args;

use super::numbers;
use crate::cli::figures;
use crate::data::curate::{CaptionFile, Curation, QueryRules, count_queries, curate, read_queries};
use crate::data::dataset::DataConfig;
use crate::train::eval::{PartialFile, ReportTable, data_config, spinner, write_whole};

/// Arguments of `twinflame data curate`.
#[derive(Args, Debug)]
pub(super) struct CurateArgs {
    /// The captions: .txt (one a line), .csv, .tsv, .jsonl, tar shards such as 'd/{00..31}.tar', Parquet files, or a .toml file
    /// with the keys of a recipe's [data.train]
    source: PathBuf,
    /// The queries, one a line
    #[arg(long, value_name = "FILE")]
    queries: PathBuf,
    /// Pairs that are expected to be kept of a query that more have: 20,000 of 400 million in CLIP
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..))]
    cap: u64,
    /// Column of a table or Parquet file, or key of JSON lines, that holds the caption; left out: caption, or text of a Parquet file
    #[arg(long, value_name = "NAME")]
    column: Option<String>,
    /// Another seed keeps others
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// File for what is kept: lines as they stand in the source; of shards an object with shard and key on each line, of Parquet
    /// files one with file and row, for the key keep of kind = "webdataset" or "parquet"
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Also write how many pairs each query has before and after, as a table separated by tabs
    #[arg(long, value_name = "FILE")]
    counts: Option<PathBuf>,
}

/// Arguments of `twinflame data queries`.
#[derive(Args, Debug)]
pub(super) struct QueriesArgs {
    /// The text: .txt, or captions in .csv, .tsv, .jsonl, tar shards or Parquet files
    corpus: PathBuf,
    /// Words that come less often are left out, and so are bigrams
    #[arg(long, value_name = "N", default_value_t = 100)]
    min_count: u64,
    /// Also take pairs of words side by side whose pointwise mutual information is at least so many bits: that come 2^BITS times
    /// as often as by chance. Left out: words alone, as CLIP's paper gives no threshold
    #[arg(long, value_name = "BITS", allow_negative_numbers = true, value_parser = bits)]
    bigrams: Option<f64>,
    /// Column of a table or Parquet file, or key of JSON lines, that holds the text; left out: caption, or text of a Parquet file
    #[arg(long, value_name = "NAME")]
    column: Option<String>,
    /// File for the queries, one a line, the most frequent first
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

/// Writes the pairs that balance a collection over queries, and prints how many there are.
///
/// # Errors
///
/// What cannot be read or written.
pub(super) fn run(args: &CurateArgs) -> anyhow::Result<()> {
    let file = caption_file(&args.source, args.column.as_deref())?;
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
    numbers(&rows)
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

/// Writes a list of queries.
///
/// # Errors
///
/// What cannot be read or written, and a list without any query.
pub(super) fn run_queries(args: &QueriesArgs) -> anyhow::Result<()> {
    let file = caption_file(&args.corpus, args.column.as_deref())?;
    let passes = if args.bigrams.is_some() {
        "lines, read three times"
    } else {
        "lines"
    };
    let bar = spinner(passes);
    let rules = QueryRules {
        min_count: args.min_count,
        min_pmi: args.bigrams,
    };
    let queries = count_queries(&file, &rules, |lines| bar.inc(lines))?;
    bar.finish_and_clear();
    if queries.is_empty() {
        bail!(
            "no word of {} comes {} times: lower --min-count",
            args.corpus.display(),
            args.min_count
        );
    }
    let text: String = queries.iter().flat_map(|(query, _)| [query, "\n"]).collect();
    write_whole(&args.output, text.as_bytes())?;
    let bigrams = queries.iter().filter(|(query, _)| query.contains(' ')).count();
    let of_these = args.bigrams.map(|_| format!(", {bigrams} of them bigrams"));
    println!(
        "{} queries{}: {}",
        queries.len(),
        of_these.unwrap_or_default(),
        args.output.display()
    );
    Ok(())
}

/// Bits of information of a command line.
fn bits(text: &str) -> Result<f64, String> {
    let bits: Option<f64> = text.parse().ok().filter(|bits: &f64| bits.is_finite());
    bits.ok_or_else(|| "expected a number of bits, such as 5".to_owned())
}

/// What holds the captions: a file, or the shards or Parquet files of a `.toml` file.
fn caption_file(path: &Path, column: Option<&str>) -> anyhow::Result<CaptionFile> {
    if path.extension().is_none_or(|ending| ending != "toml") {
        return Ok(CaptionFile::open(path, column)?);
    }
    if column.is_some() {
        bail!(
            "--column goes with a file of captions; {} names the column itself",
            path.display()
        );
    }
    match data_config(path)? {
        DataConfig::WebDataset(config) => Ok(CaptionFile::Shards(config)),
        DataConfig::Parquet(config) => Ok(CaptionFile::Parquet(config)),
        _ => bail!(
            "{}: of a .toml file, captions are read with kind = \"webdataset\" or \"parquet\"; of a folder give the table of captions",
            path.display()
        ),
    }
}
