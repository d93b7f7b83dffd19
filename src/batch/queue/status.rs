//! How jobs are, and what can still be done about them.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::consumer::{self, AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{self, RawMessageErrorKind};
use bytes::Bytes;
use futures_util::StreamExt as _;

use super::submit::{
    JobRecord, JobState, cursor_key, now, put, read, record_key, submitted_so_far,
};
use super::task::{Task, check_job};
use super::{Queue, QueueError, WORK_STREAM, failed_stream_name, patiently, work_subject};

/// Failures that are counted by their codes whenever somebody asks: reading so many takes a fraction of
/// a second.
const CODES_MAX: u64 = 20_000;

/// Messages that are asked for at once.
const PAGE: usize = 1_000;

/// For a page of messages that are all there.
const PAGE_TIMEOUT: Duration = Duration::from_secs(5);

/// The header that has a failure's code.
pub(super) const CODE_HEADER: &str = "Fxsrv-Code";

/// How a job is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// What is known of it.
    pub record: JobRecord,
    /// Files that are on the queue, or were.
    pub total: u64,
    /// Files that have their results.
    pub done: u64,
    /// Files that are still on the queue, those that are being converted included.
    pub pending: u64,
    /// Files that failed for good.
    pub failed: u64,
    /// The same by code, unless there are too many to count at once.
    pub codes: Option<BTreeMap<String, u64>>,
    /// Seconds since the job began.
    pub age_s: u64,
}

impl Status {
    /// Whether nothing more will happen.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.record.state != JobState::Submitting && self.pending == 0
    }
}

/// A file without a result.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Failure {
    /// Where it is.
    pub file: String,
    /// The stable code.
    pub code: String,
    /// One line.
    pub message: String,
    /// The next step, where there is one.
    pub hint: Option<String>,
    /// How often it was tried.
    pub tries: i64,
    /// The task, to be tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) task: Option<Task>,
}

/// Counts a job's files by what became of them: from the state of two streams, whatever their length.
///
/// # Errors
///
/// There is no such job, or NATS fails.
pub async fn status(queue: &Queue, job: &str, with_codes: bool) -> Result<Status, QueueError> {
    let jobs = queue.jobs().await?;
    let record = record(&jobs, job).await?;
    let total = match record.state {
        JobState::Submitting => submitted_so_far(&jobs, job).await?,
        JobState::Submitted | JobState::Cancelled => record.total,
    };
    let failures = failures_stream(queue, job).await?;
    let failed = failures.cached_info().state.messages;
    let pending = pending(queue, job).await?;
    let codes = match with_codes && failed <= CODES_MAX {
        true if failed == 0 => Some(BTreeMap::new()),
        true => Some(count_codes(&failures).await?),
        false => None,
    };
    let settled = pending + failed + record.cancelled;
    Ok(Status {
        total,
        // A submission's notes are behind what it has sent.
        done: total.saturating_sub(settled),
        pending,
        failed,
        codes,
        age_s: now().saturating_sub(record.created),
        record,
    })
}

/// Every failure of a job behind a place, in the order in which they came; `take` returns whether to go
/// on. Returns the place of the last one.
///
/// # Errors
///
/// There is no such job, or NATS fails.
pub async fn results(
    queue: &Queue,
    job: &str,
    behind: u64,
    take: &mut dyn FnMut(Failure) -> bool,
) -> Result<u64, QueueError> {
    record(&queue.jobs().await?, job).await?;
    let failures = failures_stream(queue, job).await?;
    let last = failures.cached_info().state.last_sequence;
    each(&failures, behind + 1, false, &mut |found| match serde_json::from_slice::<Failure>(
        found.payload,
    ) {
        Ok(failure) => take(Failure { task: None, ..failure }),
        Err(error) => {
            tracing::warn!(%error, "a message on the stream of failures is none");
            true
        }
    })
    .await?;
    Ok(last)
}

/// Takes what is left of a job off the queue. What is being converted comes to its end.
///
/// # Errors
///
/// There is no such job, or NATS fails.
pub async fn cancel(queue: &Queue, job: &str) -> Result<u64, QueueError> {
    let jobs = queue.jobs().await?;
    let mut record = record(&jobs, job).await?;
    if record.state == JobState::Submitting {
        record.total = submitted_so_far(&jobs, job).await?;
    }
    let work = queue.work_stream().await?;
    let subject = work_subject(job);
    let purged = patiently("taking messages off the queue", || async {
        Ok(work.purge().filter(subject.clone()).await?.purged)
    })
    .await?;
    record.state = JobState::Cancelled;
    record.cancelled += purged;
    // Those that the submission's last note did not know.
    record.total = record.total.max(record.cancelled);
    put(&jobs, &record_key(job), &record).await?;
    Ok(purged)
}

/// Forgets a job: its record, and its failures.
///
/// # Errors
///
/// There is no such job, or NATS fails.
pub async fn forget(queue: &Queue, job: &str) -> Result<(), QueueError> {
    cancel(queue, job).await?;
    let jobs = queue.jobs().await?;
    let name = failed_stream_name(job);
    patiently("removing a stream", || async { Ok(queue.jetstream.delete_stream(&name).await?) })
        .await?;
    for key in [cursor_key(job), record_key(job)] {
        patiently("removing a key", || async { Ok(jobs.purge(&key).await?) }).await?;
    }
    Ok(())
}

/// Puts every failed file on the queue again, and says how many these are. The record of the failure
/// goes second: a file is on one of the streams always.
///
/// # Errors
///
/// There is no such job, or NATS fails.
pub async fn retry(queue: &Queue, job: &str) -> Result<u64, QueueError> {
    let jobs = queue.jobs().await?;
    let mut record = record(&jobs, job).await?;
    record.round += 1;
    put(&jobs, &record_key(job), &record).await?;
    let failures = failures_stream(queue, job).await?;
    // Those that fail again while others are still put on the queue are for another time.
    let (last, mut next, mut count) = (failures.cached_info().state.last_sequence, 1, 0);
    loop {
        let mut page = Vec::new();
        each(&failures, next, false, &mut |found| {
            if found.sequence > last {
                return false;
            }
            next = found.sequence + 1;
            let parsed = serde_json::from_slice::<Failure>(found.payload);
            if let Some(task) = parsed.ok().and_then(|failure| failure.task) {
                page.push((found.sequence, task));
            }
            page.len() < PAGE
        })
        .await?;
        if page.is_empty() {
            return Ok(count);
        }
        for (sequence, task) in page {
            let task = Task { round: record.round, ..task };
            let message = PublishMessage::build()
                .message_id(task.message_id())
                .payload(Bytes::from(task.encode()));
            queue.publish(work_subject(job), message).await?;
            remove(&failures, sequence).await?;
            count += 1;
        }
    }
}

/// Removes a record, this very one: a worker that is quick may have put another in its place by now.
async fn remove(failures: &stream::Stream, sequence: u64) -> Result<(), QueueError> {
    patiently("removing a failure", || async {
        // A record that is not there any more cannot be removed, and need not be.
        if let Err(error) = failures.delete_message(sequence).await
            && failures.get_raw_message(sequence).await.is_ok()
        {
            return Err(error.into());
        }
        Ok(())
    })
    .await
}

async fn record(
    jobs: &async_nats::jetstream::kv::Store,
    job: &str,
) -> Result<JobRecord, QueueError> {
    check_job(job)?;
    let found = read(jobs, &record_key(job)).await?;
    found.ok_or_else(|| QueueError::NoJob(job.to_owned()))
}

/// Messages of a job on the work stream.
async fn pending(queue: &Queue, job: &str) -> Result<u64, QueueError> {
    let subject = work_subject(job);
    patiently("the state of the queue", || async {
        let stream = queue.jetstream.get_stream_no_info(WORK_STREAM).await?;
        let mut info = stream.info_builder().subjects(subject.clone()).fetch().await?;
        let mut count = 0;
        while let Some(found) = info.next().await {
            count += found?.1 as u64;
        }
        Ok(count)
    })
    .await
}

async fn failures_stream(queue: &Queue, job: &str) -> Result<stream::Stream, QueueError> {
    let name = failed_stream_name(job);
    patiently("the stream of failures", || async { Ok(queue.jetstream.get_stream(&name).await?) })
        .await
}

async fn count_codes(failures: &stream::Stream) -> Result<BTreeMap<String, u64>, QueueError> {
    let mut codes = BTreeMap::new();
    each(failures, 1, true, &mut |found| {
        let code = found.headers.and_then(|headers| headers.get(CODE_HEADER));
        let code = code.map_or("UNKNOWN", async_nats::HeaderValue::as_str).to_owned();
        *codes.entry(code).or_default() += 1;
        true
    })
    .await?;
    Ok(codes)
}

/// A message of a stream.
struct Found<'a> {
    sequence: u64,
    headers: Option<&'a HeaderMap>,
    payload: &'a Bytes,
}

/// Takes a message; returns whether to go on.
type Take<'a> = dyn FnMut(Found<'_>) -> bool + 'a;

/// All messages of a stream from a place on, until `take` has enough.
async fn each(
    stream: &stream::Stream,
    start: u64,
    headers_only: bool,
    take: &mut Take<'_>,
) -> Result<(), QueueError> {
    let config = pull::Config {
        deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: start.max(1) },
        ack_policy: AckPolicy::None,
        headers_only,
        inactive_threshold: Duration::from_secs(30),
        // What is read from is on disk; the reader's place need not be.
        memory_storage: true,
        num_replicas: 1,
        ..pull::Config::default()
    };
    let reader: consumer::Consumer<pull::Config> = patiently("reading a stream", || async {
        Ok(stream.create_consumer(config.clone()).await?)
    })
    .await?;
    let mut left = reader.cached_info().num_pending;
    let failed = |error: &dyn std::fmt::Display| QueueError::request("reading a stream", error);
    // It reads the copy of whichever server has it, and one that came back after a kill may lack what
    // the leader has.
    let known =
        patiently("reading a stream", || async { Ok(stream.get_info().await?.state) }).await?;
    if left < known.messages.min((known.last_sequence + 1).saturating_sub(start)) {
        let _ = stream.delete_consumer(&reader.cached_info().name).await;
        return each_of_leader(stream, start, take).await;
    }
    'pages: while left > 0 {
        let batch = reader.fetch().max_messages(PAGE).expires(PAGE_TIMEOUT).messages().await;
        let mut messages = batch.map_err(|error| failed(&error))?;
        let before = left;
        while let Some(message) = messages.next().await {
            let message = message.map_err(|error| failed(&error))?;
            left = left.saturating_sub(1);
            let sequence = message.info().map_or(0, |info| info.stream_sequence);
            let headers = message.headers.as_ref();
            if !take(Found { sequence, headers, payload: &message.payload }) {
                break 'pages;
            }
        }
        if left == before {
            // They were purged meanwhile.
            break;
        }
    }
    // It would end by itself, a while later.
    let _ = stream.delete_consumer(&reader.cached_info().name).await;
    Ok(())
}

/// The same, from the leader's copy, which has all that was acknowledged: message by message, at a
/// fraction of the pace.
async fn each_of_leader(
    stream: &stream::Stream,
    start: u64,
    take: &mut Take<'_>,
) -> Result<(), QueueError> {
    let mut place = start.max(1);
    loop {
        let found = patiently("reading a stream", || async {
            match stream.get_first_raw_message_by_subject(">", place).await {
                Ok(message) => Ok(Some(message)),
                Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
                Err(error) => Err(error.into()),
            }
        });
        let Some(message) = found.await? else { return Ok(()) };
        let (sequence, headers) = (message.sequence, Some(&message.headers));
        if !take(Found { sequence, headers, payload: &message.payload }) {
            return Ok(());
        }
        place = sequence + 1;
    }
}
