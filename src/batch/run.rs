//! A batch in this process: files are read, converted and written beside each other, as many at a time
//! as there are places and memory for.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;

use super::plan::{result_of, shown};
use super::{
    Address, Choice, Entries, Journal, Landed, Place, Plan, PlanError, Reach, Record, Trouble,
};
use crate::convert::{Options, Target};
use crate::worker::Converter;

/// What fails for a moment is tried so often, with a pause before each that doubles.
const TRIES_MAX: u32 = 4;
const PAUSE_FIRST: Duration = Duration::from_millis(200);

/// Threads for requests and events; conversions and files have others.
const THREADS_MAX: usize = 4;

/// What is done to every file.
#[derive(Debug, Clone)]
pub struct Job {
    /// Where files come from.
    pub source: Place,
    /// Where results go.
    pub target: Place,
    /// Which files, and the extension of the results.
    pub choice: Choice,
    /// What they become.
    pub convert: Target,
    /// How.
    pub options: Options,
    /// Whether what has a result's name is replaced.
    pub replace: bool,
    /// Files at a time.
    pub parallel: usize,
}

/// A file whose fate is known.
#[derive(Debug)]
pub struct Event {
    /// The file, as the plan names it.
    pub source: String,
    /// What became of it.
    pub outcome: Result<Landed, Trouble>,
    /// Bytes of the source, as far as it was read.
    pub bytes_in: u64,
    /// Bytes of the result.
    pub bytes_out: u64,
}

/// How a run went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Files of the batch.
    pub total: u64,
    /// Files that had their results before this run.
    pub before: u64,
    /// Files with new results.
    pub converted: u64,
    /// Files whose results were there.
    pub same: u64,
    /// Failures by their codes.
    pub failed: BTreeMap<&'static str, u64>,
    /// Bytes of the sources of this run.
    pub bytes_in: u64,
    /// Bytes of its results.
    pub bytes_out: u64,
}

impl Tally {
    /// Failures of all codes.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failed.values().sum()
    }

    /// Files whose fate is known.
    #[must_use]
    pub fn decided(&self) -> u64 {
        self.before + self.converted + self.same + self.failures()
    }

    /// Files that nothing was done about.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.total.saturating_sub(self.decided())
    }

    /// Takes a file in.
    pub fn count(&mut self, event: &Event) {
        self.bytes_in += event.bytes_in;
        self.bytes_out += event.bytes_out;
        match &event.outcome {
            Ok(Landed::New) => self.converted += 1,
            Ok(Landed::Same) => self.same += 1,
            Err(trouble) => *self.failed.entry(trouble.code).or_default() += 1,
        }
    }
}

/// One file on its way.
pub(super) struct Errand {
    pub(super) from: Address,
    pub(super) to: Address,
    pub(super) convert: Target,
    pub(super) options: Arc<Options>,
    pub(super) replace: bool,
}

/// What came of it.
pub(super) struct Done {
    pub(super) outcome: Result<Landed, Trouble>,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
}

impl Done {
    pub(super) fn failed(trouble: Trouble) -> Self {
        Self { outcome: Err(trouble), bytes_in: 0, bytes_out: 0 }
    }
}

/// Converts all files of a plan that the journal does not call done. `stop` lets those that are on
/// their way come to their end, and begins no more.
///
/// # Errors
///
/// The plan cannot be read, or the journal not be written.
pub fn run(
    job: &Job,
    plan: &Plan,
    (reach, converter): (&Arc<Reach>, &Converter),
    journal: &Journal,
    stop: &AtomicBool,
    tell: &mut dyn FnMut(&Event, &Tally),
) -> io::Result<Tally> {
    let threads = crate::config::cores().min(THREADS_MAX);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("batch")
        .enable_all()
        .build()?;
    let writer = journal.write(results_dir(&job.target))?;
    let mut tally = Tally { total: plan.count(), before: journal.done_count(), ..Tally::default() };
    let mut entries = plan.entries()?;
    let options = Arc::new(job.options.clone());
    let ran: io::Result<()> = runtime.block_on(async {
        let mut running = JoinSet::new();
        loop {
            while running.len() < job.parallel && !stop.load(Ordering::Relaxed) {
                let Some((number, entry)) = next(&mut entries, journal)? else { break };
                let errand = errand_of(job, &options, &entry);
                let (reach, converter) = (Arc::clone(reach), converter.clone());
                running.spawn(async move {
                    let done = match errand {
                        Ok(errand) => errand.run(&reach, &converter).await,
                        Err(trouble) => Done::failed(trouble),
                    };
                    (number, entry, done)
                });
            }
            let Some(joined) = running.join_next().await else { return Ok(()) };
            let (number, entry, done) = joined.map_err(io::Error::other)?;
            let Done { outcome, bytes_in, bytes_out } = done;
            let code = outcome.as_ref().err().map(|trouble| trouble.code);
            let event = Event { source: shown(&entry), outcome, bytes_in, bytes_out };
            tally.count(&event);
            tell(&event, &tally);
            if !writer.add(Record { number, code, bytes_in, bytes_out }) {
                // Its thread says why.
                return Ok(());
            }
        }
    });
    // In this order, so that what is done is written whatever broke off.
    writer.finish().map_err(|error| {
        io::Error::new(error.kind(), format!("the journal cannot be written: {error}"))
    })?;
    ran.map(|()| tally)
}

/// The next entry that is not done.
fn next(entries: &mut Entries, journal: &Journal) -> io::Result<Option<(u64, Vec<u8>)>> {
    for entry in entries {
        let (number, entry) = entry?;
        if !journal.is_done(number) {
            return Ok(Some((number, entry)));
        }
    }
    Ok(None)
}

/// Where results lie that a loss of power could undo.
fn results_dir(target: &Place) -> Option<&Path> {
    match target {
        Place::Directory(path) => Some(path),
        _ => None,
    }
}

fn errand_of(job: &Job, options: &Arc<Options>, entry: &[u8]) -> Result<Errand, Trouble> {
    let name = result_of(&job.source, &job.target, &job.choice, entry);
    let name = name.map_err(|error| match error {
        PlanError::Entry { trouble, .. } => trouble,
        other => Trouble::not_allowed(other.to_string()),
    })?;
    Ok(Errand {
        from: job.source.entry(entry)?,
        to: job.target.result(&name)?,
        convert: job.convert,
        options: Arc::clone(options),
        replace: job.replace,
    })
}

impl Errand {
    /// Reads, converts and writes, again where something failed that may pass.
    pub(super) async fn run(&self, reach: &Reach, converter: &Converter) -> Done {
        let mut pause = PAUSE_FIRST;
        for attempt in 1.. {
            let done = self.once(reach, converter).await;
            match &done.outcome {
                Err(trouble) if trouble.is_passing && attempt < TRIES_MAX => {
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                _ => return done,
            }
        }
        Done::failed(Trouble::storage("it was never tried"))
    }

    /// The same once.
    pub(super) async fn once(&self, reach: &Reach, converter: &Converter) -> Done {
        let held = match reach.read(&self.from).await {
            Ok(held) => held,
            Err(trouble) => return Done::failed(trouble),
        };
        let bytes_in = held.bytes.len() as u64;
        let made = converter.convert(held.bytes, self.convert, &self.options).await;
        let (landed, bytes_out) = match made {
            Ok(mut made) => {
                let result = std::mem::take(&mut made.bytes);
                let bytes_out = result.len() as u64;
                (reach.write(&self.to, result, self.replace).await, bytes_out)
            }
            Err(failure) => (Err(failure.into()), 0),
        };
        drop(held.share);
        Done { outcome: landed, bytes_in, bytes_out }
    }
}
