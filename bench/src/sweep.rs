//! A sweep: cell after cell against one server, with everything kept as it comes.
//!
//! Owns: the two loops of a cell, and what is written of them. Must never keep a cell in memory
//! alone: a run that is cut off is resumed behind its last whole row.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fxsrv::auth::Token;
use fxsrv::io::Driver;
use fxsrv::wire::{Code, Failure, Version};

use crate::content::{ContentError, Store};
use crate::count::{CostCounters, CountError, Numbers};
use crate::job::Asks;
use crate::load::{
    Conversion, Drive, Load, LoadError, Recorder, Run, Script, StoreScript, Target, prepared, run,
};
use crate::measure::machine;
use crate::measure::process::Counters;
use crate::measure::servers::{Pair, Servers};
use crate::plan::{Cell, OPEN_REQUESTS_MIN, Plan};
use crate::results::table::{self, Row};
use crate::results::{Dir, hdr};
use crate::warning::{Facts, Warning};

/// How long the open loop is drawn out for a rate so low that no request would be due.
const OPEN_SECONDS_MAX: f64 = 30.0;

/// Requests that are due and unsent this long after the end of a loop are given up.
const DRAIN: Duration = Duration::from_secs(2);

/// Costs are counted of requests that take no longer; of about so many seconds of them, and of this many
/// of a connection at most.
const COUNTED_SECONDS_MAX: f64 = 0.3;
const COUNTED_SECONDS: f64 = 0.03;
const COUNTED_REQUESTS_MAX: f64 = 100.0;

const NS_PER_MS: f64 = 1e6;
const NS_PER_S: f64 = 1e9;

/// Tags of the intervals in a cell's log.
pub const OPEN_TAG: &str = "open";
/// The same of the closed loop.
pub const CLOSED_TAG: &str = "closed";

/// Why a sweep stopped.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// The generator failed.
    #[error("{0}")]
    Load(#[from] LoadError),
    /// There is no such file to send.
    #[error("{0}")]
    Content(#[from] ContentError),
    /// The request cannot be said.
    #[error("{0}")]
    Request(#[from] Failure),
    /// The costs of a request cannot be counted.
    #[error("{0}")]
    Count(#[from] CountError),
    /// Results cannot be kept.
    #[error("cannot keep results: {0}")]
    Io(#[from] io::Error),
}

/// The server of a sweep.
#[derive(Debug, Clone, Copy)]
pub enum Subject<'a> {
    /// Started by the bench.
    Own(&'a Servers),
    /// Somebody else's: what it costs is not known.
    Foreign {
        /// Where it is.
        target: &'a Target,
        /// What it wants to be shown; a store may want nothing.
        token: Option<&'a Token>,
    },
}

impl Subject<'_> {
    fn target(&self) -> &Target {
        match self {
            Self::Own(servers) => servers.target(),
            Self::Foreign { target, .. } => target,
        }
    }

    fn token(&self) -> Option<&Token> {
        match self {
            Self::Own(servers) => servers.token(),
            Self::Foreign { token, .. } => *token,
        }
    }

    fn counters(&self) -> Sample {
        let servers = match self {
            Self::Own(servers) => servers.counters(),
            Self::Foreign { .. } => Pair::default(),
        };
        Sample { servers, own: Counters::own() }
    }
}

/// Counters of all processes at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    servers: Pair,
    own: Counters,
}

/// What a cell came to.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) row: Row,
    closed: Run<Sample>,
    open: Option<Run<Sample>>,
    warnings: Vec<Warning>,
}

/// How all cells are measured.
#[derive(Debug, Clone, Copy)]
pub struct Bench<'a> {
    /// What is measured.
    pub subject: Subject<'a>,
    /// The plan.
    pub plan: &'a Plan,
    /// The version that is spoken.
    pub version: Version,
    /// Threads of the generator.
    pub threads: usize,
    /// What carries its input and output.
    pub driver: Driver,
    /// What counts the costs of a request on servers of its own, in the first round.
    pub counters: Option<CostCounters<'a>>,
}

/// What is left to measure: the order of the plan without what `done` has.
#[must_use]
pub fn remaining(plan: &Plan, done: &[Row]) -> Vec<(u32, Cell)> {
    let done: BTreeSet<_> = done.iter().map(|row| (row.repeat, row.cell.as_str())).collect();
    let is_open = |(repeat, cell): &(u32, Cell)| {
        !done.contains(&(u64::from(*repeat), cell.to_string().as_str()))
    };
    plan.order().into_iter().filter(is_open).collect()
}

impl Bench<'_> {
    /// Measures a cell, and writes its row, its log and its percentile table.
    ///
    /// # Errors
    ///
    /// The generator cannot run, or the results cannot be written. What the server does wrong is
    /// part of the row.
    pub fn measure(
        &self,
        repeat: u32,
        cell: &Cell,
        contents: &mut Store,
        dir: &Dir,
    ) -> Result<(Row, Vec<Warning>), SweepError> {
        let began = SystemTime::now();
        let measured = self.measure_at(None, repeat, cell, contents)?;
        let Measured { row, closed, open, warnings } = measured;
        keep(dir, &row, began, &closed, open.as_ref())?;
        Ok((row, warnings))
    }

    /// Measures a cell, with an open loop of `rate` where one is given, and keeps nothing.
    pub(crate) fn measure_at(
        &self,
        rate: Option<f64>,
        repeat: u32,
        cell: &Cell,
        contents: &mut Store,
    ) -> Result<Measured, SweepError> {
        let body = contents.file(cell.job.kind(), self.plan.motif, cell.size_bytes)?;
        let script = self.script(cell, Arc::clone(&body))?;
        if let Subject::Own(servers) = self.subject {
            servers.reset_memory_peaks();
        }
        let closed =
            self.put(&self.load(cell, repeat, Drive::Closed, self.plan.measured), &script)?;
        let capacity = closed.counts.answered() as f64 / closed.elapsed.as_secs_f64();
        let open = if capacity > 0.0 {
            let rate = rate.unwrap_or(capacity * self.plan.utilisation);
            let seconds = (OPEN_REQUESTS_MIN / rate).min(OPEN_SECONDS_MAX);
            let measured = self.plan.measured.max(Duration::from_secs_f64(seconds));
            let drive = Drive::Open { rate, arrivals: self.plan.arrivals };
            Some((rate, self.put(&self.load(cell, repeat, drive, measured), &script)?))
        } else {
            None
        };
        let mut row = self.row(repeat, cell, body.len() as u64);
        fill_closed(&mut row, &closed, self.threads.min(cell.connections));
        if let Some((rate, open)) = &open {
            fill_open(&mut row, *rate, open);
        }
        if let Subject::Own(servers) = self.subject {
            let (master, worker) = servers.memory_peaks_bytes();
            row.master_rss_peak_mb = master as f64 / 1e6;
            row.worker_rss_peak_mb = worker as f64 / 1e6;
        }
        if let (Some(counters), 0) = (self.counters, repeat) {
            let seconds = closed.counts.service.mean() / NS_PER_S;
            self.fill_costs(&mut row, counters, cell, &body, seconds)?;
        }
        let open = open.map(|(_, open)| open);
        let warnings = judge(&mut row, &closed, open.as_ref());
        Ok(Measured { row, closed, open, warnings })
    }

    pub(crate) fn script(&self, cell: &Cell, body: Arc<Vec<u8>>) -> Result<Script, Failure> {
        let token = self.subject.token();
        match cell.job.asks() {
            Asks::Store(op) => {
                Ok(Script::Store(StoreScript::new(op, token, body, cell.chunk_bytes)))
            }
            Asks::Conversion { operation, expect } => {
                let nobody = || Failure::new(Code::Unauthorized, "a conversion needs a token");
                Conversion::new(
                    self.version,
                    token.ok_or_else(nobody)?,
                    operation,
                    self.plan.checksum,
                    body,
                    cell.chunk_bytes,
                    expect,
                )
                .map(Script::Conversion)
            }
        }
    }

    /// Counts what a request costs, in loads of their own. What takes long is mostly conversion, and
    /// not worth the waiting.
    fn fill_costs(
        &self,
        row: &mut Row,
        counters: CostCounters<'_>,
        cell: &Cell,
        body: &Arc<Vec<u8>>,
        service_seconds: f64,
    ) -> Result<(), SweepError> {
        if service_seconds > COUNTED_SECONDS_MAX {
            return Ok(());
        }
        // From 2 to some hundreds.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let few =
            (COUNTED_SECONDS / service_seconds.max(1e-6)).clamp(2.0, COUNTED_REQUESTS_MAX) as u64;
        let numbers = Numbers { few, more: few, done: few };
        let load = self.load(cell, 0, Drive::Closed, self.plan.measured);
        let script = |servers: &Servers| {
            Bench { subject: Subject::Own(servers), ..*self }.script(cell, Arc::clone(body))
        };
        let costs = counters.costs(&load, numbers, script)?;
        [row.master_syscalls_per_request, row.worker_syscalls_per_request] =
            costs.calls.unwrap_or_default().map(|calls| calls.max(0.0));
        row.allocations_per_request = costs.allocations.unwrap_or(0.0).max(0.0);
        if costs.body_bytes > 0.0 {
            row.copied_per_byte = costs.copied_bytes.unwrap_or(0.0) / costs.body_bytes;
        }
        Ok(())
    }

    /// One loop of a cell.
    pub(crate) fn load(&self, cell: &Cell, repeat: u32, drive: Drive, measured: Duration) -> Load {
        Load {
            drive,
            connections: cell.connections,
            threads: self.threads,
            driver: self.driver,
            reuse: cell.reuse.reuse(),
            warm_up: self.plan.warm_up,
            measured,
            request_timeout: self.plan.request_timeout,
            drain: DRAIN,
            seed: self.plan.seed.wrapping_add(u64::from(repeat)),
        }
    }

    /// Puts a load on the server, and reads the counters of all processes around it.
    pub(crate) fn put(&self, load: &Load, script: &Script) -> Result<Run<Sample>, LoadError> {
        let script = prepared(load, self.subject.target(), script)?;
        run(load, self.subject.target(), &script, || self.subject.counters())
    }

    /// What is spoken, in results.
    #[must_use]
    pub fn wire(&self) -> &'static str {
        match (self.plan.is_of_store(), self.subject.target().is_plain) {
            (true, true) => "store without TLS",
            (true, false) => "store",
            (false, _) => self.version.name(),
        }
    }

    fn row(&self, repeat: u32, cell: &Cell, body_bytes: u64) -> Row {
        Row {
            cell: cell.to_string(),
            repeat: u64::from(repeat),
            job: cell.job.name().to_owned(),
            wire: self.wire().to_owned(),
            size_bytes: cell.size_bytes as u64,
            body_bytes,
            chunk_bytes: cell.chunk_bytes as u64,
            connections: cell.connections as u64,
            reuse: cell.reuse.name().to_owned(),
            ..Row::default()
        }
    }
}

fn fill_closed(row: &mut Row, run: &Run<Sample>, threads: usize) {
    let counts = &run.counts;
    let (seconds, requests) = (run.elapsed.as_secs_f64(), counts.answered() as f64);
    row.closed_requests = counts.answered();
    row.closed_seconds = seconds;
    row.closed_per_s = requests / seconds;
    row.closed_up_mb_per_s = counts.up_bytes as f64 / 1e6 / seconds;
    row.closed_down_mb_per_s = counts.down_bytes as f64 / 1e6 / seconds;
    row.closed_p50_ms = percentile_ms(counts, 0.5);
    row.closed_p99_ms = percentile_ms(counts, 0.99);
    if counts.convert_told > 0 {
        row.convert_mean_ms = counts.convert_us as f64 / counts.convert_told as f64 / 1e3;
    }
    row.transport_mean_ms = (counts.service.mean() / NS_PER_MS - row.convert_mean_ms).max(0.0);

    // Everything that the processes did belongs to the requests that ended meanwhile; those of the
    // warm-up that ended after it add to the cost, and make it a little too large.
    let (master, worker) = (
        run.after.servers.master - run.before.servers.master,
        run.after.servers.worker - run.before.servers.worker,
    );
    let own = run.after.own - run.before.own;
    if counts.answered() == 0 {
        // What failures cost is not what requests cost.
        return;
    }
    let each = requests;
    let gb = (counts.up_bytes + counts.down_bytes) as f64 / 1e9;
    let server_cpu_s = master.cpu_seconds + worker.cpu_seconds;
    row.master_cpu_s = master.cpu_seconds;
    row.worker_cpu_s = worker.cpu_seconds;
    row.server_cpu_s_per_gb = if gb > 0.0 { server_cpu_s / gb } else { 0.0 };
    row.server_cpu_us_per_request = server_cpu_s * 1e6 / each;
    row.generator_cpu_us_per_request = own.cpu_seconds * 1e6 / each;
    row.master_switches_per_request = master.context_switches as f64 / each;
    row.worker_switches_per_request = worker.context_switches as f64 / each;
    row.generator_utilisation = own.cpu_seconds / (seconds * threads.max(1) as f64);
}

fn fill_open(row: &mut Row, rate: f64, run: &Run<Sample>) {
    let counts = &run.counts;
    row.offered_per_s = rate;
    row.achieved_per_s = counts.answered() as f64 / run.elapsed.as_secs_f64();
    row.open_requests = counts.answered();
    row.p50_ms = percentile_ms(counts, 0.5);
    row.p90_ms = percentile_ms(counts, 0.9);
    row.p99_ms = percentile_ms(counts, 0.99);
    row.p999_ms = percentile_ms(counts, 0.999);
    row.max_ms = percentile_ms(counts, 1.0);
    row.service_p50_ms = counts.service.value_at_quantile(0.5) as f64 / NS_PER_MS;
    row.lateness_p99_ms = counts.lateness.value_at_quantile(0.99) as f64 / NS_PER_MS;
}

fn judge(row: &mut Row, closed: &Run<Sample>, open: Option<&Run<Sample>>) -> Vec<Warning> {
    let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
    for counts in [Some(&closed.counts), open.map(|open| &open.counts)].into_iter().flatten() {
        for (kind, count) in &counts.failed {
            *kinds.entry(kind).or_default() += count;
        }
    }
    row.failures = kinds.values().sum();
    let kinds: Vec<_> = kinds.iter().map(|(kind, count)| format!("{kind}={count}")).collect();
    row.failure_kinds = kinds.join(" ");
    let own_cpu_s = (closed.after.own - closed.before.own).cpu_seconds;
    let facts = Facts {
        generator_utilisation: row.generator_utilisation,
        cores_used: (own_cpu_s + row.master_cpu_s + row.worker_cpu_s) / row.closed_seconds,
        cores: machine::cores(),
        lateness_p99_ms: row.lateness_p99_ms,
        p50_ms: row.p50_ms,
        samples: row.open_requests,
        offered: row.offered_per_s,
        achieved: row.achieved_per_s,
        failures: row.failures,
        failure_kinds: row.failure_kinds.clone(),
    };
    let warnings = Warning::of_cell(&facts);
    row.warnings = warnings.iter().map(Warning::name).collect::<Vec<_>>().join(" ");
    warnings
}

/// The log first and the row last: what has a row is whole. Where a run is cut off between the two,
/// the log keeps an interval that no row has.
fn keep(
    dir: &Dir,
    row: &Row,
    began: SystemTime,
    closed: &Run<Sample>,
    open: Option<&Run<Sample>>,
) -> io::Result<()> {
    let log = dir.log(&row.cell);
    hdr::append(&log, CLOSED_TAG, began, closed.elapsed, &closed.counts.latency)?;
    if let Some(open) = open {
        hdr::append(&log, OPEN_TAG, began + closed.elapsed, open.elapsed, &open.counts.latency)?;
        let merged = hdr::merged(&hdr::read(&log)?, OPEN_TAG)?;
        std::fs::write(dir.percentiles(&row.cell), hdr::hgrm(&merged))?;
    }
    table::append(&dir.cells(), row)
}

fn percentile_ms(counts: &Recorder, quantile: f64) -> f64 {
    counts.latency.value_at_quantile(quantile) as f64 / NS_PER_MS
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_resumed_sweep_measures_what_is_left_and_in_the_same_order() {
        let plan = Plan::parse(include_str!("../plans/original.toml"), true).unwrap();
        let order = plan.order();
        let row = |(repeat, cell): &(u32, Cell)| Row {
            cell: cell.to_string(),
            repeat: u64::from(*repeat),
            ..Row::default()
        };
        let done: Vec<_> = order[..7].iter().map(row).collect();
        assert_eq!(remaining(&plan, &done), order[7..]);
        assert_eq!(remaining(&plan, &[]), order);
        let all: Vec<_> = order.iter().map(row).collect();
        assert_eq!(remaining(&plan, &all), []);
    }
}
