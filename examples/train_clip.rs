//! A training run without the command line: a recipe, two changes, a device, and what became of it.
//!
//! ```console
//! cargo run --release --example train_clip
//! cargo run --release --example train_clip --features wgpu -- wgpu
//! ```

#![allow(clippy::print_stdout, reason = "what it shows goes to the terminal")]

use twinflame::device;
use twinflame::train::recipe::ResolvedRecipe;
use twinflame::train::run::{self, RunOptions};

fn main() -> anyhow::Result<()> {
    let name = std::env::args().nth(1).unwrap_or_else(|| "auto".to_owned());
    let selected = device::select(&name)?;
    println!("{}", selected.description);

    // What `--set` does on the command line; a misspelt key is an error that names the near ones.
    let changes = ["run.num_steps=100", "loader.batch_size=64"].map(str::to_owned);
    let recipe = ResolvedRecipe::load("emoji-clip", &changes)?;
    let options = RunOptions {
        device_description: selected.description,
        ..RunOptions::default()
    };
    let summary = run::train(&recipe, &selected.device, &options)?;

    println!(
        "{:?} after {} steps in {:.0?}",
        summary.outcome, summary.step, summary.elapsed
    );
    for warning in &summary.warnings {
        println!("note: {warning}");
    }
    println!("checkpoint: {}", summary.checkpoint.display());
    Ok(())
}
