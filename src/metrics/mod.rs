//! What a server counts, thread by thread, and what it looks like when it is asked.
//!
//! Owns: a block of counters for each thread, the registry that all blocks of a server are in, and
//! their sum. Must never put a lock, an atomic read-modify-write or an allocation on the way of a
//! request, and knows nothing of what is counted but its name.
//!
//! A block has one writer, its thread, and is read by whoever asks: an addition is a load and a
//! store. A thread that serves nothing has no block, and what it counts is dropped.

mod block;
mod counter;
mod histogram;
mod snapshot;

use std::cell::RefCell;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

pub use block::{Block, Counts, InFlight};
pub use counter::Counter;
pub use histogram::{Histogram, Latency};
pub use snapshot::{Ended, Reading, Snapshot};

thread_local! {
    static HERE: RefCell<Option<Arc<Block>>> = const { RefCell::new(None) };
}

/// Counts in this thread's block, where it has one.
pub fn count(into: impl FnOnce(&Block)) {
    // While a thread ends, connections are dropped that still count, and nobody hears it.
    let _ = HERE.try_with(|here| {
        if let Some(block) = &*here.borrow() {
            into(block);
        }
    });
}

/// Adds `bytes` to those that our own code has copied on the way between two sockets.
pub fn count_copied(bytes: usize) {
    count(|here| here.copied_bytes.add(bytes as u64));
}

/// What requests are told apart by. Both lists are short: each pair is a counter.
#[derive(Debug, Clone, Copy)]
pub struct Names {
    /// What may be asked for.
    pub operations: &'static [&'static str],
    /// What may become of it.
    pub codes: &'static [&'static str],
}

/// The blocks and gauges of one server. Clones share them.
#[derive(Clone)]
pub struct Registry(Arc<Inner>);

struct Inner {
    names: Names,
    started: Instant,
    blocks: Mutex<Vec<Arc<Block>>>,
    gauges: Mutex<Vec<Gauge>>,
}

/// Something that is known elsewhere, and read when it is asked for.
struct Gauge {
    name: &'static str,
    help: &'static str,
    only_rises: bool,
    read: Box<dyn Fn() -> u64 + Send + Sync>,
}

impl Registry {
    /// A registry of a server whose requests have these names.
    #[must_use]
    pub fn new(names: Names) -> Self {
        Self(Arc::new(Inner {
            names,
            started: Instant::now(),
            blocks: Mutex::default(),
            gauges: Mutex::default(),
        }))
    }

    /// Gives this thread a block here. It stays in the sum when the thread has ended.
    pub fn enter(&self) {
        let block = Arc::new(Block::new(self.0.names));
        lock(&self.0.blocks).push(Arc::clone(&block));
        HERE.set(Some(block));
    }

    /// Adds something to be read by `read` whenever the registry is.
    pub fn gauge(
        &self,
        name: &'static str,
        help: &'static str,
        read: impl Fn() -> u64 + Send + Sync + 'static,
    ) {
        self.add(Gauge { name, help, only_rises: false, read: Box::new(read) });
    }

    /// The same for a number that only rises.
    pub fn counter(
        &self,
        name: &'static str,
        help: &'static str,
        read: impl Fn() -> u64 + Send + Sync + 'static,
    ) {
        self.add(Gauge { name, help, only_rises: true, read: Box::new(read) });
    }

    fn add(&self, gauge: Gauge) {
        lock(&self.0.gauges).push(gauge);
    }

    /// What was added by this name, as of now.
    #[must_use]
    pub fn reading(&self, name: &str) -> Option<u64> {
        let gauges = lock(&self.0.gauges);
        gauges.iter().find(|gauge| gauge.name == name).map(|gauge| (gauge.read)())
    }

    /// The sum over all threads, as of now. Threads count on meanwhile: numbers that belong
    /// together may be one apart.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let mut sum = Snapshot::new(self.0.started.elapsed(), self.0.names);
        for block in lock(&self.0.blocks).iter() {
            sum.add(block);
        }
        for Gauge { name, help, only_rises, read } in lock(&self.0.gauges).iter() {
            sum.gauges.push(Reading { name, help, only_rises: *only_rises, value: read() });
        }
        sum
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Registry({} threads)", lock(&self.0.blocks).len())
    }
}

/// Nothing that is held under these locks can be left half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const NAMES: Names = Names { operations: &["jpg", "png"], codes: &["OK", "BUSY"] };

    #[test]
    fn blocks_of_all_threads_are_one_sum() {
        let registry = Registry::new(NAMES);
        registry.gauge("queued", "waiting", || 7);
        for thread in 1..=3 {
            let registry = registry.clone();
            let work = move || {
                registry.enter();
                count(|here| {
                    here.connections_accepted.add(thread);
                    here.ended(1, 0);
                    here.total_us.record(1000 * thread);
                });
            };
            std::thread::spawn(work).join().unwrap();
        }
        count(|here| here.connections_accepted.add(100));
        let sum = registry.snapshot();
        assert_eq!((sum.threads, sum.counts.connections_accepted), (3, 6), "not this thread's");
        assert_eq!(sum.requests, [Ended { operation: "png", code: "OK", count: 3 }]);
        assert_eq!((sum.total_us.count(), sum.total_us.max_us()), (3, 3000));
        let lines = sum.lines();
        for line in ["connections_open=6\n", "requests_png_OK=3\n", "queued=7\n", "threads=3\n"] {
            assert!(lines.contains(line), "{line:?} in {lines}");
        }
    }

    #[test]
    fn what_is_in_flight_is_counted_until_it_is_dropped() {
        let registry = Registry::new(NAMES);
        let there = registry.clone();
        let work = move || {
            there.enter();
            let (first, second) = (InFlight::begin(10), InFlight::begin(5));
            drop(first);
            let now = there.snapshot();
            assert_eq!((now.in_flight(), now.in_flight_bytes()), (1, 5));
            drop(second);
        };
        std::thread::spawn(work).join().unwrap();
        assert_eq!(
            (registry.snapshot().in_flight(), registry.snapshot().in_flight_bytes()),
            (0, 0)
        );
    }

    #[test]
    fn a_name_that_is_unknown_is_counted_under_the_last() {
        let registry = Registry::new(NAMES);
        let there = registry.clone();
        let work = move || {
            there.enter();
            count(|here| here.ended(9, 9));
        };
        std::thread::spawn(work).join().unwrap();
        let requests = registry.snapshot().requests;
        assert_eq!(requests, [Ended { operation: "png", code: "BUSY", count: 1 }]);
    }
}
