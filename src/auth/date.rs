//! Moments, as far as a token's end needs them: UTC, to the second.

use std::fmt;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use toml::value::{Datetime, Offset};

const DAY_S: i64 = 86_400;

/// Seconds since 1970, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(i64);

impl Moment {
    /// This moment.
    #[must_use]
    pub fn now() -> Self {
        // A clock before 1970 is wrong, and must not open a door: everything has ended for it.
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Self(since.map_or(i64::MAX, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX)))
    }

    /// So many days later.
    #[must_use]
    pub fn plus_days(self, days: u32) -> Self {
        Self(self.0.saturating_add(i64::from(days) * DAY_S))
    }

    /// A date and time of a TOML file; without a time its first second, without an offset UTC.
    pub(super) fn from_toml(value: &Datetime) -> Result<Self, String> {
        let date = value.date.ok_or_else(|| format!("{value} has no date"))?;
        let days = days(i64::from(date.year), i64::from(date.month), i64::from(date.day));
        let time = value.time.map_or(0, |time| {
            let minutes = i64::from(time.hour) * 60 + i64::from(time.minute);
            minutes * 60 + i64::from(time.second.unwrap_or(0))
        });
        let offset = match value.offset {
            Some(Offset::Custom { minutes }) => i64::from(minutes) * 60,
            Some(Offset::Z) | None => 0,
        };
        Ok(Self(days * DAY_S + time - offset))
    }
}

/// `90d` from now, or a date as TOML writes it.
impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("'{text}' is no end; an end is 90d, 2030-12-31 or 2030-12-31T18:00:00Z");
        if let Some(days) = text.strip_suffix('d') {
            return days.parse().map(|days| Self::now().plus_days(days)).map_err(|_| wrong());
        }
        text.parse::<Datetime>().ok().and_then(|date| Self::from_toml(&date).ok()).ok_or_else(wrong)
    }
}

/// As TOML and RFC 3339 write it.
impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = date(self.0.div_euclid(DAY_S));
        let second = self.0.rem_euclid(DAY_S);
        let (hour, minute) = (second / 3600, second / 60 % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}Z", second % 60)
    }
}

/// Days from 1970-01-01 to a date of the Gregorian calendar. Years begin in March here, so that the
/// day that leap years add is the last: in eras of 400 years, which have 146,097 days.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The date so many days after 1970-01-01.
fn date(days: i64) -> (i64, i64, i64) {
    let days = days.saturating_add(719_468);
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let of_era = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * of_era + of_era / 4 - of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (of_era + era * 400 + i64::from(month <= 2), month, of_month)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_reads_back_as_it_is_written() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:30:01Z", 951_827_401),
            ("2026-11-22T13:00:00Z", 1_795_352_400),
            ("2100-03-01T00:00:00Z", 4_107_542_400),
        ] {
            assert_eq!(text.parse::<Moment>().unwrap(), Moment(seconds), "{text}");
            assert_eq!(Moment(seconds).to_string(), text);
        }
        let parse = |text: &str| text.parse::<Moment>().unwrap();
        assert_eq!(parse("2030-12-31"), parse("2030-12-31T00:00:00Z"));
        assert_eq!(parse("2030-12-31T01:00:00+01:00"), parse("2030-12-31T00:00:00Z"));
        assert!(parse("1d") > Moment::now() && parse("0d") <= Moment::now());
    }

    #[test]
    fn what_is_no_end_is_refused_with_what_is() {
        for text in ["", "d", "-1d", "soon", "12:30:00", "2030-13-01", "99999999999d"] {
            let error = text.parse::<Moment>().unwrap_err();
            assert!(error.contains("2030-12-31"), "{error}");
        }
    }

    #[test]
    fn every_day_of_four_centuries_has_its_date() {
        for day in -200_000..200_000 {
            let (year, month, of_month) = date(day);
            assert_eq!(days(year, month, of_month), day);
        }
    }
}
