//! The life of a server, whatever it serves: threads, listening, draining.
//!
//! Owns: one event loop a thread, each with its buffer pool and its share of the connections, and
//! the way from serving to the end. Must never know what a connection carries.

mod changing;
mod crew;
mod lifecycle;
mod pulse;

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub use changing::{Changer, Changing};
pub use lifecycle::{Lifecycle, Phase, Stop};

use crate::io::{BufferPool, Driver, Listener, PoolPlan, Socket, Which};
use crate::io::{connections_within, join_queue, listen, shutdown_sockets, spawn};
use crate::metrics::{self, Registry};
use crew::Crew;
use pulse::Pulses;

/// What a server runs on.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where it listens; port 0 lets the kernel choose.
    pub listen: SocketAddr,
    /// What carries its input and output.
    pub driver: Driver,
    /// Whether another one may do so where the kernel refuses this one after all.
    pub may_change_driver: bool,
    /// Event loops, one a thread.
    pub threads: usize,
    /// Those of the whole process, which share what it may lock.
    pub loops: usize,
    /// Buffers of each thread's pool.
    pub buffers: PoolPlan,
    /// Connections of all threads together; one more is closed at once.
    pub connections_max: usize,
    /// How long requests in flight may go on once a drain has begun.
    pub grace: Duration,
    /// How long requests are still taken before a drain begins, while the peers hear of it. It is
    /// cut short where nobody is connected.
    pub notice: Duration,
}

/// What a service finds on its thread.
#[derive(Clone)]
pub struct Context {
    /// The thread's driver, for connections of its own.
    pub driver: Driver,
    /// The thread's buffers.
    pub pool: BufferPool,
    /// What all threads of the server count.
    pub metrics: Registry,
    stop: Stop,
}

/// What is done with a connection.
pub trait Service: 'static {
    /// Serves one connection to its end.
    fn serve(self: Rc<Self>, socket: Socket) -> impl Future<Output = ()>;
}

impl Context {
    /// Whether no further request may begin.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.stop.phase() >= Phase::Draining
    }

    /// Where the server is on its way.
    #[must_use]
    pub fn stop(&self) -> &Stop {
        &self.stop
    }

    /// Whether peers are to go elsewhere; requests are still taken.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.stop.phase() >= Phase::Leaving
    }
}

/// How long a port may be in use by a server that is no more: the kernel closes the sockets that a
/// killed one's ring still holds a moment after its end.
const PORT_FREE_WITHIN: Duration = Duration::from_secs(2);

/// Listens, also where a killed server has left its port a moment ago.
fn listen_soon(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let ends = Instant::now() + PORT_FREE_WITHIN;
    loop {
        match listen(address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < ends => {
                std::thread::sleep(Duration::from_millis(20));
            }
            listening => return listening,
        }
    }
}

/// Serves until `stop` says otherwise. `on_listening` hears the address once every thread is ready;
/// `make` builds each thread's service. What the threads count goes to `metrics`.
///
/// # Errors
///
/// The address cannot be bound, or no thread's event loop and buffers can be set up.
pub fn run<S: Service>(
    plan: &Plan,
    stop: &Stop,
    metrics: &Registry,
    make: impl Fn(Context) -> S + Sync,
    on_listening: impl FnOnce(SocketAddr),
) -> io::Result<()> {
    let cannot_listen = |error: io::Error| {
        io::Error::new(error.kind(), format!("cannot listen on {}: {error}", plan.listen))
    };
    // First of all: of two servers that start at the same moment one gets the port.
    let first = listen_soon(plan.listen).map_err(cannot_listen)?;
    let address = first.local_addr()?;
    let places = Places::new(plan.connections_max);
    let pulses = Pulses::new(metrics);
    let crew = Crew { plan, stop, metrics, places: &places, pulses: &pulses, make: &make };
    std::thread::scope(|scope| {
        let start = || {
            let crew = crew.assemble(scope)?;
            let others = crew.others.into_iter().map(|ready| Ok((ready, join_queue(&first)?)));
            let others = others.collect::<io::Result<Vec<_>>>().map_err(cannot_listen)?;
            Ok((crew.threads, crew.first, others))
        };
        // The scope waits for the threads that do run: they have to be told.
        let (threads, ready, others) =
            start().inspect_err(|_: &io::Error| stop.request(Phase::Stopped))?;
        for (ready, queue) in others {
            ready.serve(queue);
        }
        ready.serve(first);
        on_listening(address);
        for thread in threads {
            thread.join().map_err(|_| io::Error::other("an event loop died"))?;
        }
        Ok(())
    })
}

impl<S: Service, M: Fn(Context) -> S + Sync> Crew<'_, M> {
    /// Serves what `listener` brings, until the end.
    async fn serve(&self, listener: Listener, pool: BufferPool) {
        let (plan, places, mut stop) = (self.plan, self.places, self.stop.clone());
        let (driver, metrics) = (listener.driver(), self.metrics.clone());
        metrics::count(|here| here.buffers_pooled.add(pool.count() as u64));
        let context = Context { driver, pool, metrics, stop: stop.clone() };
        let service = Rc::new((self.make)(context));
        let open = Open::default();
        let mut accepting_ends = stop.clone();
        let accepting = listener.accept_until(
            async move {
                accepting_ends.reached(Phase::Leaving).await;
                take_leave(&mut accepting_ends, plan.notice, self.metrics).await;
            },
            |socket| {
                let Some(place) = places.take() else {
                    metrics::count(|here| here.connections_refused.add(1));
                    tracing::warn!(peer = %socket.peer(), max = places.count, "full");
                    return;
                };
                let (service, guard) = (Rc::clone(&service), open.enter());
                spawn(async move {
                    service.serve(socket).await;
                    drop((guard, place));
                });
            },
        );
        let serving = async {
            accepting.await;
            drain(&open, &mut stop, plan.grace).await;
        };
        // Nothing of a ring is in what is dropped here.
        tokio::select! {
            () = serving => {}
            () = self.pulses.beat() => {}
        }
    }
}

/// How often a server that leaves looks whether anybody is still connected.
const LEAVING_PERIOD: Duration = Duration::from_millis(10);

/// Serves on until the peers had `notice`, or nobody is connected; then the drain begins. A request
/// that is on its way already would be lost to a peer that had no way to know.
async fn take_leave(stop: &mut Stop, notice: Duration, metrics: &Registry) {
    let ends = Instant::now() + notice;
    let is_anybody_here = || metrics.snapshot().connections_open() > 0;
    while is_anybody_here() && Instant::now() < ends && stop.phase() < Phase::Draining {
        tokio::time::sleep(LEAVING_PERIOD).await;
    }
    stop.request(Phase::Draining);
}

/// How long connections that were shut down have to notice. They have no more to wait for.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

async fn drain(open: &Open, stop: &mut Stop, grace: Duration) {
    shutdown_sockets(Which::Idle);
    tokio::select! {
        () = open.emptied() => return,
        () = tokio::time::sleep(grace) => {
            tracing::warn!(connections = open.count.get(), "grace is over");
        }
        () = stop.reached(Phase::Stopped) => {}
    }
    shutdown_sockets(Which::All);
    if tokio::time::timeout(STOP_TIMEOUT, open.emptied()).await.is_err() {
        tracing::warn!(connections = open.count.get(), "connections did not end");
    }
}

/// The connections that all threads may have together. Taken and given back once a connection.
struct Places {
    free: Arc<Semaphore>,
    count: usize,
}

impl Places {
    /// Places for `wanted` connections, as far as the limit of open files goes.
    fn new(wanted: usize) -> Self {
        let (count, warning) = connections_within(wanted.min(Semaphore::MAX_PERMITS));
        if let Some(warning) = warning {
            tracing::warn!("{warning}");
        }
        Self { free: Arc::new(Semaphore::new(count)), count }
    }

    fn take(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.free).try_acquire_owned().ok()
    }
}

/// Counts the connections of a thread.
#[derive(Clone, Default)]
struct Open {
    count: Rc<Cell<usize>>,
    emptied: Rc<tokio::sync::Notify>,
}

struct OpenGuard(Open);

impl Open {
    fn enter(&self) -> OpenGuard {
        self.count.set(self.count.get() + 1);
        metrics::count(|here| here.connections_accepted.add(1));
        OpenGuard(self.clone())
    }

    async fn emptied(&self) {
        while self.count.get() > 0 {
            self.emptied.notified().await;
        }
    }
}

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.0.count.set(self.0.count.get() - 1);
        metrics::count(|here| here.connections_closed.add(1));
        self.0.emptied.notify_one();
    }
}
