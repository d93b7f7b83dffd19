//! fxsrv-peers: what the comparison of proxies needs beside the proxies.
//!
//! A *sink* that stands where the worker does, a *load* of genuine requests, a crowd of *idle*
//! connections, and *tunnels* written the plain way with tokio and tokio-rustls. `docs/peers.md`
//! says how they are put together; `run.py` does it.

mod idle;
mod load;
mod net;
mod request;
mod sink;
mod tls;
mod tunnel;

use std::process::ExitCode;

use clap::Parser as _;

/// What a part of the comparison fails with: it is printed, and ends the process.
type Fallible<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Parts of the comparison of proxies; bench/peers/run.py runs them
#[derive(Debug, clap::Parser)]
enum Cli {
    Sink(sink::Args),
    Tunnel(tunnel::Args),
    Load(load::Args),
    Idle(idle::Args),
}

fn main() -> ExitCode {
    let done = match Cli::parse() {
        Cli::Sink(args) => net::block_on(sink::run(args)),
        Cli::Tunnel(args) => net::block_on(tunnel::run(args)),
        Cli::Load(args) => net::block_on(load::run(args)),
        Cli::Idle(args) => net::block_on(idle::run(args)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            #[allow(clippy::print_stderr)]
            {
                eprintln!("error: {error}");
            }
            ExitCode::FAILURE
        }
    }
}
