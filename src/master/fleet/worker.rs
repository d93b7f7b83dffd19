//! One worker: what is outstanding with it, and whether it can be reached.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::transport::StreamError;

/// A worker that could not be reached is asked last for this long, and twice as long each time.
const BACKOFF_MIN: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// A worker, as one thread of the master sees it.
pub(in crate::master) struct Worker {
    /// `host:port`.
    address: String,
    /// Requests of this thread that are with it, or on their way to it.
    outstanding: Cell<usize>,
    down: Cell<Option<Down>>,
}

/// A worker that could not be reached.
#[derive(Clone, Copy)]
struct Down {
    until: Instant,
    backoff: Duration,
}

impl Worker {
    pub(super) fn new(address: &str) -> Self {
        Self { address: address.to_owned(), outstanding: Cell::new(0), down: Cell::new(None) }
    }

    pub(in crate::master) fn address(&self) -> &str {
        &self.address
    }

    pub(super) fn outstanding(&self) -> usize {
        self.outstanding.get()
    }

    pub(super) fn is_down(&self) -> bool {
        self.down.get().is_some_and(|down| down.until > Instant::now())
    }

    fn reached(&self) {
        if self.down.take().is_some() {
            tracing::info!(worker = self.address, "a worker is back");
        }
    }

    /// Only the change is told: a worker that stays down must not fill the log.
    pub(in crate::master) fn missed(&self, error: &StreamError) {
        let backoff = if let Some(down) = self.down.get() {
            (down.backoff * 2).min(BACKOFF_MAX)
        } else {
            tracing::warn!(worker = self.address, %error, "cannot reach a worker");
            BACKOFF_MIN
        };
        self.down.set(Some(Down { until: Instant::now() + backoff, backoff }));
    }
}

/// Counts a request with a worker, or on its way to one, until it is dropped.
pub(in crate::master) struct Outstanding(Rc<Worker>);

impl Outstanding {
    pub(in crate::master) fn with(worker: Rc<Worker>) -> Self {
        worker.outstanding.set(worker.outstanding.get() + 1);
        Self(worker)
    }

    /// The request has reached its worker.
    pub(in crate::master) fn reached(self) -> Reached {
        self.0.reached();
        Reached(self)
    }
}

impl Drop for Outstanding {
    fn drop(&mut self) {
        self.0.outstanding.set(self.0.outstanding.get() - 1);
    }
}

/// A request that has reached its worker.
pub(in crate::master) struct Reached(Outstanding);

impl Reached {
    pub(in crate::master) fn worker(&self) -> &Worker {
        &self.0.0
    }
}
