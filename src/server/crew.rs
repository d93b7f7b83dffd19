//! Threads with their event loops and buffers: as many as the kernel grants.
//!
//! A ring, and buffers that are registered with it, are charged to the memlock limit, which all
//! processes of a user share. A server serves all the same where it has less of it than planned: with
//! fewer buffers, then on fewer threads, then without a ring. One line says so.

use std::io;
use std::sync::mpsc;
use std::thread::{Scope, ScopedJoinHandle};

use tokio::sync::oneshot;

use super::pulse::Pulses;
use super::{Context, Places, Plan, Service, Stop};
use crate::io::{BufferPool, Driver, Listener, explain_refusal};
use crate::metrics::Registry;

/// What the threads of a server are started with.
pub(super) struct Crew<'a, M> {
    pub(super) plan: &'a Plan,
    pub(super) stop: &'a Stop,
    pub(super) metrics: &'a Registry,
    pub(super) places: &'a Places,
    pub(super) pulses: &'a Pulses,
    pub(super) make: &'a M,
}

/// Threads that wait for what they are to serve.
pub(super) struct Assembled<'scope> {
    pub(super) threads: Vec<ScopedJoinHandle<'scope, ()>>,
    pub(super) first: Ready,
    pub(super) others: Vec<Ready>,
}

/// A thread whose event loop and buffers are there. It ends if this is dropped.
pub(super) struct Ready {
    listener: oneshot::Sender<std::net::TcpListener>,
    warning: Option<String>,
}

/// Why a thread does not serve.
enum Failure {
    /// It has no event loop; others may have theirs.
    Refused(io::Error),
    Other(io::Error),
}

impl Ready {
    /// Has it serve.
    pub(super) fn serve(self, listener: std::net::TcpListener) {
        // It waits for nothing else.
        let _ = self.listener.send(listener);
    }
}

/// What came of a start of threads.
struct Started<'scope> {
    threads: Vec<ScopedJoinHandle<'scope, ()>>,
    ready: Vec<Ready>,
    refused: Option<io::Error>,
}

impl<S: Service, M: Fn(Context) -> S + Sync> Crew<'_, M> {
    /// Starts the threads, and warns where they are not as planned.
    ///
    /// # Errors
    ///
    /// No event loop can be set up, or the memory for buffers cannot be had.
    pub(super) fn assemble<'scope, 'env>(
        &'env self,
        scope: &'scope Scope<'scope, 'env>,
    ) -> io::Result<Assembled<'scope>> {
        let (plan, mut driver) = (self.plan, self.plan.driver);
        let mut started = self.start(scope, driver)?;
        let refused = started.refused.take();
        if let (Some(error), true, true) =
            (&refused, started.ready.is_empty(), plan.may_change_driver)
        {
            tracing::warn!("{}, so the epoll driver serves", explain_refusal(error));
            driver = Driver::Epoll;
            started = self.start(scope, driver)?;
        }
        let Started { threads, ready, .. } = started;
        let (serving, mut ready) = (ready.len(), ready.into_iter());
        let Some(first) = ready.next() else {
            return Err(refused.map_or_else(
                || io::Error::other("no event loop"),
                |error| io::Error::new(error.kind(), explain_refusal(&error)),
            ));
        };
        let fewer = refused.filter(|_| driver == plan.driver).map(|error| {
            format!("{serving} of {} threads serve: {}", plan.threads, explain_refusal(&error))
        });
        // The other threads have the same to say of their buffers.
        let warnings = [fewer.as_deref(), first.warning.as_deref()];
        let warnings: Vec<_> = warnings.into_iter().flatten().collect();
        if !warnings.is_empty() {
            tracing::warn!("{}", warnings.join("; "));
        }
        Ok(Assembled { threads, first, others: ready.collect() })
    }

    fn start<'scope, 'env>(
        &'env self,
        scope: &'scope Scope<'scope, 'env>,
        driver: Driver,
    ) -> io::Result<Started<'scope>> {
        let (told, telling) = mpsc::channel();
        let start = |number| {
            let told = told.clone();
            let body = move || self.run(driver, &told);
            std::thread::Builder::new().name(format!("ring-{number}")).spawn_scoped(scope, body)
        };
        let threads = (0..self.plan.threads).map(start).collect::<io::Result<Vec<_>>>()?;
        drop(told);
        let mut started = Started { threads, ready: Vec::new(), refused: None };
        for _ in 0..started.threads.len() {
            match telling.recv() {
                Ok(Ok(ready)) => started.ready.push(ready),
                Ok(Err(Failure::Refused(error))) => started.refused = Some(error),
                Ok(Err(Failure::Other(error))) => return Err(error),
                Err(_) => return Err(io::Error::other("a thread died")),
            }
        }
        Ok(started)
    }

    /// The life of a thread.
    fn run(&self, driver: Driver, told: &mpsc::Sender<Result<Ready, Failure>>) {
        self.metrics.enter();
        let served = driver.run(async {
            let (pool, warning) = BufferPool::new(driver, &self.plan.buffers, self.plan.loops)?;
            tracing::debug!(%driver, ?pool, "ready");
            let (listener, given) = oneshot::channel();
            // The receiver is gone only where another thread has failed.
            let _ = told.send(Ok(Ready { listener, warning }));
            let Ok(listener) = given.await else { return Ok(()) };
            self.serve(Listener::from_std(driver, listener)?, pool).await;
            Ok(())
        });
        let failure = match served {
            Ok(Ok(())) => return,
            Ok(Err(error)) => Failure::Other(error),
            Err(error) => Failure::Refused(error),
        };
        // Nobody listens any more where the first failure was heard already.
        let _ = told.send(Err(failure));
    }
}
