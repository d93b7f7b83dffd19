//! What is kept of a run.
//!
//! Owns: the files of a results directory. Must never leave one half-written behind that a later
//! run would take for whole.

pub mod hdr;
pub mod record;
pub mod table;

use std::io;
use std::path::{Path, PathBuf};

/// A directory of results.
#[derive(Debug, Clone)]
pub struct Dir {
    path: PathBuf,
}

impl Dir {
    /// Makes the directory with what it needs; one that is there is taken as it is.
    ///
    /// # Errors
    ///
    /// It cannot be made.
    pub fn create(path: &Path) -> io::Result<Self> {
        for folder in ["hdr", "plots"] {
            std::fs::create_dir_all(path.join(folder))?;
        }
        Ok(Self { path: path.to_owned() })
    }

    /// Takes a directory that is there.
    #[must_use]
    pub fn open(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// The directory itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What was measured of another server in the same run.
    #[must_use]
    pub fn reference(&self) -> PathBuf {
        self.path.join("reference")
    }

    /// The table of the cells.
    #[must_use]
    pub fn cells(&self) -> PathBuf {
        self.path.join("cells.csv")
    }

    /// The record.
    #[must_use]
    pub fn record(&self) -> PathBuf {
        self.path.join("run.json")
    }

    /// The plan as it was read.
    #[must_use]
    pub fn plan(&self) -> PathBuf {
        self.path.join("plan.toml")
    }

    /// The page.
    #[must_use]
    pub fn report(&self) -> PathBuf {
        self.path.join("report.html")
    }

    /// A plot by itself.
    #[must_use]
    pub fn plot(&self, name: &str) -> PathBuf {
        self.path.join("plots").join(format!("{name}.svg"))
    }

    /// The latencies of a cell.
    #[must_use]
    pub fn log(&self, cell: &str) -> PathBuf {
        self.path.join("hdr").join(format!("{cell}.hlog"))
    }

    /// Their percentile table.
    #[must_use]
    pub fn percentiles(&self, cell: &str) -> PathBuf {
        self.path.join("hdr").join(format!("{cell}.hgrm"))
    }
}
