//! Deadlines of sockets.
//!
//! A ring's operation that is dropped is not cancelled: it keeps its buffer and swallows the bytes
//! that come next. So nothing here races an operation against a timer. A socket carries the instant
//! by which its present step must be over; a sweep shuts down the sockets that are late, and their
//! operations end by themselves. Setting a deadline is one store, on every request, without a timer. The
//! same sweep looks whether peers have left that nobody reads from (`parting.rs`).

use std::cell::RefCell;
use std::future::Future;
use std::net::Shutdown;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use super::parting;
use super::watch::Watched;

/// How often the sweep looks, hence how late a deadline may fire. 10,000 sockets take about 50 us
/// to look at, so 20 sweeps a second cost a thousandth of a core.
const SWEEP_PERIOD: Duration = Duration::from_millis(50);

thread_local! {
    static SOCKETS: RefCell<Vec<Weak<Watched>>> = const { RefCell::new(Vec::new()) };
}

/// What to close in [`shutdown_sockets`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The receiving side of connections that wait for their next request; their owners can still
    /// take leave.
    Idle,
    /// All of this thread, in both directions.
    All,
}

/// Shuts down sockets of this thread; what is in flight on them then ends with an error or the end
/// of the file.
pub fn shutdown_sockets(which: Which) {
    SOCKETS.with_borrow(|sockets| {
        for socket in sockets.iter().filter_map(Weak::upgrade) {
            match which {
                Which::All => socket.shutdown(Shutdown::Both),
                Which::Idle if socket.idle.get() => socket.shutdown(Shutdown::Read),
                Which::Idle => {}
            }
        }
    });
}

/// Sockets of this thread that are open.
#[must_use]
pub fn open_sockets() -> usize {
    SOCKETS.with_borrow(|sockets| sockets.iter().filter(|socket| socket.strong_count() > 0).count())
}

pub(super) fn watch(socket: &Rc<Watched>) {
    SOCKETS.with_borrow_mut(|sockets| sockets.push(Rc::downgrade(socket)));
}

/// Runs `main` with the sweep beside it.
pub(super) async fn enforced<T>(main: impl Future<Output = T>) -> T {
    let sweep = tokio::task::spawn_local(async {
        let mut ticks = tokio::time::interval(SWEEP_PERIOD);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut waited_on = Vec::new();
        loop {
            ticks.tick().await;
            sweep(Instant::now(), &mut waited_on);
        }
    });
    let result = main.await;
    sweep.abort();
    result
}

/// `waited_on` is empty before and after, and keeps its room.
fn sweep(now: Instant, waited_on: &mut Vec<Rc<Watched>>) {
    SOCKETS.with_borrow_mut(|sockets| {
        sockets.retain(|socket| {
            let Some(socket) = socket.upgrade() else { return false };
            socket.expire(now);
            if socket.lookout.is_kept() {
                waited_on.push(socket);
            }
            true
        });
    });
    parting::look(waited_on);
    waited_on.clear();
}
