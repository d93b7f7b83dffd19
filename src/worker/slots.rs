//! The slots: threads that convert, away from the ring threads.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::convert::{self, Options, Target};
use crate::limits::ConvertLimits;
use crate::wire::{ChecksumKind, Code, Failure};

/// Jobs that may wait for each slot. At 10 ms a job the last one then waits about a third of a
/// second; more than that is better tried again later.
const QUEUE_PER_SLOT: usize = 32;

/// Stack of a conversion thread: a PDF parser recurses as deep as its nesting limit allows.
const STACK_BYTES: usize = 16 * 1024 * 1024;

/// Threads that convert. They end when this is dropped and their jobs are done.
pub(super) struct Slots {
    jobs: mpsc::SyncSender<Job>,
    load: Arc<Load>,
}

/// How busy the slots are; counters that several threads touch, read without a lock.
#[derive(Default)]
struct Load {
    slots: usize,
    queued: AtomicUsize,
    busy: AtomicUsize,
    /// Mean time of a conversion, each new one weighing an eighth. Two threads that finish at once
    /// may lose one sample, which a mean can bear.
    mean_us: AtomicU64,
}

/// A picture of the load.
pub(super) struct LoadNow {
    pub(super) slots: usize,
    pub(super) queued: usize,
    pub(super) busy: usize,
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
    pub(super) body: Vec<u8>,
    pub(super) target: Target,
    pub(super) options: Options,
    pub(super) checksum: ChecksumKind,
}

struct Job {
    work: Work,
    deadline: Instant,
    reply: oneshot::Sender<Done>,
}

impl Slots {
    /// Starts `slots` threads.
    pub(super) fn start(slots: usize, limits: ConvertLimits) -> io::Result<Self> {
        let (jobs, queue) = mpsc::sync_channel(slots * QUEUE_PER_SLOT);
        let queue = Arc::new(Mutex::new(queue));
        let load = Arc::new(Load { slots, ..Load::default() });
        for number in 0..slots {
            let (queue, load) = (Arc::clone(&queue), Arc::clone(&load));
            std::thread::Builder::new()
                .name(format!("convert-{number}"))
                .stack_size(STACK_BYTES)
                .spawn(move || work(&queue, &load, &limits))?;
        }
        Ok(Self { jobs, load })
    }

    /// Does `work`, once a slot is free. A job that is still queued at its deadline is dropped.
    pub(super) async fn convert(&self, work: Work, timeout: Duration) -> Done {
        let (reply, answer) = oneshot::channel();
        let deadline = Instant::now() + timeout;
        let job = Job { work, deadline, reply };
        self.load.queued.fetch_add(1, Ordering::Relaxed);
        if self.jobs.try_send(job).is_err() {
            self.load.queued.fetch_sub(1, Ordering::Relaxed);
            return Done { result: Err(self.busy()), convert_us: 0 };
        }
        let failure = match tokio::time::timeout_at(deadline.into(), answer).await {
            Ok(Ok(done)) => return done,
            Ok(Err(_)) => Failure::new(Code::WorkerFailed, "the conversion ended without a result"),
            Err(_) => Failure::new(
                Code::DeadlineExceeded,
                format!("the conversion took longer than {} s", timeout.as_secs()),
            )
            .with_hint("send a smaller file, or raise the time limit of the worker"),
        };
        Done { result: Err(failure), convert_us: 0 }
    }

    pub(super) fn load(&self) -> LoadNow {
        LoadNow {
            slots: self.load.slots,
            queued: self.load.queued.load(Ordering::Relaxed),
            busy: self.load.busy.load(Ordering::Relaxed),
        }
    }

    fn busy(&self) -> Failure {
        let load = self.load();
        let mean_us = self.load.mean_us.load(Ordering::Relaxed).max(1_000);
        let drain_ms = mean_us * load.queued as u64 / load.slots.max(1) as u64 / 1_000;
        Failure::new(
            Code::Busy,
            format!("{} conversions wait for {} slots", load.queued, load.slots),
        )
        .with_retry_after_ms(u32::try_from(drain_ms).unwrap_or(u32::MAX).max(50))
        .with_hint("try again after the given time")
    }
}

fn work(queue: &Mutex<mpsc::Receiver<Job>>, load: &Load, limits: &ConvertLimits) {
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        load.queued.fetch_sub(1, Ordering::Relaxed);
        if job.reply.is_closed() || job.deadline <= Instant::now() {
            continue;
        }
        load.busy.fetch_add(1, Ordering::Relaxed);
        let started = Instant::now();
        let result = guarded(&job.work, limits);
        let convert_us = u32::try_from(started.elapsed().as_micros()).unwrap_or(u32::MAX);
        load.finished(convert_us);
        // Nobody listens any more after a deadline.
        let _ = job.reply.send(Done { result, convert_us });
    }
}

/// Converts behind a wall: a panic is an answer and not the end of the thread.
fn guarded(work: &Work, limits: &ConvertLimits) -> Result<Converted, Failure> {
    let convert = || convert::convert(&work.body, work.target, &work.options, limits);
    let Ok(result) = catch_unwind(AssertUnwindSafe(convert)) else {
        // The payload may quote the file: only the place, which the panic hook prints, is told.
        let (target, bytes) = (work.target.name(), work.body.len());
        tracing::error!(target, bytes, "a converter panicked");
        return Err(Failure::new(Code::WorkerFailed, "the converter failed on this file")
            .with_hint("the service is unharmed; please report what made the file"));
    };
    let bytes = result?;
    let checksum = work.checksum.of(&bytes);
    Ok(Converted { bytes, checksum })
}

impl Load {
    fn finished(&self, convert_us: u32) {
        self.busy.fetch_sub(1, Ordering::Relaxed);
        let mean = self.mean_us.load(Ordering::Relaxed);
        let next =
            if mean == 0 { u64::from(convert_us) } else { (mean * 7 + u64::from(convert_us)) / 8 };
        self.mean_us.store(next, Ordering::Relaxed);
    }
}
