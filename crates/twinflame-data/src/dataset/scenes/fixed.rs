//! Scenes that stay the same: those of test sets, and of training where it is not to see new ones.

use std::collections::HashSet;

use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use rand::seq::index;

use super::{Scene, SceneGenerator, ScenesConfig, Statement};
use crate::dataset::DataError;
use crate::seed::{Purpose, derive};

/// Scenes tried before a set counts as full.
const MAX_SCENES_TRIED: usize = 200;
/// Statements tried for each caption of a scene before another scene is tried.
const MAX_STATEMENTS_TRIED: usize = 8;

/// A scene with its captions.
#[derive(Clone, Debug)]
pub(super) struct FixedScene {
    pub(super) scene: Scene,
    pub(super) captions: Vec<String>,
    /// The captions with two objects exchanged, in a test set.
    pub(super) swapped: Vec<String>,
}

/// Scenes of training, each from the seed and its number.
pub(super) fn training_scenes(generator: &SceneGenerator, config: &ScenesConfig) -> Vec<FixedScene> {
    let scenes = (0..config.scenes()).map(|number| {
        let (scene, mut rng) = if config.counterparts {
            let mut rng = scene_rng(config, number - number % 2);
            let scene = counterpart(generator, number, &mut rng);
            (scene, scene_rng(config, number))
        } else {
            let mut rng = scene_rng(config, number);
            (generator.draw(&mut rng), rng)
        };
        let captions = (0..config.num_captions)
            .map(|_| training_statement(&scene, generator, config.counterparts, &mut rng).to_string());
        FixedScene {
            captions: captions.collect(),
            swapped: Vec::new(),
            scene,
        }
    });
    scenes.collect()
}

/// Scene `number` of those that come in pairs: a drawn one if it is even, and the same one with the first two objects
/// exchanged if it is odd. Where these two are can be said, unless no scene of many is like that.
pub(super) fn counterpart(generator: &SceneGenerator, number: usize, rng: &mut ChaCha8Rng) -> Scene {
    let style = generator.style();
    let can_be_told = |scene: &Scene| {
        [(0, 1), (1, 0)]
            .iter()
            .any(|&(a, b)| style.true_relations(scene, a, b).next().is_some())
    };
    let mut scene = generator.draw(rng);
    for _ in 1..MAX_SCENES_TRIED {
        if can_be_told(&scene) {
            break;
        }
        scene = generator.draw(rng);
    }
    if number.is_multiple_of(2) {
        scene
    } else {
        scene.exchanged(0, 1)
    }
}

/// What a training caption says: of scenes in pairs, where the two objects are that are exchanged.
pub(super) fn training_statement(
    scene: &Scene,
    generator: &SceneGenerator,
    in_pairs: bool,
    rng: &mut ChaCha8Rng,
) -> Statement {
    let style = generator.style();
    let about_pair = in_pairs.then(|| Statement::draw_about_pair(scene, [0, 1], style, rng));
    about_pair
        .flatten()
        .unwrap_or_else(|| Statement::draw(scene, style, rng))
}

/// Scenes of a test set: after each one the one with two objects exchanged, whose captions are those of the first with
/// these exchanged. No caption is true of two scenes of the set.
///
/// # Errors
/// If there are not as many such scenes.
pub(super) fn test_scenes(generator: &SceneGenerator, config: &ScenesConfig) -> Result<Vec<FixedScene>, DataError> {
    let mut set = TestSet::default();
    for number in 0..config.scenes() / 2 {
        let mut rng = scene_rng(config, number);
        let tried = (0..MAX_SCENES_TRIED).find_map(|_| set.try_scene(generator, config.num_captions, &mut rng));
        tried.ok_or(DataError::FewScenes {
            num_scenes: config.scenes(),
            found: 2 * number,
        })?;
    }
    let scenes = set.scenes.into_iter().zip(set.statements);
    let twins = scenes.map(|([first, second], statements)| {
        let [captions, swapped] = statements;
        let other = FixedScene {
            scene: second,
            captions: swapped.iter().map(Statement::to_string).collect(),
            swapped: captions.iter().map(Statement::to_string).collect(),
        };
        let one = FixedScene {
            scene: first,
            captions: other.swapped.clone(),
            swapped: other.captions.clone(),
        };
        [one, other]
    });
    Ok(twins.flatten().collect())
}

fn scene_rng(config: &ScenesConfig, number: usize) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(derive(config.seed, Purpose::Scene, config.split as usize, number))
}

/// Scenes found so far, with their exchanged ones.
#[derive(Default)]
struct TestSet {
    scenes: Vec<[Scene; 2]>,
    /// Statements about each, and those about the exchanged one.
    statements: Vec<[Vec<Statement>; 2]>,
}

impl TestSet {
    /// Adds a drawn scene, if it has enough captions that are true of it alone.
    fn try_scene(&mut self, generator: &SceneGenerator, num_captions: usize, rng: &mut ChaCha8Rng) -> Option<()> {
        let scene = generator.draw(rng);
        let pair = index::sample(rng, scene.objects.len(), 2);
        let pair = [pair.index(0), pair.index(1)];
        let scenes = [scene.exchanged(pair[0], pair[1]), scene];
        let known = || self.statements.iter().flatten().flatten();
        if known().any(|statement| scenes.iter().any(|scene| statement.holds(scene))) {
            return None;
        }
        let [exchanged, scene] = scenes;
        let mut texts = HashSet::new();
        let [mut captions, mut swapped] = [(); 2].map(|()| Vec::new());
        for _ in 0..num_captions * MAX_STATEMENTS_TRIED {
            let statement = Statement::draw_about_pair(&scene, pair, generator.style(), rng)?;
            let counterpart = statement.swapped()?;
            let holds_elsewhere = |other: &Scene| statement.holds(other) || counterpart.holds(other);
            let others = self.scenes.iter().flatten();
            if others.clone().any(holds_elsewhere) || !texts.insert(statement.to_string()) {
                continue;
            }
            captions.push(statement);
            swapped.push(counterpart);
            if captions.len() == num_captions {
                self.scenes.push([scene, exchanged]);
                self.statements.push([captions, swapped]);
                return Some(());
            }
        }
        None
    }
}
