//! What can be wrong with a configuration.

/// A configuration that describes no model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// No preset of this name.
    #[error("there is no model named `{name}`; there are: {known}")]
    UnknownPreset {
        /// As asked for.
        name: String,
        /// All names, comma-separated.
        known: String,
    },
    /// Not JSON, or a key that is unknown, missing or of the wrong type.
    #[error("the model configuration cannot be read: {0}")]
    Json(#[source] serde_json::Error),
    /// A size of zero.
    #[error("{0} is 0; it must be at least 1")]
    Zero(&'static str),
    /// A size that no model has.
    #[error("{key} = {value} is too large; it must be at most {most}")]
    Large {
        /// The key.
        key: &'static str,
        /// Its value.
        value: usize,
        /// The largest that is possible.
        most: usize,
    },
    /// One size does not divide another.
    #[error("{divisor_key} = {divisor} does not divide {key} = {value}")]
    Divide {
        /// Key of the divisor.
        divisor_key: &'static str,
        /// Value of the divisor.
        divisor: usize,
        /// Key of the other.
        key: &'static str,
        /// Value of the other.
        value: usize,
    },
    /// A vision transformer without patches.
    #[error("vision_cfg.patch_size is missing; a vision transformer (`layers` is one number) needs it, for example 16")]
    NoPatchSize,
    /// Patch dropout outside its range.
    #[error("vision_cfg.patch_dropout is {0}; it must be at least 0 and below 1")]
    PatchDropout(f64),
    /// Patch dropout without patches.
    #[error("vision_cfg.patch_dropout is {0}, but a ResNet has no patches to drop; leave it out")]
    PatchDropoutOfResNet(f64),
    /// Dropout outside its range.
    #[error("text_cfg.dropout is {0}; it must be at least 0 and below 1")]
    Dropout(f64),
    /// Initial weights without a spread.
    #[error("init_std is {0}; it must be a number above 0, for example 0.02")]
    InitStd(f64),
    /// A temperature that nothing can be divided by.
    #[error("init_temp is {0}; it must be a number above 0, for example 0.07")]
    Temperature(f64),
    /// An ALBEF whose image encoder has no tokens to look at.
    #[error("vision_cfg.layers has four numbers, but ALBEF's image encoder is a vision transformer: give one number")]
    AlbefResNet,
    /// A text that does not fit into the position table, or has no token.
    #[error(
        "text_cfg.context_length is {context_length}; it must be at least 2 ([CLS] and one token) and at most \
         text_cfg.max_positions = {max_positions}"
    )]
    BertContextLength {
        /// As configured.
        context_length: usize,
        /// As configured.
        max_positions: usize,
    },
    /// More layers than dropout masks are drawn for.
    #[error("text_cfg.text_layers + text_cfg.fusion_layers is {layers}; at most {most} are possible")]
    BertLayers {
        /// Of both encoders.
        layers: usize,
        /// As many as work.
        most: usize,
    },
    /// No room for a token between start and end.
    #[error("text_cfg.context_length is {0}; it must be at least 3: start, one token, end")]
    ContextLength(usize),
    /// An end-of-text id that no text can contain.
    #[error("text_cfg.pool.eos is {id}, but text_cfg.vocab_size is {vocab_size}: the largest id is one less")]
    EosId {
        /// As configured.
        id: u32,
        /// As configured.
        vocab_size: usize,
    },
}
