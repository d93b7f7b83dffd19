//! What a thread counts, and how the counts of threads become one.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::{Answered, Failed};

/// From 1 us to an hour, in nanoseconds, at three digits: 270 KiB each, whatever is recorded.
const LATENCY_NS_MIN: u64 = 1_000;
const LATENCY_NS_MAX: u64 = 3_600_000_000_000;
const DIGITS: u8 = 3;

/// An empty histogram of the bounds that all of them share.
///
/// # Panics
///
/// Never: the bounds are constants that the histogram takes.
#[must_use]
#[allow(clippy::expect_used)]
pub fn latency_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(LATENCY_NS_MIN, LATENCY_NS_MAX, DIGITS).expect("constant bounds")
}

/// Counts of one thread, or of all. Its size does not depend on how much is counted.
#[derive(Debug, Clone)]
pub struct Recorder {
    /// From the scheduled instant to the last byte of the answer, of requests that were answered.
    pub latency: Histogram<u64>,
    /// The same from the instant of sending. The difference is the time that was waited for a
    /// connection.
    pub service: Histogram<u64>,
    /// From the scheduled instant to the sending, where a connection was free: the generator's own
    /// lateness.
    pub lateness: Histogram<u64>,
    /// Requests that failed, by kind.
    pub failed: BTreeMap<&'static str, u64>,
    /// Bytes of bodies sent, of requests that were answered.
    pub up_bytes: u64,
    /// Bytes of bodies received.
    pub down_bytes: u64,
    /// Time that the server says it converted, and how many answers said so.
    pub convert_us: u64,
    /// Answers that told their time of conversion.
    pub convert_told: u64,
    /// When the first recorded request was due, from the start of the run.
    pub first_due: Option<Duration>,
    /// When the last one ended.
    pub last_end: Duration,
}

/// One recorded request, in times since the start of the run.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// When it was scheduled.
    pub due: Duration,
    /// When it was sent.
    pub sent: Duration,
    /// When the last byte of its answer was here.
    pub ended: Duration,
}

impl Default for Recorder {
    fn default() -> Self {
        Self {
            latency: latency_histogram(),
            service: latency_histogram(),
            lateness: latency_histogram(),
            failed: BTreeMap::new(),
            up_bytes: 0,
            down_bytes: 0,
            convert_us: 0,
            convert_told: 0,
            first_due: None,
            last_end: Duration::ZERO,
        }
    }
}

impl Recorder {
    /// Counts a request whose body has `up_bytes`.
    pub fn record(&mut self, times: Times, up_bytes: u64, outcome: Result<Answered, Failed>) {
        self.first_due = earlier(self.first_due, Some(times.due));
        self.last_end = self.last_end.max(times.ended);
        match outcome {
            Ok(answered) => {
                count(&mut self.latency, times.ended.saturating_sub(times.due));
                count(&mut self.service, times.ended.saturating_sub(times.sent));
                self.up_bytes += up_bytes;
                self.down_bytes += answered.body_bytes;
                if let Some(convert_us) = answered.convert_us {
                    self.convert_us += u64::from(convert_us);
                    self.convert_told += 1;
                }
            }
            Err(failed) => self.fail(failed),
        }
    }

    /// Counts how late a request was sent that found a free connection.
    pub fn record_lateness(&mut self, late: Duration) {
        count(&mut self.lateness, late);
    }

    /// Counts a request that failed.
    pub fn fail(&mut self, failed: Failed) {
        *self.failed.entry(failed.name()).or_default() += 1;
    }

    /// Adds the counts of another thread.
    ///
    /// # Panics
    ///
    /// Never: all histograms have the same bounds.
    #[allow(clippy::expect_used)]
    pub fn merge(&mut self, other: &Self) {
        for (own, other) in [
            (&mut self.latency, &other.latency),
            (&mut self.service, &other.service),
            (&mut self.lateness, &other.lateness),
        ] {
            own.add(other).expect("the same bounds");
        }
        for (kind, count) in &other.failed {
            *self.failed.entry(kind).or_default() += count;
        }
        self.up_bytes += other.up_bytes;
        self.down_bytes += other.down_bytes;
        self.convert_us += other.convert_us;
        self.convert_told += other.convert_told;
        self.first_due = earlier(self.first_due, other.first_due);
        self.last_end = self.last_end.max(other.last_end);
    }

    /// Requests that were answered as expected.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.latency.len()
    }

    /// Requests that were not.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failed.values().sum()
    }
}

fn earlier(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    one.into_iter().chain(other).min()
}

fn count(histogram: &mut Histogram<u64>, time: Duration) {
    let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    histogram.saturating_record(nanos.max(LATENCY_NS_MIN));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(value: u64) -> Duration {
        Duration::from_millis(value)
    }

    #[test]
    fn waiting_for_a_connection_counts_and_service_does_not_have_it() {
        let mut recorder = Recorder::default();
        let times = Times { due: millis(10), sent: millis(40), ended: millis(50) };
        let answered = Answered { body_bytes: 7, convert_us: Some(5) };
        recorder.record(times, 100, Ok(answered));
        assert!(recorder.latency.equivalent(recorder.latency.max(), 40_000_000));
        assert!(recorder.service.equivalent(recorder.service.max(), 10_000_000));
        assert_eq!((recorder.up_bytes, recorder.down_bytes), (100, 7));
    }

    #[test]
    fn failures_are_counted_apart() {
        let mut recorder = Recorder::default();
        let times = Times { due: millis(0), sent: millis(0), ended: millis(9_000) };
        recorder.record(times, 1, Err(Failed::Timeout));
        recorder.fail(Failed::Unsent);
        recorder.fail(Failed::Unsent);
        assert_eq!((recorder.answered(), recorder.failures()), (0, 3));
        assert_eq!(recorder.failed["unsent"], 2);
    }

    #[test]
    fn threads_add_up() {
        let (mut one, mut two) = (Recorder::default(), Recorder::default());
        let times = |ended| Times { due: millis(0), sent: millis(0), ended: millis(ended) };
        let answered = Answered { body_bytes: 1, convert_us: None };
        one.record(times(1), 1, Ok(answered));
        two.record(times(1_000), 1, Ok(answered));
        two.fail(Failed::Broken);
        one.merge(&two);
        assert_eq!((one.answered(), one.failures(), one.last_end), (2, 1, millis(1_000)));
        assert!(one.latency.equivalent(one.latency.max(), 1_000_000_000));
    }
}
