//! Distributions of times.
//!
//! Buckets grow with what they hold, as in an HDR histogram: each power of two is cut into 16, so
//! that a quantile is at most a sixteenth (6.25 %) too high. That takes 3.4 KiB a histogram, bounded,
//! and an addition costs a shift; the `hdrhistogram` crate has no form that one thread writes and
//! another reads.

use std::time::Instant;

use super::counter::Counter;

/// A power of two has 2^4 buckets.
const SUB_BITS: u32 = 4;
const SUB_COUNT: usize = 1 << SUB_BITS;

/// Times up to 2^30 microseconds, 18 minutes; what is longer counts as that.
const VALUE_BITS: u32 = 30;

/// 16 for the times below 16 us, and 16 for each of the 26 powers of two above.
const BUCKETS: usize = (VALUE_BITS - SUB_BITS + 1) as usize * SUB_COUNT;

/// Times in microseconds, written by one thread.
#[derive(Debug)]
pub struct Histogram {
    buckets: [Counter; BUCKETS],
    sum_us: Counter,
    max_us: Counter,
}

/// The sum of several histograms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Latency {
    buckets: Vec<u64>,
    sum_us: u64,
    max_us: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: std::array::from_fn(|_| Counter::default()),
            sum_us: Counter::default(),
            max_us: Counter::default(),
        }
    }
}

impl Histogram {
    /// Counts the time that has passed since `started`.
    pub fn record_since(&self, started: Instant) {
        self.record(u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX));
    }

    /// Counts a time of `us` microseconds.
    pub fn record(&self, us: u64) {
        self.buckets[bucket_of(us)].add(1);
        self.sum_us.add(us);
        self.max_us.raise_to(us);
    }
}

impl Default for Latency {
    fn default() -> Self {
        Self { buckets: vec![0; BUCKETS], sum_us: 0, max_us: 0 }
    }
}

impl Latency {
    pub(super) fn add(&mut self, histogram: &Histogram) {
        for (sum, bucket) in self.buckets.iter_mut().zip(&histogram.buckets) {
            *sum += bucket.read();
        }
        self.sum_us += histogram.sum_us.read();
        self.max_us = self.max_us.max(histogram.max_us.read());
    }

    /// The time that a share of `quantile` (0 to 1) does not exceed; 0 where nothing was counted.
    #[must_use]
    pub fn quantile(&self, quantile: f64) -> u64 {
        let count = self.count();
        #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
        #[allow(clippy::cast_sign_loss, reason = "a share of a count is a count")]
        let rank = ((count as f64 * quantile).ceil() as u64).clamp(1, count.max(1));
        let mut seen = 0;
        for (bucket, held) in self.buckets.iter().enumerate() {
            seen += held;
            if seen >= rank {
                return upper_bound(bucket).min(self.max_us);
            }
        }
        0
    }

    /// For each power of two, how many times are not above it: the bound in microseconds, and the
    /// count.
    pub fn cumulative(&self) -> impl Iterator<Item = (u64, u64)> {
        let mut seen = 0;
        self.buckets.chunks(SUB_COUNT).enumerate().map(move |(row, held)| {
            seen += held.iter().sum::<u64>();
            (upper_bound(row * SUB_COUNT + SUB_COUNT - 1) + 1, seen)
        })
    }

    /// How many times were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// All times together.
    #[must_use]
    pub fn sum_us(&self) -> u64 {
        self.sum_us
    }

    /// The longest.
    #[must_use]
    pub fn max_us(&self) -> u64 {
        self.max_us
    }
}

fn bucket_of(us: u64) -> usize {
    let us = us.min((1 << VALUE_BITS) - 1);
    let exponent = us.checked_ilog2().unwrap_or(0);
    if exponent < SUB_BITS {
        return usize::try_from(us).unwrap_or(0);
    }
    let shift = exponent - SUB_BITS;
    let sub = usize::try_from(us >> shift).unwrap_or(0) - SUB_COUNT;
    (shift as usize + 1) * SUB_COUNT + sub
}

/// The largest time of a bucket.
fn upper_bound(bucket: usize) -> u64 {
    let (row, sub) = (bucket / SUB_COUNT, (bucket % SUB_COUNT) as u64);
    match row {
        0 => sub,
        _ => ((SUB_COUNT as u64 + sub + 1) << (row - 1)) - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_lies_in_its_bucket_and_buckets_do_not_overlap() {
        let mut last = None;
        for bucket in 0..BUCKETS {
            let upper = upper_bound(bucket);
            assert_eq!(bucket_of(upper), bucket);
            if let Some(last) = last {
                assert_eq!(bucket_of(last + 1), bucket, "no gap behind {last}");
            }
            last = Some(upper);
        }
        assert_eq!(last, Some((1 << VALUE_BITS) - 1));
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn a_quantile_is_at_most_a_sixteenth_too_high() {
        let histogram = Histogram::default();
        for us in 1..=100_000 {
            histogram.record(us);
        }
        let mut latency = Latency::default();
        latency.add(&histogram);
        for (quantile, exact) in [(0.5, 50_000), (0.9, 90_000), (0.99, 99_000), (1.0, 100_000)] {
            let told = latency.quantile(quantile);
            assert!((exact..=exact + exact / 16).contains(&told), "{quantile}: {told}");
        }
        assert_eq!((latency.count(), latency.max_us()), (100_000, 100_000));
        assert_eq!(latency.sum_us(), 100_000 * 100_001 / 2);
        assert_eq!(latency.cumulative().last(), Some((1 << VALUE_BITS, 100_000)));
        assert!(latency.cumulative().any(|pair| pair == (1024, 1023)));
    }

    #[test]
    fn nothing_has_no_quantile() {
        assert_eq!(Latency::default().quantile(0.99), 0);
    }
}
