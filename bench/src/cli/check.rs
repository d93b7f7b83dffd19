//! `fxsrv-bench check`, and the kernels that it counts.

use std::path::PathBuf;

use super::{Fail, out, say};
use crate::gate::callgrind::instructions;
use crate::gate::kernels::Kernel;
use crate::gate::{Baseline, Standing, TOLERANCE};
use crate::measure::machine::Machine;

/// Count instructions, and hold them against the baseline
///
/// Runs each kernel under valgrind, which must be installed. Counts are the same on a busy machine;
/// another compiler or processor has others.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The accepted counts
    #[arg(long, value_name = "FILE", default_value = "results/baseline/instructions.json")]
    baseline: PathBuf,

    /// Make these counts the accepted ones
    #[arg(long, conflicts_with = "plant")]
    accept: bool,

    /// Do so many percent more than is said, to see the gate turn red
    #[arg(long, value_name = "PERCENT", default_value = "0", value_parser = clap::value_parser!(u32).range(0..=100))]
    plant: u32,
}

/// Run a kernel
#[derive(Debug, clap::Args)]
pub(super) struct KernelArgs {
    kernel: Kernel,
    operations: u64,
}

pub(super) fn run_kernel(args: &KernelArgs) -> Result<(), Fail> {
    args.kernel.run(args.operations).map_err(Fail::new)
}

pub(super) fn run(args: &Args) -> Result<(), Fail> {
    let program = std::env::current_exe()
        .map_err(|error| Fail::new(format!("cannot find this program: {error}")))?;
    let mut counted = Baseline {
        rustc: super::output(std::process::Command::new("rustc").arg("--version")),
        cpu: Machine::here().cpu,
        instructions: std::collections::BTreeMap::new(),
    };
    let accepted = if args.accept { None } else { Some(load(args)?) };
    if let Some(accepted) = &accepted {
        note_difference("compiler", &accepted.rustc, &counted.rustc);
        note_difference("processor", &accepted.cpu, &counted.cpu);
    }
    let mut red = Vec::new();
    for kernel in Kernel::ALL {
        let count = instructions(&program, kernel, args.plant).map_err(|error| {
            Fail::new(error).with_hint("valgrind is a package of every distribution")
        })?;
        counted.instructions.insert(kernel.name().to_owned(), count.round());
        let before = accepted.as_ref().and_then(|accepted| accepted.of(kernel));
        let standing = Standing::of(count, before);
        let change = before
            .map_or(String::new(), |before| format!("{:+.2} %", (count / before - 1.0) * 100.0));
        let said = if args.accept { "accepted" } else { standing.name() };
        out(&format!("{:<18} {count:>14.0}  {change:>9}  {said}", kernel.name()))?;
        if !args.accept && standing == Standing::More {
            red.push(kernel.name());
        }
    }
    if args.accept {
        return counted.save(&args.baseline).map_err(|error| {
            Fail::new(format!("cannot write {}: {error}", args.baseline.display()))
        });
    }
    if red.is_empty() {
        return Ok(());
    }
    let message = format!("over {:.0} % more: {}", TOLERANCE * 100.0, red.join(", "));
    Err(Fail::new(message)
        .with_hint("where it is meant, `just bench-accept` in a commit that says why"))
}

fn load(args: &Args) -> Result<Baseline, Fail> {
    Baseline::load(&args.baseline).map_err(|error| {
        Fail::new(format!("cannot read the baseline: {error}"))
            .with_hint("make one with `just bench-accept`")
    })
}

fn note_difference(what: &str, accepted: &str, here: &str) {
    if accepted != here {
        say(&format!(
            "warning: the baseline is of another {what} ({accepted}; here {here}): a difference may \
             be its"
        ));
    }
}
