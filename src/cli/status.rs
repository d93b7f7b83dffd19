//! `fxsrv status`.

use std::path::PathBuf;

use super::fail::Fail;
use super::fleet::Status;
use super::server::{self, Target};
use super::{logs, serve, term};
use crate::client::{self, Address, ClientConfig, Connection};
use crate::config::{ConvertKeys, File, LogLevel};
use crate::io::Driver;

/// Ask a server how it is
///
/// A master tells of its workers too: which take requests, what they have to do, and how long they
/// take to say so.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  fxsrv status --server files.example.org:5000 --ca ca.pem --token-file token

  How many workers take requests, for a script:
      fxsrv status --json | jq '[.workers[] | select(.state == \"up\")] | length'")]
pub(super) struct Args {
    #[command(flatten)]
    reach: Reach,

    /// Print every number that the server tells, as JSON
    #[arg(long)]
    json: bool,

    /// Print every number that the server tells, as lines of `key=value`
    #[arg(long, conflicts_with = "json")]
    all: bool,
}

/// How a server is reached by those who ask how it is.
#[derive(Debug, clap::Args)]
pub(super) struct Reach {
    /// The master to ask
    #[arg(long, env = "FXSRV_SERVER", value_name = "HOST:PORT")]
    server: Option<Address>,

    /// Trust the server by this file: the ca.pem of its certificates
    #[arg(long, env = "FXSRV_CA", value_name = "FILE")]
    ca: Option<PathBuf>,

    /// File with the token to show. Instead of it, the token itself may be in `FXSRV_TOKEN`
    #[arg(long, env = "FXSRV_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// Read keys of `[convert]` from a file [default: ~/.config/fxsrv/config.toml where it exists]
    #[arg(long, env = "FXSRV_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Reach {
    /// The server to ask, and the driver to do it on.
    pub(super) fn config(self, command: &str) -> Result<(Driver, Box<ClientConfig>), Fail> {
        let file = File::load_for_user(self.config.as_deref())?;
        let Self { server, ca, token_file, .. } = self;
        let flags = ConvertKeys { server, ca, token_file, ..ConvertKeys::default() };
        let has_flag_token = flags.token_file.is_some();
        let keys = flags.or(file.convert);
        logs::start(keys.log.unwrap_or(LogLevel(tracing::Level::ERROR)));
        let driver = serve::choose_driver(keys.io)?;
        match server::target(&keys, has_flag_token, driver)? {
            Target::Remote(config) => Ok((driver, config)),
            Target::Local => Err(Fail::usage(format!("{command} needs a server"))
                .with_hint("give its --server HOST:PORT")),
        }
    }
}

pub(super) fn run(args: Args) -> Result<(), Fail> {
    let Args { reach, json, all } = args;
    let (driver, config) = reach.config("status")?;
    let status = client::blocking(driver, async {
        let mut connection = Connection::connect(&config).await?;
        let status = connection.status().await?;
        connection.close().await;
        Ok(status)
    })?;
    let status = Status::parse(&status);
    match (json, all) {
        (true, _) => term::out(&status.json()),
        (_, true) => term::out(&status.lines()),
        _ => term::out(&status.table()),
    }
}
