//! Allocations and copied bytes of a request to a real server, for the gate.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fxsrv::io::Driver;
use fxsrv::wire::Version;

use crate::content::Store;
use crate::count::{CostCounters, CountError, Numbers};
use crate::load::Drive;
use crate::measure::servers::{Servers, ServersError, Setup};
use crate::plan::{Plan, PlanError};
use crate::sweep::{Bench, Subject, SweepError};

/// The cells whose requests are counted.
const COUNTED: &str = include_str!("../../plans/counted.toml");

/// Requests of the smaller load, for a cell without a body and for the others.
const SMALL_REQUESTS: u64 = 300;
const LARGE_REQUESTS: u64 = 12;

/// Below so many bytes, both ways, headers are most of what is copied.
const BULK_BYTES: f64 = 100_000.0;

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

/// Counts of all cells on a driver, by name. `planted` makes the larger load so many percent larger
/// than it says.
///
/// # Errors
///
/// Servers, generator or counters fail.
pub fn counts(
    programs: &Programs,
    driver: Driver,
    planted: u64,
) -> Result<BTreeMap<String, f64>, ServerCountError> {
    let plan = Plan::parse(COUNTED, false)?;
    let mut contents = Store::new(plan.seed, None);
    let start = |binary: &PathBuf| {
        let flags = vec![format!("--io={driver}"), "--threads=1".to_owned()];
        Servers::start(&Setup { binary: binary.clone(), flags })
    };
    let (usual, counting) = (start(&programs.server)?, start(&programs.counted)?);
    let counters = CostCounters { usual: &usual, counting: Some(&counting), calls: None };
    let mut found = BTreeMap::new();
    for cell in &plan.cells {
        let body = contents.file(cell.job.kind(), plan.motif, cell.size_bytes);
        let body = body.map_err(SweepError::from)?;
        let script = |servers: &Servers| bench(servers, &plan).script(cell, body.clone());
        let more = if cell.job.has_body() { LARGE_REQUESTS } else { SMALL_REQUESTS };
        let numbers = Numbers { few: more, more, done: more + more * planted / 100 };
        let load = bench(&usual, &plan).load(cell, 0, Drive::Closed, plan.measured);
        let costs = counters
            .costs(&load, numbers, script)
            .map_err(|source| ServerCountError::Count { cell: cell.to_string(), source })?;
        let mut keep = |what: &str, count: f64| {
            found.insert(format!("{what}: {} on {driver}", cell.job), count);
        };
        if let Some(allocations) = costs.allocations {
            keep("allocations a request", allocations);
        }
        if let Some(copied) = costs.copied_bytes.filter(|_| costs.body_bytes > BULK_BYTES) {
            keep("bytes copied a byte", copied / costs.body_bytes);
        }
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
