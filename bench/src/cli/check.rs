//! `fxsrv-bench check`, and the kernels that it counts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use fxsrv::io::Driver;

use super::{Fail, out, output, say};
use crate::gate::callgrind::instructions;
use crate::gate::calls::{calls_a_mb, copied_a_byte};
use crate::gate::kernels::Kernel;
use crate::gate::server::{self, Programs};
use crate::gate::{Baseline, Standing, TOLERANCE_ELSEWHERE, Tools};
use crate::measure::machine::Machine;

/// Count what a request costs, and hold it against the baseline
///
/// Instructions of kernels under valgrind; system calls and copied bytes of the tunnel; allocations of a real
/// server under a fixed load. None of them is a time. What is over the baseline is
/// counted again before the gate turns red.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The directory of accepted counts
    #[arg(long, value_name = "DIR", default_value = "results/baseline")]
    baseline: PathBuf,

    /// Make these counts the accepted ones
    #[arg(long, conflicts_with = "plant")]
    accept: bool,

    /// Count these only: instructions, tunnel or server
    #[arg(long, value_name = "GROUP", value_parser = GROUPS.map(|group| group.name))]
    only: Option<String>,

    /// Do so many percent more than is said, to see the gate turn red
    #[arg(long, value_name = "PERCENT", default_value = "0", value_parser = clap::value_parser!(u32).range(0..=100))]
    plant: u32,
}

/// Run a kernel
#[derive(Debug, clap::Args)]
pub(super) struct KernelArgs {
    kernel: Kernel,
    operations: u64,

    /// What carries its input and output, where it has any
    #[arg(long, default_value = "epoll")]
    io: Driver,
}

type Counts = BTreeMap<String, f64>;

/// Counts that stand in one file.
struct Group {
    name: &'static str,
    /// How far a count may be off the baseline, up or down. A planted 5 % is beyond each.
    tolerance: f64,
    counter: fn() -> String,
    count: fn(&Path, u32) -> Result<Counts, Fail>,
}

const GROUPS: [Group; 3] = [
    Group {
        name: "instructions",
        // Hash seeds and random keys move them by up to 0.4 %.
        tolerance: 0.02,
        counter: || {
            let said = |program| output(Command::new(program).arg("--version"));
            let first = |said: String| said.lines().next().unwrap_or_default().to_owned();
            // Codecs and cryptography are C, and copying is the C library's.
            [said("valgrind"), first(said("cc")), first(said("ldd"))].join(", ")
        },
        count: count_instructions,
    },
    Group { name: "tunnel", tolerance: 0.02, counter: strace, count: count_tunnel },
    Group {
        name: "server",
        tolerance: 0.02,
        counter: || "the server itself".to_owned(),
        count: count_server,
    },
];

/// What a ring does in one call is the kernel's choice.
fn strace() -> String {
    let release = Machine::here().kernel;
    let version: Vec<_> = release.split('.').take(2).collect();
    format!("strace on Linux {}", version.join("."))
}

pub(super) fn run_kernel(args: &KernelArgs) -> Result<(), Fail> {
    args.kernel.run(args.operations, args.io).map_err(Fail::new)
}

pub(super) fn run(args: &Args) -> Result<(), Fail> {
    let program = std::env::current_exe()
        .map_err(|error| Fail::new(format!("cannot find this program: {error}")))?;
    let mut red = Vec::new();
    for group in &GROUPS {
        if args.only.as_ref().is_none_or(|only| only == group.name) {
            red.extend(group.run(args, &program)?);
        }
    }
    if red.is_empty() {
        return Ok(());
    }
    Err(Fail::new(format!("more than was accepted: {}", red.join("; ")))
        .with_hint("where it is meant, `just bench-accept` in a commit that says why"))
}

impl Group {
    /// Counts, shows, and says what is red.
    fn run(&self, args: &Args, program: &Path) -> Result<Vec<String>, Fail> {
        let path = args.baseline.join(format!("{}.json", self.name));
        let with = Tools::here((self.counter)());
        if args.accept {
            let counts = (self.count)(program, 0)?;
            for (name, count) in &counts {
                out(&format!("{name:<48} {:>14}  accepted", shown(*count)))?;
            }
            let counts = counts.into_iter().map(|(name, count)| (name, rounded(count))).collect();
            return Baseline { with, tolerance: self.tolerance, counts }
                .save(&path)
                .map(|()| Vec::new())
                .map_err(|error| Fail::new(format!("cannot write {}: {error}", path.display())));
        }
        let accepted = Baseline::load(&path).map_err(|error| {
            Fail::new(format!("cannot read the baseline: {error}"))
                .with_hint("make one with `just bench-accept`")
        })?;
        let differences = with.differences(&accepted.with);
        if !differences.is_empty() {
            say(&format!(
                "warning: the baseline was counted with other tools ({}): only what is off by over \
                 {:.0} % is judged",
                differences.join("; "),
                TOLERANCE_ELSEWHERE * 100.0
            ));
        }
        let least = if differences.is_empty() { 0.0 } else { TOLERANCE_ELSEWHERE };
        let stand = |name: &str, count: f64| {
            let tolerance = accepted.tolerance.max(least);
            Standing::of(count, accepted.counts.get(name).copied(), tolerance)
        };
        let mut counts = (self.count)(program, args.plant)?;
        if counts.iter().any(|(name, count)| stand(name, *count) == Standing::More) {
            say("some are more: counting again");
            for (name, again) in (self.count)(program, args.plant)? {
                counts.entry(name).and_modify(|count| *count = count.min(again));
            }
        }
        let mut red = Vec::new();
        for (name, count) in counts {
            let before = accepted.counts.get(&name).filter(|before| **before > 0.0);
            let change = before.map_or(String::new(), |before| {
                format!("{:+.2} %", (count / before - 1.0) * 100.0)
            });
            let standing = stand(&name, count);
            let said = standing.name();
            out(&format!("{name:<48} {:>14}  {change:>9}  {said}", shown(count)))?;
            if standing == Standing::More {
                red.push(format!("{name} by {change}"));
            }
        }
        Ok(red)
    }
}

fn count_instructions(program: &Path, planted: u32) -> Result<Counts, Fail> {
    let count = |kernel: Kernel| {
        let count = instructions(program, kernel, planted).map_err(|error| {
            Fail::new(error).with_hint("valgrind is a package of every distribution")
        })?;
        Ok((kernel.name().to_owned(), count))
    };
    Kernel::ALL.into_iter().map(count).collect()
}

fn count_server(program: &Path, planted: u32) -> Result<Counts, Fail> {
    let programs = programs(program)?;
    on_each_driver(|driver| {
        server::allocations(&programs, driver, planted.into()).map_err(Fail::new)
    })
}

fn programs(program: &Path) -> Result<Programs, Fail> {
    let programs = Programs::beside(program);
    for program in [&programs.server, &programs.counted] {
        if !program.exists() {
            return Err(Fail::new(format!("there is no {}", program.display()))
                .with_hint("build it with `cargo build --release -p fxsrv -p fxsrv-bench`"));
        }
    }
    Ok(programs)
}

fn count_tunnel(program: &Path, planted: u32) -> Result<Counts, Fail> {
    on_each_driver(|driver| {
        let calls = calls_a_mb(program, driver, planted).map_err(|error| {
            Fail::new(format!("cannot count system calls: {error}"))
                .with_hint("strace is a package of every distribution")
        })?;
        let copied = copied_a_byte(driver, planted)
            .map_err(|error| Fail::new(format!("cannot count copied bytes: {error}")))?;
        Ok([
            (format!("system calls a MB through the tunnel on {driver}"), calls),
            (format!("bytes copied a byte through the tunnel on {driver}"), copied),
        ]
        .into())
    })
}

fn on_each_driver(count: impl Fn(Driver) -> Result<Counts, Fail>) -> Result<Counts, Fail> {
    let mut counts = Counts::new();
    for driver in [Driver::Epoll, Driver::Uring] {
        match Driver::choose(Some(driver)) {
            Ok(_) => counts.extend(count(driver)?),
            Err(error) => say(&format!("warning: nothing is counted on {driver}: {error}")),
        }
    }
    Ok(counts)
}

/// Four digits of what is small, and no fraction of what is large.
fn rounded(count: f64) -> f64 {
    if count >= 1_000.0 { count.round() } else { (count * 1e4).round() / 1e4 }
}

fn shown(count: f64) -> String {
    if count >= 1_000.0 { format!("{count:.0}") } else { format!("{count:.3}") }
}
