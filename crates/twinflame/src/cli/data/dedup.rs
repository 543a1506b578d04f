//! `twinflame data dedup`: images that are there twice.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use super::{numbers, write_replay_list};
use crate::cli::figures;
use crate::data::dedup::{Dedup, KeepList, dedup};
use crate::train::eval::{PartialFile, ReportTable, data_config, progress_bar};

/// Arguments of `twinflame data dedup`.
#[derive(Args, Debug)]
pub(super) struct DedupArgs {
    /// A folder with captions.csv, .tsv or .jsonl, a .json list like ALBEF's, tar shards such as 'd/{00..31}.tar', or a
    /// .toml file with the keys of a recipe's [data.train]
    source: PathBuf,
    /// Bits of 64 in which the perceptual hashes of near duplicates may differ, their colours being alike; 0: equal hashes
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(..=16))]
    distance: u32,
    /// Find only images whose files are equal byte for byte; none is decoded
    #[arg(long, conflicts_with = "distance")]
    exact: bool,
    /// File for what is kept, the first sample of each group: of shards an object with shard and key on each line, for the key
    /// keep of kind = "webdataset"; of a table or list its rows
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Also write the samples that are in groups of two or more, with the group, an object on each line: for the key groups of
    /// kind = "webdataset", which keeps them from being each other's negatives
    #[arg(long, value_name = "FILE")]
    groups: Option<PathBuf>,
    /// Write every sample and shard that cannot be used to this file, with the reason: one JSON object a line
    #[arg(long, value_name = "FILE")]
    skipped: Option<PathBuf>,
}

/// Finds duplicates, writes what is kept and prints what was found.
///
/// # Errors
///
/// A source that cannot be opened or has no list to keep, or a file that cannot be written.
pub(super) fn run(args: &DedupArgs) -> anyhow::Result<()> {
    let config = data_config(&args.source)?;
    let keep_list = KeepList::new(&config, &args.output)?;
    let source = config.open()?;
    if !source.report().is_clean() {
        eprintln!("note: {}", source.report());
    }
    // Before the work: a folder that is not there should not show after it.
    let mut kept = PartialFile::create(&args.output)?;
    let mut groups = args.groups.as_deref().map(PartialFile::create).transpose()?;
    let bar = progress_bar("reading", source.num_samples());
    let distance = (!args.exact).then_some(args.distance);
    let found = dedup(&*source, distance, |samples| bar.inc(samples as u64))?;
    bar.finish_and_clear();
    let groups_out = groups.as_mut().map(|groups| groups as &mut dyn Write);
    keep_list.write(&*source, &found, &mut kept, groups_out)?;
    kept.finish()?;
    groups.map(PartialFile::finish).transpose()?;

    println!("{}", figures::render(&counts(&found, args)));
    if !found.biggest.is_empty() {
        println!("\n{}", figures::render(&biggest(&found)));
    }
    if found.duplicate_captions > 0 {
        println!("\n{} captions are those of an earlier sample", found.duplicate_captions);
    }
    for (caption, count) in &found.repeated_captions {
        println!("{count} samples have the caption {caption:?}");
    }
    if found.bad.total() > 0 {
        println!("\n{}", found.bad);
    }
    println!("\nkept: {}", args.output.display());
    if let Some(path) = &args.groups {
        println!("groups: {}", path.display());
    }
    if let Some(path) = &args.skipped {
        write_replay_list(path, &*source, &found.unreadable)?;
    }
    Ok(())
}

fn counts(found: &Dedup, args: &DedupArgs) -> ReportTable {
    let mut rows = vec![
        ("samples", found.num_samples),
        ("cannot be read", found.bad.total()),
        ("image file of an earlier sample", found.exact.samples),
        ("  in groups", found.exact.groups),
    ];
    if !args.exact {
        rows.extend([
            ("image near an earlier one", found.near.samples),
            ("  in groups", found.near.groups),
        ]);
    }
    if found.dropped_rows > 0 {
        rows.push((
            "row of an image that is not kept, or with its captions",
            found.dropped_rows,
        ));
    }
    rows.push(("kept", found.num_kept));
    let rows: Vec<(&str, u64)> = rows.into_iter().map(|(what, count)| (what, count as u64)).collect();
    numbers(&rows)
}

fn biggest(found: &Dedup) -> ReportTable {
    ReportTable {
        header: ["biggest groups, by their first sample", "samples", "different files"]
            .map(str::to_owned)
            .to_vec(),
        rows: found
            .biggest
            .iter()
            .map(|group| vec![group.first.clone(), group.samples.to_string(), group.files.to_string()])
            .collect(),
        num_word_columns: 1,
    }
}
