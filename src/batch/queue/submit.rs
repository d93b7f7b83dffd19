//! Putting the files of a job on the queue.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_nats::jetstream::context::PublishAckFuture;
use async_nats::jetstream::kv;
use async_nats::jetstream::message::PublishMessage;
use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_128;

use super::super::plan::result_of;
use super::super::{Choice, Place, Plan};
use super::task::{Task, check_job, file_number};
use super::{Queue, QueueError, patiently, work_subject};

/// Messages on their way at once. Each waits for the disks of a majority of the cluster.
const WINDOW: usize = 2_048;

/// Between two notes of how far the submission is.
const NOTE_PERIOD: Duration = Duration::from_secs(1);

/// What a job is about.
#[derive(Debug, Clone)]
pub struct Submission {
    /// Its name.
    pub job: String,
    /// What makes it this job and no other.
    pub fingerprint: u128,
    /// Where files come from.
    pub source: Place,
    /// Where results go.
    pub target: Place,
    /// Which files, and the extension of the results.
    pub choice: Choice,
    /// Lines of the wire's options.
    pub options: String,
    /// Whether what has a result's name is replaced.
    pub replace: bool,
}

/// Where a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// Its files are being put on the queue.
    Submitting,
    /// All are.
    Submitted,
    /// What was left was taken off again.
    Cancelled,
}

/// What is known of a job, under its name.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct JobRecord {
    /// What makes it this job and no other, in hex.
    pub fingerprint: String,
    /// Where files come from.
    pub source: String,
    /// Where results go.
    pub target: String,
    /// What they become.
    pub to: String,
    /// Where it is.
    pub state: JobState,
    /// Files that were put on the queue, as far as that is known.
    pub total: u64,
    /// Files that were taken off it again.
    #[serde(default)]
    pub cancelled: u64,
    /// How often failed files were put on the queue again.
    #[serde(default)]
    pub round: u32,
    /// When it began, in seconds since 1970.
    pub created: u64,
}

/// How far a submission came: so many entries, which hash to this.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Cursor {
    count: u64,
    digest: String,
}

/// How a submission went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Submitted {
    /// Files of the job that are on the queue, or were.
    pub count: u64,
    /// Files of it in all.
    pub total: u64,
}

/// Puts every file of `plan` on the queue, once: a submission that broke off goes on where it was.
///
/// # Errors
///
/// The queue fails for longer than it is waited for, or the name is that of another job.
pub async fn submit(
    queue: &Queue,
    submission: &Submission,
    plan: &Plan,
    stop: &AtomicBool,
    tell: &mut dyn FnMut(u64),
) -> Result<Submitted, QueueError> {
    check_job(&submission.job)?;
    queue.work_stream().await?;
    queue.failed_stream(&submission.job).await?;
    let jobs = queue.jobs().await?;
    let mut record = begin(&jobs, submission).await?;
    let total = plan.count();
    if record.state != JobState::Submitting {
        return Ok(Submitted { count: record.total, total: record.total });
    }
    let cursor = known_cursor(&jobs, submission, plan).await?;
    let mut sender = Sender {
        queue,
        job: &submission.job,
        waiting: VecDeque::new(),
        acknowledged: cursor,
        jobs: &jobs,
        noted: Instant::now(),
    };
    let start = sender.acknowledged.count;
    let mut digest = u128::from_str_radix(&sender.acknowledged.digest, 16).unwrap_or_default();
    for entry in plan.entries()?.skip(usize::try_from(start).unwrap_or(usize::MAX)) {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let (_, entry) = entry?;
        digest = chained(digest, &entry);
        sender.send(task(submission, &entry)?, digest).await?;
        tell(sender.acknowledged.count);
    }
    sender.finish().await?;
    let count = sender.acknowledged.count;
    if count == total {
        (record.state, record.total) = (JobState::Submitted, total);
        put(&jobs, &record_key(&submission.job), &record).await?;
    }
    Ok(Submitted { count, total })
}

/// Messages on their way, in order: what is acknowledged is so up to a place.
struct Sender<'a> {
    queue: &'a Queue,
    job: &'a str,
    waiting: VecDeque<(PublishAckFuture, PublishMessage, u128)>,
    acknowledged: Cursor,
    jobs: &'a kv::Store,
    noted: Instant,
}

impl Sender<'_> {
    async fn send(&mut self, task: Task, digest: u128) -> Result<(), QueueError> {
        if self.waiting.len() == WINDOW {
            self.take().await?;
        }
        let message = PublishMessage::build()
            .message_id(task.message_id())
            .payload(Bytes::from(task.encode()));
        let subject = work_subject(self.job);
        let sent = patiently("publishing", || async {
            Ok(self.queue.jetstream.send_publish(subject.clone(), message.clone()).await?)
        })
        .await?;
        self.waiting.push_back((sent, message, digest));
        Ok(())
    }

    /// Waits for the oldest message to be stored, and sends it again where it was lost.
    async fn take(&mut self) -> Result<(), QueueError> {
        let Some((sent, message, digest)) = self.waiting.pop_front() else { return Ok(()) };
        if let Err(error) = sent.await {
            tracing::debug!(%error, "a message is sent again");
            self.queue.publish(work_subject(self.job), message).await?;
        }
        self.acknowledged =
            Cursor { count: self.acknowledged.count + 1, digest: format!("{digest:032x}") };
        if self.noted.elapsed() >= NOTE_PERIOD {
            self.note().await?;
        }
        Ok(())
    }

    async fn finish(&mut self) -> Result<(), QueueError> {
        while !self.waiting.is_empty() {
            self.take().await?;
        }
        self.note().await
    }

    async fn note(&mut self) -> Result<(), QueueError> {
        put(self.jobs, &cursor_key(self.job), &self.acknowledged).await?;
        self.noted = Instant::now();
        Ok(())
    }
}

/// Makes the job's record, or takes the one that is there.
async fn begin(jobs: &kv::Store, submission: &Submission) -> Result<JobRecord, QueueError> {
    let fingerprint = format!("{:032x}", submission.fingerprint);
    if let Some(record) = read::<JobRecord>(jobs, &record_key(&submission.job)).await? {
        if record.fingerprint != fingerprint {
            return Err(QueueError::Another(submission.job.clone()));
        }
        return Ok(record);
    }
    let record = JobRecord {
        fingerprint,
        source: submission.source.to_string(),
        target: submission.target.to_string(),
        to: submission.choice.extension.to_owned(),
        state: JobState::Submitting,
        total: 0,
        cancelled: 0,
        round: 0,
        created: now(),
    };
    put(jobs, &record_key(&submission.job), &record).await?;
    Ok(record)
}

/// How far an earlier submission came, if it was one of these very entries.
async fn known_cursor(
    jobs: &kv::Store,
    submission: &Submission,
    plan: &Plan,
) -> Result<Cursor, QueueError> {
    let Some(cursor) = read::<Cursor>(jobs, &cursor_key(&submission.job)).await? else {
        return Ok(Cursor::default());
    };
    let mut digest = 0;
    let count = usize::try_from(cursor.count).unwrap_or(usize::MAX);
    for entry in plan.entries()?.take(count) {
        digest = chained(digest, &entry?.1);
    }
    let is_same = cursor.count <= plan.count() && cursor.digest == format!("{digest:032x}");
    Ok(if is_same { cursor } else { Cursor::default() })
}

fn task(submission: &Submission, entry: &[u8]) -> Result<Task, QueueError> {
    let wrong = |error: &dyn std::fmt::Display| io::Error::other(error.to_string());
    let Submission { source, target, choice, .. } = submission;
    let name = result_of(source, target, choice, entry).map_err(|error| wrong(&error))?;
    let from = source.entry(entry).map_err(|error| wrong(&error))?;
    let to = target.result(&name).map_err(|error| wrong(&error))?;
    if let super::super::Address::Path(path) = &from
        && path.to_str().is_none()
    {
        let shown = path.display().to_string();
        return Err(wrong(&format!("{shown}: a path in a message must be UTF-8")).into());
    }
    let from = from.to_string();
    Ok(Task {
        job: submission.job.clone(),
        file: file_number(&from),
        from,
        to: to.to_string(),
        target: choice.extension.to_owned(),
        options: submission.options.clone(),
        replace: submission.replace,
        round: 0,
    })
}

/// A hash of all entries up to one.
fn chained(before: u128, entry: &[u8]) -> u128 {
    xxh3_128(&[&before.to_be_bytes()[..], entry].concat())
}

pub(super) fn record_key(job: &str) -> String {
    format!("job.{job}")
}

pub(super) fn cursor_key(job: &str) -> String {
    format!("cursor.{job}")
}

/// How many files of a job that is being submitted are known to be on the queue.
pub(super) async fn submitted_so_far(jobs: &kv::Store, job: &str) -> Result<u64, QueueError> {
    Ok(read::<Cursor>(jobs, &cursor_key(job)).await?.unwrap_or_default().count)
}

/// The value of a key, if it has one.
pub(super) async fn read<T: serde::de::DeserializeOwned>(
    bucket: &kv::Store,
    key: &str,
) -> Result<Option<T>, QueueError> {
    let found = patiently("reading a key", || async { Ok(bucket.get(key).await?) }).await?;
    let parse = |bytes: Bytes| {
        serde_json::from_slice(&bytes).map_err(|error| QueueError::request("reading a key", error))
    };
    found.map(parse).transpose()
}

/// Gives a key a value.
pub(super) async fn put<T: serde::Serialize + Sync>(
    bucket: &kv::Store,
    key: &str,
    value: &T,
) -> Result<(), QueueError> {
    let bytes = serde_json::to_vec(value)
        .map(Bytes::from)
        .map_err(|error| QueueError::request("writing a key", error))?;
    patiently("writing a key", || async {
        bucket.put(key, bytes.clone()).await?;
        Ok(())
    })
    .await
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
