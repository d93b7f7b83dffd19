//! The command line of the bench.
//!
//! Owns: flags, words for people, exit codes. Must never hold what a measurement needs.

mod build;
mod check;
mod compare;
mod generator;
mod raw;
mod record;
mod simulate;
mod subject;
mod sweep;

use std::fmt::Display;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::report;
use crate::results::Dir;

/// Measure how fast a server of file conversions is
///
/// Open loops by default: latency counts from the instant that a request was due, so that a server
/// that stalls is charged for all who would have come meanwhile.
#[derive(Debug, Parser)]
#[command(name = "fxsrv-bench", version, max_term_width = 100, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Sweep(Box<sweep::Args>),
    Compare(compare::Args),
    Check(check::Args),
    Generator(generator::Args),
    Raw(raw::Args),
    Simulate(simulate::Args),
    #[command(hide = true)]
    Kernel(check::KernelArgs),
    Report(ReportArgs),
}

/// Draw the report of a directory of results again
#[derive(Debug, clap::Args)]
struct ReportArgs {
    /// The directory
    dir: PathBuf,
}

/// Why a command ended without its result.
#[derive(Debug)]
struct Fail {
    message: String,
    hint: Option<String>,
}

impl Fail {
    fn new(message: impl Display) -> Self {
        Self { message: message.to_string(), hint: None }
    }

    fn with_hint(self, hint: impl Display) -> Self {
        Self { hint: Some(hint.to_string()), ..self }
    }
}

/// Does what the command line says.
#[must_use]
pub fn run() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Sweep(args) => sweep::run(&args),
        Command::Compare(args) => compare::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Generator(args) => generator::run(&args),
        Command::Raw(args) => raw::run(&args),
        Command::Simulate(args) => simulate::run(&args),
        Command::Kernel(args) => check::run_kernel(&args),
        Command::Report(args) => report::render(&Dir::open(&args.dir)).map_err(Fail::new),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(fail) => {
            say(&format!("error: {}", fail.message));
            if let Some(hint) = fail.hint {
                say(&format!("hint: {hint}"));
            }
            ExitCode::FAILURE
        }
    }
}

/// What a program says; nothing where it fails.
fn output(command: &mut std::process::Command) -> String {
    let output = command.output().ok().filter(|output| output.status.success());
    output
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        .unwrap_or_default()
}

/// A line for people, on stderr.
fn say(line: &str) {
    // Where stderr is closed there is nobody to tell.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// A line of data, on stdout. A reader that has left has seen enough.
fn out(line: &str) -> Result<(), Fail> {
    match writeln!(std::io::stdout().lock(), "{line}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Fail::new(format!("cannot write to stdout: {error}")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
