//! The workers of a master: choosing one, and reaching it.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::io::{Driver, Socket};
use crate::limits::ServerLimits;
use crate::tls::ClientTls;
use crate::transport::{StreamError, TlsStream};
use crate::wire::{Code, Failure};

/// A worker that could not be reached is asked last for this long, and twice as long each time.
const BACKOFF_MIN: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(30);

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
    /// Requests of this thread that are with it, or on their way to it.
    outstanding: Cell<usize>,
    /// Those that have reached it.
    connected: Cell<usize>,
    down: Cell<Option<Down>>,
}

/// A worker that could not be reached.
#[derive(Clone, Copy)]
struct Down {
    until: Instant,
    backoff: Duration,
}

impl Worker {
    fn is_down(&self) -> bool {
        self.down.get().is_some_and(|down| down.until > Instant::now())
    }

    fn reached(&self) {
        if self.down.take().is_some() {
            tracing::info!(worker = self.address, "a worker is back");
        }
    }

    /// Only the change is told: a worker that stays down must not fill the log.
    fn missed(&self, error: &StreamError) {
        let backoff = if let Some(down) = self.down.get() {
            (down.backoff * 2).min(BACKOFF_MAX)
        } else {
            tracing::warn!(worker = self.address, %error, "cannot reach a worker");
            BACKOFF_MIN
        };
        self.down.set(Some(Down { until: Instant::now() + backoff, backoff }));
    }
}

/// Counts a request with a worker until it is dropped.
struct Outstanding(Rc<Worker>);

impl Outstanding {
    fn with(worker: Rc<Worker>) -> Self {
        worker.outstanding.set(worker.outstanding.get() + 1);
        Self(worker)
    }
}

impl Drop for Outstanding {
    fn drop(&mut self) {
        self.0.outstanding.set(self.0.outstanding.get() - 1);
    }
}

/// A connection to a worker, counted until it is dropped.
pub(super) struct Upstream {
    pub(super) stream: TlsStream,
    outstanding: Outstanding,
}

impl Drop for Upstream {
    fn drop(&mut self) {
        let connected = &self.outstanding.0.connected;
        connected.set(connected.get() - 1);
    }
}

impl Upstream {
    /// The worker's name in logs.
    pub(super) fn name(&self) -> &str {
        &self.outstanding.0.address
    }
}

impl Workers {
    pub(super) fn new(addresses: &[String], tls: ClientTls) -> Self {
        let worker = |address: &String| {
            Rc::new(Worker {
                address: address.clone(),
                outstanding: Cell::new(0),
                connected: Cell::new(0),
                down: Cell::new(None),
            })
        };
        Self { all: addresses.iter().map(worker).collect(), tls, turn: Cell::new(0) }
    }

    /// Connects to the worker with the fewest requests outstanding, and to the next one where it
    /// cannot be reached. Nothing of the request has been sent by then, so that costs only time, and
    /// that only once in a while: a worker that was missed is asked last for a time.
    pub(super) async fn connect(
        &self,
        driver: Driver,
        limits: &ServerLimits,
    ) -> Result<Upstream, Failure> {
        let mut candidates = self.all.clone();
        let turn = self.turn.get() % candidates.len().max(1);
        self.turn.set(turn + 1);
        candidates.rotate_left(turn);
        candidates.sort_by_key(|worker| (worker.is_down(), worker.outstanding.get()));
        for worker in candidates {
            let outstanding = Outstanding::with(Rc::clone(&worker));
            match self.connect_to(&worker, driver, limits).await {
                Ok(stream) => {
                    worker.reached();
                    worker.connected.set(worker.connected.get() + 1);
                    return Ok(Upstream { stream, outstanding });
                }
                // The address is for the operator and not for the client.
                Err(error) => worker.missed(&error),
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
        // Unlike an operation on a ring, a look-up may be left behind.
        let looking_up = tokio::net::lookup_host(&worker.address);
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
        let name = host_of(&worker.address);
        TlsStream::connect(socket, &self.tls, name, limits.connect_timeout).await
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.all.len()
    }

    /// Requests of this thread that have reached any of them.
    pub(super) fn connected(&self) -> usize {
        self.all.iter().map(|worker| worker.connected.get()).sum()
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
