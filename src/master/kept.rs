//! Connections to workers that are kept for further requests, by each thread for itself.
//!
//! The handshake is most of what a small request costs. A kept connection may have died unnoticed,
//! so it is looked at before it is used, and a request that it fails all the same is sent again
//! where that can be done (`service.rs`).

use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Live;
use super::fleet::Worker;
use crate::io::spawn;
use crate::limits::UpstreamLimits;
use crate::metrics;
use crate::transport::TlsStream;

/// How often those are looked for that nobody will use any more.
const SWEEP_PERIOD: Duration = Duration::from_secs(1);

/// What a worker may still say to a connection that is closed, and how long that is awaited.
const GOODBYE_BYTES_MAX: u64 = 4096;
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(1);

/// The kept connections of one thread.
pub(super) struct KeptConnections {
    limits: UpstreamLimits,
    /// In the order in which they came back: the last one is the warmest, and is used first.
    kept: RefCell<Vec<Kept>>,
}

struct Kept {
    connection: Connection,
    unused_since: Instant,
}

/// A connection to a worker, with what decides how long it may be kept.
pub(super) struct Connection {
    pub(super) stream: TlsStream,
    worker: Arc<Worker>,
    /// The configuration that it was opened under.
    live: Arc<Live>,
    opened: Instant,
}

impl Connection {
    pub(super) fn new(stream: TlsStream, worker: Arc<Worker>, live: Arc<Live>) -> Self {
        metrics::count(|here| here.upstream_opened.add(1));
        Self { stream, worker, live, opened: Instant::now() }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        metrics::count(|here| here.upstream_retired.add(1));
    }
}

impl KeptConnections {
    pub(super) fn new(limits: UpstreamLimits) -> Rc<Self> {
        let all = Rc::new(Self { limits, kept: RefCell::default() });
        spawn(sweep(Rc::downgrade(&all)));
        all
    }

    /// A connection to `worker` that is still good, as far as can be seen from here.
    pub(super) fn take(&self, worker: &Arc<Worker>, live: &Arc<Live>) -> Option<Connection> {
        loop {
            let mut kept = self.kept.borrow_mut();
            let at = kept.iter().rposition(|kept| Arc::ptr_eq(&kept.connection.worker, worker))?;
            let found = kept.remove(at);
            drop(kept);
            if self.is_good(&found, live) && found.connection.stream.is_quiet() {
                metrics::count(|here| here.upstream_reused.add(1));
                return Some(found.connection);
            }
        }
    }

    /// Keeps a connection whose last answer is through.
    pub(super) fn put(&self, mut connection: Connection) {
        connection.stream.detach();
        connection.stream.socket().set_deadline(None);
        connection.stream.socket().set_stall_limits(None, None);
        if self.limits.kept_max == 0 || !connection.stream.is_quiet() {
            return part_with(connection);
        }
        let mut kept = self.kept.borrow_mut();
        if kept.len() >= self.limits.kept_max {
            part_with(kept.remove(0).connection);
        }
        kept.push(Kept { connection, unused_since: Instant::now() });
    }

    fn is_good(&self, kept: &Kept, live: &Arc<Live>) -> bool {
        let Kept { connection, unused_since } = kept;
        unused_since.elapsed() < self.limits.idle_timeout
            && connection.opened.elapsed() < self.limits.age_max
            && Arc::ptr_eq(&connection.live, live)
            && connection.worker.is_wanted()
    }

    /// Parts with those that are not to be used again.
    fn part_with_old(&self) {
        let kept = std::mem::take(&mut *self.kept.borrow_mut());
        let is_good = |kept: &Kept| {
            self.is_good(kept, &kept.connection.live) && kept.connection.stream.is_quiet()
        };
        let (good, old): (Vec<_>, Vec<_>) = kept.into_iter().partition(is_good);
        *self.kept.borrow_mut() = good;
        for kept in old {
            part_with(kept.connection);
        }
    }
}

/// Runs for as long as there is a pool.
async fn sweep(all: Weak<KeptConnections>) {
    loop {
        tokio::time::sleep(SWEEP_PERIOD).await;
        let Some(all) = all.upgrade() else { return };
        all.part_with_old();
    }
}

/// Takes leave of a worker in order, beside everything else.
pub(super) fn part_with(connection: Connection) {
    spawn(async move {
        let mut connection = connection;
        let socket = connection.stream.socket().clone();
        socket.set_deadline(Some(Instant::now() + GOODBYE_TIMEOUT));
        connection.stream.take_leave(GOODBYE_BYTES_MAX).await;
    });
}
