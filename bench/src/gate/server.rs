//! Allocations of a request to a real server, for the gate.
//!
//! Its system calls are not: even those of requests that one read takes in were 5 % apart on a busy
//! machine, and on a ring 25 %. The tunnel kernel has them in step.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fxsrv::io::Driver;
use fxsrv::wire::Version;

use crate::content::Store;
use crate::count::{CostCounters, Costs, CountError, Numbers};
use crate::load::Drive;
use crate::measure::servers::{IN_ONE_PROCESS, Servers, ServersError, Setup};
use crate::plan::{Cell, Plan, PlanError};
use crate::sweep::{Bench, Subject, SweepError};

/// The cells whose requests are counted.
const COUNTED: &str = include_str!("../../plans/counted.toml");

/// Requests of the smaller load, for a cell without a body and for the others.
const SMALL_REQUESTS: u64 = 300;
const LARGE_REQUESTS: u64 = 20;

/// Why nothing was counted.
#[derive(Debug, thiserror::Error)]
pub enum ServerCountError {
    /// Servers did not start.
    #[error("{0}")]
    Servers(#[from] ServersError),
    /// The generator failed.
    #[error("{0}")]
    Sweep(#[from] SweepError),
    /// The counted cells are no plan: our own mistake.
    #[error("{0}")]
    Plan(#[from] PlanError),
    /// A counter failed.
    #[error("{cell}: {source}")]
    Count {
        /// The cell.
        cell: String,
        /// Why.
        source: CountError,
    },
}

/// Counts by name.
pub type Counted = Result<BTreeMap<String, f64>, ServerCountError>;

/// The programs that are counted.
#[derive(Debug, Clone)]
pub struct Programs {
    /// The server as it is.
    pub server: PathBuf,
    /// The one that counts its allocations.
    pub counted: PathBuf,
}

impl Programs {
    /// Both beside this program, where a build of the workspace puts them.
    #[must_use]
    pub fn beside(program: &Path) -> Self {
        let beside = |name: &str| program.with_file_name(name);
        Self { server: beside("fxsrv"), counted: beside("fxsrv-counted") }
    }
}

/// Between two checks of the worker by the master: longer than any load, so that a slow run has no more
/// of them than a fast one.
const CHECK_INTERVAL: &str = "--check-interval=10m";

/// Allocations of a request, of all cells on a driver, by name. `planted` makes the larger load so many
/// percent larger than it says.
///
/// # Errors
///
/// Servers, generator or counters fail.
pub fn allocations(programs: &Programs, driver: Driver, planted: u64) -> Counted {
    let plan = Plan::parse(COUNTED, false)?;
    let counting = start(&programs.counted, driver)?;
    let counters = CostCounters { usual: &counting, counting: Some(&counting), calls: None };
    let counted = each_cell(&plan, counters, planted)?.into_iter();
    Ok(counted
        .filter_map(|(cell, costs)| {
            let name = format!("allocations a request: {} on {driver}", short_name(&cell));
            Some((name, costs.allocations?))
        })
        .collect())
}

fn short_name(cell: &Cell) -> String {
    match cell.size_bytes {
        0 => cell.job.name().to_owned(),
        bytes => format!("{} of {} kB", cell.job, bytes / 1_000),
    }
}

fn start(binary: &Path, driver: Driver) -> Result<Servers, ServersError> {
    let flags = vec![format!("--io={driver}"), "--threads=1".to_owned()];
    let master_flags = vec![CHECK_INTERVAL.to_owned()];
    let worker_flags = IN_ONE_PROCESS.map(str::to_owned).to_vec();
    Servers::start(&Setup { binary: binary.to_owned(), flags, master_flags, worker_flags })
}

fn each_cell(
    plan: &Plan,
    counters: CostCounters<'_>,
    planted: u64,
) -> Result<Vec<(Cell, Costs)>, ServerCountError> {
    let mut contents = Store::new(plan.seed, None);
    let mut found = Vec::new();
    for cell in &plan.cells {
        let body = contents.file(cell.job.kind(), plan.motif, cell.size_bytes);
        let body = body.map_err(SweepError::from)?;
        let script = |servers: &Servers| bench(servers, plan).script(cell, body.clone());
        let more = if cell.job.has_body() { LARGE_REQUESTS } else { SMALL_REQUESTS };
        let numbers = Numbers { few: more, more, done: more + more * planted / 100 };
        let load = bench(counters.usual, plan).load(cell, 0, Drive::Closed, plan.measured);
        let costs = counters
            .costs(&load, numbers, script)
            .map_err(|source| ServerCountError::Count { cell: cell.to_string(), source })?;
        found.push((*cell, costs));
    }
    Ok(found)
}

fn bench<'a>(servers: &'a Servers, plan: &'a Plan) -> Bench<'a> {
    Bench {
        subject: Subject::Own(servers),
        plan,
        version: Version::V1_1,
        threads: 1,
        driver: Driver::Epoll,
        counters: None,
    }
}
