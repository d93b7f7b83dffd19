//! System calls of a request: of a load of a fixed number of requests, less those of half of it.

use std::io;

use crate::load::{Drive, Load, Script};
use crate::measure::servers::Servers;
use crate::measure::syscalls::{Counter, Counting};
use crate::sweep::{Bench, SweepError};

/// How long the smaller load is about to take, and how many requests it has at most.
const SECONDS: f64 = 0.1;
const REQUESTS_MAX: f64 = 400.0;

/// A request that takes longer than this is mostly conversion, and not worth the waiting.
const SERVICE_SECONDS_MAX: f64 = 0.3;

/// What a request costs each server.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Calls {
    /// Of the master.
    pub(crate) master: f64,
    /// Of the worker.
    pub(crate) worker: f64,
}

impl Bench<'_> {
    /// Counts the system calls of both servers under `load`, whose requests take about so long.
    /// Nothing where that is too long.
    ///
    /// # Errors
    ///
    /// The generator or the counter fails.
    pub(crate) fn calls(
        &self,
        servers: &Servers,
        counter: Counter,
        load: &Load,
        script: &Script,
        service_seconds: f64,
    ) -> Result<Option<Calls>, SweepError> {
        if service_seconds > SERVICE_SECONDS_MAX {
            return Ok(None);
        }
        // From 1 to some hundreds.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let each = (SECONDS / service_seconds.max(1e-6)).clamp(2.0, REQUESTS_MAX) as u64;
        let total = |each: u64| -> Result<[u64; 2], SweepError> {
            let (master, worker) = servers.pids();
            let counting = [counter.start(master)?, counter.start(worker)?];
            let load = Load { drive: Drive::Fixed { each }, ..load.clone() };
            let run = self.put(&load, script);
            let [master, worker] = counting.map(Counting::end);
            if run?.counts.failures() > 0 {
                return Err(io::Error::other("requests failed while calls were counted").into());
            }
            Ok([master?, worker?])
        };
        let (once, twice) = (total(each)?, total(2 * each)?);
        let requests = (each * load.connections as u64) as f64;
        // Counts of some seconds: far below 2^53, and of either sign where there is noise alone.
        let of = |at: usize| ((twice[at] as f64 - once[at] as f64) / requests).max(0.0);
        Ok(Some(Calls { master: of(0), worker: of(1) }))
    }
}
