//! `fxsrv-bench generator`: what the generator itself costs.

use std::path::PathBuf;

use fxsrv::io::Driver;
use fxsrv::wire::Version;

use super::{Fail, out, subject};
use crate::content::Store;
use crate::measure::isolate;
use crate::measure::servers::{Servers, Setup};
use crate::plan::Plan;
use crate::sweep::{Bench, Subject};

/// The plan of small requests.
const GENERATOR: &str = include_str!("../../plans/generator.toml");

/// More than this share of the server's cost, and a core of load does not saturate a core of server.
const SHARE_MAX: f64 = 0.5;

/// Measure what the generator costs beside the server
///
/// Small requests on kept connections, closed loop: CPU time of each process for a request. The generator's
/// should be at most half of the server's, so that one core of load saturates a core of server.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The server's program [default: fxsrv beside this one]
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,

    /// A flag for master and worker; repeat it for more
    #[arg(long, value_name = "FLAG", allow_hyphen_values = true)]
    server_flag: Vec<String>,

    /// What carries the generator's input and output: epoll or uring
    #[arg(long, value_name = "DRIVER", default_value = "epoll")]
    io: Driver,

    /// Use the machine's loopback, without a network namespace
    #[arg(long)]
    shared_network: bool,
}

pub(super) fn run(args: &Args) -> Result<(), Fail> {
    if !args.shared_network {
        isolate::enter();
    }
    let plan = Plan::parse(GENERATOR, false).map_err(Fail::new)?;
    let binary = subject::binary(args.binary.as_ref())?;
    let setup = Setup { binary, flags: args.server_flag.clone(), ..Setup::default() };
    let servers = Servers::start(&setup).map_err(Fail::new)?;
    let bench = Bench {
        subject: Subject::Own(&servers),
        plan: &plan,
        version: Version::V1_1,
        threads: 1,
        driver: args.io,
        counters: None,
    };
    let mut contents = Store::new(plan.seed, None);
    out(&format!(
        "{:<26} {:>12} {:>14} {:>14} {:>7}",
        "cell", "requests/s", "generator us", "servers us", "share"
    ))?;
    let mut over = Vec::new();
    for cell in &plan.cells {
        let measured = bench.measure_at(None, 0, cell, &mut contents).map_err(Fail::new)?.row;
        let share = measured.generator_cpu_us_per_request / measured.server_cpu_us_per_request;
        out(&format!(
            "{:<26} {:>12.0} {:>14.2} {:>14.2} {share:>7.2}",
            measured.cell,
            measured.closed_per_s,
            measured.generator_cpu_us_per_request,
            measured.server_cpu_us_per_request,
        ))?;
        if share > SHARE_MAX {
            over.push(measured.cell);
        }
    }
    if over.is_empty() {
        return Ok(());
    }
    Err(Fail::new(format!(
        "the generator costs over {SHARE_MAX} of the server: {}",
        over.join(", ")
    )))
}
