//! Scenes as a [`Source`].

use std::sync::OnceLock;

use rand::rngs::ChaCha8Rng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::fixed::{FixedScene, counterpart, test_scenes, training_scenes, training_statement};
use super::{Scene, SceneGenerator, ScenesConfig, ScenesSplit};
use crate::dataset::{Classes, Counterpart, DataError, Draw, SampleError, Source};
use crate::decode::DecodedImage;
use crate::report::OpenReport;

/// Random numbers of a scene that two samples share; those of what is their own have low numbers.
const SCENE_STREAM: u64 = u64::MAX;

/// Scenes of one split. Each has an image id of its own: its number.
///
/// In training, a draw is a new scene, unless the configuration wants the same ones in every pass. In a test set, scene
/// `2 i + 1` is scene `2 i` with two objects exchanged, their captions have the same words, and no caption is true of any
/// other scene of the set.
#[derive(Debug)]
pub struct ScenesSource {
    config: ScenesConfig,
    generator: SceneGenerator,
    /// Known from the start in a test set; in training made when somebody asks for it.
    fixed: OnceLock<Vec<FixedScene>>,
    report: OpenReport,
}

impl ScenesSource {
    /// Makes the pictures of objects and, for a test set, the scenes; without noise on captions.
    ///
    /// # Errors
    /// Impossible settings, or fewer different scenes than asked for; see [`DataError`].
    pub fn open(config: &ScenesConfig) -> Result<Self, DataError> {
        let generator = SceneGenerator::new(config)?;
        let fixed = match config.split {
            ScenesSplit::Train => OnceLock::new(),
            _ => OnceLock::from(test_scenes(&generator, config)?),
        };
        let report = OpenReport {
            num_samples: config.scenes(),
            ..OpenReport::default()
        };
        Ok(Self {
            config: config.clone(),
            generator,
            fixed,
            report,
        })
    }

    /// The scene of a sample in evaluation, and in training that shows the same scenes in every pass.
    ///
    /// # Panics
    /// If there is no such sample.
    pub fn scene(&self, index: usize) -> &Scene {
        &self.fixed()[index].scene
    }

    /// Draws and paints scenes such as these.
    pub fn generator(&self) -> &SceneGenerator {
        &self.generator
    }

    fn fixed(&self) -> &[FixedScene] {
        self.fixed
            .get_or_init(|| training_scenes(&self.generator, &self.config))
    }

    fn is_fresh(&self) -> bool {
        self.config.split == ScenesSplit::Train && self.config.fresh
    }

    /// A new scene. One that has a counterpart is a function of the generator's seed, which it shares with it.
    fn draw_scene(&self, index: usize, rng: &mut ChaCha8Rng) -> Scene {
        if !self.config.counterparts {
            return self.generator.draw(rng);
        }
        let mut shared = ChaCha8Rng::from_seed(rng.get_seed());
        shared.set_stream(SCENE_STREAM);
        counterpart(&self.generator, index, &mut shared)
    }

    /// The scene and a caption for a training step.
    fn draw_description(&self, index: usize, rng: &mut ChaCha8Rng) -> (Scene, String) {
        let scene = if self.is_fresh() {
            self.draw_scene(index, rng)
        } else {
            self.scene(index).clone()
        };
        let caption = match self.config.split {
            ScenesSplit::Train => {
                training_statement(&scene, &self.generator, self.config.counterparts, rng).to_string()
            }
            _ => self.fixed()[index].captions.choose(rng).cloned().unwrap_or_default(),
        };
        (scene, caption)
    }
}

impl Source for ScenesSource {
    fn num_samples(&self) -> usize {
        self.config.scenes()
    }

    fn num_together(&self) -> usize {
        match self.config.counterparts && self.config.split == ScenesSplit::Train {
            true => 2,
            false => 1,
        }
    }

    fn image_id(&self, index: usize) -> i64 {
        index as i64
    }

    fn name(&self, index: usize) -> String {
        if self.config.split == ScenesSplit::Train {
            return format!("scene {index}");
        }
        let names = self.scene(index).objects.iter().map(|object| object.emoji().name);
        format!("scene {index}: {}", names.collect::<Vec<_>>().join(", "))
    }

    fn draw(&self, index: usize, rng: &mut ChaCha8Rng) -> Result<Draw, SampleError> {
        let (scene, caption) = self.draw_description(index, rng);
        // A new scene is another thing than the one that had this index in the last pass.
        let image_id = match self.is_fresh() {
            true => rng.random::<u64>().cast_signed(),
            false => self.image_id(index),
        };
        Ok(Draw {
            image: self.generator.paint(&scene),
            caption,
            image_id,
        })
    }

    fn draw_caption(&self, index: usize, rng: &mut ChaCha8Rng) -> Result<String, SampleError> {
        Ok(self.draw_description(index, rng).1)
    }

    fn image(&self, index: usize) -> Result<DecodedImage, SampleError> {
        Ok(self.generator.paint(self.scene(index)))
    }

    fn captions(&self, index: usize) -> Result<Vec<String>, SampleError> {
        Ok(self.fixed()[index].captions.clone())
    }

    fn eval_images(&self) -> Vec<usize> {
        (0..self.num_samples()).collect()
    }

    fn eval_captions(&self) -> Result<Vec<(i64, String)>, SampleError> {
        let scenes = self.fixed().iter().zip(0..);
        let captions = scenes.flat_map(|(fixed, id)| fixed.captions.iter().map(move |text| (id, text.clone())));
        Ok(captions.collect())
    }

    fn classes(&self) -> Vec<Classes> {
        Vec::new()
    }

    fn counterparts(&self) -> Vec<Counterpart> {
        let scenes = self.fixed().iter().enumerate();
        let counterparts = scenes.flat_map(|(image, fixed)| {
            let pairs = fixed.captions.iter().zip(&fixed.swapped);
            pairs.map(move |(caption, swapped)| Counterpart {
                image,
                caption: caption.clone(),
                swapped: swapped.clone(),
            })
        });
        counterparts.collect()
    }

    fn report(&self) -> &OpenReport {
        &self.report
    }
}

#[cfg(test)]
mod tests;
