//! What a request costs the servers in numbers that do not depend on the clock: system calls,
//! allocations, and bytes that their own code copies.
//!
//! Each is that of a load of a fixed number of requests, less that of a smaller one: what is done once
//! for a process or a connection falls out.

use std::io;

use fxsrv::wire::Failure;

use crate::load::{Drive, Load, LoadError, Script, prepared, run};
use crate::measure::servers::{Servers, Work};
use crate::measure::syscalls::Counter;

/// What counts. The server that is measured stays as it is: allocations are counted in a second pair,
/// whose program differs in its allocator alone.
#[derive(Debug, Clone, Copy)]
pub struct CostCounters<'a> {
    /// The servers as they are.
    pub usual: &'a Servers,
    /// Servers that count their allocations.
    pub counting: Option<&'a Servers>,
    /// What counts system calls.
    pub calls: Option<Counter>,
}

/// The costs of one request. What was not counted is not there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Costs {
    /// System calls of master and worker; of a store and of nobody.
    pub calls: Option<[f64; 2]>,
    /// Allocations of both together.
    pub allocations: Option<f64>,
    /// Bytes that both copied on the way between two sockets.
    pub copied_bytes: Option<f64>,
    /// Bytes of bodies, both ways.
    pub body_bytes: f64,
}

/// Why nothing was counted.
#[derive(Debug, thiserror::Error)]
pub enum CountError {
    /// The generator failed.
    #[error("{0}")]
    Load(#[from] LoadError),
    /// The request cannot be said.
    #[error("{0}")]
    Request(#[from] Failure),
    /// Requests fail, so their costs are not what is asked for.
    #[error("requests failed while their costs were counted: {0}")]
    Failures(String),
    /// A counter failed.
    #[error("cannot count: {0}")]
    Io(#[from] io::Error),
}

/// Requests of each connection: of the smaller load, and how many more the larger one has.
#[derive(Debug, Clone, Copy)]
pub struct Numbers {
    /// Of the smaller load.
    pub few: u64,
    /// How many more the larger one is said to have.
    pub more: u64,
    /// How many more it has in truth: the same, but where a regression is planted.
    pub done: u64,
}

impl CostCounters<'_> {
    /// The costs of a request of `load`, whose kind of loop is not looked at. `script` is asked for what
    /// each pair of servers is to be sent.
    ///
    /// # Errors
    ///
    /// Generator or counters fail, or requests do.
    pub fn costs(
        &self,
        load: &Load,
        numbers: Numbers,
        script: impl Fn(&Servers) -> Result<Script, Failure>,
    ) -> Result<Costs, CountError> {
        let Numbers { few, more, done } = numbers;
        let requests = (more * load.connections as u64) as f64;
        let difference = |few: u64, many: u64| (many as f64 - few as f64) / requests;
        let usual = script(self.usual)?;
        let mut costs =
            Costs { calls: None, allocations: None, copied_bytes: None, body_bytes: 0.0 };
        if let Some(counter) = self.calls {
            // What a process does at its first requests and never again.
            put(load, self.usual, &usual, few)?;
            let put = || put(load, self.usual, &usual, few);
            let few_calls = calls(counter, self.usual, put)?.0;
            let put = || self::put(load, self.usual, &usual, few + done);
            let (many_calls, bytes) = calls(counter, self.usual, put)?;
            costs.calls = Some([0, 1].map(|at| difference(few_calls[at], many_calls[at])));
            costs.body_bytes = bytes as f64 / ((few + done) * load.connections as u64) as f64;
        }
        if let Some(servers) = self.counting {
            let script = script(servers)?;
            let work = |each: u64| -> Result<_, CountError> {
                let before = servers.work()?;
                let bytes = put(load, servers, &script, each)?;
                Ok((before, servers.work()?, bytes))
            };
            work(few)?;
            let (few_work, many_work) = (work(few)?, work(few + done)?);
            let of = |(before, after, _): &(Work, Work, u64)| {
                let copied = after.copied_bytes.zip(before.copied_bytes);
                (after.allocations - before.allocations, copied.map(|(now, then)| now - then))
            };
            let ((few_allocations, few_copied), (allocations, copied)) =
                (of(&few_work), of(&many_work));
            costs.allocations = Some(difference(few_allocations, allocations));
            costs.copied_bytes = few_copied.zip(copied).map(|(few, many)| difference(few, many));
            costs.body_bytes = many_work.2 as f64 / ((few + done) * load.connections as u64) as f64;
        }
        Ok(costs)
    }
}

/// Puts a load on servers, and says how many bytes of bodies went both ways.
fn put(load: &Load, servers: &Servers, script: &Script, each: u64) -> Result<u64, CountError> {
    let load = Load { drive: Drive::Fixed { each }, ..load.clone() };
    let script = prepared(&load, servers.target(), script)?;
    let counts = run(&load, servers.target(), &script, || ())?.counts;
    if counts.failures() > 0 {
        return Err(CountError::Failures(format!("{:?}", counts.failed)));
    }
    Ok(counts.up_bytes + counts.down_bytes)
}

/// System calls of both servers while `put` runs, and what it says.
fn calls(
    counter: Counter,
    servers: &Servers,
    put: impl FnOnce() -> Result<u64, CountError>,
) -> Result<([u64; 2], u64), CountError> {
    let mut counting = Vec::new();
    for pid in servers.pids() {
        counting.push(counter.start(pid)?);
    }
    let bytes = put();
    let mut calls = [0; 2];
    for (calls, counting) in calls.iter_mut().zip(counting) {
        *calls = counting.end()?;
    }
    Ok((calls, bytes?))
}
