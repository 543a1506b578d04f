//! `twinflame eval`: test figures of a run.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;

use super::args::DeviceArg;
use super::figures;
use crate::train::eval::{
    ClassFolders, ClassList, LinearProbeConfig, ProbePlan, Templates, TestPlan, TestSet, data_name,
};
use crate::train::run::{self, LoadedModel};

/// Arguments of `twinflame eval`.
#[derive(Args, Debug)]
pub(super) struct EvalArgs {
    /// Folder of a run (its last checkpoint), RUN/best, or folder of one checkpoint
    run: PathBuf,
    /// Test on this data instead of the recipe's: a folder with captions.csv, .tsv or .jsonl, a .json list like
    /// ALBEF's, tar shards such as 'd/{00..31}.tar', or a .toml file with the keys of a recipe's [data.test.x]; repeatable
    #[arg(long, value_name = "PATH")]
    data: Vec<PathBuf>,
    /// Classify the images in this folder, which has a folder for each class
    #[arg(long, value_name = "DIR")]
    class_folders: Option<PathBuf>,
    /// Class list for --class-folders, one a line; after a tab, the folder's name where it differs
    #[arg(long, value_name = "FILE", requires = "class_folders")]
    classes: Option<PathBuf>,
    /// Zero-shot prompts, one a line with {} for the class, or openai-7 for OpenAI's seven; default: the recipe's
    #[arg(long, value_name = "FILE")]
    templates: Option<PathBuf>,
    /// Also fit a linear probe to the features of the recipe's training images, for each set of classes they have
    #[arg(long)]
    linear_probe: bool,
    /// Choose the probe's inverse penalty C among these on held-out training images; default 0.316
    #[arg(long, value_name = "C", value_delimiter = ',', requires = "linear_probe")]
    probe_c: Vec<f64>,
    /// Also print the accuracy of every class
    #[arg(long)]
    per_class: bool,
    /// Folder for the figures (JSON) and the picture; default: the run's
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    #[command(flatten)]
    device: DeviceArg,
}

/// Tests, prints the tables and writes figures and picture.
///
/// # Errors
///
/// A run, device, data set or list that is not right, or unreadable.
pub(super) fn run(args: &EvalArgs) -> anyhow::Result<()> {
    let templates = args.templates.as_deref().map(templates).transpose()?;
    let class_folders = args
        .class_folders
        .as_deref()
        .map(|root| class_folders(root, args))
        .transpose()?;
    let selected = args.device.select()?;
    let loaded = run::load(&args.run, &selected.device)?;
    let plan = plan(args, &loaded, templates, class_folders)?;
    if plan.sets.is_empty() && plan.class_folders.is_empty() {
        bail!(
            "the recipe of {} has no test set; give data with --data, or labelled images with --class-folders",
            args.run.display()
        );
    }
    println!(
        "{} after {} steps",
        loaded.checkpoint.dir.display(),
        loaded.checkpoint.state.step
    );
    let outcome = figures::test(&loaded, &plan)?;
    figures::print(&outcome.report);
    if let Some(table) = outcome.report.per_class_table().filter(|_| args.per_class) {
        println!("\n{}", figures::render(&table));
    }
    let name = output_name(args);
    let folder = match &args.output {
        Some(folder) => folder.clone(),
        // RUN/best need not be a folder
        None if args.run.is_dir() => args.run.clone(),
        None => args.run.parent().unwrap_or(Path::new("")).to_owned(),
    };
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    figures::save(
        &outcome,
        &folder,
        &format!("eval{name}.json"),
        &format!("retrieval{name}.png"),
    )
}

/// What makes the files of a test on other data or of `RUN/best` differ from those of the run's own test.
fn output_name(args: &EvalArgs) -> String {
    let best = (args.run.ends_with("best") && !args.run.is_dir()).then(|| "-best".to_owned());
    let data = args
        .data
        .iter()
        .chain(&args.class_folders)
        .map(|path| format!("-{}", data_name(path)));
    best.into_iter().chain(data).collect()
}

fn plan(
    args: &EvalArgs,
    loaded: &LoadedModel,
    templates: Option<Templates>,
    class_folders: Option<(String, ClassFolders)>,
) -> anyhow::Result<TestPlan> {
    let own_data = args.data.is_empty() && class_folders.is_none();
    let sets = match own_data {
        true => TestSet::of_recipe(&loaded.recipe.recipe)?,
        false => args
            .data
            .iter()
            .map(|path| TestSet::from_path(path))
            .collect::<Result<_, _>>()?,
    };
    let templates = match templates {
        Some(templates) => templates,
        None => loaded.recipe.recipe.eval.load_templates()?,
    };
    Ok(TestPlan {
        sets,
        class_folders: class_folders.into_iter().collect(),
        templates,
        probe: args.linear_probe.then(|| ProbePlan {
            config: LinearProbeConfig::default(),
            cs: args.probe_c.clone(),
        }),
    })
}

fn templates(path: &Path) -> anyhow::Result<Templates> {
    match path.to_str() {
        Some("openai-7") => Ok(Templates::openai_7()),
        _ => Ok(Templates::from_file(path)?),
    }
}

fn class_folders(root: &Path, args: &EvalArgs) -> anyhow::Result<(String, ClassFolders)> {
    let classes = args.classes.as_deref().map(ClassList::from_file).transpose()?;
    Ok((data_name(root), ClassFolders::open(root, classes)?))
}
