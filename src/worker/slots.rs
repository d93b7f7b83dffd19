//! The slots: threads that convert or have a process do it, away from the ring threads.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::ages::Ages;
use super::body::Body;
use super::engine::{Engine, too_late};
use super::queue::Queue;
use crate::convert::{Options, Target};
use crate::exchange::spans;
use crate::isolation::Leash;
use crate::metrics::Registry;
use crate::wire::{ChecksumKind, Code, Failure};

/// Jobs that may wait for each slot. At 10 ms a job the last one then waits about a third of a
/// second; more than that is better tried again later.
const QUEUE_PER_SLOT: usize = 32;

/// Threads that convert. They end when this is dropped and their jobs are done.
pub(super) struct Slots {
    crew: Arc<Crew>,
}

/// What the threads share.
struct Crew {
    queue: Queue<Job>,
    engine: Engine,
    slots: usize,
    busy: AtomicUsize,
    /// Threads that work on a job past its deadline, each with a replacement.
    lost: AtomicUsize,
    /// Mean time of a conversion, each new one weighing an eighth. Two threads that finish at once
    /// may lose one sample, which a mean can bear.
    mean_us: AtomicU64,
    ages: Ages,
}

/// A picture of the load.
pub(super) struct Load {
    pub(super) slots: usize,
    pub(super) queued: usize,
    pub(super) busy: usize,
    pub(super) lost: usize,
}

/// What became of a job.
pub(super) struct Done {
    pub(super) result: Result<Converted, Failure>,
    pub(super) convert_us: u32,
}

/// A result, and its checksum: hashed here, since a ring thread has no 16 ms for 10 MB of MD5.
pub(super) struct Converted {
    pub(super) bytes: Vec<u8>,
    pub(super) checksum: [u8; 16],
}

/// What is to be converted, and how.
pub(super) struct Work {
    pub(super) body: Body,
    pub(super) target: Target,
    pub(super) options: Options,
    pub(super) checksum: ChecksumKind,
    pub(super) waiting: spans::Turn,
}

struct Job {
    work: Work,
    state: Arc<State>,
    deadline: Instant,
    reply: oneshot::Sender<Done>,
}

/// Where a job is. Its thread and its requester agree on it by compare-and-swap, so that a job that
/// ends just at its deadline is either done or abandoned, and never both.
#[derive(Default)]
struct State {
    place: AtomicU8,
    /// By which its requester calls it off.
    leash: Leash,
}

const QUEUED: u8 = 0;
const RUNNING: u8 = 1;
const DONE: u8 = 2;
const ABANDONED: u8 = 3;

impl State {
    fn advance(&self, from: u8, to: u8) -> bool {
        self.place.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

impl Slots {
    /// Starts `slots` threads, which work by `engine`.
    pub(super) fn start(slots: usize, engine: Engine) -> io::Result<Self> {
        let crew = Arc::new(Crew {
            queue: Queue::new(slots * QUEUE_PER_SLOT),
            engine,
            slots,
            busy: AtomicUsize::new(0),
            lost: AtomicUsize::new(0),
            mean_us: AtomicU64::new(0),
            ages: Ages::default(),
        });
        let all = Self { crew };
        for _ in 0..slots {
            all.crew.hire()?;
        }
        Ok(all)
    }

    /// Does `work`, once a slot is free. A job that is still queued at its deadline is dropped; one
    /// that is running ends with its process, or its thread gets a replacement.
    ///
    /// # Errors
    ///
    /// What `leaving` came to: nobody waits for the result any more. That too drops a job that is
    /// queued and ends a process; a thread goes on, and is awaited, since it takes a slot and memory as
    /// long as it does.
    pub(super) async fn convert<E>(
        &self,
        work: Work,
        timeout: Duration,
        leaving: impl Future<Output = E>,
    ) -> Result<Done, E> {
        let _aging = self.crew.ages.begin();
        let (reply, answer) = oneshot::channel();
        let (state, deadline) = (Arc::new(State::default()), Instant::now() + timeout);
        let job = Job { work, state: Arc::clone(&state), deadline, reply };
        if !self.crew.queue.push(job) {
            return Ok(Done { result: Err(self.crew.busy_failure()), convert_us: 0 });
        }
        let mut answering = pin!(tokio::time::timeout_at(deadline.into(), answer));
        let (answered, left) = tokio::select! {
            biased;
            answered = &mut answering => (answered, None),
            left = leaving => {
                if self.crew.withdraw(&state) {
                    return Err(left);
                }
                state.leash.call_off();
                (answering.await, Some(left))
            }
        };
        let (failure, convert_us) = match (answered, left) {
            (Err(_), left) => {
                let failure = self.crew.give_up(&state, timeout);
                left.map_or(Ok(()), Err)?;
                (failure, micros(timeout))
            }
            (Ok(_), Some(left)) => return Err(left),
            (Ok(Ok(done)), None) => return Ok(done),
            (Ok(Err(_)), None) => {
                (Failure::new(Code::WorkerFailed, "the conversion ended without a result"), 0)
            }
        };
        Ok(Done { result: Err(failure), convert_us })
    }

    /// How much there is to do.
    pub(super) fn load(&self) -> Load {
        self.crew.load()
    }

    /// Shows the load in `metrics`.
    pub(super) fn show_in(&self, metrics: &Registry) {
        let gauge = |name, help, read: fn(&Crew) -> u64| {
            let crew = Arc::clone(&self.crew);
            metrics.gauge(name, help, move || read(&crew));
        };
        self.crew.engine.show_in(metrics);
        gauge("slots", "Conversions at once.", |crew| crew.slots as u64);
        gauge("busy", "Slots that convert.", |crew| crew.load().busy as u64);
        gauge("queued", "Conversions that wait for a slot.", |crew| crew.load().queued as u64);
        gauge("lost", "Threads in a conversion past its time.", |crew| crew.load().lost as u64);
        gauge("oldest_job_ms", "Age of the oldest conversion, waiting or running.", |crew| {
            u64::try_from(crew.ages.oldest().as_millis()).unwrap_or(u64::MAX)
        });
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        self.crew.queue.close();
    }
}

impl Crew {
    fn hire(self: &Arc<Self>) -> io::Result<()> {
        let crew = Arc::clone(self);
        let thread = std::thread::Builder::new().name("convert".to_owned());
        let thread = thread.stack_size(self.engine.stack_bytes());
        thread.spawn(move || crew.work()).map(drop)
    }

    fn work(&self) {
        loop {
            let Some(mut job) = self.queue.pop() else { return };
            if job.deadline <= Instant::now() || !job.state.advance(QUEUED, RUNNING) {
                continue;
            }
            self.busy.fetch_add(1, Ordering::Relaxed);
            let started = Instant::now();
            let converting = job.work.waiting.convert().entered();
            let (result, lease) =
                self.engine.convert(&mut job.work, job.deadline, &job.state.leash);
            drop(converting);
            let convert_us = micros(started.elapsed());
            drop(job.work);
            self.finished(convert_us);
            if !job.state.advance(RUNNING, DONE) {
                // Somebody else has this thread's place by now.
                self.lost.fetch_sub(1, Ordering::Relaxed);
                return;
            }
            // Whoever asked may be gone.
            let _ = job.reply.send(Done { result, convert_us });
            drop(lease);
        }
    }

    /// Takes a job that is not begun out of the queue.
    fn withdraw(&self, state: &Arc<State>) -> bool {
        self.queue.take(|job| Arc::ptr_eq(&job.state, state)).is_some()
    }

    /// Takes a job past its deadline off the books. Its thread is replaced, so that one file that
    /// hangs costs one thread and no other request; as many as there are slots, since each goes on
    /// to burn a core. A process is killed instead, and its thread goes on with the next job.
    fn give_up(self: &Arc<Self>, state: &Arc<State>, timeout: Duration) -> Failure {
        if self.withdraw(state) || self.engine.ends_in_time() {
            return too_late(timeout);
        }
        let may_replace = self.lost.load(Ordering::Relaxed) < self.slots;
        if may_replace && state.advance(RUNNING, ABANDONED) {
            let lost = self.lost.fetch_add(1, Ordering::Relaxed) + 1;
            tracing::error!(lost, slots = self.slots, "a conversion hangs; its slot is replaced");
            if let Err(error) = self.hire() {
                tracing::error!(%error, "cannot start a replacement");
            }
        }
        too_late(timeout)
    }

    fn finished(&self, convert_us: u32) {
        self.busy.fetch_sub(1, Ordering::Relaxed);
        let (mean, sample) = (self.mean_us.load(Ordering::Relaxed), u64::from(convert_us));
        let next = if mean == 0 { sample } else { (mean * 7 + sample) / 8 };
        self.mean_us.store(next, Ordering::Relaxed);
    }

    fn load(&self) -> Load {
        Load {
            slots: self.slots,
            queued: self.queue.len(),
            busy: self.busy.load(Ordering::Relaxed),
            lost: self.lost.load(Ordering::Relaxed),
        }
    }

    fn busy_failure(&self) -> Failure {
        let load = self.load();
        let mean_us = self.mean_us.load(Ordering::Relaxed).max(1_000);
        let drain_ms = mean_us * load.queued as u64 / load.slots.max(1) as u64 / 1_000;
        Failure::new(
            Code::Busy,
            format!("{} conversions wait for {} slots", load.queued, load.slots),
        )
        .with_retry_after_ms(u32::try_from(drain_ms).unwrap_or(u32::MAX).max(50))
        .with_hint("try again after the given time")
    }
}

fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}
