//! Reaching a worker.

use std::io;
use std::net::SocketAddr;

use super::fleet::{Fleet, Outstanding, Reached, Worker};
use crate::io::{Driver, Socket};
use crate::limits::ServerLimits;
use crate::metrics;
use crate::tls::ClientTls;
use crate::transport::{StreamError, TlsStream};
use crate::wire::{Code, Failure};

/// The way of one thread of the master to its workers.
pub(super) struct Upstreams {
    fleet: Fleet,
    tls: ClientTls,
}

/// A connection to a worker, counted until it is dropped.
pub(super) struct Upstream {
    pub(super) stream: TlsStream,
    reached: Reached,
}

impl Upstream {
    /// The worker's name in logs.
    pub(super) fn name(&self) -> &str {
        self.reached.worker().address()
    }
}

impl Upstreams {
    pub(super) fn new(fleet: Fleet, tls: ClientTls) -> Self {
        Self { fleet, tls }
    }

    /// Connects to the worker that is to be asked first, and to the next one where it cannot be
    /// reached. Nothing of the request has been sent yet, so that costs only time, and that only
    /// once in a while: a worker that was missed is asked last for a time.
    pub(super) async fn connect(
        &self,
        driver: Driver,
        limits: &ServerLimits,
    ) -> Result<Upstream, Failure> {
        for worker in self.fleet.candidates() {
            let outstanding = Outstanding::with(worker.clone());
            match self.connect_to(&worker, driver, limits).await {
                Ok(stream) => {
                    metrics::count(|here| here.upstream_opened.add(1));
                    return Ok(Upstream { stream, reached: outstanding.reached() });
                }
                // The address is for the operator and not for the client.
                Err(error) => {
                    metrics::count(|here| here.upstream_failed.add(1));
                    worker.missed(&error);
                }
            }
        }
        Err(Failure::new(
            Code::NoWorker,
            format!("no worker can be reached ({} tried)", self.fleet.count()),
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
        // Unlike an operation on a ring, a look-up may be left behind.
        let looking_up = tokio::net::lookup_host(worker.address());
        let addresses = tokio::time::timeout(limits.connect_timeout, looking_up)
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "its name is not resolved"))??;
        for address in addresses {
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
        let name = host_of(worker.address());
        TlsStream::connect(socket, &self.tls, name, limits.connect_timeout).await
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
