//! What a sweep writes down of itself.

use std::process::Command;
use std::time::SystemTime;

use super::sweep::Args;
use super::{output, subject};
use crate::measure::isolate;
use crate::measure::machine::{self, Machine};
use crate::measure::syscalls::Counter;
use crate::plan::Plan;
use crate::results::record::Record;
use crate::sweep::Bench;
use crate::warning::Warning;

pub(super) fn begin(args: &Args, plan: &Plan, bench: &Bench<'_>, estimate: f64) -> Record {
    let millis = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let mut record = Record {
        plan: plan.name.clone(),
        about: plan.about.clone(),
        began: machine::utc(SystemTime::now()),
        ended: String::new(),
        commit: commit(),
        server: server(args),
        server_flags: args.server_flag.clone(),
        reference: args.reference.clone().unwrap_or_default(),
        wire: bench.wire().to_owned(),
        command: std::env::args().skip(1).collect(),
        bench: env!("CARGO_PKG_VERSION").to_owned(),
        seed: plan.seed,
        threads: bench.threads,
        driver: args.io.to_string(),
        repeats: plan.repeats,
        warm_up_ms: millis(plan.warm_up),
        measured_ms: millis(plan.measured),
        utilisation: plan.utilisation,
        arrivals: plan.arrivals.name().to_owned(),
        motif: plan.motif.name().to_owned(),
        checksum: plan.checksum.name().to_owned(),
        syscalls: bench
            .counters
            .and_then(|counters| counters.calls)
            .map_or("not counted", Counter::name)
            .to_owned(),
        measurements: plan.order().len(),
        estimated_seconds: estimate,
        took_seconds: 0.0,
        isolated_network: isolate::is_isolated(),
        load_average_before: machine::load_average(),
        load_average_after: 0.0,
        machine: Machine::here(),
        warnings: Vec::new(),
    };
    note_doubts(&mut record, args);
    record
}

/// What is measured: by its address, or by what the program says of itself.
fn server(args: &Args) -> String {
    match (&args.server, subject::binary(args.binary.as_ref())) {
        (Some(server), _) => server.clone(),
        (None, Ok(binary)) => {
            let said = output(Command::new(binary).arg("--version"));
            said.lines().map(str::trim).collect::<Vec<_>>().join("; ").replace(":;", ":")
        }
        (None, Err(_)) => String::new(),
    }
}

/// Doubts that hold for the whole run.
fn note_doubts(record: &mut Record, args: &Args) {
    let load = record.load_average_before;
    if load > machine::cores() as f64 / 2.0 {
        record.warn(&Warning::MachineBusy { load });
    }
    if args.server.is_some() || args.reference.is_some() {
        record.warn(&Warning::ForeignServer);
    } else if !record.isolated_network {
        let congestion_control = record.machine.congestion_control.clone();
        record.warn(&Warning::SharedNetwork { congestion_control });
    }
    if cfg!(debug_assertions) {
        record.warn(&Warning::DebugBuild);
    }
}

/// The commit of the working tree, with a + where files differ from it.
pub(super) fn commit() -> String {
    let hash = output(Command::new("git").args(["rev-parse", "--short=9", "HEAD"]));
    if hash.is_empty() {
        return "unknown".to_owned();
    }
    let changed = output(Command::new("git").args(["status", "--porcelain", "-uno"]));
    if changed.is_empty() { hash } else { format!("{hash}+") }
}
