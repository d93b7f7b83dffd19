//! The file of a plan.

use std::collections::BTreeSet;
use std::time::Duration;

use fxsrv::wire::ChecksumKind;
use serde::Deserialize;

use super::{Cell, CellReuse, Plan};
use crate::content::Motif;
use crate::job::Job;

/// Bounds, so that a slip of the finger does not run for a week.
const SIZE_KB_MAX: usize = 500_000;
const CHUNK_KIB_MAX: usize = 16 * 1024;
const CONNECTIONS_MAX: usize = 4_096;
const REPEATS_MAX: u32 = 100;
const MEASURED_MS: std::ops::RangeInclusive<u64> = 50..=3_600_000;
const WARM_UP_MS_MAX: u64 = 600_000;

/// Why a plan is refused.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// It is no TOML, or has keys that do not exist.
    #[error("{0}")]
    Toml(#[from] toml::de::Error),
    /// A value is out of its range, or unknown.
    #[error("{key}: {problem}")]
    Value {
        /// The key.
        key: &'static str,
        /// What is wrong, and what it takes.
        problem: String,
    },
    /// `--quick`, and no such table.
    #[error("the plan '{name}' has no table [quick]")]
    NoQuick {
        /// The plan.
        name: String,
    },
    /// v1.0 has no such cell.
    #[error("v1.0 cannot run {cell}: it has no status, and keeps no connection")]
    Version {
        /// The cell.
        cell: String,
    },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct PlanFile {
    name: String,
    about: String,
    seed: u64,
    utilisation: f64,
    arrivals: String,
    motif: String,
    checksum: String,
    request_timeout_ms: u64,
    full: PartFile,
    quick: Option<PartFile>,
}

/// How much is measured.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct PartFile {
    repeats: u32,
    warm_up_ms: u64,
    measured_ms: u64,
    sweep: Vec<SweepFile>,
}

/// All combinations of its lists.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct SweepFile {
    jobs: Vec<String>,
    size_kb: Vec<usize>,
    chunk_kib: Vec<usize>,
    connections: Vec<usize>,
    #[serde(default)]
    reuse: Vec<String>,
}

pub(super) fn parse(text: &str, quick: bool) -> Result<Plan, PlanError> {
    let file: PlanFile = toml::from_str(text)?;
    let (part, name) = match (quick, file.quick) {
        (false, _) => (file.full, file.name),
        (true, Some(part)) => (part, format!("{}-quick", file.name)),
        (true, None) => return Err(PlanError::NoQuick { name: file.name }),
    };
    let fits = |char: char| char.is_ascii_alphanumeric() || char == '-';
    if name.is_empty() || !name.chars().all(fits) {
        return wrong("name", format!("'{name}' becomes part of a path: letters, digits and -"));
    }
    if !(0.05..=2.0).contains(&file.utilisation) {
        return wrong("utilisation", format!("{} is not within 0.05 to 2", file.utilisation));
    }
    let mut cells = BTreeSet::new();
    for sweep in &part.sweep {
        sweep.add_cells(&mut cells)?;
    }
    let of_store = cells.iter().filter(|cell| cell.job.is_of_store()).count();
    if of_store > 0 && of_store < cells.len() {
        return wrong("jobs", "a store and a converter are two servers, and two plans".to_owned());
    }
    if cells.is_empty() {
        return wrong("sweep", "there is no cell to measure".to_owned());
    }
    Ok(Plan {
        name,
        about: file.about,
        seed: file.seed,
        repeats: within("repeats", part.repeats, 1..=REPEATS_MAX)?,
        warm_up: millis(within("warm-up-ms", part.warm_up_ms, 0..=WARM_UP_MS_MAX)?),
        measured: millis(within("measured-ms", part.measured_ms, MEASURED_MS)?),
        utilisation: file.utilisation,
        arrivals: file.arrivals.parse().or_else(|problem| wrong("arrivals", problem))?,
        motif: named("motif", &file.motif, &Motif::ALL, Motif::name)?,
        checksum: match ChecksumKind::from_name(&file.checksum) {
            Some(kind) => kind,
            None => return wrong("checksum", format!("'{}' is none", file.checksum)),
        },
        request_timeout: millis(within(
            "request-timeout-ms",
            file.request_timeout_ms,
            MEASURED_MS,
        )?),
        cells: cells.into_iter().collect(),
    })
}

impl SweepFile {
    fn add_cells(&self, cells: &mut BTreeSet<Cell>) -> Result<(), PlanError> {
        let reuse: Vec<CellReuse> = if self.reuse.is_empty() {
            vec![CellReuse::Kept]
        } else {
            let read = |name: &String| named("reuse", name, &CellReuse::ALL, CellReuse::name);
            self.reuse.iter().map(read).collect::<Result<_, _>>()?
        };
        for job in self.jobs()? {
            for &size in &self.size_kb {
                let size = within("size-kb", size, 1..=SIZE_KB_MAX)? * 1_000;
                for &chunk in &self.chunk_kib {
                    let chunk = within("chunk-kib", chunk, 1..=CHUNK_KIB_MAX)? * 1_024;
                    for &connections in &self.connections {
                        let connections = within("connections", connections, 1..=CONNECTIONS_MAX)?;
                        // Without a body neither size nor chunk exists: one cell, not many.
                        let (size_bytes, chunk_bytes) =
                            if job.has_body() { (size, chunk) } else { (0, 4_096) };
                        cells.extend(reuse.iter().map(|&reuse| Cell {
                            job,
                            size_bytes,
                            chunk_bytes,
                            connections,
                            reuse,
                        }));
                    }
                }
            }
        }
        Ok(())
    }

    fn jobs(&self) -> Result<Vec<Job>, PlanError> {
        if self.jobs.iter().any(|name| name == "all") {
            return Ok(Job::all().filter(|job| !job.is_of_store()).collect());
        }
        self.jobs
            .iter()
            .map(|name| name.parse().or_else(|problem| wrong("jobs", problem)))
            .collect()
    }
}

fn millis(value: u64) -> Duration {
    Duration::from_millis(value)
}

fn wrong<T>(key: &'static str, problem: String) -> Result<T, PlanError> {
    Err(PlanError::Value { key, problem })
}

fn within<T: PartialOrd + std::fmt::Display + Copy>(
    key: &'static str,
    value: T,
    allowed: std::ops::RangeInclusive<T>,
) -> Result<T, PlanError> {
    if allowed.contains(&value) {
        return Ok(value);
    }
    wrong(key, format!("{value} is not within {} to {}", allowed.start(), allowed.end()))
}

fn named<T: Copy>(
    key: &'static str,
    name: &str,
    all: &[T],
    name_of: impl Fn(T) -> &'static str,
) -> Result<T, PlanError> {
    let found = all.iter().copied().find(|&one| name_of(one) == name);
    found.map_or_else(
        || {
            let names: Vec<_> = all.iter().map(|&one| name_of(one)).collect();
            wrong(key, format!("'{name}' is none; there are {}", names.join(", ")))
        },
        Ok,
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        name = "small"
        about = "a test"
        seed = 1
        utilisation = 0.5
        arrivals = "poisson"
        motif = "photo"
        checksum = "md5"
        request-timeout-ms = 1000
        [full]
        repeats = 1
        warm-up-ms = 0
        measured-ms = 100
        [[full.sweep]]
        jobs = ["all"]
        size-kb = [1, 2]
        chunk-kib = [4]
        connections = [1, 2]
    "#;

    #[test]
    fn combinations_are_cells_and_each_is_there_once() {
        let plan = parse(GOOD, false).unwrap();
        // Nine jobs with a body, two sizes, two numbers of connections; status has no size.
        assert_eq!(plan.cells.len(), 9 * 4 + 2);
        let twice = GOOD.replace("[1, 2]", "[1, 1]");
        assert_eq!(parse(&twice, false).unwrap().cells.len(), 9 + 1);
    }

    #[test]
    fn wrong_values_are_named_with_what_they_take() {
        for (good, bad, message) in [
            ("repeats = 1", "repeats = 0", "repeats: 0 is not within 1 to 100"),
            (
                "measured-ms = 100",
                "measured-ms = 10",
                "measured-ms: 10 is not within 50 to 3600000",
            ),
            ("utilisation = 0.5", "utilisation = 3.0", "utilisation: 3 is not within 0.05 to 2"),
            ("[\"all\"]", "[\"upload\", \"store-put\"]", "jobs: a store and a converter are two"),
            ("[\"all\"]", "[\"jpg-pdf\"]", "jobs: 'jpg-pdf' is no job; there are all, jpg-png"),
            ("[4]", "[0]", "chunk-kib: 0 is not within 1 to 16384"),
            ("[1, 2]", "[]", "sweep: there is no cell to measure"),
            ("\"poisson\"", "\"bursts\"", "arrivals: 'bursts' are no arrivals"),
            ("\"photo\"", "\"cat\"", "motif: 'cat' is none; there are photo, noise, flat"),
            ("\"md5\"", "\"sha1\"", "checksum: 'sha1' is none"),
            ("\"small\"", "\"../up\"", "name: '../up' becomes part of a path"),
            ("seed = 1", "sead = 1", "sead"),
        ] {
            let error = parse(&GOOD.replace(good, bad), false).unwrap_err().to_string();
            assert!(error.contains(message), "{bad}: {error}");
        }
        let error = parse(GOOD, true).unwrap_err().to_string();
        assert_eq!(error, "the plan 'small' has no table [quick]");
    }
}
