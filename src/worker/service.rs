//! A worker's connections.

use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::Instrument as _;

use super::Live;
use super::admission::{Admission, Kept, Wish};
use super::body::{self, Body, Budget, ReceiveError};
use super::slots::{Converted, Done, Slots, Work};
use crate::admin;
use crate::auth::{Denied, Grant, Guard};
use crate::convert::Target;
use crate::exchange::{self, Access, AccessLog, End, Head, Next, Refusal, Times, spans};
use crate::io::{Buffer, Socket};
use crate::limits::ServerLimits;
use crate::metrics::{self, InFlight};
use crate::server::{Changing, Context, Service};
use crate::tls::ServerTls;
use crate::transport::{StreamError, TlsStream};
use crate::wire::{
    ChecksumKind, Failure, Operation, ReplyHeader, Version, encode_reply_v1_0_header,
};

/// What all threads of a worker share.
pub(super) struct Shared {
    pub(super) live: Changing<Live>,
    pub(super) limits: ServerLimits,
    pub(super) slots: Arc<Slots>,
    pub(super) budget: Budget,
    pub(super) admission: Admission,
    pub(super) guard: Guard,
    pub(super) access: AccessLog,
}

/// One thread of a worker.
pub(super) struct Worker {
    context: Context,
    shared: Arc<Shared>,
}

impl Worker {
    pub(super) fn new(context: Context, shared: Arc<Shared>) -> Self {
        Self { context, shared }
    }

    /// A request holds one pooled buffer while its body arrives, none while it is converted, and
    /// one while the answer leaves, so that no request waits for a buffer while it holds one.
    async fn receive_and_convert(
        &self,
        stream: &mut TlsStream,
        head: &Head,
        target: Target,
        times: &mut Times,
    ) -> Result<(Done, Option<Kept>), ReceiveError> {
        let started = Instant::now();
        let Shared { limits, admission, .. } = &*self.shared;
        let body_bytes = head.header.body_bytes();
        let line = admission.line(head.header.token());
        let wish = Wish { line, target, body_bytes, deadline: head.deadline };
        admission
            .look(&wish)
            .map_err(|failure| ReceiveError::Failed { failure, unread_bytes: Some(body_bytes) })?;
        let _in_flight = InFlight::begin(body_bytes);
        let buffer = self.acquire(head.header.body_bytes()).await.map_err(|failure| {
            ReceiveError::Failed { failure, unread_bytes: Some(head.header.body_bytes()) }
        })?;
        stream.attach_recv(buffer);
        stream.socket().set_stall_limits(Some(limits.stall_timeout), Some(limits.stall_timeout));
        let receiving = body::receive(stream, head, &self.shared.budget);
        let received = receiving.instrument(spans::receive()).await;
        stream.detach();
        stream.socket().set_stall_limits(None, Some(limits.stall_timeout));
        times.receive_us = Some(micros(started.elapsed()));
        let body = received?;
        metrics::count(|here| here.body_bytes_in.add(body.bytes.len() as u64));
        if let Err(failure) = head.options.checksum.verify(head.header.checksum(), body.checksum) {
            return Ok((Done { result: Err(failure), convert_us: 0 }, None));
        }
        self.convert(stream, head, wish, body, times).await.map_err(ReceiveError::Stream)
    }

    /// Nothing is read meanwhile, and a peer that leaves is noticed all the same.
    async fn convert(
        &self,
        stream: &mut TlsStream,
        head: &Head,
        wish: Wish,
        body: Body,
        times: &mut Times,
    ) -> Result<(Done, Option<Kept>), StreamError> {
        let Shared { limits, admission, .. } = &*self.shared;
        let (received, ends) = (Instant::now(), Instant::now() + limits.convert_timeout);
        let waiting = spans::Turn::await_it();
        let mut leaving = pin!(stream.departed());
        let turn = tokio::select! {
            biased;
            turn = admission.enter(wish, &body.bytes) => turn,
            left = &mut leaving => return Err(left),
        };
        let turn = match turn {
            Ok(turn) => turn,
            Err(failure) => return Ok((Done { result: Err(failure), convert_us: 0 }, None)),
        };
        let work = Work {
            body,
            target: wish.target,
            options: head.options.convert.clone(),
            checksum: match head.version {
                Version::V1_0 => ChecksumKind::None,
                Version::V1_1 => head.options.checksum,
            },
            waiting,
        };
        let done = self.shared.slots.convert(work, ends - Instant::now(), leaving).await?;
        times.queue_us = Some(micros(received.elapsed()).saturating_sub(done.convert_us.into()));
        let kept = turn.converted(&done);
        Ok((done, Some(kept)))
    }

    /// The line of the access log.
    fn log_line(
        &self,
        stream: &TlsStream,
        head: Option<&Head>,
        end: End,
        bytes_out: u64,
        started: Instant,
        times: Times,
    ) {
        let (peer, worker) = (stream.peer(), None);
        let access = Access { peer, head, end, bytes_out, started, times, worker };
        access.tell(&self.shared.access);
    }

    async fn reply(
        &self,
        stream: &mut TlsStream,
        head: &Head,
        done: &Done,
    ) -> Result<(), StreamError> {
        let result = match &done.result {
            Ok(result) => result,
            Err(failure) => {
                return send_failure(stream, head, failure, done.convert_us).await;
            }
        };
        let buffer = match self.acquire(result.bytes.len() as u64).await {
            Ok(buffer) => buffer,
            Err(failure) => return send_failure(stream, head, &failure, done.convert_us).await,
        };
        stream.attach_send(buffer);
        match head.version {
            Version::V1_0 => {
                stream.queue(&encode_reply_v1_0_header(result.bytes.len() as u64)).await?;
            }
            Version::V1_1 => {
                let header = ReplyHeader {
                    status: 0,
                    checksum: result.checksum,
                    body_bytes: result.bytes.len() as u64,
                    retry_after_ms: 0,
                    convert_us: done.convert_us,
                };
                stream.queue(&header.encode()).await?;
            }
        }
        stream.write_all(&result.bytes).await?;
        metrics::count(|here| here.body_bytes_out.add(result.bytes.len() as u64));
        stream.detach();
        Ok(())
    }

    async fn acquire(&self, bytes: u64) -> Result<Buffer, Failure> {
        let [buffer] = exchange::acquire(&self.context.pool, bytes, &self.shared.limits).await?;
        Ok(buffer)
    }

    /// The answer to a status request: `key=value` lines.
    fn status(&self, head: &Head) -> Done {
        let state = if self.context.is_leaving() { "draining" } else { "serving" };
        let lines = self.context.metrics.snapshot().lines();
        let version = env!("CARGO_PKG_VERSION");
        let health = admin::judge(&self.context.metrics, self.context.stop());
        let text = format!("role=worker\nversion={version}\nstate={state}\n{health}{lines}");
        let checksum = head.options.checksum.of(text.as_bytes());
        Done { result: Ok(Converted { bytes: text.into_bytes(), checksum }), convert_us: 0 }
    }
}

impl exchange::Server for Worker {
    const HEARS_FIRST: bool = true;

    fn limits(&self) -> &ServerLimits {
        &self.shared.limits
    }

    fn tls(&self) -> ServerTls {
        self.shared.live.now().tls.clone()
    }

    fn access(&self) -> &AccessLog {
        &self.shared.access
    }

    fn is_draining(&self) -> bool {
        self.context.is_draining()
    }

    fn check(&self, address: IpAddr, token: &[u8]) -> Result<Grant, Denied> {
        self.shared.guard.check(address, token, &self.shared.live.now().tokens)
    }

    async fn serve_request(
        &self,
        stream: &mut TlsStream,
        head: &Head,
    ) -> Result<Next, StreamError> {
        let (started, mut times) = (Instant::now(), Times::default());
        // The result's memory is counted until it has left.
        let (done, _kept) = match head.operation {
            Operation::Status => (self.status(head), None),
            Operation::Convert(target) => {
                match self.receive_and_convert(stream, head, target, &mut times).await {
                    Ok(done) => done,
                    Err(ReceiveError::Stream(error)) => {
                        log_unserved(stream, head, End::ClientGone, started);
                        self.log_line(stream, Some(head), End::ClientGone, 0, started, times);
                        return Err(error);
                    }
                    Err(ReceiveError::Failed { failure, unread_bytes }) => {
                        let (version, checksum) = (head.version, head.options.checksum);
                        let end = End::Failed(failure.code);
                        log_unserved(stream, head, end, started);
                        self.log_line(stream, Some(head), end, 0, started, times);
                        let refusal = Refusal { version, failure, checksum, unread_bytes };
                        return exchange::refuse(stream, &refusal, &self.shared.limits).await;
                    }
                }
            }
        };
        match head.operation {
            // Masters ask every second: that is counted, and fills no log.
            Operation::Status => End::Done.count(Some(head.operation)),
            Operation::Convert(_) => log_access(stream, head, &done, started),
        }
        let converted = Instant::now();
        let replied = self.reply(stream, head, &done).instrument(spans::send()).await;
        if head.operation != Operation::Status {
            times.send_us = Some(micros(converted.elapsed()));
            times.convert_us = done.convert_us.into();
            let (end, bytes_out) = match (&replied, &done.result) {
                (Err(_), _) => (End::ClientGone, 0),
                (Ok(()), Ok(result)) => (End::Done, result.bytes.len() as u64),
                (Ok(()), Err(failure)) => (End::Failed(failure.code), 0),
            };
            self.log_line(stream, Some(head), end, bytes_out, started, times);
        }
        replied?;
        Ok(if head.version == Version::V1_1 { Next::Keep } else { Next::Finish })
    }
}

impl Service for Worker {
    async fn serve(self: Rc<Self>, socket: Socket) {
        exchange::serve(&*self, socket).await;
    }
}

async fn send_failure(
    stream: &mut TlsStream,
    head: &Head,
    failure: &Failure,
    convert_us: u32,
) -> Result<(), StreamError> {
    let (version, checksum) = (head.version, head.options.checksum);
    exchange::send_failure(stream, version, checksum, failure, convert_us).await
}

fn log_access(stream: &TlsStream, head: &Head, done: &Done, started: Instant) {
    let end = done.result.as_ref().map_or_else(|failure| End::Failed(failure.code), |_| End::Done);
    end.count_since(head.operation, started, done.convert_us);
    tracing::info!(
        peer = %stream.peer(),
        id = head.options.id.as_deref(),
        operation = head.operation.name(),
        code = end.name(),
        bytes_in = head.header.body_bytes(),
        bytes_out = done.result.as_ref().map_or(0, |result| result.bytes.len()),
        convert_us = done.convert_us,
        total_us = started.elapsed().as_micros(),
        "request"
    );
}

/// The access line of a request whose body never came whole.
fn log_unserved(stream: &TlsStream, head: &Head, end: End, started: Instant) {
    end.count_since(head.operation, started, 0);
    tracing::info!(
        peer = %stream.peer(),
        id = head.options.id.as_deref(),
        operation = head.operation.name(),
        code = end.name(),
        bytes_in = head.header.body_bytes(),
        total_us = started.elapsed().as_micros(),
        "request"
    );
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
