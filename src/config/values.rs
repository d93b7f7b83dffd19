//! Values that are written the same way in a flag, a variable and a file.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{Deserializer, Error, Visitor};

/// A number of bytes: `1048576`, `512 KiB`, `10 MB`, `1G`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ByteSize(pub(crate) u64);

/// A time: `30s`, `500ms`, `5m`, or `30` for seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Period(pub(crate) Duration);

/// A lone letter is binary, as with `dd`, `head` and `ulimit`.
const BYTE_UNITS: [(&str, u64); 10] = [
    ("", 1),
    ("B", 1),
    ("K", 1 << 10),
    ("KiB", 1 << 10),
    ("KB", 1_000),
    ("M", 1 << 20),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("G", 1 << 30),
    ("GiB", 1 << 30),
];

const PERIOD_UNITS: [(&str, u64); 5] =
    [("", 1_000), ("s", 1_000), ("ms", 1), ("m", 60_000), ("h", 3_600_000)];

/// A day. Whoever wants to wait for longer has mistaken the unit.
const PERIOD_MS_MAX: u64 = 86_400_000;

/// Where spans go, over OTLP's HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Collector(pub(crate) String);

/// Where a collector takes spans, unless an address says otherwise.
const TRACES_PATH: &str = "/v1/traces";

impl FromStr for Collector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
        let (host, path) = rest.map_or(("", ""), |rest| rest.split_once('/').unwrap_or((rest, "")));
        if host.is_empty() || text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(format!(
                "'{text}' is no address of a collector; one is http://127.0.0.1:4318"
            ));
        }
        let url = text.trim_end_matches('/');
        let traces = if path.is_empty() { TRACES_PATH } else { "" };
        Ok(Self(format!("{url}{traces}")))
    }
}

/// A whole number and its unit, in the unit of 1.
fn with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim();
    let (_, factor) = units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        with_unit(text.trim(), &BYTE_UNITS).filter(|bytes| *bytes > 0).map(Self).ok_or_else(|| {
            format!("'{text}' is no size; a size is 1048576, 512 KiB, 64 MiB or 1 GiB")
        })
    }
}

impl FromStr for Period {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        with_unit(text.trim(), &PERIOD_UNITS)
            .filter(|ms| (1..=PERIOD_MS_MAX).contains(ms))
            .map(|ms| Self(Duration::from_millis(ms)))
            .ok_or_else(|| {
                format!("'{text}' is no time from 1ms to 24h; a time is 30s, 500ms or 5m")
            })
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        match units.into_iter().find(|(size, _)| self.0.is_multiple_of(*size)) {
            Some((size, unit)) => write!(f, "{} {unit}", self.0 / size),
            None => write!(f, "{} bytes", self.0),
        }
    }
}

/// Reads a value of a file as its flag is read: from a string, or from a bare number.
pub(super) fn parsed<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: fmt::Display>,
{
    struct Text;

    impl Visitor<'_> for Text {
        type Value = String;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string or a number")
        }

        fn visit_str<E>(self, text: &str) -> Result<String, E> {
            Ok(text.to_owned())
        }

        fn visit_i64<E>(self, number: i64) -> Result<String, E> {
            Ok(number.to_string())
        }

        fn visit_u64<E>(self, number: u64) -> Result<String, E> {
            Ok(number.to_string())
        }

        fn visit_f64<E>(self, number: f64) -> Result<String, E> {
            Ok(number.to_string())
        }
    }

    let text = deserializer.deserialize_any(Text)?;
    text.parse().map(Some).map_err(D::Error::custom)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_takes_spans_at_its_usual_path_or_where_it_says() {
        let url = |text: &str| text.parse::<Collector>().map(|Collector(url)| url);
        assert_eq!(url("http://[::1]:4318").unwrap(), "http://[::1]:4318/v1/traces");
        assert_eq!(url("https://host/").unwrap(), "https://host/v1/traces");
        assert_eq!(url("http://host/otlp/v1/traces").unwrap(), "http://host/otlp/v1/traces");
        for bad in ["", "host:4318", "http://", "http:///x", "grpc://host", "http://a b"] {
            assert!(url(bad).unwrap_err().contains("no address of a collector"), "{bad}");
        }
    }

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [
            ("1", 1),
            ("512 KiB", 512 << 10),
            ("64MiB", 64 << 20),
            ("64m", 64 << 20),
            ("10 MB", 10_000_000),
            ("1 GiB", 1 << 30),
        ] {
            assert_eq!(text.parse::<ByteSize>().unwrap(), ByteSize(bytes), "{text}");
        }
        for text in ["", "0", "-1", "1.5 MiB", "10 Mbit", "MiB", "99999999999 GiB"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
        assert_eq!(ByteSize(512 << 20).to_string(), "512 MiB");
        assert_eq!(ByteSize(1000).to_string(), "1000 bytes");
    }

    #[test]
    fn times_have_units() {
        for (text, ms) in [("30", 30_000), ("30s", 30_000), ("500 ms", 500), ("5m", 300_000)] {
            assert_eq!(
                text.parse::<Period>().unwrap(),
                Period(Duration::from_millis(ms)),
                "{text}"
            );
        }
        for text in ["", "0", "s", "1.5s", "25h", "5 days"] {
            assert!(text.parse::<Period>().is_err(), "{text}");
        }
    }
}
