//! The command line: one file per verb, errors printed once.
//!
//! Each verb is a `clap` argument struct and a `run` function that returns [`anyhow::Result`];
//! this file dispatches. Hyper-parameters are not flags: a run is a recipe, and `--set key=value`
//! changes a line of it.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "printing is what a command line is for"
)]

mod args;
mod bench;
mod data;
mod devices;
mod embed;
mod eval;
mod export;
mod figures;
mod import;
mod models;
mod quick_start;
mod recipes;
mod report;
mod search;
mod table;
mod train;
mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Train image-text models (CLIP) on any GPU, without Python.
///
/// Without a command: trains a small CLIP on the embedded emoji, tests it, and draws what it finds.
#[derive(Debug, Parser)]
#[command(
    name = "twinflame",
    version,
    about,
    max_term_width = 100,
    args_conflicts_with_subcommands = true
)]
struct Cli {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    quick_start: quick_start::QuickStartArgs,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Train by a recipe, or continue a run
    Train(train::TrainArgs),
    /// Test a run: retrieval, zero-shot classification, linear probe
    Eval(eval::EvalArgs),
    /// Write the embeddings of images or texts to a file
    Embed(embed::EmbedArgs),
    /// Find the images of a folder that fit a text best
    Search(search::SearchArgs),
    /// Make a run of a checkpoint of OpenAI, open_clip, Hugging Face or salesforce/ALBEF
    Import(import::ImportArgs),
    /// Write a trained model as a folder that open_clip, transformers or ALBEF loads
    Export(export::ExportArgs),
    /// Look at a data set, or choose what to take of it
    Data(data::DataArgs),
    /// List the backends of this binary and the adapters of this machine
    Devices(devices::DevicesArgs),
    /// List the named model configurations with their size and cost
    Models(models::ModelsArgs),
    /// Time a training step of a named model
    Bench(bench::BenchArgs),
    /// Compare what this machine computes with what open_clip or ALBEF computed
    Verify(verify::VerifyArgs),
    /// List the recipes in this binary, or print one
    Recipes(recipes::RecipesArgs),
}

/// Parses the command line, runs the verb and reports what went wrong.
pub fn main() -> ExitCode {
    report::install_panic_hook();
    report::exit_code(dispatch(Cli::parse()))
}

fn dispatch(cli: Cli) -> anyhow::Result<()> {
    let Some(verb) = cli.verb else {
        return quick_start::run(cli.quick_start);
    };
    match verb {
        Verb::Devices(args) => devices::run(&args),
        Verb::Models(args) => models::run(&args),
        Verb::Bench(args) => bench::run(&args),
        Verb::Data(args) => data::run(&args),
        Verb::Recipes(args) => recipes::run(&args),
        Verb::Verify(args) => verify::run(&args),
        Verb::Train(args) => train::run(&args),
        Verb::Eval(args) => eval::run(&args),
        Verb::Embed(args) => embed::run(&args),
        Verb::Export(args) => export::run(&args),
        Verb::Search(args) => search::run(&args),
        Verb::Import(args) => import::run(&args),
    }
}
