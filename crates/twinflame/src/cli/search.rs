//! `twinflame search`: the images of a folder that fit a text best.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::args::DeviceArg;
use super::figures;
use crate::data::dataset::{ImageFiles, ImageList};
use crate::train::eval::{
    Chunking, Encoder, Hit, ReportTable, SheetEntry, contact_sheet, progress_bar, save_png, to_dynamic, top_k,
};
use crate::train::run;

/// Arguments of `twinflame search`.
#[derive(Args, Debug)]
pub(super) struct SearchArgs {
    /// Folder of a run (its last checkpoint), RUN/best, or folder of one checkpoint
    run: PathBuf,
    /// What to look for
    text: String,
    /// Folder of images; the folders below it are searched too
    #[arg(long, value_name = "DIR")]
    images: PathBuf,
    /// Images to list
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..))]
    top: u16,
    /// Also write a contact sheet of the images found, as PNG
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    device: DeviceArg,
}

/// Searches and prints the list.
///
/// # Errors
///
/// A run, device or folder that is not right; no readable image; a disk that refuses.
pub(super) fn run(args: &SearchArgs) -> anyhow::Result<()> {
    let files = Arc::new(ImageFiles::find(&args.images)?);
    let selected = args.device.select()?;
    let loaded = run::load(&args.run, &selected.device)?;
    let encoder = Encoder::new(&loaded, loaded.best_weights()).tolerant();
    let bar = progress_bar("embedding images", files.num_images() + 1);
    let images = encoder.image_features(files.clone(), &bar)?;
    let query = encoder.text_embeds(&[&args.text], &bar)?;
    bar.finish_and_clear();
    if images.unreadable.total() > 0 {
        eprintln!("note: {}", images.unreadable);
    }
    let found = top_k(query, images.embeds(), usize::from(args.top), Chunking::default())?;
    let found: Vec<Hit> = found.into_iter().flatten().collect();
    let row = |hit: &Hit| images.rows[hit.index];
    println!(
        "{}",
        figures::render(&list(&found, |hit| files.path(row(hit)).display().to_string()))
    );
    if let Some(output) = &args.output {
        let entries: Vec<SheetEntry> = found
            .iter()
            .zip(1..)
            .map(|(hit, rank)| {
                let image = files.image(row(hit)).ok().as_ref().map(to_dynamic);
                SheetEntry::found(image, rank, hit.score, &files.image_name(row(hit)))
            })
            .collect();
        save_png(&contact_sheet(&format!("\"{}\"", args.text), &entries), output)?;
        println!("contact sheet: {}", output.display());
    }
    Ok(())
}

fn list(found: &[Hit], path: impl Fn(&Hit) -> String) -> ReportTable {
    let rows = found.iter().enumerate();
    ReportTable {
        header: ["image", "rank", "cosine"].map(str::to_owned).to_vec(),
        rows: rows
            .map(|(place, hit)| vec![path(hit), (place + 1).to_string(), format!("{:.3}", hit.score)])
            .collect(),
        num_word_columns: 1,
    }
}
