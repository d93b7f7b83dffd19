//! One worker: what is outstanding with it, and how it is.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::health::{Health, Rank, Seen, State};
use super::report::Report;
use crate::limits::FleetLimits;

/// A worker, as all threads of a master see it.
///
/// Its counters are shared: four atomic additions a request, for a choice that knows what the other
/// threads have sent. A share for each thread would choose by a part of the truth.
pub(in crate::master) struct Worker {
    /// `host:port`, to be resolved at every connect.
    address: String,
    /// The name that its certificate must have.
    server_name: String,
    weight: AtomicU32,
    /// Whether it is on the list. One that is not gets no more requests, and is forgotten once
    /// those that it has are done.
    listed: AtomicBool,
    /// Requests that are with it, or on their way to it.
    outstanding: AtomicU32,
    /// Those that have reached it.
    reached: AtomicU32,
    /// The bytes of their bodies.
    outstanding_bytes: AtomicU64,
    answered: AtomicU64,
    failed: AtomicU64,
    health: Mutex<Health>,
    /// The rank of `health`, to be read without its lock.
    rank: AtomicU8,
    /// It has said that it has no room; in milliseconds after `born`.
    busy_until_ms: AtomicU64,
    check: Mutex<Check>,
    born: Instant,
    limits: FleetLimits,
}

/// What the checks know of a worker.
#[derive(Default)]
pub(super) struct Check {
    /// When the next one is due; at once where there was none.
    pub(super) due: Option<Instant>,
    pub(super) is_running: bool,
    /// When it last told, and what.
    pub(super) report: Option<(Instant, Report)>,
    /// How long a check takes, each new one weighing a quarter.
    pub(super) latency: Option<Duration>,
}

impl Worker {
    pub(super) fn new(address: String, server_name: String, limits: FleetLimits) -> Self {
        Self {
            address,
            server_name,
            weight: AtomicU32::new(1),
            listed: AtomicBool::new(true),
            outstanding: AtomicU32::new(0),
            reached: AtomicU32::new(0),
            outstanding_bytes: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            health: Mutex::default(),
            rank: AtomicU8::new(Rank::Doubtful as u8),
            busy_until_ms: AtomicU64::new(0),
            check: Mutex::default(),
            born: Instant::now(),
            limits,
        }
    }

    /// `host:port`, to connect to and for logs.
    pub(in crate::master) fn address(&self) -> &str {
        &self.address
    }

    /// The name that its certificate must have.
    pub(in crate::master) fn server_name(&self) -> &str {
        &self.server_name
    }

    /// Whether a connection to it is worth keeping: it is on the list, and neither gone nor about to
    /// leave.
    pub(in crate::master) fn is_wanted(&self) -> bool {
        self.is_listed() && Rank::Last as u8 != self.rank.load(Ordering::Relaxed)
    }

    pub(super) fn is_listed(&self) -> bool {
        self.listed.load(Ordering::Relaxed)
    }

    pub(super) fn set_listed(&self, listed: bool) {
        self.listed.store(listed, Ordering::Relaxed);
    }

    pub(super) fn weight(&self) -> u32 {
        self.weight.load(Ordering::Relaxed)
    }

    pub(super) fn set_weight(&self, weight: u32) {
        self.weight.store(weight, Ordering::Relaxed);
    }

    /// Requests that are with it, or on their way to it.
    pub(super) fn outstanding(&self) -> u32 {
        self.outstanding.load(Ordering::Relaxed)
    }

    /// Requests that have reached it.
    pub(super) fn reached(&self) -> u32 {
        self.reached.load(Ordering::Relaxed)
    }

    pub(super) fn outstanding_bytes(&self) -> u64 {
        self.outstanding_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    pub(super) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    pub(super) fn rank(&self) -> Rank {
        let rank = match self.rank.load(Ordering::Relaxed) {
            0 => Rank::Ready,
            1 => Rank::Doubtful,
            _ => Rank::Last,
        };
        if rank == Rank::Ready && self.is_busy() { Rank::Doubtful } else { rank }
    }

    fn is_busy(&self) -> bool {
        let until_ms = self.busy_until_ms.load(Ordering::Relaxed);
        until_ms > 0 && u128::from(until_ms) > self.born.elapsed().as_millis()
    }

    pub(super) fn state(&self) -> State {
        lock(&self.health).state()
    }

    pub(super) fn is_in_doubt(&self) -> bool {
        lock(&self.health).is_in_doubt()
    }

    pub(super) fn check(&self) -> MutexGuard<'_, Check> {
        lock(&self.check)
    }

    /// Takes in what was seen of it. Only a change is logged: a worker that stays down must not
    /// fill the log.
    pub(in crate::master) fn see(&self, seen: Seen, why: &dyn std::fmt::Display) {
        let mut health = lock(&self.health);
        let from = health.state();
        let flipped = health.see(seen, &self.limits);
        self.rank.store(health.rank() as u8, Ordering::Relaxed);
        drop(health);
        let worker = self.address.as_str();
        match flipped {
            Some(State::Down) if from == State::Draining => tracing::info!(worker, "a worker left"),
            Some(State::Up) => tracing::info!(worker, "a worker is up"),
            Some(State::Draining) => tracing::info!(worker, "a worker is about to leave"),
            Some(State::Down) => tracing::warn!(worker, reason = %why, "a worker is down"),
            Some(State::Unknown) | None => {}
        }
    }

    pub(super) fn is_busy_for(&self, time: Duration) {
        let until = (self.born.elapsed() + time.min(self.limits.busy_max)).as_millis();
        self.busy_until_ms.store(u64::try_from(until).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// A panic under one of these locks leaves numbers, which are no less true afterwards.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts a request with a worker, or on its way to one, until it is dropped.
pub(in crate::master) struct Outstanding {
    worker: Arc<Worker>,
    bytes: u64,
}

impl Outstanding {
    pub(super) fn with(worker: Arc<Worker>, bytes: u64) -> Self {
        worker.outstanding.fetch_add(1, Ordering::Relaxed);
        worker.outstanding_bytes.fetch_add(bytes, Ordering::Relaxed);
        Self { worker, bytes }
    }

    pub(in crate::master) fn worker(&self) -> &Arc<Worker> {
        &self.worker
    }

    /// The request has reached its worker.
    pub(in crate::master) fn reached(self) -> Reached {
        self.worker.reached.fetch_add(1, Ordering::Relaxed);
        Reached(self)
    }

    /// The worker cannot be reached; the request is not with it.
    pub(in crate::master) fn missed(self, error: &dyn std::fmt::Display) -> Arc<Worker> {
        self.worker.see(Seen::Bad, error);
        Arc::clone(&self.worker)
    }
}

impl Drop for Outstanding {
    fn drop(&mut self) {
        self.worker.outstanding.fetch_sub(1, Ordering::Relaxed);
        self.worker.outstanding_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Counts a request that has reached its worker until it is dropped, and hears how it went.
pub(in crate::master) struct Reached(Outstanding);

impl Reached {
    pub(in crate::master) fn worker(&self) -> &Arc<Worker> {
        &self.0.worker
    }

    /// The worker answered: with a result, or a failure that is the request's own.
    pub(in crate::master) fn answered(&self) {
        self.worker().answered.fetch_add(1, Ordering::Relaxed);
        self.worker().see(Seen::Good, &"");
    }

    /// The worker has no room, and says for how long.
    pub(in crate::master) fn refused_as_busy(&self, retry_after: Duration) {
        self.answered();
        self.worker().is_busy_for(retry_after);
    }

    /// The worker takes no more requests.
    pub(in crate::master) fn refused_as_leaving(&self) {
        self.worker().see(Seen::Leaving, &"");
    }

    /// The worker broke off.
    pub(in crate::master) fn broke_off(&self, error: &dyn std::fmt::Display) {
        self.worker().failed.fetch_add(1, Ordering::Relaxed);
        self.worker().see(Seen::Bad, error);
    }
}

impl Drop for Reached {
    fn drop(&mut self) {
        self.worker().reached.fetch_sub(1, Ordering::Relaxed);
    }
}
