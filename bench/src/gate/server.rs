//! Allocations and system calls of a request to a real server, for the gate.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fxsrv::io::Driver;
use fxsrv::wire::{Operation, Version};

use crate::content::Store;
use crate::count::{CostCounters, Costs, CountError, Numbers};
use crate::job::Asks;
use crate::load::{Drive, Expect};
use crate::measure::servers::{Servers, ServersError, Setup};
use crate::measure::syscalls::Counter;
use crate::plan::{Cell, Plan, PlanError};
use crate::sweep::{Bench, Subject, SweepError};

/// The cells whose requests are counted.
const COUNTED: &str = include_str!("../../plans/counted.toml");

/// Requests of the smaller load, for a cell without a body and for the others.
const SMALL_REQUESTS: u64 = 300;
const LARGE_REQUESTS: u64 = 20;

/// System calls are the least of so many counts: what comes in pieces, because a process was not let run,
/// only adds to them.
const CALLS_TURNS: u32 = 4;

/// Two records and a half.
const IN_STEP_BYTES_MAX: usize = 40_000;

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
    let counted = each_cell(&plan, &plan.cells, counters, planted)?.into_iter();
    Ok(counted
        .filter_map(|(cell, costs)| {
            let name = format!("allocations a request: {} on {driver}", short_name(&cell));
            Some((name, costs.allocations?))
        })
        .collect())
}

/// System calls of master and worker together, of the cells that are [`in step`](is_in_step).
///
/// # Errors
///
/// Servers, generator or counters fail.
pub fn calls(programs: &Programs, counter: Counter, driver: Driver, planted: u64) -> Counted {
    let plan = Plan::parse(COUNTED, false)?;
    let usual = start(&programs.server, driver)?;
    let counters = CostCounters { usual: &usual, counting: None, calls: Some(counter) };
    let cells: Vec<_> = plan.cells.iter().copied().filter(is_in_step).collect();
    let mut found: BTreeMap<String, f64> = BTreeMap::new();
    for _ in 0..CALLS_TURNS {
        for (cell, costs) in each_cell(&plan, &cells, counters, planted)? {
            let Some([master, worker]) = costs.calls else { continue };
            let name = format!("system calls a request: {} on {driver}", short_name(&cell));
            let both = master + worker;
            found.entry(name).and_modify(|least| *least = least.min(both)).or_insert(both);
        }
    }
    Ok(found)
}

/// Whether a request lies in a socket whole, so that whoever reads it needs one read. How many reads a
/// larger one takes is decided by who is let run when.
fn is_in_step(cell: &Cell) -> bool {
    let Asks::Conversion { operation, expect } = cell.job.asks() else { return false };
    let is_tunnel_alone = operation == Operation::Status || expect != Expect::Result;
    is_tunnel_alone && cell.size_bytes <= IN_STEP_BYTES_MAX
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
    Servers::start(&Setup { binary: binary.to_owned(), flags, master_flags })
}

fn each_cell(
    plan: &Plan,
    cells: &[Cell],
    counters: CostCounters<'_>,
    planted: u64,
) -> Result<Vec<(Cell, Costs)>, ServerCountError> {
    let mut contents = Store::new(plan.seed, None);
    let mut found = Vec::new();
    for cell in cells {
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
