//! Seeds as pure functions of positions.

/// What a seed is drawn for; keeps streams apart that share seed and position.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    /// Order of a pass.
    Order = 1,
    /// Augmentation and caption of a sample, and what the task draws for it.
    Sample = 2,
    /// The sample that replaces an unreadable one.
    Replacement = 3,
    /// Whether a sample has another one's caption, and whose.
    CaptionNoise = 4,
    /// A scene of a fixed list.
    Scene = 5,
    /// Whether a pair is kept for a query.
    Curation = 7,
    /// Image ids of a part of a mixture.
    Part = 8,
    /// Which pairs of emoji no training scene has.
    HeldOutPair = 6,
}

/// A seed for `purpose` at position `index` of pass `pass`, or of whatever else is counted.
pub(crate) fn derive(seed: u64, purpose: Purpose, pass: usize, index: usize) -> u64 {
    [purpose as u64, pass as u64, index as u64]
        .into_iter()
        .fold(mix(seed), |state, part| mix(state ^ part))
}

/// SplitMix64's step: a bijection of 64 bits that spreads neighbouring inputs (Steele, Lea and Flood 2014,
/// <https://doi.org/10.1145/2660193.2660195>).
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_mixer_is_splitmix64() {
        // First outputs of the reference implementation for state 0: the state advances by the golden gamma.
        assert_eq!(mix(0), 0xe220_a839_7b1d_cdaf);
        assert_eq!(mix(0x9e37_79b9_7f4a_7c15), 0x6e78_9e6a_a1b9_65f4);
    }

    #[test]
    fn positions_do_not_collide() {
        let mut seen = HashSet::new();
        for seed in 0..4 {
            for purpose in [
                Purpose::Order,
                Purpose::Sample,
                Purpose::Replacement,
                Purpose::CaptionNoise,
            ] {
                for pass in 0..8 {
                    for index in 0..64 {
                        assert!(seen.insert(derive(seed, purpose, pass, index)));
                    }
                }
            }
        }
    }
}
