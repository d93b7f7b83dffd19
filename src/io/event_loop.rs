//! One thread's event loop, on either driver.

use std::future::Future;
use std::io;

use super::blocking::{BLOCKING_MAX, DURABLE_MAX};
use super::deadline;
use super::driver::{Driver, start_ring};

/// Threads of an epoll loop for what blocks; no more is asked for at once.
const BLOCKING_THREADS: usize = BLOCKING_MAX + DURABLE_MAX;

impl Driver {
    /// Runs `main` on this thread until it ends. Tasks that it spawned with [`spawn`] and that
    /// still run are dropped with their sockets.
    ///
    /// # Errors
    ///
    /// The event loop cannot be set up.
    pub fn run<T>(self, main: impl Future<Output = T>) -> io::Result<T> {
        match self {
            Self::Uring => {
                let runtime = start_ring()?;
                Ok(runtime.block_on(deadline::enforced(main)))
            }
            Self::Epoll => {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .max_blocking_threads(BLOCKING_THREADS)
                    .build()?;
                let local = tokio::task::LocalSet::new();
                Ok(local.block_on(&runtime, deadline::enforced(main)))
            }
        }
    }
}

/// Starts `task` beside its caller, on the same thread.
pub fn spawn<T: 'static>(task: impl Future<Output = T> + 'static) -> tokio::task::JoinHandle<T> {
    tokio::task::spawn_local(task)
}
