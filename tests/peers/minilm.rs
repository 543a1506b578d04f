//! A published BERT, all-MiniLM-L6-v2, read here.

use std::fs;
use std::path::Path;

use burn::tensor::{Int, Tensor};
use twinflame::data::{BertVocab, Tokenizer, TokenizerConfig};
use twinflame::model::text::Readout;
use twinflame::model::weights::{Allow, import_text_encoder, read_metadata};
use twinflame::model::{Albef, AlbefConfig, Model};

use super::{TOLERANCE, device, floats, integers, python, relative_error};

/// Layers of the checkpoint.
const LAYERS: usize = 6;

/// An ALBEF whose text encoder is its first `text_layers` layers, the others being the fusion encoder's, which has one of its
/// own if none is left.
fn albef(text_layers: usize, folder: &Path) -> Albef {
    let fusion_layers = (LAYERS - text_layers).max(1);
    let mut config = AlbefConfig::named("tiny-albef").unwrap();
    let text = &mut config.text_cfg;
    (text.width, text.heads, text.mlp_ratio) = (384, 12, 4.0);
    (text.vocab_size, text.mlm_head) = (30_522, false);
    (text.text_layers, text.fusion_layers) = (text_layers, fusion_layers);
    let mut model = Model::Albef(config.init(99, &device()));
    let missing = format!("text_encoder.encoder.layer.{LAYERS}.*");
    let allow: Vec<String> = (text_layers == LAYERS).then_some(missing).into_iter().collect();
    let allow = Allow::new(&allow);
    let report = import_text_encoder(&mut model, folder, &allow).unwrap();
    assert_eq!(report.ignored.len(), 3, "pooler and position ids: {:?}", report.ignored);
    println!("{text_layers} text layers: {} tensors loaded", report.loaded);
    match model {
        Model::Albef(albef) => albef,
        Model::Clip(_) => unreachable!("made above"),
    }
}

#[test]
#[ignore = "needs Python packages: .ci/run peers"]
fn minilm_has_the_hidden_states_of_transformers() {
    let out = tempfile::tempdir().unwrap();
    let out = out.path().join("minilm.safetensors");
    let folder = python("minilm.py", &out);
    let folder = Path::new(folder.trim());
    let theirs = fs::read(&out).unwrap();
    let (ids, mask) = (integers::<2>(&theirs, "ids"), integers::<2>(&theirs, "mask"));
    let mask_pad = mask.clone().equal_elem(0);
    let is_token = mask.float().unsqueeze_dim::<3>(2);
    for layers in 1..=LAYERS {
        let model = albef(layers, folder);
        let states = model
            .encoders
            .text_encoder
            .text(ids.clone(), &mask_pad, &Readout::All, None);
        let expected = floats::<3>(&theirs, &format!("hidden.{layers}"));
        let error = relative_error(states * is_token.clone(), expected * is_token.clone());
        println!("hidden states after layer {layers} within {error:.1e} of the maximum");
        assert!(error <= TOLERANCE, "layer {layers}: {error:e}");
    }
    same_ids(&ids, &read_metadata(&out).unwrap()["texts"], folder);
}

/// Both the built-in word pieces and the folder's own file give these ids.
fn same_ids(ids: &Tensor<2, Int>, texts: &str, folder: &Path) {
    let [_, context_length] = ids.dims();
    let built_in = TokenizerConfig::Bert {
        vocab: BertVocab::BertBaseUncased,
        vocab_size: None,
        sep: true,
        clean: false,
        max_words: 30,
    };
    let file = TokenizerConfig::File {
        path: folder.join("tokenizer.json"),
    };
    let expected: Vec<i32> = ids.to_data().iter::<i32>().collect();
    for config in [built_in, file] {
        let tokenizer = Tokenizer::new(&config).unwrap();
        let ours: Vec<i32> = texts
            .split('\n')
            .flat_map(|text| tokenizer.encode(text, context_length))
            .collect();
        assert_eq!(ours, expected, "{config:?}");
    }
}
