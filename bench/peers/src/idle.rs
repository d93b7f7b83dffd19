//! Connections that have been served once and then say nothing, until they all wake.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::request::Request;
use crate::{Fallible, load, net, tls};

/// Connections that are opened, or woken, at the same time.
const AT_ONCE: usize = 64;

/// What is read ahead below TLS: nothing is in a hurry here, and there may be many.
const READ_BYTES: usize = 2 * 1024;

/// Small on purpose: what is asked for is an answer, and no transfer.
const BODY_BYTES: u64 = 1024;

/// Open connections, ask once on each, hold them, and ask again on all
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The contender
    #[arg(long)]
    server: SocketAddr,

    /// Certificates, as `fxsrv certs init` makes them
    #[arg(long)]
    certs: PathBuf,

    /// File with the token to show
    #[arg(long)]
    token_file: PathBuf,

    /// How many
    #[arg(long)]
    connections: usize,
}

#[derive(Debug, Default, Serialize)]
struct Woken {
    answered: u64,
    failed: u64,
    first_failure: Option<String>,
}

pub(crate) async fn run(args: Args) -> Fallible {
    let request = Arc::new(Request::new(&args.token_file, BODY_BYTES, BODY_BYTES)?);
    let config = tls::forgetful_client(&args.certs)?;
    let name = tls::server_name()?;
    let gate = Arc::new(Semaphore::new(AT_ONCE));
    let mut opening = JoinSet::new();
    for _ in 0..args.connections {
        let (gate, request) = (Arc::clone(&gate), Arc::clone(&request));
        let (config, name, server) = (Arc::clone(&config), name.clone(), args.server);
        opening.spawn(async move {
            let _turn = gate.acquire().await?;
            let mut stream = load::connect(server, &name, &config, READ_BYTES).await?;
            request.exchange(&mut stream).await?;
            Fallible::Ok(stream)
        });
    }
    let mut streams = Vec::with_capacity(args.connections);
    while let Some(opened) = opening.join_next().await {
        streams.push(opened??);
    }
    net::rendezvous("idle")?;
    let mut waking = JoinSet::new();
    for mut stream in streams {
        let (gate, request) = (Arc::clone(&gate), Arc::clone(&request));
        waking.spawn(async move {
            let _turn = gate.acquire().await?;
            request.exchange(&mut stream).await?;
            Fallible::Ok(())
        });
    }
    let mut woken = Woken::default();
    while let Some(answered) = waking.join_next().await {
        match answered? {
            Ok(()) => woken.answered += 1,
            Err(error) => {
                woken.failed += 1;
                woken.first_failure.get_or_insert(error.to_string());
            }
        }
    }
    net::say(&serde_json::to_string(&woken)?);
    Ok(())
}
