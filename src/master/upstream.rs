//! Reaching a worker.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::Live;
use super::fleet::{Reached, View, Worker};
use crate::io::{Driver, Socket};
use crate::limits::{FleetLimits, ServerLimits};
use crate::metrics;
use crate::server::Changing;
use crate::tls::ClientTls;
use crate::transport::{StreamError, TlsStream};
use crate::wire::{Code, Failure};

/// The way of one thread of the master to its workers.
pub(super) struct Upstreams {
    fleet: View,
    live: Changing<Live>,
    limits: FleetLimits,
}

/// A connection to a worker, counted until it is dropped.
pub(super) struct Upstream {
    pub(super) stream: TlsStream,
    pub(super) reached: Reached,
}

impl Upstream {
    /// The worker's name in logs.
    pub(super) fn name(&self) -> &str {
        self.reached.worker().address()
    }
}

impl Upstreams {
    pub(super) fn new(fleet: View, live: Changing<Live>, limits: FleetLimits) -> Self {
        Self { fleet, live, limits }
    }

    /// Connects to the worker that the fleet chooses for a body of `body_bytes`, and to the next one
    /// where it cannot be reached. Nothing of the request has been sent yet, so that costs only time.
    pub(super) async fn connect(
        &self,
        driver: Driver,
        limits: &ServerLimits,
        body_bytes: u64,
    ) -> Result<Upstream, Failure> {
        let mut tried = Vec::new();
        while tried.len() < self.limits.attempts_max {
            let Some(outstanding) = self.fleet.choose(body_bytes, &tried) else { break };
            let tls = &self.live.now().worker_tls;
            match dial(outstanding.worker(), tls, driver, limits.connect_timeout).await {
                Ok(stream) => {
                    metrics::count(|here| here.upstream_opened.add(1));
                    return Ok(Upstream { stream, reached: outstanding.reached() });
                }
                // The address is for the operator and not for the client.
                Err(error) => {
                    metrics::count(|here| here.upstream_failed.add(1));
                    tried.push(outstanding.missed(&error));
                }
            }
        }
        Err(Failure::new(
            Code::NoWorker,
            format!("no worker can be reached ({} tried)", tried.len()),
        )
        .with_hint("try again; if it persists, the operator has to look at the workers"))
    }
}

/// A new connection to `worker`, handshake included. `timeout` is for each of: the look-up of its
/// name, an address of it, and the handshake there.
pub(super) async fn dial(
    worker: &Worker,
    tls: &ClientTls,
    driver: Driver,
    timeout: Duration,
) -> Result<TlsStream, StreamError> {
    let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
    // Unlike an operation on a ring, a look-up may be left behind.
    let looking_up = tokio::net::lookup_host(worker.address());
    let addresses = tokio::time::timeout(timeout, looking_up)
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "its name is not resolved"))??;
    for address in addresses {
        match dial_at(worker, address, tls, driver, timeout).await {
            Ok(stream) => return Ok(stream),
            Err(StreamError::Io(error)) => failure = error,
            Err(error) => return Err(error),
        }
    }
    Err(failure.into())
}

async fn dial_at(
    worker: &Worker,
    address: SocketAddr,
    tls: &ClientTls,
    driver: Driver,
    timeout: Duration,
) -> Result<TlsStream, StreamError> {
    let socket = Socket::connect(driver, address, timeout).await?;
    TlsStream::connect(socket, tls, worker.server_name(), timeout).await
}
