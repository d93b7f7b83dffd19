//! `fxsrv token`.

use super::fail::Fail;
use super::term;
use crate::auth::Token;

/// Make tokens
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Print a new random token of 32 letters, which are 192 bits
    #[command(after_long_help = "\
Example:
  (umask 077; fxsrv token new > token)")]
    New,
}

pub(super) fn run(args: &Args) -> Result<(), Fail> {
    match args.command {
        Command::New => term::out(Token::generate()?.reveal()),
    }
}
