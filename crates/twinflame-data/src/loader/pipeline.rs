//! One sample to pixels and tokens.

use std::sync::Arc;

use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

use super::{LoaderError, LoaderMode};
use crate::dataset::{Draw, SampleError, Source};
use crate::panics::contain_panic;
use crate::tokenizer::Tokenizer;
use crate::transform::Transform;

/// What turns a sample into model input. Cheap to clone.
#[derive(Clone)]
pub struct Pipeline {
    transform: Arc<Transform>,
    tokenizer: Arc<Tokenizer>,
    context_length: usize,
}

/// A sample as the batch holds it.
#[derive(Debug)]
pub(super) struct Processed {
    /// `[size, size, 3]`.
    pub(super) pixels: Vec<u8>,
    /// Side of the image in pixels.
    pub(super) size: usize,
    /// `[context_length]`.
    pub(super) tokens: Vec<i32>,
    pub(super) image_id: i64,
    pub(super) caption_id: i64,
}

impl Pipeline {
    /// Joins the parts.
    ///
    /// # Errors
    /// If `context_length` has no room for a token between start and end.
    pub fn new(
        transform: Arc<Transform>,
        tokenizer: Arc<Tokenizer>,
        context_length: usize,
    ) -> Result<Self, LoaderError> {
        tokenizer.check_context_length(context_length)?;
        Ok(Self {
            transform,
            tokenizer,
            context_length,
        })
    }

    /// Tokens per caption.
    pub fn context_length(&self) -> usize {
        self.context_length
    }

    /// The transform.
    pub fn transform(&self) -> &Arc<Transform> {
        &self.transform
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Arc<Tokenizer> {
        &self.tokenizer
    }

    /// Sample `index` with the random choices of stream `stream` of `seed`.
    pub(super) fn process(
        &self,
        source: &dyn Source,
        index: usize,
        mode: LoaderMode,
        seed: u64,
        stream: usize,
    ) -> Result<Processed, SampleError> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream as u64);
        let Draw {
            image,
            caption,
            image_id,
        } = match mode {
            LoaderMode::Train => source.draw(index, &mut rng)?,
            LoaderMode::Eval => Draw {
                image: source.image(index)?,
                caption: source.captions(index)?.into_iter().next().unwrap_or_default(),
                image_id: source.image_id(index),
            },
        };
        let tokens = self.tokenizer.encode(&caption, self.context_length);
        let image = self.transform.apply(&image, &mut rng);
        let caption_id = caption_id(&tokens);
        Ok(Processed {
            pixels: image.pixels,
            size: image.size,
            tokens,
            image_id,
            caption_id,
        })
    }
}

/// FNV-1a over the token ids: equal for captions that the model cannot tell apart.
fn caption_id(tokens: &[i32]) -> i64 {
    let bytes = tokens.iter().flat_map(|token| token.to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    }) as i64
}

/// Runs `work` on the sample called `name`; a panic is an unreadable sample, since decoders of hostile files do panic.
pub(super) fn guarded<T>(
    name: impl FnOnce() -> String,
    work: impl FnOnce() -> Result<T, SampleError>,
) -> Result<T, SampleError> {
    contain_panic(work).unwrap_or_else(|message| Err(SampleError::Panicked { name: name(), message }))
}
