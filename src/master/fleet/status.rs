//! The fleet in the master's answer to a status request.

use std::fmt::Write as _;
use std::time::Instant;

use super::Fleet;
use super::worker::Worker;

impl Fleet {
    /// Lines of `key=value` for each worker, under `worker.N.` from 1 on. A number that a worker has
    /// not told is left out. `docs/fleet.md` has the keys.
    pub(in crate::master) fn status_lines(&self) -> String {
        let mut text = String::new();
        for (index, worker) in self.members().iter().enumerate() {
            worker_lines(&mut text, index + 1, worker);
        }
        text
    }
}

fn worker_lines(text: &mut String, number: usize, worker: &Worker) {
    let mut line = |key: &str, value: &dyn std::fmt::Display| {
        let _ = writeln!(text, "worker.{number}.{key}={value}");
    };
    line("address", &worker.address());
    let state = if worker.is_listed() { worker.state().name() } else { "leaving" };
    line("state", &state);
    line("weight", &worker.weight());
    line("in_flight", &worker.reached());
    line("in_flight_bytes", &worker.outstanding_bytes());
    line("answered", &worker.answered());
    line("failed", &worker.failed());
    let check = worker.check();
    if let Some(latency) = check.latency {
        line("latency_us", &latency.as_micros());
    }
    let Some((told, report)) = &check.report else { return };
    line("health", &if report.is_unready { "unready" } else { "ready" });
    line("told_ms", &Instant::now().duration_since(*told).as_millis());
    let told = [
        ("slots", report.slots),
        ("busy", report.busy),
        ("queued", report.queued),
        ("memory_budget_left", report.memory_budget_left),
        ("oldest_job_ms", report.oldest_job_ms),
        ("children", report.children),
        ("children_lost", report.children_lost),
    ];
    for (key, value) in told {
        if let Some(value) = value {
            line(key, &value);
        }
    }
}
