//! The step on host batches: who learns from whom, the queue, losses by themselves, dropout, precision.

mod recompute;
mod setup;

use burn::{
    module::Module,
    tensor::{Device, Tensor},
    train::TrainStep,
};
use twinflame_data::{ImageTextBatch, Normalization};
use twinflame_model::FeatureQueue;

use super::{inputs::Purpose, *};
use crate::{
    metric::{MetricSpec, spec},
    optim::{OptimConfig, adamw},
    precision::Precision,
    task::{TargetKind, TaskError},
};
use setup::{PAIRS, Setup, batch, floats, judge, steps, train, with_gradient};

#[test]
fn the_optimiser_moves_the_student_alone() {
    let task = Setup::default().task();
    let [student, teacher, queue] = [floats(&task.model), floats(&task.momentum), floats(&task.queue)];
    let inputs = task.upload(&batch(0), Purpose::Train);
    let score = task.score(&inputs, 0.4);
    let grads = task.backward(&score);
    // Everything learns, and nothing beside the model has a gradient.
    assert_eq!(with_gradient(&task.model, &grads)[1], 0);
    assert_eq!(with_gradient(&task.momentum, &grads)[0], 0);
    assert_eq!(grads.len(), with_gradient(&task.model, &grads)[0]);

    // Nothing was handed over by `step`, so that this is the optimiser by itself.
    let mut optimizer = adamw(&OptimConfig::default(), &task.model);
    let task = task.optimize(&mut optimizer, 1e-3.into(), grads);
    assert!(floats(&task.momentum) == teacher && floats(&task.queue) == queue);
    let moved = floats(&task.model);
    assert!(moved != student);

    // The teacher follows, the student stays.
    let task = task.follow(PAIRS);
    assert!(floats(&task.model) == moved);
    let pairs = floats(&task.model.encoders).into_iter().zip(teacher);
    for ((student, before), after) in pairs.zip(floats(&task.momentum)) {
        let expected = 0.995 * before + 0.005 * student;
        assert!((after - expected).abs() <= 1e-6, "{after}, not {expected}");
    }
}

#[test]
fn the_teacher_gives_targets_and_takes_no_gradient() {
    let task = Setup::default().task();
    let mut other = task.clone();
    // A teacher that disagrees.
    let model = Setup::default().model().init(1, &Device::flex());
    other.momentum = crate::ema::averaged_copy(&model.encoders);
    let inputs = task.upload(&batch(0), Purpose::Judge);
    let [own, strange] = [&task, &other].map(|task| task.score(&inputs, 0.4));
    let mlm = |score: &AlbefScore| score.mlm.as_ref().map(|mlm| mlm.loss.clone().into_scalar::<f32>());
    assert_ne!(mlm(&own), mlm(&strange));
    // Without distillation it has no say in masked language.
    let [own, strange] = [&task, &other].map(|task| task.score(&inputs, 0.0));
    assert_eq!(mlm(&own), mlm(&strange));
    assert_eq!(with_gradient(&other.momentum, &other.backward(&strange))[0], 0);
}

#[test]
fn the_ramp_of_alpha_reaches_the_step() {
    let task = Setup::default().task();
    // Two of four batches into the first epoch, and later.
    for (number, expected) in [(0, 0.0), (2, 0.2), (4, 0.4), (9, 0.4)] {
        let alpha = train(&task, &batch(number)).get(&spec::ALPHA).expect("reported");
        assert!((alpha - expected).abs() < 1e-6, "batch {number}: {alpha}");
    }
    // The same batch, once at the beginning and once with the whole of it.
    let beginning = batch(0);
    let later = ImageTextBatch {
        epoch: 1,
        ..beginning.clone()
    };
    let [beginning, later] = [beginning, later].map(|batch| train(&task, &batch));
    for (key, changes) in [(&spec::ITC, true), (&spec::MLM, true), (&spec::ITM, false)] {
        assert_eq!(beginning.get(key) != later.get(key), changes, "{}", key.key);
    }
}

#[test]
fn the_ramp_of_hard_negatives_reaches_the_step() {
    // So cold that similarity decides alone wherever it counts at all.
    let config = AlbefTaskConfig {
        hard_negatives_ramp_epochs: 1.0,
        temp_range: [1e-4, 1e-4],
        ..AlbefTaskConfig::default()
    };
    let task = Setup {
        config,
        ..Setup::default()
    }
    .task();
    let itm = |inputs: &AlbefInputs| {
        let score = task.score(inputs, 0.0);
        score.itm.expect("on").loss.into_scalar::<f32>()
    };
    let at = |epoch, index| {
        let batch = ImageTextBatch {
            epoch,
            index,
            ..batch(0)
        };
        task.upload(&batch, Purpose::Train)
    };
    let hardest = itm(&AlbefInputs {
        negatives: NegativeChoice::Hardest,
        ..at(0, 0)
    });
    assert_ne!(itm(&at(0, 0)), hardest, "every mismatch is as likely");
    assert_eq!(itm(&at(1, 0)), hardest);
    assert_eq!(hardness(&at(0, 1)), [0.25; PAIRS]);
}

/// Factors of the pairs' similarities.
fn hardness(inputs: &AlbefInputs) -> Vec<f32> {
    let NegativeChoice::Sampled { hardness, .. } = &inputs.negatives else {
        panic!("{:?}", inputs.negatives);
    };
    hardness.clone().try_to_vec_as().expect("readable")
}

#[test]
fn a_share_of_the_pairs_has_hard_negatives() {
    let config = AlbefTaskConfig {
        hard_negatives_share: 0.7,
        ..AlbefTaskConfig::default()
    };
    let task = Setup {
        config,
        ..Setup::default()
    }
    .task();
    let drawn: Vec<f32> = (0..400)
        .flat_map(|number| hardness(&task.upload(&batch(number), Purpose::Train)))
        .collect();
    assert!(drawn.iter().all(|hardness| [0.0, 1.0].contains(hardness)), "{drawn:?}");
    let share = f64::from(drawn.iter().sum::<f32>()) / drawn.len() as f64;
    // Standard deviation of a share of 1600: .0115.
    assert!((share - 0.7).abs() < 0.05, "{share}");
}

#[test]
fn a_batch_that_shows_one_image_does_not_count_for_matching() {
    for targets in [TargetKind::Diagonal, TargetKind::ById] {
        let setup = Setup {
            config: AlbefTaskConfig {
                targets,
                ..AlbefTaskConfig::default()
            },
            ..Setup::default()
        };
        let task = setup.task();
        let one_image = |number| ImageTextBatch {
            image_ids: vec![7; PAIRS],
            ..batch(number)
        };
        let inputs = task.upload(&one_image(0), Purpose::Train);
        let grads = task.backward(&task.score(&inputs, 0.4));
        let bias = task.model.itm_head.bias.as_ref().expect("bias").id;
        let bias = grads.get::<1>(bias).map(|grad| grad.abs().sum().into_scalar::<f32>());
        assert_eq!(bias.unwrap_or_default(), 0.0);

        let (task, values) = steps(task, (0..6).map(one_image));
        for values in values {
            assert_eq!(
                (values.get(&spec::ITM), values.get(&spec::ITM_ACCURACY)),
                (Some(0.0), Some(0.0))
            );
            assert!(values.loss().is_finite() && values.loss() > 1.0, "{values:?}");
        }
        assert!(floats(&task).iter().all(|value| value.is_finite()));
        assert!(train(&task, &batch(6)).get(&spec::ITM).expect("reported") > 0.0);
        // Judged as well.
        assert_eq!(judge(&task, &one_image(0)).get(&spec::ITM), Some(0.0));
    }
}

/// Rows of a queue as the ids of what is in them.
fn ids(queue: &FeatureQueue) -> [Vec<i32>; 2] {
    [&queue.image_ids, &queue.caption_ids].map(|ids| ids.val().try_to_vec_as().expect("readable"))
}

#[test]
fn batches_wrap_around_a_queue_that_they_do_not_divide() {
    // Larger than a batch, and smaller.
    for queue_size in [16, 4] {
        let setup = Setup {
            queue_size,
            ..Setup::default()
        };
        let mut task = setup.task();
        let mut optimizer = adamw(&OptimConfig::default(), &task.model);
        let mut ring = vec![-100; queue_size];
        let mut features = vec![Vec::new(); queue_size];
        for number in 0..5 {
            let batch = batch(number);
            let teacher = task.momentum.encode_image(task.upload(&batch, Purpose::Judge).pixels);
            let teacher: Vec<f32> = teacher.try_to_vec_as().expect("readable");
            let entries: Vec<i32> = task
                .upload(&batch, Purpose::Train)
                .image_ids
                .try_to_vec_as()
                .expect("readable");
            for (pair, (id, feature)) in entries.into_iter().zip(teacher.chunks(16)).enumerate() {
                let row = (number * PAIRS + pair) % queue_size;
                ring[row] = id;
                features[row] = feature.to_vec();
            }
            let output = TrainStep::step(&task, batch);
            assert!(output.item.values().expect("readable").loss().is_finite());
            task = task.optimize(&mut optimizer, 1e-3.into(), output.grads);
            assert_eq!(ids(&task.queue), [ring.clone(), ring.clone()], "batch {number}");
            let next = task.queue.next_row.val().into_scalar::<i32>();
            assert_eq!(next as usize, (number + 1) * PAIRS % queue_size);
            let found: Vec<f32> = task.queue.image_embeds.val().try_to_vec_as().expect("readable");
            for (found, expected) in found.chunks(16).zip(&features) {
                for (found, expected) in found.iter().zip(expected) {
                    assert!((found - expected).abs() < 1e-5, "{found}, not {expected}");
                }
            }
        }
    }
}

#[test]
fn low_precision_follows_f32() {
    let losses: [&MetricSpec; 4] = [&spec::LOSS, &spec::ITC, &spec::ITM, &spec::MLM];
    for dropout in [0.0, 0.1] {
        let run = |precision: Precision| {
            let setup = Setup {
                config: AlbefTaskConfig {
                    precision,
                    ..AlbefTaskConfig::default()
                },
                dropout,
                ..Setup::default()
            };
            steps(setup.task(), (0..5).map(|_| batch(0))).1
        };
        let single = run(Precision::F32);
        // Contrast cannot fall: the queue fills with copies of the one batch.
        let mlm = |step: usize| single[step].get(&spec::MLM).expect("reported");
        assert!(mlm(4) < mlm(0), "does not learn: {single:?}");
        for precision in [Precision::Bf16, Precision::F16] {
            for (single, low) in single.iter().zip(run(precision)) {
                for loss in losses {
                    let [s, l] = [single, &low].map(|values| values.get(loss).expect("reported"));
                    assert!((s - l).abs() < 0.05 * s, "{precision:?}, {}: {l}, f32 {s}", loss.key);
                }
            }
        }
    }
}

#[test]
fn each_loss_can_be_turned_off() {
    let losses: [&MetricSpec; 3] = [&spec::ITC, &spec::ITM, &spec::MLM];
    let task = |weights: [f64; 3]| {
        let [itc_weight, itm_weight, mlm_weight] = weights;
        let setup = Setup {
            config: AlbefTaskConfig {
                itc_weight,
                itm_weight,
                mlm_weight,
                ..AlbefTaskConfig::default()
            },
            ..Setup::default()
        };
        setup.task()
    };
    let batch = ImageTextBatch { epoch: 1, ..batch(0) };
    let all = train(&task([1.0; 3]), &batch);
    for weights in [
        [0.0, 1.0, 1.0],
        [1.0, 0.0, 1.0],
        [1.0, 1.0, 0.0],
        [2.0, 0.0, 0.0],
        [0.0, 0.5, 0.0],
        [0.0, 0.0, 3.0],
    ] {
        let task = task(weights);
        let mut sum = 0.0;
        for values in [train(&task, &batch), judge(&task, &batch)] {
            for (loss, weight) in losses.into_iter().zip(weights) {
                assert_eq!(values.get(loss).is_some(), weight > 0.0, "{weights:?}: {}", loss.key);
            }
        }
        let values = train(&task, &batch);
        for (loss, weight) in losses.into_iter().zip(weights).filter(|(_, weight)| *weight > 0.0) {
            // The others change nothing about it.
            assert_eq!(values.get(loss), all.get(loss), "{weights:?}: {}", loss.key);
            sum += weight * values.get(loss).expect("reported");
        }
        assert!((values.loss() - sum).abs() < 1e-5 * sum, "{weights:?}: {values:?}");
        let shown = task.metrics();
        for (loss, weight) in losses.into_iter().zip(weights) {
            assert_eq!(shown.train.contains(&loss), weight > 0.0);
            assert_eq!(shown.valid.contains(&loss), weight > 0.0);
        }
        // What is left can be learned.
        steps(task, [batch.clone()]);
    }
}

#[test]
fn dropout_comes_from_the_seeds_of_the_samples() {
    let contrast = AlbefTaskConfig {
        itm_weight: 0.0,
        mlm_weight: 0.0,
        ..AlbefTaskConfig::default()
    };
    let loss = |config: &AlbefTaskConfig, dropout: f64, batch: &ImageTextBatch| {
        let setup = Setup {
            config: config.clone(),
            dropout,
            ..Setup::default()
        };
        train(&setup.task(), batch).loss()
    };
    let once = batch(0);
    // The same samples in another epoch, without masks and negatives, which come from the seeds as well.
    let again = ImageTextBatch {
        sample_seeds: once.sample_seeds.iter().map(|seed| seed + 1_000).collect(),
        ..once.clone()
    };
    assert_eq!(loss(&contrast, 0.0, &once), loss(&contrast, 0.0, &again));
    assert_eq!(loss(&contrast, 0.1, &once), loss(&contrast, 0.1, &once));
    assert_ne!(loss(&contrast, 0.1, &once), loss(&contrast, 0.1, &again));
    assert_ne!(loss(&contrast, 0.1, &once), loss(&contrast, 0.0, &once));
    let everything = AlbefTaskConfig::default();
    assert_eq!(loss(&everything, 0.1, &once), loss(&everything, 0.1, &once));
    // Each pass drops something of its own.
    let setup = Setup {
        dropout: 0.5,
        ..Setup::default()
    };
    let task = setup.task();
    let inputs = task.upload(&once, Purpose::Train);
    let drawn = inputs.dropout.expect("on");
    let passes = [
        &drawn.text,
        &drawn.momentum_text,
        &drawn.fusion,
        &drawn.mlm,
        &drawn.momentum_mlm,
    ];
    let encoders = &task.model.encoders;
    let embeds = passes.map(|dropout| {
        let embeds = encoders.encode_text(inputs.ids.clone(), &inputs.mask_pad, Some(dropout));
        embeds.try_to_vec_as::<f32>().expect("readable")
    });
    for (index, embed) in embeds.iter().enumerate() {
        assert!(!embeds[..index].contains(embed));
    }
}

#[test]
fn validation_drops_nothing_and_draws_nothing() {
    let task = |dropout| {
        let setup = Setup {
            dropout,
            ..Setup::default()
        };
        setup.task().valid()
    };
    let batch = batch(0);
    let plain = judge(&task(0.0), &batch);
    assert_eq!(judge(&task(0.5), &batch), plain);
    let (with, without) = (task(0.5).embed(&batch), task(0.0).embed(&batch));
    let data = |tensor: Tensor<2>| tensor.try_to_vec_as::<f32>().expect("readable");
    assert_eq!(data(with.texts), data(without.texts));
    assert_eq!(data(with.images), data(without.images));
}

#[test]
fn masked_language_needs_its_head() {
    let setup = Setup::default();
    let mut model = setup.model();
    model.text_cfg.mlm_head = false;
    let device = Device::flex();
    let build = |config: AlbefTaskConfig| {
        let texts = setup.task().texts().clone();
        let queue = model.init_queue(0, &device);
        AlbefTask::new(
            model.init(0, &device),
            queue,
            config,
            texts,
            Normalization::default(),
            1,
        )
    };
    assert_eq!(
        build(AlbefTaskConfig::default()).expect_err("no head"),
        TaskError::MissingMlmHead
    );
    let without = AlbefTaskConfig {
        mlm_weight: 0.0,
        ..AlbefTaskConfig::default()
    };
    build(without).expect("valid");
}
