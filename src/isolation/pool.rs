//! The children of this process: as many as conversions may run at once, and spares that wait.
//!
//! One thread, the nurse, starts them all: the kernel ends a child with the thread that started it, so
//! that this one lives as long as any of them. It starts one at a time, and slower where one after
//! another ends without having done anything.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec};

use super::allocator;
use super::ended::{Cause, Fault};
use super::process::{Child, Undone};
use super::{Confines, Font, Leash};
use crate::convert::{Options, Target};
use crate::limits::ConvertLimits;
use crate::metrics::Registry;
use crate::wire::ChecksumKind;

/// How often a job is handed to another child because one was gone before it had it. Beyond that
/// something else is wrong.
const HANDED_MAX: usize = 4;

/// Children that may end one after another without any having done a job, before the next ones are
/// started more slowly: what a handful of bad files does at once is no loop.
const LOSSES_FREE: u32 = 16;

/// The first wait in such a loop. It doubles with every further loss.
const BACK_OFF_MIN: Duration = Duration::from_millis(10);

/// The longest. A worker whose children all crash is of no use, but must come back once they do not.
const BACK_OFF_MAX: Duration = Duration::from_secs(1);

/// How long a job waits for a child where none can be started: the next try may do.
const UNSERVED_AFTER: Duration = Duration::from_secs(3);

/// How long a child has nothing to do until what is kept for a next job goes back to the kernel. A job
/// every second finds all of it; after a burst the memory is back well within five.
const REST_AFTER: Duration = Duration::from_secs(2);

/// A conversion to be done.
pub struct Job<'a> {
    /// The file. It is gone from here once a child has it.
    pub body: Vec<u8>,
    /// What it becomes.
    pub target: Target,
    /// How.
    pub options: &'a Options,
    /// What is to be computed of the result.
    pub checksum: ChecksumKind,
}

/// A conversion that is done.
#[derive(Debug)]
pub struct Output {
    /// The result.
    pub bytes: Vec<u8>,
    /// Its checksum, as the child has it. One that lies about it answers its own request wrong.
    pub checksum: [u8; 16],
}

/// A child whose job is over. It is wiped, and free again, when this is dropped: after the answer,
/// which need not wait for it.
pub struct Lease<'a> {
    child: Option<Child>,
    inner: &'a Inner,
}

/// Children that convert. They end with this.
pub struct Pool(Arc<Inner>);

struct Inner {
    confines: Confines,
    limits: ConvertLimits,
    fonts: Vec<Font>,
    wanted: usize,
    state: Mutex<State>,
    /// A child has become free, or none will.
    changed: Condvar,
    /// Has the nurse look again.
    bell: OwnedFd,
    started: AtomicU64,
    ended: [AtomicU64; Cause::NAMES.len()],
}

#[derive(Default)]
struct State {
    idle: Vec<Child>,
    /// Those and the ones at work.
    alive: usize,
    /// Why the last start failed, if it did.
    problem: Option<String>,
    /// Children that have ended since one has last done a job.
    losses: u32,
    /// When the last of them did.
    lost: Option<Instant>,
    /// The nurse knows of children that are to come to rest, and will look after them.
    is_restless: bool,
    is_over: bool,
}

impl Pool {
    /// Starts children for so many conversions at once, and waits until all are ready.
    ///
    /// # Errors
    ///
    /// No child can be started.
    pub fn start(
        slots: usize,
        confines: Confines,
        limits: ConvertLimits,
        fonts: &[Font],
    ) -> io::Result<Self> {
        let bell = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let inner = Arc::new(Inner {
            confines,
            limits,
            fonts: fonts.to_vec(),
            wanted: slots + confines.spares,
            state: Mutex::default(),
            changed: Condvar::new(),
            bell,
            started: AtomicU64::new(0),
            ended: Default::default(),
        });
        let nursed = Arc::clone(&inner);
        std::thread::Builder::new().name("nurse".to_owned()).spawn(move || nursed.nurse())?;
        let pool = Self(inner);
        let mut state = pool.0.lock();
        while state.idle.len() < pool.0.wanted && state.problem.is_none() {
            state = pool.0.wait(state, None);
        }
        let problem = state.problem.take();
        drop(state);
        match problem {
            Some(problem) => Err(io::Error::other(problem)),
            None => Ok(pool),
        }
    }

    /// Has a child do `job` by `deadline`, unless it is called off by `leash`. Where the child lives
    /// on, it comes with the outcome.
    pub fn convert(
        &self,
        job: &mut Job<'_>,
        deadline: Instant,
        leash: &Leash,
    ) -> (Result<Output, Fault>, Option<Lease<'_>>) {
        for _ in 0..HANDED_MAX {
            let mut child = match self.0.take(deadline) {
                Ok(child) => child,
                Err(fault) => return (Err(fault), None),
            };
            if !leash.hold(child.socket()) {
                self.0.put_back(child);
                return (Err(Fault::CalledOff), None);
            }
            let converted = child.convert(job, deadline);
            if !leash.let_go() {
                self.0.bury(child, Cause::CalledOff);
                return (Err(Fault::CalledOff), None);
            }
            let result = match converted {
                Ok(output) => Ok(output),
                Err(Undone::Fault(fault)) => Err(fault),
                Err(Undone::Lost(cause)) => {
                    self.0.bury(child, cause);
                    return (Err(Fault::Lost(cause)), None);
                }
                Err(Undone::Unsent(cause)) => {
                    self.0.bury(child, cause);
                    continue;
                }
            };
            return (result, Some(Lease { child: Some(child), inner: &self.0 }));
        }
        (Err(Fault::Unserved("one process after another was gone".to_owned())), None)
    }

    /// Shows the children in `metrics`.
    pub fn show_in(&self, metrics: &Registry) {
        let inner = Arc::clone(&self.0);
        metrics.gauge("children", "Processes that convert, or wait to.", move || {
            inner.lock().alive as u64
        });
        let inner = Arc::clone(&self.0);
        metrics.counter("children_started", "Children that were started.", move || {
            inner.started.load(Ordering::Relaxed)
        });
        let inner = Arc::clone(&self.0);
        let help = "Children that ended though they had not done their share.";
        metrics.counter("children_lost", help, move || {
            let kept = Cause::MEANT.map(Cause::index);
            let lost = inner.ended.iter().enumerate().filter(|(place, _)| !kept.contains(place));
            lost.map(|(_, count)| count.load(Ordering::Relaxed)).sum()
        });
        for (place, (name, help)) in Cause::NAMES.into_iter().enumerate() {
            let inner = Arc::clone(&self.0);
            metrics.counter(name, help, move || inner.ended[place].load(Ordering::Relaxed));
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.0.lock().is_over = true;
        self.0.ring();
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if let Some(child) = self.child.take() {
            self.inner.give_back(child);
        }
    }
}

impl Inner {
    /// Waits for a child that is free.
    fn take(&self, deadline: Instant) -> Result<Child, Fault> {
        let unserved = Instant::now() + UNSERVED_AFTER;
        let mut state = self.lock();
        loop {
            if let Some(child) = state.idle.pop() {
                return Ok(child);
            }
            let problem = state.problem.as_ref().filter(|_| state.alive == 0);
            let until = if problem.is_some() { deadline.min(unserved) } else { deadline };
            if Instant::now() >= until {
                return Err(problem.map_or(Fault::Lost(Cause::Deadline), |problem| {
                    Fault::Unserved(problem.clone())
                }));
            }
            state = self.wait(state, Some(until));
        }
    }

    /// Takes a child back that has done a job, which ends a row of losses.
    fn give_back(&self, mut child: Child) {
        let wiped = child.wipe();
        if let Err(error) = &wiped {
            tracing::error!(%error, "cannot wipe the memory of a child; it is replaced");
        }
        self.lock().losses = 0;
        if child.is_worn() || wiped.is_err() {
            self.bury(child, Cause::Retired);
        } else {
            self.put_back(child);
        }
    }

    /// Takes a child back as it is.
    fn put_back(&self, child: Child) {
        let mut state = self.lock();
        if state.is_over {
            drop(state);
            self.bury(child, Cause::Retired);
            return;
        }
        state.idle.push(child);
        // Once in a row of jobs, however many.
        let is_news = !std::mem::replace(&mut state.is_restless, true);
        drop(state);
        self.changed.notify_one();
        if is_news {
            self.ring();
        }
    }

    /// A child is gone, or is to go.
    fn bury(&self, child: Child, cause: Cause) {
        // Its end is waited for outside of the lock.
        drop(child);
        self.ended[cause.index()].fetch_add(1, Ordering::Relaxed);
        let mut state = self.lock();
        state.alive -= 1;
        if cause.is_loss() {
            state.losses = state.losses.saturating_add(1);
            state.lost = Some(Instant::now());
        }
        drop(state);
        self.ring();
    }

    /// Keeps up the number of children, until the pool is over and all have ended.
    fn nurse(&self) {
        let mut watched = Vec::new();
        loop {
            let rest = self.put_to_rest();
            let state = self.lock();
            let (is_over, alive, pause) = (state.is_over, state.alive, state.pause());
            drop(state);
            match (is_over, alive) {
                (true, 0) => return,
                (true, _) => self.dismiss(),
                (false, alive) if alive < self.wanted && pause.is_zero() => {
                    watched.extend(self.hire());
                    continue;
                }
                _ => {}
            }
            let pause = (alive < self.wanted && !is_over).then_some(pause);
            self.watch(&mut watched, [pause, rest].into_iter().flatten().min());
        }
    }

    /// Starts a child. A failure counts as a loss, and is told once it is a new one.
    fn hire(&self) -> Option<(u64, Arc<OwnedFd>)> {
        let serial = self.started.load(Ordering::Relaxed);
        match Child::start(serial, &self.confines, &self.limits, &self.fonts) {
            Ok((child, missing)) => {
                let watched = (serial, child.socket());
                if self.started.fetch_add(1, Ordering::Relaxed) == 0 && !missing.is_empty() {
                    for layer in missing.lines() {
                        tracing::warn!("conversions are less isolated here: {layer}");
                    }
                }
                let mut state = self.lock();
                state.problem = None;
                state.alive += 1;
                state.idle.push(child);
                drop(state);
                self.changed.notify_one();
                Some(watched)
            }
            Err(error) => {
                let problem = format!("cannot start a process for conversions: {error}");
                let mut state = self.lock();
                if state.problem.as_ref() != Some(&problem) {
                    tracing::error!("{problem}");
                }
                state.losses = state.losses.saturating_add(1).max(LOSSES_FREE);
                state.lost = Some(Instant::now());
                state.problem = Some(problem);
                drop(state);
                self.changed.notify_all();
                None
            }
        }
    }

    /// Has those give memory back that have had nothing to do for a while, and where nobody has, this process
    /// too. Returns how long it is until the next of them, if there is one.
    fn put_to_rest(&self) -> Option<Duration> {
        let mut state = self.lock();
        if !state.is_restless {
            return None;
        }
        let is_tired = |child: &mut Child| {
            child.free_since().is_some_and(|since| since.elapsed() >= REST_AFTER)
        };
        let tired: Vec<_> = state.idle.extract_if(.., is_tired).collect();
        drop(state);
        let has_rested = !tired.is_empty();
        for mut child in tired {
            if let Err(error) = child.rest() {
                tracing::error!(%error, "cannot empty the memory of a child; it is replaced");
                self.bury(child, Cause::Retired);
                continue;
            }
            // The last ones are taken first: those whose memory is there.
            self.lock().idle.insert(0, child);
            self.changed.notify_one();
        }
        let mut state = self.lock();
        let next = state.idle.iter().filter_map(Child::free_since).min();
        state.is_restless = next.is_some();
        let is_quiet = state.idle.len() == state.alive && next.is_none();
        drop(state);
        if has_rested && is_quiet {
            allocator::give_back();
        }
        next.map(|since| REST_AFTER.saturating_sub(since.elapsed()))
    }

    /// Ends those that have nothing to do.
    fn dismiss(&self) {
        let idle = std::mem::take(&mut self.lock().idle);
        let count = idle.len();
        drop(idle);
        self.lock().alive -= count;
        self.changed.notify_all();
        if count > 0 {
            self.ring();
        }
    }

    /// Waits for the bell, for the end of a child, or for `pause`. A child that ends while it waits for
    /// a job is buried here; whoever has given it one sees to it elsewhere.
    fn watch(&self, watched: &mut Vec<(u64, Arc<OwnedFd>)>, pause: Option<Duration>) {
        let mut polled = vec![PollFd::from_borrowed_fd(self.bell.as_fd(), PollFlags::IN)];
        let sockets = watched.iter().map(|(_, socket)| socket.as_fd());
        polled.extend(sockets.map(|socket| PollFd::from_borrowed_fd(socket, PollFlags::empty())));
        let pause = pause.and_then(|pause| Timespec::try_from(pause).ok());
        // An interruption is one more look.
        let _ = rustix::event::poll(&mut polled, pause.as_ref());
        let gone: Vec<_> = polled[1..].iter().map(|one| !one.revents().is_empty()).collect();
        drop(polled);
        let _ = rustix::io::read(&self.bell, &mut [0; 8]);
        let mut gone = gone.into_iter();
        let mut ended = Vec::new();
        watched.retain(|(serial, _)| {
            let is_gone = gone.next().unwrap_or(false);
            if is_gone {
                ended.push(*serial);
            }
            !is_gone
        });
        for serial in ended {
            let mut state = self.lock();
            let place = state.idle.iter().position(|child| child.serial() == serial);
            let child = place.map(|place| state.idle.swap_remove(place));
            drop(state);
            if let Some(mut child) = child {
                let cause = child.end();
                tracing::warn!(?cause, "a child ended while it waited for a job");
                self.bury(child, cause);
            }
        }
    }

    fn ring(&self) {
        // It cannot be full: that takes 2^64 rings.
        let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
    }

    fn wait<'a>(
        &self,
        state: MutexGuard<'a, State>,
        deadline: Option<Instant>,
    ) -> MutexGuard<'a, State> {
        match deadline {
            None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                let waited = self.changed.wait_timeout(state, left);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        }
    }

    /// Nothing can be left half done under it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// How long the next start has to wait.
    fn pause(&self) -> Duration {
        let since = self.lost.map_or(BACK_OFF_MAX, |lost| lost.elapsed());
        back_off(self.losses).saturating_sub(since)
    }
}

/// The wait after so many losses in a row.
fn back_off(losses: u32) -> Duration {
    match losses.checked_sub(LOSSES_FREE) {
        None => Duration::ZERO,
        Some(over) => BACK_OFF_MIN.saturating_mul(1 << over.min(16)).min(BACK_OFF_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_losses_are_free_and_a_loop_is_slowed_down() {
        assert_eq!(back_off(0), Duration::ZERO);
        assert_eq!(back_off(LOSSES_FREE - 1), Duration::ZERO);
        assert_eq!(back_off(LOSSES_FREE), BACK_OFF_MIN);
        assert_eq!(back_off(LOSSES_FREE + 1), 2 * BACK_OFF_MIN);
        assert_eq!(back_off(u32::MAX), BACK_OFF_MAX);
    }
}
