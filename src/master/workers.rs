//! The workers of a master: choosing one, and reaching it.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use crate::io::{Driver, Socket};
use crate::limits::ServerLimits;
use crate::tls::ClientTls;
use crate::transport::{StreamError, TlsStream};
use crate::wire::{Code, Failure};

/// The workers, as one thread of the master sees them.
pub(super) struct Workers {
    all: Vec<Rc<Worker>>,
    tls: ClientTls,
    /// Where the search for the least busy begins, so that ties go round.
    turn: Cell<usize>,
}

struct Worker {
    /// `host:port`.
    address: String,
    /// Requests of this thread that are with it.
    outstanding: Cell<usize>,
}

/// A connection to a worker, counted until it is dropped.
pub(super) struct Upstream {
    pub(super) stream: TlsStream,
    worker: Rc<Worker>,
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.worker.outstanding.set(self.worker.outstanding.get() - 1);
    }
}

impl Upstream {
    /// The worker's name in logs.
    pub(super) fn name(&self) -> &str {
        &self.worker.address
    }
}

impl Workers {
    pub(super) fn new(addresses: &[String], tls: ClientTls) -> Self {
        let worker = |address: &String| {
            Rc::new(Worker { address: address.clone(), outstanding: Cell::new(0) })
        };
        Self { all: addresses.iter().map(worker).collect(), tls, turn: Cell::new(0) }
    }

    /// Connects to the worker with the fewest requests outstanding, and to the next one where it
    /// cannot be reached. Nothing of the request has been sent by then, so that costs nothing.
    pub(super) async fn connect(
        &self,
        driver: Driver,
        limits: &ServerLimits,
    ) -> Result<Upstream, Failure> {
        let mut candidates = self.all.clone();
        let turn = self.turn.get() % candidates.len().max(1);
        self.turn.set(turn + 1);
        candidates.rotate_left(turn);
        candidates.sort_by_key(|worker| worker.outstanding.get());
        for worker in candidates {
            match self.connect_to(&worker, driver, limits).await {
                Ok(stream) => {
                    worker.outstanding.set(worker.outstanding.get() + 1);
                    return Ok(Upstream { stream, worker });
                }
                // The address is for the operator and not for the client.
                Err(error) => {
                    tracing::warn!(worker = worker.address, %error, "cannot reach a worker");
                }
            }
        }
        Err(Failure::new(
            Code::NoWorker,
            format!("no worker can be reached ({} tried)", self.all.len()),
        )
        .with_hint("try again; if it persists, the operator has to look at the workers"))
    }

    async fn connect_to(
        &self,
        worker: &Worker,
        driver: Driver,
        limits: &ServerLimits,
    ) -> Result<TlsStream, StreamError> {
        let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in tokio::net::lookup_host(&worker.address).await? {
            match self.connect_at(worker, address, driver, limits).await {
                Ok(stream) => return Ok(stream),
                Err(StreamError::Io(error)) => failure = error,
                Err(error) => return Err(error),
            }
        }
        Err(failure.into())
    }

    async fn connect_at(
        &self,
        worker: &Worker,
        address: SocketAddr,
        driver: Driver,
        limits: &ServerLimits,
    ) -> Result<TlsStream, StreamError> {
        let socket = Socket::connect(driver, address, limits.connect_timeout).await?;
        let name = host_of(&worker.address);
        TlsStream::connect(socket, &self.tls, name, limits.connect_timeout).await
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.all.len()
    }

    /// Requests of this thread that are with any of them.
    pub(super) fn outstanding(&self) -> usize {
        self.all.iter().map(|worker| worker.outstanding.get()).sum()
    }
}

/// The host of `host:port`, without the brackets of an IPv6 address.
fn host_of(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

#[cfg(test)]
mod tests {
    use super::host_of;

    #[test]
    fn the_host_is_what_the_certificate_must_name() {
        assert_eq!(host_of("worker.example:6000"), "worker.example");
        assert_eq!(host_of("127.0.0.1:6000"), "127.0.0.1");
        assert_eq!(host_of("[::1]:6000"), "::1");
    }
}
