//! `twinflame recipes`: the recipes in the binary.

use anyhow::Context;
use clap::{Args, Subcommand};

use super::table::table;
use crate::train::recipe::{EMBEDDED, EmbeddedRecipe, ResolvedRecipe};

/// Arguments of `twinflame recipes`.
#[derive(Args, Debug)]
pub(super) struct RecipesArgs {
    #[command(subcommand)]
    verb: Option<RecipesVerb>,
}

#[derive(Debug, Subcommand)]
enum RecipesVerb {
    /// Print a recipe as TOML: `twinflame recipes show tiny > mine.toml` is where your own begins
    Show {
        /// Name of an embedded recipe, or the path of one
        name: String,
        /// Print it with every default and the applied --set spelled out
        #[arg(long)]
        resolved: bool,
        /// Change a key first: optim.lr=5e-4
        #[arg(long = "set", value_name = "KEY=VALUE", requires = "resolved")]
        set: Vec<String>,
    },
}

/// Lists the recipes, or prints one.
///
/// # Errors
///
/// If there is no such recipe, or it is not valid.
pub(super) fn run(args: &RecipesArgs) -> anyhow::Result<()> {
    match &args.verb {
        None => list(),
        Some(RecipesVerb::Show { name, resolved, set }) => show(name, *resolved, set),
    }
}

fn list() -> anyhow::Result<()> {
    let mut table = table(["recipe", "what it is"]);
    for EmbeddedRecipe { name, .. } in EMBEDDED {
        let description = ResolvedRecipe::load(name, &[])?.recipe.description;
        table.add_row([(*name).to_owned(), description]);
    }
    println!("{table}");
    Ok(())
}

fn show(name: &str, resolved: bool, set: &[String]) -> anyhow::Result<()> {
    let recipe = ResolvedRecipe::load(name, set)?;
    match EmbeddedRecipe::named(name) {
        _ if resolved => print!("{}", recipe.to_toml()),
        Some(recipe) => print!("{}", recipe.text),
        None => print!(
            "{}",
            std::fs::read_to_string(name).with_context(|| format!("cannot read {name}"))?
        ),
    }
    Ok(())
}
