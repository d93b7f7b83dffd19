//! `fxsrv token`.

use std::path::{Path, PathBuf};

use super::fail::Fail;
use super::term;
use crate::auth::{self, Moment, NewToken, Rate, Rules, Token, TokenList, Uses};
use crate::config::ByteSize;

/// Make tokens, alone or on a list
///
/// A server accepts one token, which a file has as it is, or those of a list. A list has a name for
/// each, its hash, and what it may do; the token itself is printed once and kept nowhere. Servers read
/// their file when they start, and on SIGHUP.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    New(NewArgs),
    List(ListArgs),
    Revoke(RevokeArgs),
}

/// Print a new random token of 32 letters, which are 192 bits, and put it on a list
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  One token for all clients:
      (umask 077; fxsrv token new > token)

  One of several, for documents alone, until the end of the year:
      fxsrv token new --file tokens --name scanner --operations pdf,text \\
          --expires 2030-12-31 --max-body 20MiB --rate 100/m --concurrency 4")]
struct NewArgs {
    /// Put its hash on the list in this file, which is made where it is missing
    #[arg(long, value_name = "FILE", requires = "name")]
    file: Option<PathBuf>,

    /// Its name there: 1 to 64 letters, digits and any of ._-
    #[arg(long, value_name = "NAME", requires = "file")]
    name: Option<String>,

    /// When it ends: 90d from now, 2030-12-31, or 2030-12-31T18:00:00Z [default: never]
    #[arg(long, value_name = "WHEN", requires = "file")]
    expires: Option<Moment>,

    /// What it is for: jpg, png, webp, pdf, text, status, store [default: all]
    #[arg(long, value_name = "NAME", requires = "file", value_delimiter = ',')]
    operations: Vec<String>,

    /// Largest file [default: that of the server]
    #[arg(long, value_name = "SIZE", requires = "file")]
    max_body: Option<ByteSize>,

    /// Conversions in a time, which may all come at once: 10/s, 100/m, 5000/h [default: any number]
    #[arg(long, value_name = "N/TIME", requires = "file")]
    rate: Option<Rate>,

    /// Conversions at once [default: any number]
    #[arg(
        long, value_name = "N", requires = "file", value_parser = clap::value_parser!(u32).range(1..),
    )]
    concurrency: Option<u32>,
}

/// Show the names on a list, and what each token may do
#[derive(Debug, clap::Args)]
struct ListArgs {
    /// The list
    #[arg(long, env = "FXSRV_TOKEN_FILE", value_name = "FILE")]
    file: PathBuf,
}

/// Take a token off a list; servers refuse it from their next SIGHUP on
#[derive(Debug, clap::Args)]
struct RevokeArgs {
    /// The list
    #[arg(long, env = "FXSRV_TOKEN_FILE", value_name = "FILE")]
    file: PathBuf,

    /// The token's name
    name: String,
}

pub(super) fn run(args: &Args) -> Result<(), Fail> {
    match &args.command {
        Command::New(args) => new(args),
        Command::List(args) => {
            let list = auth::names(&args.file)?;
            table(&list).iter().try_for_each(|line| term::out(line))
        }
        Command::Revoke(args) => {
            auth::revoke(&args.file, &args.name)?;
            tell_of_reload(&args.file);
            Ok(())
        }
    }
}

fn new(args: &NewArgs) -> Result<(), Fail> {
    let token = Token::generate()?;
    if let (Some(file), Some(name)) = (&args.file, &args.name) {
        let uses = match args.operations.as_slice() {
            [] => Uses::ALL,
            names => Uses::parse(names.iter().map(String::as_str))
                .map_err(|problem| Fail::usage(format!("--operations: {problem}")))?,
        };
        let rules = Rules {
            expires: args.expires,
            uses,
            body_bytes_max: args.max_body.map(|size| size.0),
            rate: args.rate,
            concurrency: args.concurrency,
        };
        auth::add(file, &NewToken { name, token: &token, rules })?;
        tell_of_reload(file);
    }
    term::out(token.reveal())
}

fn tell_of_reload(file: &Path) {
    term::note(&format!(
        "changed {}; servers read it when they start, and on SIGHUP",
        file.display()
    ));
}

/// Columns as wide as what is in them.
fn table(list: &TokenList) -> Vec<String> {
    let dash = || "-".to_owned();
    let now = Moment::now();
    let mut rows =
        vec![["name", "ends", "operations", "largest", "rate", "at once"].map(str::to_owned)];
    rows.extend(list.each().map(|(name, rules, _)| {
        let ends = rules.expires.map_or_else(dash, |at| {
            if at <= now { format!("{at} (over)") } else { at.to_string() }
        });
        let uses = if rules.uses == Uses::ALL { "all".to_owned() } else { rules.uses.to_string() };
        [
            name.to_owned(),
            ends,
            uses,
            rules.body_bytes_max.map_or_else(dash, |max| ByteSize(max).to_string()),
            rules.rate.map_or_else(dash, |rate| rate.to_string()),
            rules.concurrency.map_or_else(dash, |max| max.to_string()),
        ]
    }));
    term::columns(&rows)
}
