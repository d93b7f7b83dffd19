//! Plans: which cells a sweep measures, and how.
//!
//! Owns: reading a plan, checking it, and the order of its cells. Must never start anything: a plan
//! that is wrong is refused before the first second of a run of hours.

mod file;
mod pace;

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use fxsrv::wire::{ChecksumKind, Version};

use crate::content::Motif;
use crate::job::Job;
use crate::load::{Arrivals, Reuse};
use crate::rng::Rng;

pub use file::PlanError;
pub use pace::Pace;

/// A plan that makes sense.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Its name, which becomes part of the name of the results.
    pub name: String,
    /// One line for the report.
    pub about: String,
    /// Decides contents, arrivals and the order of the cells.
    pub seed: u64,
    /// Rounds over all cells, each in an order of its own.
    pub repeats: u32,
    /// Dropped at the start of each loop.
    pub warm_up: Duration,
    /// Recorded of each loop.
    pub measured: Duration,
    /// The rate of the open loop, as a share of the rate that the closed loop has just found.
    pub utilisation: f64,
    /// How the requests of the open loop are spread.
    pub arrivals: Arrivals,
    /// What pictures show.
    pub motif: Motif,
    /// Of bodies, both ways.
    pub checksum: ChecksumKind,
    /// A request without its whole answer by then is a timeout.
    pub request_timeout: Duration,
    /// The cells, without an order.
    pub cells: Vec<Cell>,
}

/// A point of the sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cell {
    /// What is asked for.
    pub job: Job,
    /// The wanted size of the body; pictures come within 8 % of it.
    pub size_bytes: usize,
    /// What is written at once.
    pub chunk_bytes: usize,
    /// Requests in flight at most.
    pub connections: usize,
    /// Whether each request opens a connection.
    pub reuse: CellReuse,
}

/// [`Reuse`], in an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CellReuse {
    /// The connection serves the next request.
    Kept,
    /// Each request opens one, and resumes the session.
    New,
    /// Each request opens one, with a full handshake.
    NewUnresumed,
}

impl CellReuse {
    const ALL: [Self; 3] = [Self::Kept, Self::New, Self::NewUnresumed];

    /// The name in plans and results.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::New => "new",
            Self::NewUnresumed => "new-unresumed",
        }
    }

    /// What the generator does.
    #[must_use]
    pub fn reuse(self) -> Reuse {
        match self {
            Self::Kept => Reuse::Kept,
            Self::New => Reuse::New,
            Self::NewUnresumed => Reuse::NewUnresumed,
        }
    }
}

/// The name of a cell: of its files, and in the tables.
impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.job)?;
        if self.job.has_body() {
            write!(f, "-{}kB-{}KiB", self.size_bytes / 1_000, self.chunk_bytes / 1_024)?;
        }
        write!(f, "-n{}", self.connections)?;
        if self.reuse == CellReuse::Kept { Ok(()) } else { write!(f, "-{}", self.reuse.name()) }
    }
}

/// Arrivals that the open loop waits for at least, however slow they come.
pub const OPEN_REQUESTS_MIN: f64 = 3.0;

impl Plan {
    /// Reads a plan; with `quick`, what its table `[quick]` says instead.
    ///
    /// # Errors
    ///
    /// Says which key is wrong, and what it takes.
    pub fn parse(text: &str, quick: bool) -> Result<Self, PlanError> {
        file::parse(text, quick)
    }

    /// Holds the plan against a version of the protocol.
    ///
    /// # Errors
    ///
    /// The version has no such job, or keeps no connection.
    pub fn check_version(&self, version: Version) -> Result<(), PlanError> {
        if version == Version::V1_1 {
            return Ok(());
        }
        let unfit = |cell: &&Cell| !cell.job.has_body() || cell.reuse == CellReuse::Kept;
        match self.cells.iter().find(unfit) {
            Some(cell) => Err(PlanError::Version { cell: cell.to_string() }),
            None => Ok(()),
        }
    }

    /// Whether it is about a file store.
    #[must_use]
    pub fn is_of_store(&self) -> bool {
        self.cells.iter().any(|cell| cell.job.is_of_store())
    }

    /// The same plan as v1.0 can run it: every request on a new connection, and no status.
    #[must_use]
    pub fn for_v1_0(mut self) -> Self {
        let cells = self.cells.iter().filter(|cell| cell.job.has_body());
        let cells: BTreeSet<_> =
            cells.map(|cell| Cell { reuse: cell.reuse.max(CellReuse::New), ..*cell }).collect();
        self.cells = cells.into_iter().collect();
        self
    }

    /// All measurements in the order that they are made: round after round, each shuffled by itself,
    /// so that no cell is always the neighbour of the same one, and drift of the machine spreads
    /// over all.
    #[must_use]
    pub fn order(&self) -> Vec<(u32, Cell)> {
        let mut rng = Rng::new(self.seed);
        (0..self.repeats)
            .flat_map(|repeat| {
                let mut round = self.cells.clone();
                rng.shuffle(&mut round);
                round.into_iter().map(move |cell| (repeat, cell))
            })
            .collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn original(quick: bool) -> Plan {
        Plan::parse(include_str!("../../plans/original.toml"), quick).unwrap()
    }

    #[test]
    fn the_original_plan_covers_its_axes() {
        let plan = original(false);
        let is_conversion = |job: &Job| job.name().contains('-') && !job.is_of_store();
        let conversions = Job::all().filter(is_conversion).count();
        assert_eq!(conversions, 8);
        for job in Job::all().filter(|job| job.has_body() && !job.is_of_store()) {
            let sizes: BTreeSet<_> = plan
                .cells
                .iter()
                .filter(|cell| cell.job == job)
                .map(|cell| cell.size_bytes)
                .collect();
            assert_eq!(
                sizes.into_iter().collect::<Vec<_>>(),
                [100_000, 1_000_000, 5_000_000, 10_000_000]
            );
        }
        let chunks: BTreeSet<_> = plan.cells.iter().map(|cell| cell.chunk_bytes).collect();
        assert_eq!((chunks.first(), chunks.last()), (Some(&4_096), Some(&1_048_576)));
        let connections: BTreeSet<_> = plan.cells.iter().map(|cell| cell.connections).collect();
        assert_eq!((connections.first(), connections.last()), (Some(&1), Some(&20)));
    }

    #[test]
    fn the_order_is_random_and_repeatable() {
        let plan = original(false);
        let order = plan.order();
        assert_eq!(order, plan.order());
        assert_ne!(order, Plan { seed: plan.seed + 1, ..plan.clone() }.order());
        let cells = plan.cells.len();
        assert_eq!(order.len(), cells * plan.repeats as usize);
        let round = |at: usize| order[at * cells..][..cells].iter().map(|(_, cell)| *cell);
        assert_ne!(round(0).collect::<Vec<_>>(), round(1).collect::<Vec<_>>());
        assert_eq!(round(0).collect::<BTreeSet<_>>(), round(1).collect::<BTreeSet<_>>());
    }

    #[test]
    fn v1_0_gets_new_connections_and_no_status() {
        let plan = original(true);
        assert!(plan.check_version(Version::V1_0).is_err());
        let plan = plan.for_v1_0();
        assert!(plan.check_version(Version::V1_0).is_ok());
        assert!(plan.cells.iter().all(|cell| cell.job.name() != "status"));
    }
}
