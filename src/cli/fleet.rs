//! What a server says of itself and its fleet, for a person and for a program.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// An answer to a status request.
pub(super) struct Status {
    /// Keys and values of the server itself, in its order.
    own: Vec<(String, String)>,
    /// Keys and values of each worker, by its number.
    workers: BTreeMap<usize, Vec<(String, String)>>,
}

/// A column of the table: its head, the key that it shows, and how.
type Column = (&'static str, &'static str, fn(&str) -> String);

const COLUMNS: [Column; 13] = [
    ("worker", "address", ToOwned::to_owned),
    ("state", "state", ToOwned::to_owned),
    ("weight", "weight", ToOwned::to_owned),
    ("slots", "slots", ToOwned::to_owned),
    ("busy", "busy", ToOwned::to_owned),
    ("queue", "queued", ToOwned::to_owned),
    ("in flight", "in_flight", ToOwned::to_owned),
    ("bytes", "in_flight_bytes", bytes),
    ("memory left", "memory_budget_left", bytes),
    ("oldest", "oldest_job_ms", |ms| time(ms, 1_000.0)),
    ("children", "children", ToOwned::to_owned),
    ("lost", "children_lost", ToOwned::to_owned),
    ("latency", "latency_us", |us| time(us, 1.0)),
];

/// Columns of words; those of numbers are flush right.
const WORDS: usize = 2;

impl Status {
    /// Reads lines of `key=value`. What is no such line is passed over.
    pub(super) fn parse(text: &str) -> Self {
        let mut status = Self { own: Vec::new(), workers: BTreeMap::new() };
        for (key, value) in text.lines().filter_map(|line| line.split_once('=')) {
            let pair = |key: &str| (key.to_owned(), value.to_owned());
            match worker_key(key) {
                Some((number, key)) => status.workers.entry(number).or_default().push(pair(key)),
                None => status.own.push(pair(key)),
            }
        }
        status
    }

    /// What a key of the server itself says.
    pub(super) fn value(&self, key: &str) -> Option<&str> {
        value(&self.own, key)
    }

    /// The same of a number.
    pub(super) fn number(&self, key: &str) -> Option<u64> {
        self.value(key)?.parse().ok()
    }

    /// All numbers of the server itself.
    pub(super) fn numbers(&self) -> impl Iterator<Item = (&str, u64)> {
        self.own.iter().filter_map(|(key, value)| Some((key.as_str(), value.parse().ok()?)))
    }

    /// The table of workers alone; empty where there are none.
    pub(super) fn fleet(&self) -> String {
        if self.workers.is_empty() {
            return String::new();
        }
        self.table().split_once('\n').map_or_else(String::new, |(_, table)| table.to_owned())
    }

    /// Every line, as it came.
    pub(super) fn lines(&self) -> String {
        let mut text = String::new();
        for (key, value) in &self.own {
            let _ = writeln!(text, "{key}={value}");
        }
        for (number, pairs) in &self.workers {
            for (key, value) in pairs {
                let _ = writeln!(text, "worker.{number}.{key}={value}");
            }
        }
        text.trim_end().to_owned()
    }

    /// One object, with the workers as a list of objects.
    pub(super) fn json(&self) -> String {
        let mut fields: Vec<_> = self.own.iter().map(json_field).collect();
        if !self.workers.is_empty() {
            let object = |pairs: &Vec<_>| {
                format!("{{{}}}", pairs.iter().map(json_field).collect::<Vec<_>>().join(","))
            };
            let workers: Vec<_> = self.workers.values().map(object).collect();
            fields.retain(|field| !field.starts_with("\"workers\":"));
            fields.push(format!("\"workers\":[{}]", workers.join(",")));
        }
        format!("{{{}}}", fields.join(","))
    }

    /// A line about the server, and the fleet below it. A server without workers tells its own
    /// numbers instead.
    pub(super) fn table(&self) -> String {
        if self.workers.is_empty() {
            return self.lines();
        }
        let own = |key| value(&self.own, key).unwrap_or("?");
        let mut text = format!(
            "{} {}: {} of {} workers ready, {} requests in flight with {}",
            own("role"),
            own("version"),
            own("workers_ready"),
            own("workers"),
            own("in_flight"),
            bytes(own("in_flight_bytes")),
        );
        let mut rows = vec![COLUMNS.map(|(head, _, _)| head.to_owned())];
        rows.extend(self.workers.values().map(|pairs| {
            COLUMNS.map(|(_, key, show)| value(pairs, key).map_or_else(|| "-".to_owned(), show))
        }));
        let widths: [usize; COLUMNS.len()] = std::array::from_fn(|at| {
            rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0)
        });
        for row in rows {
            let cells = row.iter().zip(widths).enumerate().map(|(at, (cell, width))| {
                if at < WORDS { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
            });
            let _ = write!(text, "\n{}", cells.collect::<Vec<_>>().join("  ").trim_end());
        }
        text
    }
}

/// The number and the key of `worker.3.state`.
fn worker_key(key: &str) -> Option<(usize, &str)> {
    let (number, key) = key.strip_prefix("worker.")?.split_once('.')?;
    Some((number.parse().ok()?, key))
}

fn value<'a>(pairs: &'a [(String, String)], key: &str) -> Option<&'a str> {
    pairs.iter().find(|(own, _)| own == key).map(|(_, value)| value.as_str())
}

fn json_field((key, value): &(String, String)) -> String {
    format!("{}:{}", json_string(key), json_value(value))
}

/// A number where it reads back as the same, else a string.
fn json_value(value: &str) -> String {
    match value.parse::<u64>() {
        Ok(number) if number.to_string() == value => value.to_owned(),
        _ => json_string(value),
    }
}

/// RFC 8259, section 7: quote, backslash and control characters are escaped.
fn json_string(text: &str) -> String {
    let mut out = String::from("\"");
    for char in text.chars() {
        match char {
            '"' | '\\' => out.extend(['\\', char]),
            control if control < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(control));
            }
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

/// Bytes, as people say them; what is no number stays what it is.
pub(super) fn bytes(text: &str) -> String {
    const UNITS: [&str; 5] = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let Ok(count) = text.parse::<u64>() else { return text.to_owned() };
    let power = (count.max(1).ilog2() / 10).min(4);
    if power == 0 {
        return format!("{count} bytes");
    }
    // Two digits need no more precision than a double has.
    #[allow(clippy::cast_precision_loss)]
    let scaled = count as f64 / (1_u64 << (10 * power)) as f64;
    format!("{scaled:.1} {}", UNITS[power as usize])
}

/// A time of so many units of `us` microseconds.
fn time(text: &str, us: f64) -> String {
    let Ok(count) = text.parse::<u32>() else { return text.to_owned() };
    match f64::from(count) * us {
        micros if micros < 1e3 => format!("{micros:.0} us"),
        micros if micros < 1e6 => format!("{:.1} ms", micros / 1e3),
        micros => format!("{:.1} s", micros / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "role=master\nversion=0.1.0\nin_flight=3\nin_flight_bytes=1572864\n\
        workers=2\nworkers_ready=1\nworker.1.address=10.0.0.2:6000\nworker.1.state=up\n\
        worker.1.weight=3\nworker.1.slots=2\nworker.1.busy=1\nworker.1.queued=0\n\
        worker.1.in_flight=3\nworker.1.in_flight_bytes=1572864\n\
        worker.1.memory_budget_left=4294967296\nworker.1.oldest_job_ms=1250\n\
        worker.1.children=3\nworker.1.children_lost=2\nworker.1.latency_us=870\nworker.2.address=a\"b\nworker.2.state=down\nno line\n";

    #[test]
    fn a_person_sees_a_table() {
        assert_eq!(
            Status::parse(ANSWER).table(),
            "master 0.1.0: 1 of 2 workers ready, 3 requests in flight with 1.5 MiB\n\
             worker         state  weight  slots  busy  queue  in flight    bytes  memory left  oldest  children  lost  latency\n\
             10.0.0.2:6000  up          3      2     1      0          3  1.5 MiB      4.0 GiB   1.2 s         3     2   870 us\n\
             a\"b            down        -      -     -      -          -        -            -       -         -     -        -"
        );
        let worker = "role=worker\nslots=2";
        assert_eq!(Status::parse(worker).table(), worker);
    }

    #[test]
    fn a_program_sees_an_object_and_all_lines() {
        let text = "role=master\nworkers=1\nuptime_s=007\nworker.1.state=a\\b\u{1}\nworker.1.n=5";
        let status = Status::parse(text);
        assert_eq!(
            status.json(),
            "{\"role\":\"master\",\"uptime_s\":\"007\",\
             \"workers\":[{\"state\":\"a\\\\b\\u0001\",\"n\":5}]}"
        );
        assert_eq!(status.lines(), text);
        assert_eq!(
            Status::parse("role=worker\nworkers=0").json(),
            "{\"role\":\"worker\",\"workers\":0}"
        );
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(
            ["0", "1023", "1024", "18446744073709551615", "x"].map(bytes),
            ["0 bytes", "1023 bytes", "1.0 KiB", "16777216.0 TiB", "x"]
        );
        assert_eq!(
            ["0", "999", "1500", "61000000"].map(|text| time(text, 1.0)),
            ["0 us", "999 us", "1.5 ms", "61.0 s"]
        );
    }
}
