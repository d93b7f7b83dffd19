//! The clock of an open loop.
//!
//! The timers of an event loop are a millisecond coarse, several times the latency of a small
//! request. So a thread of its own sleeps from arrival to arrival (the kernel is late by about
//! 50 us, its default timer slack) and hands out a permit for each.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

/// Gives a permit at each instant of `dues`, and `waiters` more at the end, so that everyone who
/// waits hears that nothing more comes.
pub(super) fn start(
    dues: impl Iterator<Item = Duration> + Send + 'static,
    began: Instant,
    waiters: usize,
) -> std::io::Result<(Arc<Semaphore>, JoinHandle<()>)> {
    let permits = Arc::new(Semaphore::new(0));
    let given = Arc::clone(&permits);
    let pace = move || {
        for due in dues {
            let wait = (began + due).saturating_duration_since(Instant::now());
            if !wait.is_zero() {
                thread::sleep(wait);
            }
            given.add_permits(1);
        }
        given.add_permits(waiters);
    };
    let thread = thread::Builder::new().name("pacer".into()).spawn(pace)?;
    Ok((permits, thread))
}
