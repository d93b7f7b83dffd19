//! The command line: one file per subcommand.
//!
//! Owns: flags, help, messages, exit codes, and the files that a client reads and writes. It is the
//! only room that speaks to a person, and all its words go through `term`. Must never hold what
//! another program that uses this library would need too.

mod batch;
#[cfg(feature = "s3")]
mod bucket;
#[cfg(not(feature = "s3"))]
#[path = "no_bucket.rs"]
mod bucket;
mod carry;
mod certs;
mod convert;
mod fail;
mod fetch;
mod files;
mod fleet;
mod fonts;
mod input;
mod landing;
mod local;
mod logs;
mod master;
#[cfg(feature = "nats")]
mod nats;
#[cfg(not(feature = "nats"))]
#[path = "no_nats.rs"]
mod nats;
mod notify;
mod options;
#[cfg(feature = "otlp")]
mod otlp;
#[cfg(not(feature = "otlp"))]
#[path = "no_otlp.rs"]
mod otlp;
mod output;
mod pattern;
mod progress;
mod scrub;
mod serve;
mod server;
mod shell;
mod status;
mod store;
mod term;
mod token;
mod top;
mod transfer;
mod up;
mod web;
mod worker;

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use fail::{Exit, Fail};

/// Convert files over TLS, keeping nothing of them
///
/// A client sends a file to a master, which checks it in and passes it to a worker; the worker
/// converts it in memory, and the result travels back the same way. Both hops are TLS. Neither master
/// nor worker writes anything of a file to disk.
#[derive(Debug, Parser)]
#[command(
    name = "fxsrv",
    version,
    max_term_width = 100,
    disable_help_subcommand = true,
    after_long_help = "\
Start here:
  fxsrv convert photo.png --to jpg      all three tiers in one process, for one command
  fxsrv up                              a server on this machine; it prints how to send to it

On machines of their own:
  fxsrv certs init --dir certs --name files.example.org
  fxsrv token new > token && chmod 600 token
  fxsrv worker --listen 0.0.0.0:6000 --certs certs
  fxsrv master --listen 0.0.0.0:5000 --certs certs --token-file token --worker HOST:6000

Every flag of a server and of convert is a variable FXSRV_* and a line of a file too: the flag goes
before the variable, and that before the file. docs/fxsrv.toml has them all. Messages are on
stderr, without colour where NO_COLOR is set.

Exit codes: 0 done, 1 refused by the server or a file failed, 2 usage or configuration, 3 the server
could not be reached, or not be trusted."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Convert(Box<convert::Args>),
    Up(Box<up::Args>),
    Master(Box<master::Args>),
    Worker(Box<worker::Args>),
    Certs(certs::Args),
    Token(token::Args),
    Status(status::Args),
    Top(top::Args),
    Store(Box<store::Args>),
    Put(Box<files::PutArgs>),
    Get(Box<files::GetArgs>),
    Change(Box<files::ChangeArgs>),
    Summary(Box<files::SummaryArgs>),
    Help(Box<files::HelpArgs>),
    Files(Box<shell::Args>),
    Web(Box<web::Args>),
    Batch(Box<batch::Args>),
}

/// A variable for whoever looks into a process of his own: with it, memory can be dumped and traced.
const ALLOW_DUMPS: &str = "FXSRV_ALLOW_DUMPS";

/// Does what the command line says.
#[must_use]
pub fn run() -> ExitCode {
    if let Some(served) = crate::isolation::run_if_asked() {
        return match served {
            Ok(()) => Exit::Done,
            Err(error) => {
                let fail = Fail::usage(format!("a conversion cannot go on: {error}"));
                term::error(&fail.with_hint("workers start this themselves; nobody else has to"));
                Exit::Usage
            }
        }
        .into();
    }
    logs::hide_panic_messages();
    // Before a file, a token or a key is read.
    if std::env::var_os(ALLOW_DUMPS).is_none_or(|value| value.is_empty()) {
        crate::io::forbid_dumps();
    }
    let parsed = command().try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to stdout, whose reader may have left.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage.into() } else { Exit::Done.into() };
        }
    };
    match execute(cli.command) {
        Ok(exit) => exit.into(),
        Err(fail) => {
            term::error(&fail);
            fail.exit.into()
        }
    }
}

fn execute(command: Command) -> Result<Exit, Fail> {
    match command {
        Command::Convert(args) => return convert::run(&args),
        Command::Up(args) => up::run(*args),
        Command::Master(args) => master::run(*args),
        Command::Worker(args) => worker::run(*args),
        Command::Certs(args) => certs::run(args),
        Command::Token(args) => token::run(&args),
        Command::Status(args) => status::run(args),
        Command::Top(args) => top::run(args),
        Command::Store(args) => return store::run(&args),
        Command::Put(args) => return files::put(*args),
        Command::Get(args) => return files::get(*args),
        Command::Change(args) => return files::change(*args),
        Command::Summary(args) => return files::summary(*args),
        Command::Help(args) => files::help(*args, &mut self::command()),
        Command::Files(args) => return shell::run(*args),
        Command::Web(args) => web::run(*args),
        Command::Batch(args) => return batch::run(*args),
    }
    .map(|()| Exit::Done)
}

/// The command line, with what no attribute can say.
fn command() -> clap::Command {
    // The values of variables are nobody's business in a help page.
    let hide_values = |arg: clap::Arg| arg.hide_env_values(true);
    let version: &'static str = Box::leak(version().into_boxed_str());
    Cli::command().long_version(version).mut_subcommands(move |command| {
        let command = command.mut_args(hide_values);
        command.mut_subcommands(move |inner| inner.mut_args(hide_values))
    })
}

/// The version, and which codecs are inside.
fn version() -> String {
    let codecs = crate::convert::codecs().join("\n  ");
    format!("{}\ncodecs:\n  {codecs}", env!("CARGO_PKG_VERSION"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }
}
