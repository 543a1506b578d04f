//! Sizes and crops, with Python's rounding.

use super::config::{RandomResizedCropConfig, ResizeMode};
use super::draw::{below, uniform};
use crate::resize::Region;
use rand::Rng;

/// (width, height) that an image takes before it is cut or padded to a square of edge `size`.
pub(super) fn fitted_size((width, height): (u32, u32), size: u32, mode: ResizeMode) -> (u32, u32) {
    let (shorter, longer) = (width.min(height), width.max(height));
    match mode {
        ResizeMode::Squash => (size, size),
        ResizeMode::ShortestCrop => {
            // torchvision: int(size * long / short)
            let long = (f64::from(size) * f64::from(longer) / f64::from(shorter)) as u32;
            if width <= height { (size, long) } else { (long, size) }
        }
        ResizeMode::LongestPad => {
            // open_clip's ResizeKeepRatio: round(edge / ratio), at least one pixel
            let ratio = f64::from(longer) / f64::from(size);
            let edge = |length: u32| ((f64::from(length) / ratio).round_ties_even() as u32).max(1);
            (edge(width), edge(height))
        }
    }
}

/// Where the square lies on an image of `fitted_size`: it cuts (positive) or pads (negative) so many pixels.
///
/// torchvision cuts `int(round(rest / 2.0))` pixels, half to even, on the left and on top; open_clip pads with the smaller half
/// there.
pub(super) fn square_offset((width, height): (u32, u32), size: u32) -> [i64; 2] {
    [width, height].map(|length| {
        let rest = i64::from(length) - i64::from(size);
        if rest >= 0 {
            (rest as f64 / 2.0).round_ties_even() as i64
        } else {
            -(-rest / 2)
        }
    })
}

/// torchvision's `RandomResizedCrop.get_params`: ten tries, then the largest centred part with an allowed ratio.
pub(super) fn random_region<R: Rng + ?Sized>(
    rng: &mut R,
    (width, height): (u32, u32),
    config: &RandomResizedCropConfig,
) -> Region {
    let area = f64::from(width) * f64::from(height);
    let log_ratio = config.ratio.map(libm::log);
    for _ in 0..10 {
        let target = area * uniform(rng, config.scale);
        let ratio = libm::exp(uniform(rng, log_ratio));
        let w = (target * ratio).sqrt().round_ties_even() as u32;
        let h = (target / ratio).sqrt().round_ties_even() as u32;
        if 0 < w && w <= width && 0 < h && h <= height {
            let top = below(rng, height - h + 1);
            let left = below(rng, width - w + 1);
            return Region {
                left,
                top,
                width: w,
                height: h,
            };
        }
    }
    let ratio = f64::from(width) / f64::from(height);
    let (w, h) = if ratio < config.ratio[0] {
        (width, (f64::from(width) / config.ratio[0]).round_ties_even() as u32)
    } else if ratio > config.ratio[1] {
        ((f64::from(height) * config.ratio[1]).round_ties_even() as u32, height)
    } else {
        (width, height)
    };
    // torchvision: (height - h) // 2
    let (w, h) = (w.clamp(1, width), h.clamp(1, height));
    Region {
        left: (width - w) / 2,
        top: (height - h) / 2,
        width: w,
        height: h,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::ChaCha8Rng;

    #[test]
    fn sizes_round_like_python() {
        assert_eq!(fitted_size((50, 37), 32, ResizeMode::ShortestCrop), (43, 32));
        assert_eq!(fitted_size((45, 60), 224, ResizeMode::ShortestCrop), (224, 298));
        assert_eq!(fitted_size((50, 37), 32, ResizeMode::Squash), (32, 32));
        // round(37 / (50 / 32)) = round(23.68); round(2.5) = 2
        assert_eq!(fitted_size((50, 37), 32, ResizeMode::LongestPad), (32, 24));
        assert_eq!(fitted_size((64, 5), 32, ResizeMode::LongestPad), (32, 2));
        assert_eq!(fitted_size((1000, 1), 32, ResizeMode::LongestPad), (32, 1));
    }

    #[test]
    fn the_centre_rounds_half_to_even() {
        assert_eq!(square_offset((33, 37), 32), [0, 2]);
        assert_eq!(square_offset((43, 35), 32), [6, 2]);
        assert_eq!(square_offset((231, 224), 224), [4, 0]);
        assert_eq!(square_offset((27, 31), 32), [-2, 0]);
    }

    #[test]
    fn random_parts_keep_scale_and_ratio() {
        let config = RandomResizedCropConfig {
            scale: [0.2, 0.5],
            ratio: [0.75, 4.0 / 3.0],
        };
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut areas = vec![];
        for _ in 0..300 {
            let region = random_region(&mut rng, (400, 300), &config);
            assert!(region.left + region.width <= 400 && region.top + region.height <= 300);
            let ratio = f64::from(region.width) / f64::from(region.height);
            assert!((0.73..1.37).contains(&ratio), "{region:?}");
            areas.push(f64::from(region.width * region.height) / 120_000.0);
        }
        let mean = areas.iter().sum::<f64>() / 300.0;
        assert!((0.33..0.37).contains(&mean), "{mean}");
        assert!(areas.iter().all(|a| (0.19..0.51).contains(a)));
    }

    /// No part of a 1000x10 image with at least 90 % of its area has such a ratio.
    #[test]
    fn impossible_parts_fall_back_to_the_centre() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let region = random_region(&mut rng, (1000, 10), &RandomResizedCropConfig::default());
        assert_eq!(
            region,
            Region {
                left: 493,
                top: 0,
                width: 13,
                height: 10
            }
        );
    }
}
