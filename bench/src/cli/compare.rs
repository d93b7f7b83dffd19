//! `fxsrv-bench compare`.

use std::path::PathBuf;

use fxsrv::io::Driver;
use indicatif::{ProgressBar, ProgressStyle};

use super::{Fail, build, out, say};
use crate::compare::stats::{Ratio, Verdict};
use crate::compare::{Finding, Terms, compare};
use crate::measure::servers::Setup;
use crate::measure::{isolate, machine};
use crate::plan::{Pace, Plan};

/// The plan where none is named.
const COMPARE: &str = include_str!("../../plans/compare.toml");

/// Compare two programs, or two commits, in turns on this machine
///
/// What is no file is taken for a commit, and built in a worktree of its own under target/compare. Three pairs of servers run: A, A again, and B. Each round measures all three in a random order. A
/// cell is called slower or faster where the 99 % interval of the ratio B to A is beyond 2 %, A does not differ
/// from itself, and a second round of measurements says the same.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  The present commit with the one before it:
      fxsrv-bench compare HEAD~1 HEAD

  One program on both drivers:
      fxsrv-bench compare fxsrv fxsrv --a-flag=--io=epoll --b-flag=--io=uring")]
pub(super) struct Args {
    /// The program or commit to compare with
    a: String,

    /// The program or commit in question
    b: String,

    /// What to measure [default: bench/plans/compare.toml, which is built in]
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,

    /// Turns of each
    #[arg(long, value_name = "N", default_value = "12", value_parser = clap::value_parser!(u32).range(6..=200))]
    rounds: u32,

    /// A flag for the servers of A
    #[arg(long, value_name = "FLAG", allow_hyphen_values = true)]
    a_flag: Vec<String>,

    /// A flag for the servers of B
    #[arg(long, value_name = "FLAG", allow_hyphen_values = true)]
    b_flag: Vec<String>,

    /// Use the machine's loopback, without a network namespace
    #[arg(long)]
    shared_network: bool,
}

pub(super) fn run(args: &Args) -> Result<(), Fail> {
    let text = match &args.plan {
        None => COMPARE.to_owned(),
        Some(path) => std::fs::read_to_string(path)
            .map_err(|error| Fail::new(format!("cannot read {}: {error}", path.display())))?,
    };
    let plan = Plan::parse(&text, false).map_err(Fail::new)?;
    // Before the network is left, which a build may need.
    let (a, b) = (build::program(&args.a)?, build::program(&args.b)?);
    let cores = machine::cores();
    // Conversions of the built-in plan are small: the loops are what takes the time.
    let pace = Pace::new(cores);
    let once: f64 = plan.cells.iter().map(|cell| pace.cell_seconds(&plan, cell)).sum();
    let seconds = once * 3.0 * f64::from(args.rounds + 1);
    if !isolate::is_isolated() {
        say(&format!(
            "{} cells, {:.0} min, up to twice as long where there is something to confirm",
            plan.cells.len(),
            (seconds / 60.0).ceil()
        ));
    }
    if !args.shared_network {
        isolate::enter();
    }
    let load = machine::load_average();
    if load > cores as f64 / 2.0 {
        say(&format!("warning: the load average is {load:.1}: others use this machine"));
    }
    let setup = |binary: &PathBuf, flags: &[String]| Setup {
        binary: binary.clone(),
        flags: flags.to_vec(),
        ..Setup::default()
    };
    let (a, b) = (setup(&a, &args.a_flag), setup(&b, &args.b_flag));
    let threads = (cores / 2).max(1);
    let terms = Terms { rounds: args.rounds, threads, driver: Driver::Epoll };
    let bar = ProgressBar::new(plan.cells.len() as u64).with_style(
        ProgressStyle::with_template("{bar:30} {pos} of {len}  {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    let mut last = None;
    let findings = compare([&a, &b], &plan, terms, |cell, what| {
        if last.is_some() && last != Some(*cell) {
            bar.inc(1);
        }
        last = Some(*cell);
        bar.set_message(format!("{cell}: {what}"));
    })
    .map_err(Fail::new)?;
    bar.finish_and_clear();
    show(&findings)?;
    let slower = findings.iter().filter(|finding| finding.verdict == Verdict::Slower).count();
    if slower > 0 {
        return Err(Fail::new(format!("B is slower in {slower} of {}", findings.len())));
    }
    Ok(())
}

fn show(findings: &[Finding]) -> Result<(), Fail> {
    let range = |ratio: Ratio| {
        let percent = |value: f64| (value - 1.0) * 100.0;
        format!(
            "{:+6.1} % [{:+.1}, {:+.1}]",
            percent(ratio.mean),
            percent(ratio.low),
            percent(ratio.high)
        )
    };
    out(&format!(
        "{:<26} {:<14} {:<26} {:<26} verdict",
        "cell", "metric", "A again to A", "B to A"
    ))?;
    for finding in findings {
        out(&format!(
            "{:<26} {:<14} {:<26} {:<26} {}",
            finding.cell,
            finding.metric,
            range(finding.own),
            range(finding.other),
            finding.verdict.name()
        ))?;
    }
    Ok(())
}
