//! The sum over all threads of a server, and how it is told.

use std::fmt::Write as _;
use std::time::Duration;

use super::Names;
use super::block::{Block, Counts};
use super::histogram::Latency;

/// A server's numbers at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Since the server's start.
    pub uptime: Duration,
    /// Threads that count.
    pub threads: usize,
    /// The plain counters.
    pub counts: Counts,
    /// Answered requests by operation and code, those that there were.
    pub requests: Vec<Ended>,
    /// Requests as a whole, from their head to the end of their answer.
    pub total_us: Latency,
    /// Arrivals of bodies.
    pub receive_us: Latency,
    /// Waits for a worker, buffers, or a slot.
    pub queue_us: Latency,
    /// Conversions.
    pub convert_us: Latency,
    /// Answers on their way out.
    pub send_us: Latency,
    /// What is read elsewhere.
    pub gauges: Vec<Reading>,
    names: Names,
}

/// Requests that asked for the same and came to the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// What they asked for.
    pub operation: &'static str,
    /// `OK`, or the name of an error.
    pub code: &'static str,
    /// How many.
    pub count: u64,
}

/// A gauge that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Its name.
    pub name: &'static str,
    /// What it shows.
    pub help: &'static str,
    /// Whether it is a counter.
    pub only_rises: bool,
    /// What it showed.
    pub value: u64,
}

/// The quantiles that are told.
const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999)];

impl Snapshot {
    pub(super) fn new(uptime: Duration, names: Names) -> Self {
        Self {
            uptime,
            threads: 0,
            counts: Counts::default(),
            requests: Vec::new(),
            total_us: Latency::default(),
            receive_us: Latency::default(),
            queue_us: Latency::default(),
            convert_us: Latency::default(),
            send_us: Latency::default(),
            gauges: Vec::new(),
            names,
        }
    }

    pub(super) fn add(&mut self, block: &Block) {
        self.threads += 1;
        self.counts.add(block);
        self.total_us.add(&block.total_us);
        self.receive_us.add(&block.receive_us);
        self.queue_us.add(&block.queue_us);
        self.convert_us.add(&block.convert_us);
        self.send_us.add(&block.send_us);
        let Names { operations, codes } = self.names;
        let pairs =
            operations.iter().flat_map(|operation| codes.iter().map(move |code| (operation, code)));
        for ((operation, code), count) in pairs.zip(block.requests()) {
            self.add_ended(operation, code, count);
        }
    }

    fn add_ended(&mut self, operation: &'static str, code: &'static str, count: u64) {
        if count == 0 {
            return;
        }
        let same = |ended: &&mut Ended| ended.operation == operation && ended.code == code;
        match self.requests.iter_mut().find(same) {
            Some(ended) => ended.count += count,
            None => self.requests.push(Ended { operation, code, count }),
        }
    }

    /// Requests that have begun and are not over.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.counts.requests_begun.saturating_sub(self.counts.requests_ended)
    }

    /// Announced bytes of their bodies.
    #[must_use]
    pub fn in_flight_bytes(&self) -> u64 {
        self.counts.body_bytes_begun.saturating_sub(self.counts.body_bytes_ended)
    }

    /// Connections that are open.
    #[must_use]
    pub fn connections_open(&self) -> u64 {
        self.counts.connections_accepted.saturating_sub(self.counts.connections_closed)
    }

    /// Pooled buffers that nobody holds.
    #[must_use]
    pub fn buffers_free(&self) -> u64 {
        let held = self.counts.buffers_taken.saturating_sub(self.counts.buffers_returned);
        self.counts.buffers_pooled.saturating_sub(held)
    }

    /// The distributions, by the name of what they are of.
    #[must_use]
    pub fn latencies(&self) -> [(&'static str, &'static str, &Latency); 5] {
        [
            ("total", "requests as a whole, from head to the end of the answer", &self.total_us),
            ("receive", "arrivals of bodies", &self.receive_us),
            ("queue", "waits for a worker, buffers, or a slot", &self.queue_us),
            ("convert", "conversions", &self.convert_us),
            ("send", "answers on their way out", &self.send_us),
        ]
    }

    /// All of it as lines `key=value`: the body of a status answer. `docs/status.md` has the keys.
    #[must_use]
    pub fn lines(&self) -> String {
        let mut lines = String::with_capacity(4096);
        let mut line = |key: &str, value: u64| {
            // A string takes everything.
            let _ = writeln!(lines, "{key}={value}");
        };
        line("uptime_s", self.uptime.as_secs());
        line("threads", self.threads as u64);
        line("connections_open", self.connections_open());
        line("in_flight", self.in_flight());
        line("in_flight_bytes", self.in_flight_bytes());
        line("buffers_free", self.buffers_free());
        for Reading { name, value, .. } in &self.gauges {
            line(name, *value);
        }
        for (name, _, value) in self.counts.each() {
            line(name, value);
        }
        for Ended { operation, code, count } in &self.requests {
            line(&format!("requests_{operation}_{code}"), *count);
        }
        for (name, _, latency) in self.latencies() {
            line(&format!("{name}_us_count"), latency.count());
            line(&format!("{name}_us_sum"), latency.sum_us());
            for (quantile, share) in QUANTILES {
                line(&format!("{name}_us_{quantile}"), latency.quantile(share));
            }
            line(&format!("{name}_us_max"), latency.max_us());
        }
        lines
    }
}
