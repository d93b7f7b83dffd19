//! How large requests are; what they take is proportional to it.

use crate::rng::Rng;

/// A distribution of mean 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sizes {
    /// All the same.
    Equal,
    /// As of a queue in a textbook.
    Exponential,
    /// Bounded Pareto: most are small, and a few make up much of the work.
    Pareto {
        /// How fast the tail falls; about 1.1 to 1.3 for files on the web.
        alpha: f64,
        /// The largest, in units of the smallest.
        range: f64,
    },
}

impl Sizes {
    /// From 4 KB to 100 MB: the largest takes 25,000 times the smallest.
    pub const HEAVY: Self = Self::Pareto { alpha: 1.2, range: 25_000.0 };

    /// One of them.
    pub fn draw(self, rng: &mut Rng) -> f64 {
        match self {
            Self::Equal => 1.0,
            Self::Exponential => rng.exponential(),
            Self::Pareto { alpha, range } => {
                // The inverse of the bounded distribution's function, over its mean.
                let tail = 1.0 - range.powf(-alpha);
                let size = (1.0 - rng.unit() * tail).powf(-1.0 / alpha);
                size / mean(alpha, range)
            }
        }
    }
}

/// The mean of a bounded Pareto distribution whose smallest value is 1.
fn mean(alpha: f64, range: f64) -> f64 {
    let tail = 1.0 - range.powf(-alpha);
    alpha / (alpha - 1.0) * (1.0 - range.powf(1.0 - alpha)) / tail
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_mean_one_and_their_bounds() {
        for (sizes, tolerance) in [
            (Sizes::Equal, 1e-9),
            (Sizes::Exponential, 0.01),
            (Sizes::Pareto { alpha: 1.5, range: 1000.0 }, 0.03),
            (Sizes::HEAVY, 0.15),
        ] {
            let mut rng = Rng::new(3);
            let drawn: Vec<f64> = (0..1_000_000).map(|_| sizes.draw(&mut rng)).collect();
            let mean = drawn.iter().sum::<f64>() / drawn.len() as f64;
            assert!((mean - 1.0).abs() < tolerance, "{sizes:?}: {mean}");
            if let Sizes::Pareto { range, .. } = sizes {
                let (low, high) = drawn.iter().fold((f64::MAX, 0.0_f64), |(low, high), size| {
                    (low.min(*size), high.max(*size))
                });
                assert!(high / low <= range * 1.000_001);
            }
        }
    }
}
