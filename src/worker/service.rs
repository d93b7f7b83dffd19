//! A worker's connections.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::body::{self, ReceiveError};
use super::slots::{Converted, Done, Slots, Work};
use crate::auth::Tokens;
use crate::convert::Target;
use crate::exchange::{self, Head, Next, Refusal};
use crate::io::Socket;
use crate::limits::ServerLimits;
use crate::server::{Context, Service};
use crate::tls::ServerTls;
use crate::transport::{StreamError, TlsStream};
use crate::wire::{
    ChecksumKind, Failure, Operation, ReplyHeader, Version, encode_reply_v1_0_header,
};

/// What all threads of a worker share; nothing of it changes while it serves.
pub(super) struct Shared {
    pub(super) tls: ServerTls,
    pub(super) tokens: Tokens,
    pub(super) limits: ServerLimits,
    pub(super) slots: Slots,
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

    async fn serve_connection(&self, socket: Socket) -> Result<(), StreamError> {
        let limits = &self.shared.limits;
        let mut stream =
            TlsStream::accept(socket, &self.shared.tls, limits.handshake_timeout).await?;
        match self.serve_requests(&mut stream).await {
            Ok(linger_timeout) => {
                stream.finish(limits.linger_bytes_max(), linger_timeout).await;
                Ok(())
            }
            Err(error) => {
                stream.abort_after(&error).await;
                Err(error)
            }
        }
    }

    /// Serves request after request; returns how long the client is heard out at the end.
    async fn serve_requests(&self, stream: &mut TlsStream) -> Result<Duration, StreamError> {
        let limits = &self.shared.limits;
        let mut idle_timeout = limits.header_timeout;
        while !self.context.is_draining() {
            let head =
                exchange::read_head(stream, &self.shared.tokens, limits, idle_timeout).await?;
            let Some(head) = head else { break };
            let next = match head {
                Ok(head) => self.serve_request(stream, &head).await?,
                Err(refusal) => {
                    log_refusal(stream, &refusal);
                    exchange::refuse(stream, &refusal, limits).await?
                }
            };
            if next == Next::Finish {
                return Ok(limits.linger_timeout);
            }
            idle_timeout = limits.idle_timeout;
        }
        Ok(limits.drain_linger_timeout)
    }

    async fn serve_request(
        &self,
        stream: &mut TlsStream,
        head: &Head,
    ) -> Result<Next, StreamError> {
        let started = Instant::now();
        let done = match head.operation {
            Operation::Status => self.status(head),
            Operation::Convert(target) => {
                match self.receive_and_convert(stream, head, target).await {
                    Ok(done) => done,
                    Err(ReceiveError::Stream(error)) => return Err(error),
                    Err(ReceiveError::Failed { failure, unread_bytes }) => {
                        let (version, checksum) = (head.version, head.options.checksum);
                        let refusal = Refusal { version, failure, checksum, unread_bytes };
                        return exchange::refuse(stream, &refusal, &self.shared.limits).await;
                    }
                }
            }
        };
        log_access(stream, head, &done, started);
        self.reply(stream, head, &done).await?;
        Ok(if head.version == Version::V1_1 { Next::Keep } else { Next::Finish })
    }

    /// A request holds one pooled buffer while its body arrives, none while it is converted, and
    /// one while the answer leaves, so that no request waits for a buffer while it holds one.
    async fn receive_and_convert(
        &self,
        stream: &mut TlsStream,
        head: &Head,
        target: Target,
    ) -> Result<Done, ReceiveError> {
        let limits = &self.shared.limits;
        let [buffer] = self.context.pool.acquire::<1>().await;
        stream.attach_recv(buffer);
        stream.socket().set_stall_limits(Some(limits.stall_timeout), Some(limits.stall_timeout));
        let received = body::receive(stream, head).await;
        stream.detach();
        stream.socket().set_stall_limits(None, Some(limits.stall_timeout));
        let body = received?;
        if let Err(failure) = head.options.checksum.verify(head.header.checksum(), body.checksum) {
            return Ok(Done { result: Err(failure), convert_us: 0 });
        }
        let work = Work {
            body: body.bytes,
            target,
            options: head.options.convert.clone(),
            checksum: match head.version {
                Version::V1_0 => ChecksumKind::None,
                Version::V1_1 => head.options.checksum,
            },
        };
        Ok(self.shared.slots.convert(work, limits.convert_timeout).await)
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
                return exchange::send_failure(
                    stream,
                    head.version,
                    head.options.checksum,
                    failure,
                )
                .await;
            }
        };
        let [buffer] = self.context.pool.acquire::<1>().await;
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
        stream.detach();
        Ok(())
    }

    /// The answer to a status request: `key=value` lines.
    fn status(&self, head: &Head) -> Done {
        let load = self.shared.slots.load();
        let text = format!(
            "role=worker\nversion={}\nslots={}\nbusy={}\nqueued={}\n",
            env!("CARGO_PKG_VERSION"),
            load.slots,
            load.busy,
            load.queued,
        );
        let checksum = head.options.checksum.of(text.as_bytes());
        Done { result: Ok(Converted { bytes: text.into_bytes(), checksum }), convert_us: 0 }
    }
}

impl Service for Worker {
    async fn serve(self: Rc<Self>, socket: Socket) {
        let peer = socket.peer();
        if let Err(error) = self.serve_connection(socket).await {
            if error.is_peer_gone() {
                tracing::debug!(%peer, %error, "connection ended");
            } else {
                tracing::info!(%peer, %error, "connection failed");
            }
        }
    }
}

fn log_access(stream: &TlsStream, head: &Head, done: &Done, started: Instant) {
    let code = done.result.as_ref().map_or_else(|failure| failure.code.name(), |_| "OK");
    tracing::info!(
        peer = %stream.peer(),
        id = head.options.id.as_deref(),
        operation = head.operation.name(),
        code,
        bytes_in = head.header.body_bytes(),
        bytes_out = done.result.as_ref().map_or(0, |result| result.bytes.len()),
        convert_us = done.convert_us,
        total_us = started.elapsed().as_micros(),
        "request"
    );
}

fn log_refusal(stream: &TlsStream, refusal: &Refusal) {
    let Failure { code, message, .. } = &refusal.failure;
    tracing::info!(peer = %stream.peer(), code = code.name(), message, "refused");
}
