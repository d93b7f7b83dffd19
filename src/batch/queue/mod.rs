//! Batches over NATS JetStream: the queue, what is known of jobs, and which workers there are.
//!
//! Owns: streams, subjects and keys, and all words with NATS. Must never let a body travel in the queue,
//! or credentials, and never take a file off the queue whose fate is not on record.
//!
//! How counts stay exact, whatever is delivered twice and whoever is killed: a file is one message on
//! the work stream until its fate is settled. A failure is one message on the job's stream of
//! failures, under a subject of the file's own, of which the stream keeps the last. Its record comes
//! first and the acknowledgement second. So of the files that were submitted, those that are on neither
//! stream have their results; nothing is ever counted up.

mod connect;
mod fleet;
mod status;
mod submit;
mod task;
mod work;

use std::future::Future;
use std::time::Duration;

use async_nats::jetstream::{self, kv, stream};

pub use connect::{NatsConfig, Queue};
pub use fleet::{Announcement, announce, follow};
pub use status::{Failure, Status, cancel, forget, results, retry, status};
pub use submit::{JobRecord, JobState, Submission, Submitted, submit};
pub use work::{WorkConfig, work};

const WORK_STREAM: &str = "FXSRV_WORK";
const JOBS_BUCKET: &str = "fxsrv_jobs";
const WORKERS_BUCKET: &str = "fxsrv_workers";

/// Messages of one id within this are one: a submission that is tried again adds nothing.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(600);

/// The same for buckets of keys, where it is no longer than what they keep.
const BUCKET_WINDOW: Duration = Duration::from_secs(120);

/// A request to a cluster that just lost a server is tried again for about half a minute.
const TRIES_MAX: u32 = 8;
const PAUSE_FIRST: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(8);

/// Why something is not done with the queue.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// The server cannot be reached, or does not let us in.
    #[error("cannot reach NATS at {url}: {reason}")]
    Connect {
        /// Where it is, without its password.
        url: String,
        /// Why not.
        reason: String,
    },
    /// Credentials or certificates are wrong.
    #[error("{0}")]
    Settings(String),
    /// A request failed.
    #[error("NATS: {what}: {reason}")]
    Request {
        /// What was asked.
        what: &'static str,
        /// Why it is not done.
        reason: String,
    },
    /// No such job.
    #[error("there is no job {0}")]
    NoJob(String),
    /// A name that no subject can have.
    #[error("'{0}' is no name of a job: it has 1 to 64 letters, digits, - and _")]
    JobName(String),
    /// The name is that of another job.
    #[error("there is another job {0}, with other files or options")]
    Another(String),
    /// Something here failed.
    #[error("{0}")]
    Local(#[from] std::io::Error),
}

impl QueueError {
    fn request(what: &'static str, reason: impl std::fmt::Display) -> Self {
        Self::Request { what, reason: reason.to_string() }
    }
}

/// Runs `work` on an event loop of its own.
///
/// # Errors
///
/// The event loop cannot be set up, or the work fails.
pub fn block_on<T>(work: impl Future<Output = Result<T, QueueError>>) -> Result<T, QueueError> {
    let threads = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("nats")
        .enable_all()
        .build()?;
    let done = threads.block_on(work);
    // Its last words are on their way; nobody waits for a server that is gone.
    threads.shutdown_timeout(Duration::from_secs(1));
    done
}

/// The same until it goes well, or has failed too often.
async fn patiently<T, F, Fut>(what: &'static str, mut ask: F) -> Result<T, QueueError>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, async_nats::Error>>,
{
    let mut pause = PAUSE_FIRST;
    for _ in 1..TRIES_MAX {
        match ask().await {
            Ok(done) => return Ok(done),
            Err(error) => tracing::debug!(what, %error, "tried again"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
    ask().await.map_err(|error| QueueError::request(what, error))
}

impl Queue {
    /// The work of all jobs.
    async fn work_stream(&self) -> Result<stream::Stream, QueueError> {
        let config = stream::Config {
            name: WORK_STREAM.to_owned(),
            subjects: vec!["fxsrv.work.*".to_owned()],
            retention: stream::RetentionPolicy::WorkQueue,
            storage: stream::StorageType::File,
            num_replicas: self.replicas,
            duplicate_window: DUPLICATE_WINDOW,
            description: Some("files to convert, one a message".to_owned()),
            ..stream::Config::default()
        };
        self.stream("the work stream", config).await
    }

    /// The failures of a job: one message a file at most.
    async fn failed_stream(&self, job: &str) -> Result<stream::Stream, QueueError> {
        let config = stream::Config {
            name: failed_stream_name(job),
            subjects: vec![format!("fxsrv.failed.{job}.*")],
            storage: stream::StorageType::File,
            num_replicas: self.replicas,
            max_messages_per_subject: 1,
            description: Some("files without a result, with the reason".to_owned()),
            ..stream::Config::default()
        };
        self.stream("the stream of failures", config).await
    }

    async fn stream(
        &self,
        what: &'static str,
        config: stream::Config,
    ) -> Result<stream::Stream, QueueError> {
        patiently(what, || async { Ok(self.jetstream.get_or_create_stream(config.clone()).await?) })
            .await
    }

    /// What is known of jobs.
    async fn jobs(&self) -> Result<kv::Store, QueueError> {
        self.bucket(JOBS_BUCKET, Duration::ZERO).await
    }

    /// Which workers there are; one that says nothing for `age` is none.
    async fn workers(&self, age: Duration) -> Result<kv::Store, QueueError> {
        self.bucket(WORKERS_BUCKET, age).await
    }

    async fn bucket(&self, name: &'static str, age: Duration) -> Result<kv::Store, QueueError> {
        patiently("a bucket of keys", || async {
            if let Ok(there) = self.jetstream.get_key_value(name).await {
                return Ok(there);
            }
            // The library's own way asks for the account first, and does not understand the answer of
            // servers before 2.10. A bucket is a stream of this form (ADR-8 of NATS).
            self.jetstream.create_stream(self.bucket_config(name, age)).await?;
            Ok(self.jetstream.get_key_value(name).await?)
        })
        .await
    }

    fn bucket_config(&self, name: &str, age: Duration) -> stream::Config {
        let window = if age.is_zero() { BUCKET_WINDOW } else { age.min(BUCKET_WINDOW) };
        stream::Config {
            name: format!("KV_{name}"),
            subjects: vec![format!("$KV.{name}.>")],
            storage: stream::StorageType::File,
            num_replicas: self.replicas,
            max_messages_per_subject: 1,
            max_age: age,
            duplicate_window: window,
            discard: stream::DiscardPolicy::New,
            allow_rollup: true,
            deny_delete: true,
            allow_direct: true,
            ..stream::Config::default()
        }
    }

    /// Sends a message until the stream has it.
    async fn publish(
        &self,
        subject: String,
        message: jetstream::message::PublishMessage,
    ) -> Result<(), QueueError> {
        patiently("publishing", || async {
            let sent = self.jetstream.send_publish(subject.clone(), message.clone()).await?;
            sent.await?;
            Ok(())
        })
        .await
    }
}

fn failed_stream_name(job: &str) -> String {
    format!("FXSRV_FAILED_{job}")
}

fn work_subject(job: &str) -> String {
    format!("fxsrv.work.{job}")
}

fn failed_subject(job: &str, file: &str) -> String {
    format!("fxsrv.failed.{job}.{file}")
}
