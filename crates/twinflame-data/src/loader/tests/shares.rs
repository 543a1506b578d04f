//! Shares of an epoch: of the parts of a mixture, and of processes.

use super::*;

/// Samples 0 to 5 and 6 to 29, weighted 1 to 2.
fn mixture(per_epoch: usize) -> Made {
    let share = |name: &str, samples, weight| Share {
        name: name.to_owned(),
        samples,
        weight,
    };
    Made {
        shares: vec![share("few", 0..6, 1.0), share("many", 6..30, 2.0)],
        per_epoch,
        ..Made::new(30)
    }
}

#[test]
fn a_mixture_takes_of_each_part_what_its_weight_says() {
    let train = loader(mixture(50), &config(8, 2), LoaderMode::Train);
    assert_eq!((train.num_batches(), train.num_left_out()), (6, 2));
    assert_eq!(
        train.epoch_in_words(),
        "an epoch is 6 batches of 8: 50 samples fill 6, each time few 16 of 6, many 32 of 24; the 2 that fill no batch are not drawn"
    );
    let mut times = [0; 30];
    let mut seeds = HashSet::new();
    for _ in 0..6 {
        let batches = epoch(&train);
        let few = indices(&batches).iter().filter(|index| **index < 6).count();
        assert_eq!(few, 16);
        for batch in &batches {
            for (&index, &seed) in batch.sample_indices.iter().zip(&batch.sample_seeds) {
                times[index] += 1;
                assert!(seeds.insert((index, seed)), "sample {index} is drawn alike twice");
            }
        }
    }
    // 96 draws of 6 samples, 192 of 24.
    assert!(
        times[..6].iter().all(|&times| times == 16) && times[6..].iter().all(|&times| times == 8),
        "{times:?}"
    );
}

#[test]
fn an_unreadable_sample_of_a_mixture_is_replaced_by_one_of_its_part() {
    let source = Made {
        unreadable: [0, 1, 2].into(),
        ..mixture(48)
    };
    let batches = epoch(&loader(source, &config(8, 2), LoaderMode::Train));
    let drawn = indices(&batches);
    assert_eq!(drawn.iter().filter(|index| (3..6).contains(*index)).count(), 16);
    assert_eq!(drawn.len(), 48);
}

#[test]
fn impossible_mixtures_are_refused() {
    let refused =
        |source, config: &LoaderConfig| try_loader(source, config, LoaderMode::Train).err().unwrap().to_string();
    let distinct = LoaderConfig {
        distinct_ids: true,
        ..config(8, 0)
    };
    assert!(refused(mixture(50), &distinct).contains("kind = \"mixture\" takes stated shares"));
    let mut source = mixture(50);
    source.shares[0].weight = 0.001;
    assert_eq!(
        refused(source, &config(8, 0)),
        "data.train.sources.few: of 48 samples an epoch its weight is not worth one; raise it or samples_per_epoch"
    );
    assert!(matches!(
        try_loader(mixture(5), &config(8, 0), LoaderMode::Train),
        Err(LoaderError::TooFewSamples { num_samples: 5, .. })
    ));
}

#[test]
fn processes_share_out_every_pass() {
    for num_ranks in [1, 2, 3, 7] {
        let distinct = LoaderConfig {
            distinct_ids: true,
            ..config(2, 1)
        };
        for (source, config) in [
            (Made::new(100), config(4, 1)),
            (mixture(100), config(4, 1)),
            (
                Made {
                    per_id: 3,
                    ..Made::new(90)
                },
                distinct,
            ),
        ] {
            let (is_mixture, per_id) = (!source.shares.is_empty(), source.per_id);
            let whole = loader(source, &config, LoaderMode::Train);
            let ranks: Vec<ImageTextLoader> = (0..num_ranks)
                .map(|rank| whole.for_rank(rank, num_ranks).unwrap())
                .collect();
            for _ in 0..2 {
                let epochs: Vec<Vec<ImageTextBatch>> = ranks.iter().map(epoch).collect();
                assert!(epochs.iter().all(|epoch| epoch.len() == ranks[0].num_batches()));
                let mut seen = HashSet::new();
                for step in 0..ranks[0].num_batches() {
                    let samples: Vec<usize> = epochs
                        .iter()
                        .flat_map(|epoch| epoch[step].sample_indices.clone())
                        .collect();
                    assert_eq!(samples.len(), num_ranks * config.batch_size);
                    if config.distinct_ids {
                        let ids: HashSet<usize> = samples.iter().map(|sample| sample / per_id).collect();
                        assert_eq!(ids.len(), samples.len(), "distinct over all processes");
                    }
                    seen.extend(samples);
                }
                let drawn = num_ranks * config.batch_size * ranks[0].num_batches();
                assert!(
                    is_mixture || seen.len() == drawn,
                    "each sample once: {} of {drawn}",
                    seen.len()
                );
            }
            // Alone as without ranks.
            if num_ranks == 1 {
                assert_eq!(contents(epoch(&whole)), contents(epoch(&whole.for_rank(0, 1).unwrap())));
            }
        }
    }
    let whole = loader(Made::new(100), &config(4, 0), LoaderMode::Train);
    assert!(matches!(
        whole.for_rank(0, 26),
        Err(LoaderError::TooFewSamples {
            batch_size: 104,
            num_samples: 100
        })
    ));
    let eval = loader(Made::new(10), &config(4, 0), LoaderMode::Eval);
    assert_eq!(
        indices(&epoch(&eval.for_rank(1, 2).unwrap())),
        (0..10).collect::<Vec<_>>()
    );
}
