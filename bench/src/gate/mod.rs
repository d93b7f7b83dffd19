//! The gate: counted costs of small kernels, held against a baseline.
//!
//! Owns: what is counted, the baseline's file, and what is too much. Must never judge by the clock:
//! instructions are the same on a busy machine.

pub mod callgrind;
pub mod kernels;
mod tunnel;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use kernels::Kernel;

/// How far a count may be off the baseline, up or down. Ten runs without a change stay within 0.4 %:
/// hash seeds and random keys move them. A planted 5 % is well beyond it.
pub const TOLERANCE: f64 = 0.02;

/// Counts that were accepted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// The compiler, whose optimiser decides much of a count.
    pub rustc: String,
    /// The processor: libraries choose their code by it.
    pub cpu: String,
    /// Instructions of one operation, by kernel.
    pub instructions: BTreeMap<String, f64>,
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
    pub fn of(count: f64, accepted: Option<f64>) -> Self {
        match accepted {
            None => Self::New,
            Some(accepted) if count > accepted * (1.0 + TOLERANCE) => Self::More,
            Some(accepted) if count < accepted * (1.0 - TOLERANCE) => Self::Less,
            Some(_) => Self::Same,
        }
    }
}

impl Baseline {
    /// Reads one.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or is none.
    pub fn load(path: &Path) -> io::Result<Self> {
        serde_json::from_str(&fs::read_to_string(path)?)
            .map_err(|error| io::Error::other(format!("{}: {error}", path.display())))
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

    /// The accepted count of a kernel.
    #[must_use]
    pub fn of(&self, kernel: Kernel) -> Option<f64> {
        self.instructions.get(kernel.name()).copied()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn five_percent_more_is_red_and_noise_is_not() {
        assert_eq!(Standing::of(1_050.0, Some(1_000.0)), Standing::More);
        assert_eq!(Standing::of(1_002.0, Some(1_000.0)), Standing::Same);
        assert_eq!(Standing::of(998.0, Some(1_000.0)), Standing::Same);
        assert_eq!(Standing::of(950.0, Some(1_000.0)), Standing::Less);
        assert_eq!(Standing::of(1.0, None), Standing::New);
    }

    #[test]
    fn a_baseline_reads_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("baseline").join("instructions.json");
        let instructions = Kernel::ALL.map(|kernel| (kernel.name().to_owned(), 12.5));
        let baseline = Baseline {
            rustc: "rustc 1.0".to_owned(),
            cpu: "a cpu".to_owned(),
            instructions: instructions.into_iter().collect(),
        };
        baseline.save(&path).unwrap();
        assert_eq!(Baseline::load(&path).unwrap(), baseline);
        assert_eq!(baseline.of(Kernel::WireRequest), Some(12.5));
    }
}
