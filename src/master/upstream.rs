//! Reaching a worker.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::Live;
use super::fleet::{Reached, View, Worker};
use super::kept::{Connection, KeptConnections};
use crate::io::{Driver, Socket};
use crate::limits::{FleetLimits, ServerLimits, UpstreamLimits};
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
    kept: Rc<KeptConnections>,
}

/// What a request asks for in a worker.
pub(super) struct Ask {
    body_bytes: u64,
    /// Workers that it need not be sent to again.
    tried: Vec<Arc<Worker>>,
    /// One of them has no room for so many milliseconds.
    refusal: Option<u32>,
    /// A kept connection has failed it.
    wants_new: bool,
}

/// A connection to a worker, counted until it is dropped.
pub(super) struct Upstream {
    pub(super) connection: Connection,
    pub(super) reached: Reached,
    /// It has served a request before.
    pub(super) is_reused: bool,
}

impl Ask {
    pub(super) fn new(body_bytes: u64) -> Self {
        Self { body_bytes, tried: Vec::new(), refusal: None, wants_new: false }
    }

    /// The request was sent over `failed`, and is to be sent again.
    pub(super) fn again(&mut self, failed: &Upstream, refusal: Option<u32>) {
        match refusal {
            Some(_) => {
                self.tried.push(Arc::clone(failed.reached.worker()));
                self.refusal = refusal;
            }
            None => self.wants_new = true,
        }
    }

    /// What is said where nobody else can be asked.
    fn nobody(&self, tried: usize) -> Failure {
        match self.refusal {
            Some(retry_after_ms) => {
                Failure::new(Code::Busy, "no worker that can be reached has room")
                    .with_retry_after_ms(retry_after_ms)
                    .with_hint("try again after the given time")
            }
            None => {
                Failure::new(Code::NoWorker, format!("no worker can be reached ({tried} tried)"))
                    .with_hint("try again; if it persists, the operator has to look at the workers")
            }
        }
    }
}

impl Upstream {
    /// The worker's name in logs.
    pub(super) fn name(&self) -> &str {
        self.reached.worker().address()
    }
}

impl Upstreams {
    /// Must be called on the thread's event loop.
    pub(super) fn new(
        fleet: View,
        live: Changing<Live>,
        limits: FleetLimits,
        kept: UpstreamLimits,
    ) -> Self {
        Self { fleet, live, limits, kept: KeptConnections::new(kept) }
    }

    /// A connection to the worker that the fleet chooses for what is asked, and to the next one where
    /// it cannot be reached. Nothing of the request has been sent yet, so that costs only time.
    pub(super) async fn connect(
        &self,
        driver: Driver,
        limits: &ServerLimits,
        ask: &Ask,
    ) -> Result<Upstream, Failure> {
        let mut tried = ask.tried.clone();
        while tried.len() < self.limits.attempts_max {
            let Some(outstanding) = self.fleet.choose(ask.body_bytes, &tried) else { break };
            let (worker, live) = (Arc::clone(outstanding.worker()), self.live.now());
            let kept = if ask.wants_new { None } else { self.kept.take(&worker, &live) };
            if let Some(connection) = kept {
                return Ok(Upstream {
                    connection,
                    reached: outstanding.reached(),
                    is_reused: true,
                });
            }
            match dial(&worker, &live.worker_tls, driver, limits.connect_timeout).await {
                Ok(stream) => {
                    let connection = Connection::new(stream, worker, live);
                    let reached = outstanding.reached();
                    return Ok(Upstream { connection, reached, is_reused: false });
                }
                // The address is for the operator and not for the client.
                Err(error) => {
                    metrics::count(|here| here.upstream_failed.add(1));
                    tried.push(outstanding.missed(&error));
                }
            }
        }
        Err(ask.nobody(tried.len()))
    }

    /// Keeps the connection of a request that is through.
    pub(super) fn keep(&self, upstream: Upstream) {
        self.kept.put(upstream.connection);
    }

    /// Whether there is anybody left to ask where `present` refuses: the last one to be asked answers
    /// for itself.
    pub(super) fn has_another(&self, ask: &Ask, present: &Upstream) -> bool {
        ask.tried.len() + 1 < self.limits.attempts_max
            && self.fleet.has_another(&ask.tried, present.reached.worker())
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
