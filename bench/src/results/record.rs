//! `run.json`: all that a reader must know to judge a run, or to repeat it.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::measure::machine::Machine;
use crate::warning::Warning;

/// The record of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// Name of the plan.
    pub plan: String,
    /// What it is about.
    pub about: String,
    /// When it began, in UTC.
    pub began: String,
    /// When it ended.
    pub ended: String,
    /// The commit of the working tree, with a + where files differed from it.
    pub commit: String,
    /// What the server says of itself.
    pub server: String,
    /// Flags that the servers were given beyond those of every run.
    pub server_flags: Vec<String>,
    /// Another server that was measured in turns with it, if any.
    #[serde(default)]
    pub reference: String,
    /// The version of the protocol.
    pub wire: String,
    /// The command line of the bench.
    pub command: Vec<String>,
    /// The version of the bench.
    pub bench: String,
    /// Decides contents, arrivals and order.
    pub seed: u64,
    /// Threads of the generator.
    pub threads: usize,
    /// What carries the generator's input and output.
    pub driver: String,
    /// Rounds.
    pub repeats: u32,
    /// Dropped of each loop.
    pub warm_up_ms: u64,
    /// Recorded of each loop.
    pub measured_ms: u64,
    /// The open loop's share of the capacity.
    pub utilisation: f64,
    /// The open loop's arrivals.
    pub arrivals: String,
    /// What pictures show.
    pub motif: String,
    /// Of bodies.
    pub checksum: String,
    /// What counted system calls.
    #[serde(default)]
    pub syscalls: String,
    /// Measurements that the plan has.
    pub measurements: usize,
    /// How long it was said to take.
    pub estimated_seconds: f64,
    /// How long it took.
    pub took_seconds: f64,
    /// In a network namespace of its own.
    pub isolated_network: bool,
    /// Of the last minute before the run.
    pub load_average_before: f64,
    /// Of its last minute.
    pub load_average_after: f64,
    /// The machine.
    pub machine: Machine,
    /// Reasons for doubt: of the run, and of how many cells.
    pub warnings: Vec<Noted>,
}

/// A warning, and where it holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Noted {
    /// Its name, as in the table of the cells.
    pub name: String,
    /// What it says, of the first cell that has it.
    pub text: String,
    /// How many measurements have it; 0 for one of the whole run.
    pub measurements: usize,
}

impl Record {
    /// Notes a warning of the whole run.
    pub fn warn(&mut self, warning: &Warning) {
        self.note(warning, 0);
    }

    /// Notes a warning of a measurement.
    pub fn warn_of_cell(&mut self, warning: &Warning) {
        self.note(warning, 1);
    }

    /// Notes a warning of a measurement of an earlier part of the run, of which the name is left.
    pub fn count_of_cell(&mut self, name: &str) {
        self.add(name, || "its text went with the part of the run that was cut off".to_owned(), 1);
    }

    fn note(&mut self, warning: &Warning, measurements: usize) {
        self.add(warning.name(), || warning.to_string(), measurements);
    }

    fn add(&mut self, name: &str, text: impl FnOnce() -> String, measurements: usize) {
        match self.warnings.iter_mut().find(|noted| noted.name == name) {
            Some(noted) => noted.measurements += measurements,
            None => self.warnings.push(Noted { name: name.to_owned(), text: text(), measurements }),
        }
    }

    /// Reads it back.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or is of another version of the bench.
    pub fn load(path: &Path) -> io::Result<Self> {
        let text = fs::read_to_string(path)?;
        serde_json::from_str(&text)
            .map_err(|error| io::Error::other(format!("{}: {error}", path.display())))
    }

    /// Writes it, whole or not at all.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let part = path.with_extension("part");
        fs::write(&part, serde_json::to_string_pretty(self)? + "\n")?;
        fs::rename(part, path)
    }
}
