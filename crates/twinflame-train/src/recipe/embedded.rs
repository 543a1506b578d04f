//! The recipes in the binary.

/// A recipe that is part of the binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EmbeddedRecipe {
    /// Its name: `twinflame train NAME`.
    pub name: &'static str,
    /// Its TOML text.
    pub text: &'static str,
}

macro_rules! recipes {
    ($($name:literal),* $(,)?) => {
        &[$(EmbeddedRecipe {
            name: $name,
            text: include_str!(concat!("../../../../assets/recipes/", $name, ".toml")),
        }),*]
    };
}

/// The recipe of `twinflame` without a verb.
pub const DEFAULT: &str = "emoji-clip";

/// All of them, the default first.
pub const EMBEDDED: &[EmbeddedRecipe] = recipes![
    "emoji-clip",
    "albef-base",
    "albef-emoji",
    "albef-retrieval",
    "emoji-clip-transformer",
    "emoji-clip-vit",
    "emoji-siglip",
    "folder-clip",
    "tiny",
    "tiny-albef"
];

impl EmbeddedRecipe {
    /// The recipe of this name.
    pub fn named(name: &str) -> Option<Self> {
        EMBEDDED.iter().copied().find(|recipe| recipe.name == name)
    }
}
