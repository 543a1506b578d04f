//! Configurations of models.

use twinflame::model::ModelConfig;
use twinflame::model::weights::hugging_face;

use crate::archives::{AT_LEAST, PER_BYTE};
use crate::memory::peak;
use crate::variants::try_variants;

pub(crate) fn configurations() {
    let named = |name: &str| serde_json::to_string_pretty(&ModelConfig::named(name).unwrap()).unwrap();
    let ModelConfig::Clip(clip) = ModelConfig::named("vit-b-32-quickgelu").unwrap() else {
        unreachable!("a CLIP");
    };
    let hugging = hugging_face::config_to_json(&clip).unwrap().to_string();
    for (name, original) in [
        ("vit-b-32", named("vit-b-32")),
        ("rn50", named("rn50")),
        ("albef-base", named("albef-base")),
        ("config.json of Hugging Face", hugging),
    ] {
        let (tried, read) = try_variants(original.as_bytes(), |bytes| {
            let text = String::from_utf8_lossy(&bytes);
            let (was_read, peak) = peak(|| {
                let own = ModelConfig::from_json(&text).is_ok_and(|config| {
                    // What was accepted can be counted.
                    match config {
                        ModelConfig::Clip(config) => config.num_params().total > 0,
                        ModelConfig::Albef(config) => config.num_params().trainable > 0,
                    }
                });
                own || hugging_face::config_from_json(&text).is_ok()
            });
            assert!(
                peak <= text.len() * PER_BYTE + AT_LEAST,
                "{peak} bytes for {} characters",
                text.len()
            );
            was_read
        });
        println!("{name}: {tried} variants, {read} of them read");
        assert!(read > 0 && read < tried, "the changes are all harmful or all harmless");
    }
}
