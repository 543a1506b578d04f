//! `twinflame verify`: this machine's numbers against a reference's.

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use comfy_table::{CellAlignment, Table};

use super::{args::DeviceArg, table::table};
use crate::train::verify::{FileReport, Fixture, verify};

/// Tensors of a file that are named where they differ.
const MAX_NAMED: usize = 8;

/// Arguments of `twinflame verify`.
#[derive(Args, Debug)]
pub(super) struct VerifyArgs {
    /// Folder with config.json, weights, inputs and any of outputs, grads, after_step (.safetensors), as open_clip or
    /// salesforce/ALBEF computed them
    dir: PathBuf,
    /// Weights, if they are not in the folder
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// Folder to store what is computed in, under the same names
    #[arg(long, value_name = "DIR")]
    write: Option<PathBuf>,
    #[command(flatten)]
    device: DeviceArg,
}

/// Computes, prints how far each file is from the reference's, and stores the result if asked to.
///
/// # Errors
///
/// A folder that is no fixture or incomplete, a device that is not there, and any tensor that differs.
pub(super) fn run(args: &VerifyArgs) -> anyhow::Result<()> {
    let fixture = Fixture::open(&args.dir)?.with_weights(args.weights.clone());
    let selected = args.device.select()?;
    let verification = verify(fixture, &selected.device)?;
    let reports = &verification.reports;
    if !reports.is_empty() {
        println!("{}", overview(reports));
    }
    for report in reports {
        if let Some(widened) = report.widened {
            println!(
                "{}: {:.1e} is allowed, because the reference is {:.1e} from what it computes itself in float64 (f64_check)",
                report.label, widened.tolerance, widened.reference_error
            );
        }
    }
    for report in reports {
        print_failures(report);
    }
    if let Some(dir) = &args.write {
        verification.write(dir)?;
        println!("computed: {}", dir.display());
    }
    let compared: usize = reports.iter().map(|report| report.compared).sum();
    let differing: usize = reports.iter().map(|report| report.failures.len()).sum();
    if !verification.passed() {
        bail!("{differing} of {compared} tensors differ from the reference's");
    }
    if compared == 0 && args.write.is_none() {
        bail!(
            "{} has nothing to compare with: none of outputs, grads, after_step (.safetensors); --write DIR stores what is \
             computed",
            args.dir.display()
        );
    }
    println!("{compared} tensors agree with the reference's");
    Ok(())
}

fn overview(reports: &[FileReport]) -> Table {
    let mut table = table(["file", "tensors", "differ", "worst relative error", "of"]);
    for report in reports {
        let (worst, name) = match &report.worst {
            Some((worst, name)) => (format!("{worst:.1e}"), name.as_str()),
            None => ("nothing compared".to_owned(), ""),
        };
        let counts = [report.compared, report.failures.len()].map(|count| count.to_string());
        table.add_row([&report.label, &counts[0], &counts[1], &worst, name]);
    }
    for column in table.column_iter_mut().skip(1).take(3) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn print_failures(report: &FileReport) {
    if report.failures.is_empty() {
        return;
    }
    println!("\n{} differs, the farthest first:", report.label);
    for failure in report.failures.iter().take(MAX_NAMED) {
        println!("  {}: {}", failure.name, failure.reason);
    }
    let more = report.failures.len().saturating_sub(MAX_NAMED);
    if more > 0 {
        println!("  and {more} more");
    }
}
