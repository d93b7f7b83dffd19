//! A worker's part: files are taken off the queue as there is room for them, converted, written, and
//! only then acknowledged.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::{Consumer, pull};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::{AckKind, Message};
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::super::{Reach, Trouble};
use super::status::{CODE_HEADER, Failure};
use super::task::{Task, file_number};
use super::{NatsConfig, Queue, QueueError, failed_stream_name, failed_subject, patiently};
use crate::server::{Phase, Stop};
use crate::wire::Code;
use crate::worker::Converter;

const CONSUMER: &str = "workers";

/// A file whose worker says nothing for so long goes to another.
const ACK_WAIT: Duration = Duration::from_secs(30);

/// A worker says three times in that period that it is at work.
const PROGRESS_PERIOD: Duration = Duration::from_secs(10);

/// Files that all workers together may have at a time.
const UNSETTLED_MAX: i64 = 50_000;

/// Places that are waited for together are this part of all, so that not each file costs a request to
/// the queue; the rest keeps the slots busy meanwhile.
const PLACES_PART: usize = 4;

/// Whoever has as much as requests leave room for looks so often whether that has changed.
const LOOK_PERIOD: Duration = Duration::from_millis(20);

/// How long an empty queue is waited at in one go.
const PULL_PERIOD: Duration = Duration::from_secs(2);

/// A file that comes back so often as this times its tries has ended its workers, or found them busy.
const DELIVERIES_PER_TRY: i64 = 4;

/// The longest pause before another try.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// What a worker does about the queue.
#[derive(Debug, Clone)]
pub struct WorkConfig {
    /// Files at a time, those that are read or written included.
    pub parallel: usize,
    /// How often a file is tried.
    pub tries: u32,
}

/// What happens to a message.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    /// The file has its result.
    Done,
    /// It comes back, no sooner than this.
    Again(Duration),
    /// It is given up.
    Dead(Trouble),
}

/// Takes files off the queue until `stop`, connecting and connecting again.
///
/// # Errors
///
/// Settings that no waiting mends.
pub async fn work(
    nats: &NatsConfig,
    config: WorkConfig,
    reach: Arc<Reach>,
    converter: Converter,
    mut stop: Stop,
) -> Result<(), QueueError> {
    let queue = tokio::select! {
        connected = connected(nats) => connected?,
        () = stop.reached(Phase::Leaving) => return Ok(()),
    };
    tracing::info!(parallel = config.parallel, tries = config.tries, "takes files off the queue");
    let hand = Arc::new(Hand { queue, config, reach, converter });
    let room = Arc::new(Semaphore::new(hand.config.parallel));
    let (mut running, mut consumer) = (JoinSet::new(), None);
    let mut is_troubled = false;
    while stop.phase() < Phase::Leaving {
        let pulled = tokio::select! {
            pulled = hand.pull(&room, &mut consumer) => pulled,
            () = stop.reached(Phase::Leaving) => break,
        };
        match pulled {
            Ok(messages) => {
                if std::mem::take(&mut is_troubled) {
                    tracing::info!("the queue is back");
                }
                for message in messages {
                    let Ok(place) = Arc::clone(&room).acquire_owned().await else { break };
                    let hand = Arc::clone(&hand);
                    running.spawn(async move {
                        hand.settle(message).await;
                        drop(place);
                    });
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut is_troubled, true) {
                    tracing::warn!(%error, "the queue gives nothing; tried again");
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
        while running.try_join_next().is_some() {}
    }
    // What is on its way comes to its end, or goes to another worker.
    while running.join_next().await.is_some() {}
    hand.queue.flush().await;
    Ok(())
}

/// A worker may start before its queue.
async fn connected(nats: &NatsConfig) -> Result<Queue, QueueError> {
    let mut is_troubled = false;
    loop {
        match Queue::connect(nats).await {
            Err(error @ QueueError::Connect { .. }) => {
                if !std::mem::replace(&mut is_troubled, true) {
                    tracing::warn!(%error, "tried again");
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            other => return other,
        }
    }
}

struct Hand {
    queue: Queue,
    config: WorkConfig,
    reach: Arc<Reach>,
    converter: Converter,
}

impl Hand {
    /// As many messages as there is room for now; some room is waited for.
    async fn pull(
        &self,
        room: &Semaphore,
        consumer: &mut Option<Consumer<pull::Config>>,
    ) -> Result<Vec<Message>, QueueError> {
        let places = self.places(room).await;
        let here = match consumer.take() {
            Some(here) => here,
            None => self.consumer().await?,
        };
        let failed = |error: &dyn std::fmt::Display| QueueError::request("the queue", error);
        let asked = here.fetch().max_messages(places).expires(PULL_PERIOD).messages().await;
        let mut messages = gather(asked.map_err(|error| failed(&error))?).await;
        if messages.is_empty() {
            let asked = here.batch().max_messages(1).expires(PULL_PERIOD).messages().await;
            messages = gather(asked.map_err(|error| failed(&error))?).await;
        }
        // One that gives nothing may be gone with its stream, and is looked up again.
        *consumer = Some(here).filter(|_| !messages.is_empty());
        Ok(messages)
    }

    /// How many files there is room for now, beside the requests of masters: what this worker cannot
    /// begin soon is left to others.
    async fn places(&self, room: &Semaphore) -> usize {
        let all = self.config.parallel;
        loop {
            let allowed = self.converter.places(all).await;
            let part = u32::try_from((allowed / PLACES_PART).max(1)).unwrap_or(1);
            // It is never closed.
            let waited = room.acquire_many(part).await;
            drop(waited);
            let on_their_way = all.saturating_sub(room.available_permits());
            if on_their_way < allowed {
                return allowed - on_their_way;
            }
            tokio::time::sleep(LOOK_PERIOD).await;
        }
    }

    async fn consumer(&self) -> Result<Consumer<pull::Config>, QueueError> {
        let stream = self.queue.work_stream().await?;
        let config = pull::Config {
            durable_name: Some(CONSUMER.to_owned()),
            ack_wait: ACK_WAIT,
            max_ack_pending: UNSETTLED_MAX,
            max_deliver: -1,
            ..pull::Config::default()
        };
        patiently("the workers' place in the queue", || async {
            Ok(stream.get_or_create_consumer(CONSUMER, config.clone()).await?)
        })
        .await
    }

    /// Does what a message asks for, and says so.
    async fn settle(&self, message: Message) {
        let delivered = message.info().map_or(1, |info| info.delivered);
        let task = Task::parse(&message.payload);
        let fate = match &task {
            Ok(task) => {
                let work = self.fate(task, delivered);
                keeping_it(&message, work).await
            }
            Err(trouble) => Fate::Dead(trouble.clone()),
        };
        let settled = match &fate {
            Fate::Done => self.clear(task.as_ref().ok(), delivered).await,
            Fate::Dead(trouble) => self.bury(&message, task.ok(), trouble, delivered).await,
            Fate::Again(pause) => {
                let kind = AckKind::Nak(Some(*pause));
                if let Err(error) = message.ack_with(kind).await {
                    tracing::debug!(%error, "a file comes back later than it should");
                }
                return;
            }
        };
        // A message that is not acknowledged comes back, and meets its own result.
        let acknowledged = match settled {
            Ok(()) => patiently("acknowledging", || message.double_ack()).await,
            Err(error) => Err(error),
        };
        if let Err(error) = acknowledged {
            tracing::warn!(%error, "a file will be looked at again");
        }
    }

    async fn fate(&self, task: &Task, delivered: i64) -> Fate {
        let tries = i64::from(self.config.tries);
        if delivered > tries * DELIVERIES_PER_TRY {
            let message = format!("it was given to workers {delivered} times, without an end");
            return Fate::Dead(Trouble::lasting(Code::WorkerFailed.name(), message));
        }
        let errand = match task.errand() {
            Ok(errand) => errand,
            Err(trouble) => return Fate::Dead(trouble),
        };
        let done = errand.once(&self.reach, &self.converter).await;
        match done.outcome {
            Ok(_) => Fate::Done,
            Err(trouble) if trouble.code == Code::Busy.name() => Fate::Again(pause(1)),
            Err(trouble) if trouble.is_passing && delivered < tries => {
                tracing::debug!(code = trouble.code, delivered, "tried again later");
                Fate::Again(pause(delivered))
            }
            Err(trouble) => Fate::Dead(trouble),
        }
    }

    /// Takes away what an earlier try has left on the stream of failures.
    async fn clear(&self, task: Option<&Task>, delivered: i64) -> Result<(), QueueError> {
        let Some(task) = task.filter(|task| delivered > 1 || task.round > 0) else { return Ok(()) };
        let (name, subject) =
            (failed_stream_name(&task.job), failed_subject(&task.job, &task.file));
        patiently("clearing a failure", || async {
            let stream = self.queue.jetstream.get_stream_no_info(&name).await?;
            stream.purge().filter(subject.clone()).await?;
            Ok(())
        })
        .await
    }

    /// Puts a file on the stream of failures, in place of what it may have there.
    async fn bury(
        &self,
        message: &Message,
        task: Option<Task>,
        trouble: &Trouble,
        delivered: i64,
    ) -> Result<(), QueueError> {
        let job = message.subject.rsplit('.').next().unwrap_or_default().to_owned();
        let file = task.as_ref().map_or_else(
            || file_number(&String::from_utf8_lossy(&message.payload)),
            |task| task.file.clone(),
        );
        let is_plain = file.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let file = if is_plain { file } else { file_number(&file) };
        let failure = Failure {
            file: task.as_ref().map_or_else(|| file.clone(), |task| task.from.clone()),
            code: trouble.code.to_owned(),
            message: trouble.message.clone(),
            hint: trouble.hint.clone(),
            tries: delivered,
            task,
        };
        let payload = serde_json::to_vec(&failure)
            .map_err(|error| QueueError::request("writing a failure", error))?;
        let dead =
            PublishMessage::build().header(CODE_HEADER, trouble.code).payload(Bytes::from(payload));
        self.queue.publish(failed_subject(&job, &file), dead).await
    }
}

/// Does `work`, and tells the queue meanwhile that somebody is at it.
async fn keeping_it<T>(message: &Message, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    let mut ticks = tokio::time::interval(PROGRESS_PERIOD);
    ticks.tick().await;
    loop {
        tokio::select! {
            done = &mut work => return done,
            _ = ticks.tick() => {
                if let Err(error) = message.ack_with(AckKind::Progress).await {
                    tracing::debug!(%error, "cannot tell of progress");
                }
            }
        }
    }
}

async fn gather(mut batch: pull::Batch) -> Vec<Message> {
    let mut messages = Vec::new();
    while let Some(next) = batch.next().await {
        match next {
            Ok(message) => messages.push(message),
            Err(error) => {
                tracing::debug!(%error, "a pull ended early");
                break;
            }
        }
    }
    messages
}

/// Twice as long before every try, a quarter more or less so that not all come at once.
fn pause(delivered: i64) -> Duration {
    let doublings = u32::try_from(delivered.clamp(1, 6)).unwrap_or(1);
    let pause = Duration::from_millis(500 << doublings).min(PAUSE_MAX);
    pause.mul_f64(fastrand::f64().mul_add(0.5, 0.75))
}
