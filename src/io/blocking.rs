//! Work that blocks, away from the event loops.

use std::io;

use tokio::sync::Semaphore;

/// Blocking work at once, in the whole process. A disk has few heads or channels to keep busy, and
/// each of these threads may hold a buffer of its own.
pub(super) const BLOCKING_MAX: usize = 8;

/// Files at once that are made durable, in the whole process: a thread each. The kernel makes what
/// waits at the same time durable together, which one by one it cannot.
pub(super) const DURABLE_MAX: usize = 64;

static PLACES: Semaphore = Semaphore::const_new(BLOCKING_MAX);
static DURABLE_PLACES: Semaphore = Semaphore::const_new(DURABLE_MAX);

/// Does `work` on a thread where it may block, once a place is free. Work that has begun goes on to
/// its end, also where nobody waits for it any more.
///
/// # Errors
///
/// The work panicked, or the event loop is ending.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    run(&PLACES, work).await
}

/// The same for work that waits for the disk to have it all, and does little else.
///
/// # Errors
///
/// As for [`blocking`].
pub async fn durably<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    run(&DURABLE_PLACES, work).await
}

async fn run<T: Send + 'static>(
    places: &'static Semaphore,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    // The semaphore is never closed.
    let place = places.acquire().await.ok();
    let work = move || {
        let _place = place;
        work()
    };
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)
}
