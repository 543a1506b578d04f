//! Recipes: a run is one TOML file. Parsed once into typed sections, each owned by the part that it
//! configures; nothing below reads TOML.

mod check;
mod embedded;
mod error;
mod load;
mod locate;
mod overrides;
mod run_config;
mod schema;

pub use embedded::{DEFAULT, EMBEDDED, EmbeddedRecipe};
pub use error::RecipeError;
pub use load::ResolvedRecipe;
pub use overrides::Assignment;
pub use run_config::{BestMetric, RunConfig};
pub use schema::{DataRecipe, InitRecipe, ModelRecipe, ModelSource, Recipe};
