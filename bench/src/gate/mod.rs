//! The gate: counted costs of small kernels and of a real server, held against a baseline.
//!
//! Owns: what is counted, the baseline's files, and what is too much. Must never judge by the clock:
//! counts are the same on a busy machine.

pub mod callgrind;
pub mod calls;
pub mod kernels;
pub mod server;
mod tunnel;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// How far a count may be off where compiler or tools are others than the baseline's: enough for what
/// another optimiser or another valgrind does, and still red for what doubles.
pub const TOLERANCE_ELSEWHERE: f64 = 0.15;

/// A count that is 0 may be this much: a handful of bytes copied of tens of thousands. One copy of each
/// byte is 1.
const NOTHING: f64 = 0.01;

/// Counts that were accepted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// With what it was counted.
    pub with: Tools,
    /// How far a count may be off, up or down, as a share of the accepted one.
    pub tolerance: f64,
    /// The counts by name, each for one operation.
    pub counts: BTreeMap<String, f64>,
}

/// What decides a count beside the code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tools {
    /// The compiler, whose optimiser decides much of a count.
    pub rustc: String,
    /// What counted.
    pub counter: String,
    /// The instructions that libraries choose their code by. Under valgrind that is a processor of
    /// valgrind's own, the same on every machine that has AVX2.
    pub processor: String,
}

/// How a count stands to the baseline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Within the tolerance.
    Same,
    /// Over it: the gate is red.
    More,
    /// Under it: to be accepted, so that it is held from then on.
    Less,
    /// The baseline does not have it: to be accepted.
    New,
}

impl Standing {
    /// In words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::More => "MORE",
            Self::Less => "less: accept it, to keep it",
            Self::New => "new: accept it",
        }
    }

    /// Of a count beside the accepted one.
    #[must_use]
    pub fn of(count: f64, accepted: Option<f64>, tolerance: f64) -> Self {
        match accepted {
            None => Self::New,
            Some(accepted) if count > accepted * (1.0 + tolerance) + NOTHING => Self::More,
            Some(accepted) if count < accepted * (1.0 - tolerance) - NOTHING => Self::Less,
            Some(_) => Self::Same,
        }
    }
}

impl Tools {
    /// Those that are here; `counter` by its version.
    #[must_use]
    pub fn here(counter: String) -> Self {
        let rustc = std::process::Command::new("rustc").arg("--version").output();
        let rustc = rustc.map(|said| String::from_utf8_lossy(&said.stdout).trim().to_owned());
        Self { rustc: rustc.unwrap_or_default(), counter, processor: processor() }
    }

    /// In what it differs from another, in words.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<String> {
        [
            (&self.rustc, &other.rustc),
            (&self.counter, &other.counter),
            (&self.processor, &other.processor),
        ]
        .into_iter()
        .filter(|(here, there)| here != there)
        .map(|(here, there)| format!("'{here}' here, '{there}' there"))
        .collect()
    }
}

fn processor() -> String {
    let flags = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flags = flags.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
    let has_avx2 = flags.split(' ').any(|flag| flag == "avx2");
    let family = std::env::consts::ARCH;
    if has_avx2 { format!("{family} with AVX2") } else { family.to_owned() }
}

impl Baseline {
    /// Reads one.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or is none.
    pub fn load(path: &Path) -> io::Result<Self> {
        let named = |error: &dyn std::fmt::Display| {
            io::Error::other(format!("{}: {error}", path.display()))
        };
        let text = fs::read_to_string(path).map_err(|error| named(&error))?;
        serde_json::from_str(&text).map_err(|error| named(&error))
    }

    /// Writes it, whole or not at all.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let part = path.with_extension("part");
        fs::write(&part, serde_json::to_string_pretty(self)? + "\n")?;
        fs::rename(part, path)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn five_percent_more_is_red_and_noise_is_not() {
        for (count, standing) in [
            (1_050.0, Standing::More),
            (1_002.0, Standing::Same),
            (998.0, Standing::Same),
            (950.0, Standing::Less),
        ] {
            assert_eq!(Standing::of(count, Some(1_000.0), 0.02), standing);
        }
        assert_eq!(Standing::of(1.0, None, 0.02), Standing::New);
        assert_eq!(Standing::of(0.001, Some(0.0), 0.02), Standing::Same);
        assert_eq!(Standing::of(1.0, Some(0.0), 0.02), Standing::More);
    }

    #[test]
    fn a_baseline_reads_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("baseline").join("instructions.json");
        let baseline = Baseline {
            with: Tools::here("valgrind-1".to_owned()),
            tolerance: 0.02,
            counts: [("wire-reply".to_owned(), 12.5)].into(),
        };
        assert!(!baseline.with.rustc.is_empty());
        baseline.save(&path).unwrap();
        assert_eq!(Baseline::load(&path).unwrap(), baseline);
    }

    #[test]
    fn other_tools_are_named() {
        let here = Tools::here("strace 6.1".to_owned());
        assert_eq!(here.differences(&here), [] as [String; 0]);
        let there = Tools { rustc: "rustc 1.0".to_owned(), ..here.clone() };
        let found = there.differences(&here);
        assert!(found.len() == 1 && found[0].starts_with("'rustc 1.0' here"), "{found:?}");
    }
}
