//! What the holder of a token may do.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::date::Moment;

/// What a token may be used for: the operations of the wire by their numbers, and the file store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uses(u8);

/// By number: those of the wire, then the store, which has a protocol of its own.
const NAMES: [&str; 7] = ["status", "jpg", "png", "webp", "pdf", "text", "store"];

/// The place of the store among the uses.
const STORE: u16 = 6;

/// So many requests in so much time, which may all come at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub requests: u32,
    /// In what time.
    pub period: Duration,
}

/// The limits of one token. What is not said is not limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// From then on it is no good.
    pub expires: Option<Moment>,
    /// What it may be used for.
    pub uses: Uses,
    /// Bytes of one body.
    pub body_bytes_max: Option<u64>,
    /// Conversions in a time.
    pub rate: Option<Rate>,
    /// Conversions at once.
    pub concurrency: Option<u32>,
}

impl Default for Rules {
    fn default() -> Self {
        let (expires, uses) = (None, Uses::ALL);
        Self { expires, uses, body_bytes_max: None, rate: None, concurrency: None }
    }
}

impl Uses {
    /// Everything there is.
    pub const ALL: Self = Self(0x7f);

    /// Those of these names.
    ///
    /// # Errors
    ///
    /// One is unknown, or there are none.
    pub fn parse<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let mut uses = Self(0);
        for name in names {
            let at = NAMES.iter().position(|known| *known == name).ok_or_else(|| {
                format!("'{name}' is no operation; there are {}", NAMES.join(", "))
            })?;
            uses.0 |= 1 << at;
        }
        if uses.0 == 0 { Err("no operation is named".to_owned()) } else { Ok(uses) }
    }

    /// Whether the operation of this number is among them.
    #[must_use]
    pub fn has_operation(self, id: u16) -> bool {
        id < STORE && self.0 & (1 << id) != 0
    }

    /// Whether a file store is among them.
    #[must_use]
    pub fn has_store(self) -> bool {
        self.0 & (1 << STORE) != 0
    }

    /// Their names, in order.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        NAMES.into_iter().enumerate().filter(move |(at, _)| self.0 & (1 << at) != 0).map(|of| of.1)
    }
}

impl fmt::Display for Uses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names().collect::<Vec<_>>().join(", "))
    }
}

/// The units of a rate, in seconds.
const PERIODS: [(&str, u64); 4] = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)];

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (requests, unit) = text.split_once('/')?;
            let (_, seconds) = PERIODS.into_iter().find(|(name, _)| *name == unit.trim())?;
            let requests = requests.trim().parse().ok().filter(|requests| *requests > 0)?;
            Some(Self { requests, period: Duration::from_secs(seconds) })
        };
        parse()
            .ok_or_else(|| format!("'{text}' is no rate; a rate is 10/s, 100/m, 5000/h or 20000/d"))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.period.as_secs();
        let unit =
            PERIODS.into_iter().find(|(_, unit)| *unit == seconds).map_or("s", |unit| unit.0);
        write!(f, "{}/{unit}", self.requests)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::wire::{Operation, Version};

    #[test]
    fn uses_have_the_names_and_numbers_of_the_wire() {
        for id in 0..STORE {
            let operation = Operation::from_id(id, Version::V1_1).unwrap();
            let name = operation.name().to_lowercase();
            let uses = Uses::parse([name.as_str()]).unwrap();
            assert!(uses.has_operation(id) && uses.names().eq([name.as_str()]));
            assert!(!uses.has_operation((id + 1) % STORE) && !uses.has_store());
        }
        assert_eq!(Operation::from_id(STORE, Version::V1_1), None);
        assert!(Uses::parse(["store"]).unwrap().has_store());
        assert_eq!(Uses::parse(NAMES).unwrap(), Uses::ALL);
        assert!(!Uses::ALL.has_operation(STORE) && !Uses::ALL.has_operation(u16::MAX));
        assert!(Uses::parse(["jpeg"]).unwrap_err().contains("jpg"));
        assert!(Uses::parse([]).is_err());
    }

    #[test]
    fn a_rate_reads_back_as_it_is_written() {
        for text in ["1/s", "100/m", "5000/h", "7/d"] {
            assert_eq!(text.parse::<Rate>().unwrap().to_string(), text);
        }
        for text in ["", "0/s", "1", "1/w", "/s", "-1/s", "1.5/s"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }
}
