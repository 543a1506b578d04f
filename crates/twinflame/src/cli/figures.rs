//! Tables of test figures, and where they are written.

use std::path::Path;

use comfy_table::CellAlignment;

use super::table::table;
use crate::train::eval::{
    ReportTable, TestOutcome, TestPlan, TestReport, TestSet, progress_bar, save_png, test_report,
};
use crate::train::run::LoadedModel;

/// Runs a plan and tells what it could not use.
pub(super) fn test(loaded: &LoadedModel, plan: &TestPlan) -> anyhow::Result<TestOutcome> {
    note_open_reports(&plan.sets);
    let outcome = test_report(loaded, plan, &progress_bar("testing", 0))?;
    for set in &outcome.report.sets {
        if let Some(unreadable) = &set.unreadable {
            eprintln!("note: test set {}: {unreadable}", set.set);
        }
    }
    Ok(outcome)
}

fn note_open_reports(sets: &[TestSet]) {
    for TestSet { name, set } in sets {
        let report = set.source().report();
        if !report.is_clean() {
            eprintln!("note: test set {name}: {report}");
        }
    }
}

/// The tables of a report on standard output.
pub(super) fn print(report: &TestReport) {
    let tables = [
        report.retrieval_table(),
        report.counterpart_table(),
        report.classification_table(),
    ];
    for figures in tables.into_iter().flatten() {
        println!("\n{}", render(&figures));
    }
}

/// A table with its numbers to the right.
pub(super) fn render(figures: &ReportTable) -> comfy_table::Table {
    let mut table = table(figures.header.clone());
    for row in &figures.rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut().skip(figures.num_word_columns) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// Writes `json_name` and, if there are captions, `picture_name` into `folder`, and says so.
///
/// The figures come last: a folder that has them has both.
pub(super) fn save(outcome: &TestOutcome, folder: &Path, json_name: &str, picture_name: &str) -> anyhow::Result<()> {
    let picture = folder.join(picture_name);
    if let Some(image) = &outcome.picture {
        save_png(image, &picture)?;
    }
    let json = folder.join(json_name);
    outcome.report.save(&json)?;
    println!("\nfigures: {}", json.display());
    if outcome.picture.is_some() {
        println!("picture: {}", picture.display());
    }
    Ok(())
}
