//! When requests are due: a pure sequence, the same for the same seed.

use std::str::FromStr;
use std::time::Duration;

use crate::rng::Rng;

/// How the arrivals of an open loop are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrivals {
    /// At equal distances.
    Constant,
    /// As of many users who know nothing of each other.
    Poisson,
}

impl Arrivals {
    /// The name in plans and results.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Constant => "constant",
            Self::Poisson => "poisson",
        }
    }
}

impl FromStr for Arrivals {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        [Self::Constant, Self::Poisson]
            .into_iter()
            .find(|arrivals| arrivals.name() == name)
            .ok_or_else(|| format!("'{name}' are no arrivals; there are constant and poisson"))
    }
}

/// The instants of all requests, counted from the start of the run.
#[derive(Debug, Clone)]
pub struct Schedule {
    arrivals: Arrivals,
    rate: f64,
    end: Duration,
    sent: u64,
    /// Seconds of the last Poisson arrival.
    at: f64,
    rng: Rng,
}

impl Schedule {
    /// Arrivals of `rate` a second until `end`.
    ///
    /// # Panics
    ///
    /// Panics where `rate` is not above zero; plans are checked for that.
    #[must_use]
    pub fn new(arrivals: Arrivals, rate: f64, end: Duration, seed: u64) -> Self {
        assert!(rate > 0.0 && rate.is_finite(), "{rate} requests a second");
        Self { arrivals, rate, end, sent: 0, at: 0.0, rng: Rng::new(seed) }
    }

    /// The share of one of several threads. Every thread draws the whole schedule and takes its
    /// own turns of it, so that the run does not depend on how threads happen to be scheduled.
    pub fn share(self, thread: usize, threads: usize) -> impl Iterator<Item = Duration> + Clone {
        self.skip(thread).step_by(threads)
    }
}

impl Iterator for Schedule {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let seconds = match self.arrivals {
            // From the count and not from the last one: gaps that are summed up drift.
            Arrivals::Constant => self.sent as f64 / self.rate,
            Arrivals::Poisson => {
                self.at += self.rng.exponential() / self.rate;
                self.at
            }
        };
        self.sent += 1;
        let due = Duration::from_secs_f64(seconds);
        (due < self.end).then_some(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: Duration = Duration::from_secs(100);

    #[test]
    fn constant_arrivals_do_not_drift() {
        let dues: Vec<_> = Schedule::new(Arrivals::Constant, 3.0, END, 1).collect();
        assert_eq!(dues.len(), 300);
        assert_eq!(dues[0], Duration::ZERO);
        assert_eq!(dues[297], Duration::from_secs(99));
    }

    #[test]
    fn poisson_arrivals_have_the_rate_and_the_spread() {
        let dues: Vec<_> = Schedule::new(Arrivals::Poisson, 50.0, END, 1).collect();
        assert!((4_800..5_200).contains(&dues.len()), "{}", dues.len());
        assert!(dues.is_sorted());
        // The deviation of an exponential gap is its mean.
        let gap = |pair: &[Duration]| pair[1].as_secs_f64() - pair[0].as_secs_f64();
        let gaps: Vec<_> = dues.windows(2).map(gap).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.05);
    }

    #[test]
    fn the_shares_of_all_threads_are_the_whole() {
        let whole = Schedule::new(Arrivals::Poisson, 20.0, END, 5);
        let mut shared: Vec<_> = (0..3).flat_map(|thread| whole.clone().share(thread, 3)).collect();
        shared.sort_unstable();
        assert_eq!(shared, whole.collect::<Vec<_>>());
    }
}
