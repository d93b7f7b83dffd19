//! One request through the tunnel: its body to the worker, the answer to the client, side by side.
//!
//! The worker may answer before it has all of the body, and either side may leave at any moment.
//! What is in flight on a ring cannot be taken back, so that nothing here is raced or dropped: the
//! upload is told to drop what it reads, or its socket is shut down, and it is awaited to its end.

use std::cell::Cell;
use std::net::Shutdown;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::time::error::Elapsed;
use zeroize::Zeroizing;

use super::fleet::Reached;
use super::reply::{self, ClientReply, NoReply};
use crate::exchange::{End, Head, Next};
use crate::io::{Buffer, BufferPool};
use crate::limits::ServerLimits;
use crate::transport::{
    RECORD_PLAIN_MAX, ReadHalf, Relay, RelayError, StreamError, TlsStream, WriteHalf,
};
use crate::wire::{Code, Failure, Version};

/// A request on its way. It holds two buffers while the body goes up, none while the worker works,
/// and two while the answer comes down.
pub(super) struct Tunnel<'a> {
    pub(super) pool: &'a BufferPool,
    pub(super) head: &'a Head,
    /// Hears how the worker did.
    pub(super) reached: &'a Reached,
    pub(super) worker_wire: Version,
    pub(super) limits: &'a ServerLimits,
    pub(super) repeat: Repeat<'a>,
}

/// Whether a request may be sent once more, and whether it has been sent before.
#[derive(Clone, Copy, Default)]
pub(super) struct Repeat<'a> {
    /// The body, where the client has sent all of it for an earlier attempt.
    pub(super) body: Option<&'a [u8]>,
    /// There is another worker, for where this one has no room.
    pub(super) is_allowed: bool,
    /// The connection was used before: if it dies without an answer, that says nothing of the worker.
    pub(super) is_reused: bool,
}

/// What an attempt came to.
pub(super) enum Attempt {
    /// The client has its answer.
    Done(Outcome),
    /// Nothing has gone to the client, and its body, which is here in full, can be sent again.
    Again(Again),
}

/// Why a request is to be sent again.
pub(super) struct Again {
    /// The body, if this attempt was the first.
    pub(super) body: Option<Zeroizing<Vec<u8>>>,
    /// Its worker has no room, and says for how many milliseconds; otherwise a kept connection was
    /// dead.
    pub(super) refusal: Option<u32>,
}

/// Longest body that is remembered until its answer begins, so that it can be sent again: what one
/// record holds.
const KEPT_BODY_BYTES_MAX: u64 = RECORD_PLAIN_MAX as u64;

/// What became of a request, for the access line.
pub(super) struct Outcome {
    pub(super) next: Next,
    pub(super) end: End,
    pub(super) bytes_out: u64,
    pub(super) convert_us: u32,
    /// The connection to the worker takes another request.
    pub(super) is_reusable: bool,
}

/// What the two directions tell each other.
struct Shared {
    upload: Relay,
    /// The client is gone or stalls: its request is over.
    client_failure: Cell<Option<ClientFailure>>,
    /// The worker has taken no bytes for too long.
    worker_stalled: Cell<bool>,
    /// The worker's answer is there, or will not come: whether the client leaves shows in what is sent.
    answered: Notify,
}

enum Answered {
    Done(Outcome),
    NotYet { refusal: Option<u32> },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ClientFailure {
    Gone,
    Stalled,
}

impl Tunnel<'_> {
    /// Runs the request to its end.
    ///
    /// # Errors
    ///
    /// The client's connection failed; the worker's failures are answered.
    pub(super) async fn run(
        &self,
        client: &mut TlsStream,
        worker: &mut TlsStream,
    ) -> Result<Attempt, StreamError> {
        let stall = Some(self.limits.stall_timeout);
        client.socket().set_stall_limits(stall, stall);
        let body_bytes = self.head.header.body_bytes();
        let body_ends = Instant::now() + self.limits.body_time(body_bytes);
        client.socket().set_read_deadline(Some(body_ends));
        worker.socket().set_stall_limits(None, stall);
        worker.socket().set_deadline(Some(self.head.deadline));
        let head = self.head.header.with_version(self.worker_wire);
        // A worker that is gone already shows in the answer that does not come.
        let _ = worker.queue(&head.to_bytes()).await;
        let _ = worker.queue(&self.head.options_block).await;
        let upload = match self.repeat.body {
            Some(body) => {
                let _ = worker.queue(body).await;
                Relay::new(0)
            }
            None if body_bytes <= KEPT_BODY_BYTES_MAX => Relay::keeping(body_bytes),
            None => Relay::new(body_bytes),
        };
        let shared = Shared {
            upload,
            client_failure: Cell::new(None),
            worker_stalled: Cell::new(false),
            answered: Notify::new(),
        };
        let (mut client_read, mut client_write) = client.split();
        let (mut worker_read, mut worker_write) = worker.split();
        // The upload is looked at first, so that it has given its buffers back when the answer is.
        let (uploaded, answered) = tokio::join!(
            biased;
            shared.upload(&mut client_read, &mut worker_write),
            self.answer(&shared, &mut worker_read, &mut client_write),
        );
        client.socket().set_stall_limits(None, stall);
        client.socket().set_read_deadline(None);
        let outcome = match (uploaded, answered) {
            // The client's own failure says more than what followed from it.
            (Err(error), Err(_) | Ok(Answered::NotYet { .. })) => return Err(error),
            (Err(_), Ok(Answered::Done(outcome))) => {
                Outcome { next: Next::Finish, is_reusable: false, ..outcome }
            }
            (Ok(()), answered) => match answered? {
                Answered::Done(outcome) => outcome,
                Answered::NotYet { refusal } => {
                    let body = shared.upload.into_kept();
                    return Ok(Attempt::Again(Again { body, refusal }));
                }
            },
        };
        if !outcome.is_reusable {
            // A courtesy, which a worker that is gone does not need.
            let _ = worker.close_write().await;
        }
        Ok(Attempt::Done(outcome))
    }

    /// Waits for the answer and relays it, or answers for a worker that fails to.
    async fn answer(
        &self,
        shared: &Shared,
        worker: &mut ReadHalf<'_>,
        client: &mut WriteHalf<'_>,
    ) -> Result<Answered, StreamError> {
        let reply = reply::read(worker, self.worker_wire, self.head.version).await;
        shared.answered.notify_one();
        if reply.is_err() && shared.client_failure.get() == Some(ClientFailure::Gone) {
            return Err(StreamError::Closed { missing: shared.upload.left() });
        }
        if let Some(not_yet) = self.not_yet(shared, &reply) {
            return Ok(not_yet);
        }
        let early = shared.upload.left() > 0;
        let answer_bytes = reply.as_ref().map_or(0, |reply| reply.relay_bytes);
        if early {
            shared.upload.discard();
            // A write to the worker that is in flight ends by this; the answer still comes in.
            worker.shutdown(Shutdown::Write);
            // The upload holds its buffers until the client is heard out, which has its own limit.
            client.set_deadline(Instant::now() + self.limits.linger_timeout);
        } else if let Ok(buffers) = self.acquire(answer_bytes).await {
            // The upload has given its own back, so that nothing is held while this waits.
            let [recv, send] = buffers;
            worker.attach(recv);
            client.attach(send);
        }
        let sent = match reply {
            Ok(reply) => {
                self.hear(&reply);
                self.relay(reply, worker, client).await
            }
            Err(error) => self.answer_for_worker(shared, error, client).await,
        };
        let next = match (&sent, self.head.version) {
            (Err(_), _) => {
                // The upload reads from a client that takes no answer: it ends too.
                client.shutdown(Shutdown::Both);
                Next::Finish
            }
            (Ok(_), Version::V1_1) if shared.upload.left() <= self.limits.discard_bytes_max => {
                Next::Keep
            }
            (Ok(_), _) => {
                client.close().await?;
                Next::Finish
            }
        };
        sent.map(|outcome| {
            let is_reusable = outcome.is_reusable && !early && self.worker_wire == Version::V1_1;
            Answered::Done(Outcome { next, is_reusable, ..outcome })
        })
    }

    /// Whether the request is better sent again than answered by this: the worker has no room, or a
    /// kept connection was dead, and the whole body is here.
    fn not_yet(&self, shared: &Shared, reply: &Result<ClientReply, NoReply>) -> Option<Answered> {
        let has_body = self.repeat.body.is_some() || shared.upload.has_kept();
        if !has_body || shared.client_failure.get().is_some() {
            return None;
        }
        match reply {
            Ok(reply)
                if self.repeat.is_allowed
                    && matches!(reply.end, End::Failed(Code::Busy | Code::ShuttingDown)) =>
            {
                self.hear(reply);
                Some(Answered::NotYet { refusal: Some(reply.retry_after_ms) })
            }
            Err(NoReply::Stream(error)) if self.repeat.is_reused && error.is_peer_gone() => {
                tracing::debug!(%error, "a kept connection was dead");
                Some(Answered::NotYet { refusal: None })
            }
            _ => None,
        }
    }

    /// Two buffers, or none in time: then the answer goes through the small windows that are there.
    async fn acquire(&self, bytes: u64) -> Result<[Buffer; 2], Elapsed> {
        tokio::time::timeout(self.limits.queue_timeout, self.pool.acquire_for::<2>(bytes)).await
    }

    async fn relay(
        &self,
        reply: ClientReply,
        worker: &mut ReadHalf<'_>,
        client: &mut WriteHalf<'_>,
    ) -> Result<Outcome, StreamError> {
        worker.set_stall_limit(self.limits.stall_timeout);
        client.queue(&reply.head).await?;
        let download = Relay::new(reply.relay_bytes);
        match download.run(worker, client).await {
            Ok(()) => {}
            Err(RelayError::To(error)) => return Err(error),
            // The head is with the client already: an end without close_notify tells it that the
            // answer is cut.
            Err(RelayError::From(error)) => {
                tracing::warn!(%error, missing = download.left(), "a worker died in its answer");
                self.reached.broke_off(&error);
                return Err(error);
            }
        }
        Ok(Outcome {
            next: Next::Keep,
            end: reply.end,
            bytes_out: reply.relay_bytes,
            convert_us: reply.convert_us,
            is_reusable: true,
        })
    }

    /// Tells the fleet what an answer says of the worker itself.
    fn hear(&self, reply: &ClientReply) {
        match reply.end {
            End::Failed(Code::Busy) => {
                let retry_after = Duration::from_millis(reply.retry_after_ms.into());
                self.reached.refused_as_busy(retry_after);
            }
            End::Failed(Code::ShuttingDown) => self.reached.refused_as_leaving(),
            _ => self.reached.answered(),
        }
    }

    async fn answer_for_worker(
        &self,
        shared: &Shared,
        error: NoReply,
        client: &mut WriteHalf<'_>,
    ) -> Result<Outcome, StreamError> {
        let failure = match (shared.client_failure.get(), error) {
            (Some(_), _) => Failure::new(
                Code::Timeout,
                format!("the body stalled with {} bytes still to come", shared.upload.left()),
            )
            .with_hint("check the connection and send again"),
            (None, NoReply::Stream(StreamError::TimedOut)) if shared.worker_stalled.get() => {
                tracing::warn!("a worker takes no bytes");
                let limit = self.limits.stall_timeout.as_secs();
                let stalled = format!("the worker took no bytes for {limit} s");
                self.reached.broke_off(&stalled);
                worker_failed(&stalled)
            }
            (None, NoReply::Stream(StreamError::TimedOut)) => Failure::new(
                Code::DeadlineExceeded,
                format!("no answer within {} s", self.limits.request_timeout.as_secs()),
            )
            .with_hint("send a smaller file, or raise the request timeout"),
            (None, NoReply::Stream(error)) => {
                tracing::warn!(%error, "a worker died before its answer");
                self.reached.broke_off(&error);
                worker_failed("the worker ended before its answer")
            }
            (None, NoReply::Garbled(reason)) => {
                tracing::error!(reason, "a worker's answer cannot be read");
                self.reached.broke_off(&reason);
                worker_failed("the worker's answer cannot be read")
            }
        };
        let bytes = match self.head.version {
            Version::V1_0 => failure.reply_v1_0(),
            Version::V1_1 => failure.reply_v1_1(self.head.options.checksum),
        };
        client.write_all(&bytes).await?;
        let end = End::Failed(failure.code);
        let bytes_out = bytes.len() as u64;
        Ok(Outcome { next: Next::Keep, end, bytes_out, convert_us: 0, is_reusable: false })
    }
}

impl Shared {
    /// Relays the body. A worker that takes no more of it does not end this: the client is heard
    /// out, so that it hears its answer.
    async fn upload(
        &self,
        client: &mut ReadHalf<'_>,
        worker: &mut WriteHalf<'_>,
    ) -> Result<(), StreamError> {
        loop {
            match self.upload.run(client, worker).await {
                Ok(()) => {
                    client.detach();
                    client.clear_read_deadline();
                    worker.detach();
                    return self.watch(client, worker).await;
                }
                Err(RelayError::To(error)) => {
                    self.worker_stalled.set(matches!(error, StreamError::TimedOut));
                    self.upload.discard();
                }
                Err(RelayError::From(error)) => {
                    let stalled = matches!(error, StreamError::TimedOut);
                    let failure =
                        if stalled { ClientFailure::Stalled } else { ClientFailure::Gone };
                    self.client_failure.set(Some(failure));
                    // Without close_notify: the worker must not take the part for the whole. Its
                    // answer may be on the way already, and is still read.
                    worker.shutdown(Shutdown::Write);
                    return Err(error);
                }
            }
        }
    }

    /// The body is through. A client that leaves before its answer takes its request along: the worker
    /// sees its connection end, and the conversion with it.
    async fn watch(
        &self,
        client: &mut ReadHalf<'_>,
        worker: &WriteHalf<'_>,
    ) -> Result<(), StreamError> {
        let left = tokio::select! {
            biased;
            () = self.answered.notified() => return Ok(()),
            left = client.departed() => left,
        };
        self.client_failure.set(Some(ClientFailure::Gone));
        worker.shutdown(Shutdown::Both);
        Err(left)
    }
}

fn worker_failed(message: &str) -> Failure {
    Failure::new(Code::WorkerFailed, message).with_hint("send the file again")
}
