//! Is B different from A: from pairs of measurements, with a stated risk of a false alarm.

use crate::rng::Rng;

/// Resamples: the 99 % interval of 2,000 has 10 of them beyond each end.
const RESAMPLES: usize = 2_000;

/// The chance that the interval misses the truth, both sides together.
const RISK: f64 = 0.01;

/// An effect smaller than this is none, however sure it is: a link order or a change of the weather
/// does as much.
const EFFECT_MIN: f64 = 0.02;

/// Where the interval reaches further than this to either side, the measurement says nothing.
const NOISE_MAX: f64 = 0.10;

/// A ratio with its 99 % interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratio {
    /// Lower end.
    pub low: f64,
    /// Geometric mean.
    pub mean: f64,
    /// Upper end.
    pub high: f64,
}

/// Whether more of a metric is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// As of throughput.
    More,
    /// As of latency and CPU.
    Less,
}

/// What a cell came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// B is better.
    Faster,
    /// B is worse.
    Slower,
    /// Neither, within what the interval shows.
    NoDifference,
    /// The machine does not say.
    TooNoisy,
}

impl Verdict {
    /// In words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Faster => "faster",
            Self::Slower => "slower",
            Self::NoDifference => "no difference",
            Self::TooNoisy => "too noisy to say",
        }
    }
}

/// The ratio of second to first over pairs of one round each, by a bootstrap of the logarithms: both
/// of a pair saw the same weather, and a ratio is as far from 1 upwards as downwards.
///
/// # Panics
///
/// Panics without a pair, or where a value is not above zero.
#[must_use]
pub fn ratio(pairs: &[(f64, f64)], seed: u64) -> Ratio {
    assert!(!pairs.is_empty(), "no pairs");
    let logs: Vec<f64> = pairs
        .iter()
        .map(|(first, second)| {
            assert!(*first > 0.0 && *second > 0.0, "{first} and {second} have no ratio");
            (second / first).ln()
        })
        .collect();
    let (mean, error) = mean_and_error(&logs);
    let mut rng = Rng::new(seed);
    // Studentised: a bootstrap of means alone is too narrow by a sixth for ten pairs.
    let mut deviations: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let sample: Vec<f64> = logs.iter().map(|_| logs[rng.below(logs.len())]).collect();
            let (resampled, error) = mean_and_error(&sample);
            if error > 0.0 { (resampled - mean) / error } else { 0.0 }
        })
        .collect();
    deviations.sort_by(f64::total_cmp);
    let tail = RESAMPLES / 2;
    // Ten resamples from each end for a risk of 1 %.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let beyond = ((RISK / 2.0 * RESAMPLES as f64) as usize).min(tail - 1);
    let (low, high) = (deviations[beyond], deviations[RESAMPLES - 1 - beyond]);
    Ratio { low: (mean - high * error).exp(), mean: mean.exp(), high: (mean - low * error).exp() }
}

/// What the ratio B to A says, beside that of A to another A. Where A differs from itself, nothing
/// is said.
#[must_use]
pub fn verdict(own: Ratio, other: Ratio, better: Better) -> Verdict {
    let margin = EFFECT_MIN.max(own.mean.ln().abs());
    if own.low > 1.0 + EFFECT_MIN || own.high < 1.0 - EFFECT_MIN {
        return Verdict::TooNoisy;
    }
    let (is_more, is_less) = (other.low.ln() > margin, other.high.ln() < -margin);
    match (better, is_more, is_less) {
        (Better::More, true, _) | (Better::Less, _, true) => Verdict::Faster,
        (Better::More, _, true) | (Better::Less, true, _) => Verdict::Slower,
        _ if other.high.ln() > NOISE_MAX || other.low.ln() < -NOISE_MAX => Verdict::TooNoisy,
        _ => Verdict::NoDifference,
    }
}

fn mean_and_error(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, (squares / (count - 1.0).max(1.0) / count).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUNDS: usize = 12;
    const SIMULATIONS: u64 = 200;

    /// A measurement of 100 with noise of some percent, whose tail is longer upwards, as time has it.
    fn measured(rng: &mut Rng, truth: f64, noise: f64) -> f64 {
        let bell = (0..12).map(|_| rng.unit()).sum::<f64>() - 6.0;
        let hiccup = if rng.unit() < 0.1 { rng.exponential() * noise * 2.0 } else { 0.0 };
        truth * (1.0 + bell * noise + hiccup)
    }

    fn simulate(effect: f64, noise: f64, better: Better) -> Vec<Verdict> {
        (0..SIMULATIONS)
            .map(|seed| {
                let mut rng = Rng::new(seed * 7 + 1);
                let rounds: Vec<_> = (0..ROUNDS)
                    .map(|_| {
                        // The weather of a round moves all three alike.
                        let weather = 100.0 * (1.0 + 0.2 * rng.unit());
                        [1.0, 1.0, effect].map(|truth| measured(&mut rng, truth * weather, noise))
                    })
                    .collect();
                let own: Vec<_> = rounds.iter().map(|[a, again, _]| (*a, *again)).collect();
                let other: Vec<_> = rounds.iter().map(|[a, _, b]| (*a, *b)).collect();
                verdict(ratio(&own, seed), ratio(&other, seed + 1), better)
            })
            .collect()
    }

    fn count(verdicts: &[Verdict], wanted: Verdict) -> usize {
        verdicts.iter().filter(|verdict| **verdict == wanted).count()
    }

    #[test]
    fn without_an_effect_there_are_few_alarms() {
        for noise in [0.01, 0.03, 0.10] {
            let verdicts = simulate(1.0, noise, Better::Less);
            let alarms = count(&verdicts, Verdict::Slower) + count(&verdicts, Verdict::Faster);
            // The stated risk is 1 %: 2 of 200; 6 are a chance of one in a hundred beyond it.
            assert!(alarms <= 6, "{alarms} of {SIMULATIONS} at a noise of {noise}");
        }
    }

    #[test]
    fn an_effect_is_found_and_has_its_direction() {
        let slower = simulate(1.10, 0.02, Better::Less);
        assert!(count(&slower, Verdict::Slower) > 180, "{}", count(&slower, Verdict::Slower));
        assert_eq!(count(&slower, Verdict::Faster), 0);
        let faster = simulate(1.10, 0.02, Better::More);
        assert!(count(&faster, Verdict::Faster) > 180);
        let five = simulate(1.05, 0.01, Better::Less);
        assert!(count(&five, Verdict::Slower) > 120, "{}", count(&five, Verdict::Slower));
    }

    #[test]
    fn noise_is_called_noise() {
        let verdicts = simulate(1.0, 0.15, Better::Less);
        assert!(count(&verdicts, Verdict::TooNoisy) > 150);
    }

    #[test]
    fn where_a_differs_from_itself_nothing_is_said() {
        let own = Ratio { low: 1.05, mean: 1.08, high: 1.1 };
        let other = Ratio { low: 1.4, mean: 1.5, high: 1.6 };
        assert_eq!(verdict(own, other, Better::Less), Verdict::TooNoisy);
    }
}
