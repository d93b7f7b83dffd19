//! What a request costs a real server, in numbers that do not depend on the clock: system calls,
//! allocations, and bytes that its own code copies.
//!
//! Each is that of a load of a fixed number of requests, less that of half of it: what is done once
//! for a process or a connection falls out. One connection at a time, so that little depends on what
//! happens to be ready together.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use fxsrv::io::Driver;
use fxsrv::wire::Version;

use crate::content::Store;
use crate::load::{Drive, Load, Script};
use crate::measure::servers::{Servers, ServersError, Setup};
use crate::measure::syscalls::{Counter, Counting};
use crate::plan::{Plan, PlanError};
use crate::sweep::{Bench, Subject, SweepError};

/// The cells whose requests are counted.
const COUNTED: &str = include_str!("../../plans/counted.toml");

/// Requests of the smaller load, for a cell without a body and for the others.
const SMALL_REQUESTS: u64 = 300;
const LARGE_REQUESTS: u64 = 12;

/// Requests with more bytes, both ways, are counted by what they move.
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
    /// Requests fail, so their costs are not what is asked for.
    #[error("{cell}: requests failed: {kinds:?}")]
    Failures {
        /// The cell.
        cell: String,
        /// By kind.
        kinds: BTreeMap<&'static str, u64>,
    },
    /// A counter failed.
    #[error("cannot count: {0}")]
    Io(#[from] io::Error),
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
    counter: Option<Counter>,
    planted: u32,
) -> Result<BTreeMap<String, f64>, ServerCountError> {
    let plan = Plan::parse(COUNTED, false)?;
    let mut contents = Store::new(plan.seed, None);
    let start = |binary: &PathBuf| {
        let flags = vec![format!("--io={driver}"), "--threads=1".to_owned()];
        Servers::start(&Setup { binary: binary.clone(), flags })
    };
    let (usual, counting) = (start(&programs.server)?, start(&programs.counted)?);
    let mut found = BTreeMap::new();
    for cell in &plan.cells {
        let each = if cell.job.has_body() { LARGE_REQUESTS } else { SMALL_REQUESTS };
        let body = contents.file(cell.job.kind(), plan.motif, cell.size_bytes);
        let body = body.map_err(SweepError::from)?;
        let put = |servers: &Servers, each: u64| -> Result<f64, ServerCountError> {
            let bench = bench(servers, &plan);
            let script = bench.script(cell, body.clone()).map_err(SweepError::from)?;
            let load = bench.load(cell, 0, Drive::Fixed { each }, plan.measured);
            bytes_of(&bench, &load, &script)
        };
        let (requests, twice) = (each as f64, 2 * each + each * u64::from(planted) / 100);
        // What is set up once, and caches that fill, are not what a request costs.
        put(&usual, each)?;
        put(&counting, each)?;
        let name = |what: &str| format!("{what}: {} on {driver}", cell.job);

        if let Some(counter) = counter {
            let calls = |each: u64| calls_of(counter, &usual, || put(&usual, each));
            let (once, bytes) = calls(each)?;
            let more = calls(twice)?.0 - once;
            if bytes > BULK_BYTES * requests {
                found.insert(name("system calls a MB"), more / bytes * 1e6);
            } else {
                found.insert(name("system calls a request"), more / requests);
            }
        }
        let work = |each: u64| -> Result<_, ServerCountError> {
            let before = counting.work()?;
            let bytes = put(&counting, each)?;
            let after = counting.work()?;
            let copied = before.copied_bytes.zip(after.copied_bytes);
            let copied = copied.map(|(before, after)| (after - before) as f64);
            Ok(((after.allocations - before.allocations) as f64, copied, bytes))
        };
        let (once, twice) = (work(each)?, work(twice)?);
        found.insert(name("allocations a request"), (twice.0 - once.0) / requests);
        if let (Some(once_copied), Some(twice_copied), true) = (once.1, twice.1, once.2 > 0.0) {
            found.insert(name("bytes copied a byte"), (twice_copied - once_copied) / once.2);
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
        counter: None,
    }
}

/// Puts a load on a server, and says how many bytes of bodies went both ways.
fn bytes_of(bench: &Bench<'_>, load: &Load, script: &Script) -> Result<f64, ServerCountError> {
    let counts = bench.put(load, script).map_err(SweepError::from)?.counts;
    if counts.failures() > 0 {
        let cell = format!("{} bytes", script.body_bytes());
        return Err(ServerCountError::Failures { cell, kinds: counts.failed });
    }
    Ok((counts.up_bytes + counts.down_bytes) as f64)
}

/// System calls of both servers while `put` runs, and what it says.
fn calls_of(
    counter: Counter,
    servers: &Servers,
    put: impl FnOnce() -> Result<f64, ServerCountError>,
) -> Result<(f64, f64), ServerCountError> {
    let (master, worker) = servers.pids();
    let counting = [counter.start(master)?, counter.start(worker)?];
    let bytes = put();
    let [master, worker] = counting.map(Counting::end);
    Ok(((master? + worker?) as f64, bytes?))
}
