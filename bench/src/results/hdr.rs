//! Latencies on disk: HdrHistogram V2 logs, and percentile tables.
//!
//! The logs hold nanoseconds and merge without loss; the public plotter of HdrHistogram opens them,
//! and the tables too.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hdrhistogram::Histogram;
use hdrhistogram::serialization::interval_log::{
    IntervalLogIterator, IntervalLogWriterBuilder, LogEntry, Tag,
};
use hdrhistogram::serialization::{Deserializer, V2DeflateSerializer};

use crate::load::latency_histogram;

/// Interval maxima are shown in milliseconds, as the format's other writers do.
const MAX_DIVISOR: f64 = 1e6;

const NS_PER_MS: f64 = 1e6;

/// Steps of a percentile table between two halvings of the distance to 100 %, the usual number.
const TICKS_PER_HALF: u32 = 5;

/// One interval of a log.
#[derive(Debug, Clone)]
pub struct Interval {
    /// How the load was driven.
    pub tag: String,
    /// Latencies in nanoseconds.
    pub histogram: Histogram<u64>,
}

/// Appends an interval to the log at `path`, which is begun where it is missing.
///
/// # Errors
///
/// The file cannot be written, or the tag holds a character that the format has a use for.
pub fn append(
    path: &Path,
    tag: &str,
    began: SystemTime,
    length: Duration,
    histogram: &Histogram<u64>,
) -> io::Result<()> {
    let tag = Tag::new(tag).ok_or_else(|| io::Error::other(format!("'{tag}' is no tag")))?;
    let is_new = !path.exists();
    let (mut text, mut serializer) = (Vec::new(), V2DeflateSerializer::new());
    {
        let mut builder = IntervalLogWriterBuilder::new();
        builder.with_max_value_divisor(MAX_DIVISOR);
        let since_epoch = began.duration_since(UNIX_EPOCH).unwrap_or_default();
        if is_new {
            // As HdrHistogram's own logs begin.
            builder.add_comment("[Histogram log format version 1.3]");
            builder.add_comment("latencies in nanoseconds, by fxsrv-bench");
            builder.with_start_time(began);
        }
        let mut writer = builder.begin_log_with(&mut text, &mut serializer)?;
        writer
            .write_histogram(histogram, since_epoch, length, Some(tag))
            .map_err(|error| io::Error::other(format!("{error:?}")))?;
    }
    OpenOptions::new().create(true).append(true).open(path)?.write_all(&text)
}

/// Reads all intervals of a log.
///
/// # Errors
///
/// The file cannot be read, or is no such log.
pub fn read(path: &Path) -> io::Result<Vec<Interval>> {
    let text = fs::read(path)?;
    let broken = |what: String| io::Error::other(format!("{}: {what}", path.display()));
    let mut found = Vec::new();
    for entry in IntervalLogIterator::new(&text) {
        let entry = entry.map_err(|error| broken(format!("{error:?}")))?;
        let LogEntry::Interval(interval) = entry else { continue };
        let bytes = base64(interval.encoded_histogram())
            .ok_or_else(|| broken("a histogram is not in base64".to_owned()))?;
        let histogram = Deserializer::new()
            .deserialize(&mut bytes.as_slice())
            .map_err(|error| broken(error.to_string()))?;
        let tag = interval.tag().map(|tag| tag.as_str().to_owned()).unwrap_or_default();
        found.push(Interval { tag, histogram });
    }
    Ok(found)
}

/// All intervals of one tag, as one.
///
/// # Errors
///
/// One has values beyond the bounds that all share.
pub fn merged(intervals: &[Interval], tag: &str) -> io::Result<Histogram<u64>> {
    let mut all = latency_histogram();
    for interval in intervals.iter().filter(|interval| interval.tag == tag) {
        all.add(&interval.histogram).map_err(|error| io::Error::other(error.to_string()))?;
    }
    Ok(all)
}

/// A percentile table in the layout of HdrHistogram's own tools, in milliseconds.
#[must_use]
pub fn hgrm(histogram: &Histogram<u64>) -> String {
    let mut text = String::from("       Value     Percentile TotalCount 1/(1-Percentile)\n\n");
    for step in histogram.iter_quantiles(TICKS_PER_HALF) {
        let value = step.value_iterated_to() as f64 / NS_PER_MS;
        let quantile = step.quantile_iterated_to();
        let count = histogram.count_between(0, step.value_iterated_to());
        // Writing to a string does not fail.
        let _ = if quantile < 1.0 {
            let inverse = 1.0 / (1.0 - quantile);
            writeln!(text, "{value:12.3} {quantile:14.12} {count:10} {inverse:14.2}")
        } else {
            writeln!(text, "{value:12.3} {quantile:14.12} {count:10}")
        };
    }
    let _ = writeln!(
        text,
        "#[Mean    = {:12.3}, StdDeviation   = {:12.3}]\n\
         #[Max     = {:12.3}, Total count    = {:12}]\n\
         #[Buckets = {:12}, SubBuckets     = {:12}]",
        histogram.mean() / NS_PER_MS,
        histogram.stdev() / NS_PER_MS,
        histogram.max() as f64 / NS_PER_MS,
        histogram.len(),
        histogram.buckets(),
        histogram.distinct_values(),
    );
    text
}

/// Standard base64 with padding: the one form that the format uses.
fn base64(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u32> = text.trim_end_matches('=').bytes().map(digit).collect::<Option<_>>()?;
    let mut bytes = Vec::with_capacity(digits.len() * 3 / 4);
    for group in digits.chunks(4) {
        let word = group.iter().fold(0, |word, digit| word << 6 | digit);
        let word = word << (6 * (4 - group.len()));
        bytes.extend_from_slice(&word.to_be_bytes()[1..group.len()]);
    }
    Some(bytes)
}

fn digit(byte: u8) -> Option<u32> {
    Some(match byte {
        b'A'..=b'Z' => u32::from(byte - b'A'),
        b'a'..=b'z' => u32::from(byte - b'a') + 26,
        b'0'..=b'9' => u32::from(byte - b'0') + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    fn sample(seed: u64, count: usize) -> Histogram<u64> {
        let (mut rng, mut histogram) = (Rng::new(seed), latency_histogram());
        for _ in 0..count {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            histogram.saturating_record(1_000 + (rng.exponential() * 2e6) as u64);
        }
        histogram
    }

    #[test]
    fn logs_read_back_and_merged_give_the_same_percentiles() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cell.hlog");
        let parts: Vec<_> = (0..3).map(|seed| sample(seed, 5_000)).collect();
        let other = sample(9, 10);
        for part in &parts {
            append(&path, "open", SystemTime::now(), Duration::from_secs(2), part).unwrap();
        }
        append(&path, "closed", SystemTime::now(), Duration::from_secs(2), &other).unwrap();

        let intervals = read(&path).unwrap();
        assert_eq!(intervals.len(), 4);
        let merged = merged(&intervals, "open").unwrap();
        let mut whole = latency_histogram();
        for part in &parts {
            whole.add(part).unwrap();
        }
        assert_eq!(merged.len(), 15_000);
        for quantile in [0.0, 0.5, 0.9, 0.99, 0.999, 0.9999, 1.0] {
            assert_eq!(merged.value_at_quantile(quantile), whole.value_at_quantile(quantile));
        }
        assert_eq!(super::merged(&intervals, "closed").unwrap(), other);
    }

    #[test]
    fn a_log_has_one_heading() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cell.hlog");
        for _ in 0..2 {
            append(&path, "open", SystemTime::now(), Duration::from_secs(1), &sample(1, 9))
                .unwrap();
        }
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.matches("#latencies").count(), 1, "{text}");
        assert!(append(&path, "a b", SystemTime::now(), Duration::ZERO, &sample(1, 9)).is_err());
    }

    #[test]
    fn base64_has_its_known_vectors() {
        for (text, bytes) in [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9vYmFy", "foobar")] {
            assert_eq!(base64(text).unwrap(), bytes.as_bytes());
        }
        assert_eq!(base64("a b"), None);
    }

    #[test]
    fn a_table_ends_at_the_maximum() {
        let histogram = sample(4, 1_000);
        let table = hgrm(&histogram);
        assert!(table.contains("1.000000000000       1000\n"), "{table}");
        assert!(table.contains("Total count    =         1000"), "{table}");
    }
}
