//! A file that is converted as it streams: for callers that hold no file, but pass one on.
//!
//! Nothing of body or answer is kept beyond the buffers in flight. So a request whose body has begun
//! cannot be repeated here; whoever holds the file may do so.

mod exchange;

use std::future::Future;
use std::io;
use std::time::Instant;

use bytes::Bytes;

use self::exchange::{Outgoing, exchange};
use super::connection::sendable;
use super::exchange::ExchangeError;
use super::{ClientError, Connection, Wire};
use crate::convert::Target;
use crate::transport::TlsStream;
use crate::wire::{Operation, RequestHeader, RequestOptions, Version};

/// What the body of a request comes from.
pub trait Source {
    /// The next bytes of the body, or `None` after the last. May be dropped while it waits.
    fn next(&mut self) -> impl Future<Output = io::Result<Option<Bytes>>>;
}

/// What the body of an answer goes to.
///
/// What it is given is not yet checked: it is the file once the conversion is said to be done, and
/// to be thrown away where that fails.
pub trait Sink {
    /// Hears of the answer before its first byte.
    fn begin(&mut self, head: &AnswerHead) -> impl Future<Output = io::Result<()>>;

    /// Takes the next bytes. May be dropped while it waits.
    fn write(&mut self, bytes: Bytes) -> impl Future<Output = io::Result<()>>;
}

/// A request whose body is yet to come.
#[derive(Debug, Clone, Copy)]
pub struct StreamedRequest<'a> {
    /// What the file becomes.
    pub target: Target,
    /// Its name, for log lines of the server; the content alone decides its type.
    pub name: &'a str,
    /// Bytes that the body will have, exactly.
    pub body_bytes: u64,
    /// Of the body, in the kind of the options; 16 zero bytes for `none`.
    pub checksum: [u8; 16],
    /// What else v1.1 may say.
    pub options: &'a RequestOptions,
}

/// What an answer says before its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnswerHead {
    /// Bytes that follow.
    pub body_bytes: u64,
    /// Of these bytes, in the kind of the request; 16 zero bytes for `none`.
    pub checksum: [u8; 16],
    /// Microseconds that the conversion itself took.
    pub convert_us: u32,
}

impl Connection {
    /// Has a file converted that is read from `source` as it is sent, into `sink` as it arrives.
    /// Once `cancelled` is ready, the request is given up: its connection is ended, which ends it at
    /// the server too.
    ///
    /// # Errors
    ///
    /// As [`Connection::convert`], but without a repeat, neither to a busy server nor over a new
    /// connection; and where `source` or `sink` fails, or it is cancelled. Streaming needs v1.1.
    pub async fn convert_streamed<S: Source, K: Sink>(
        &mut self,
        request: &StreamedRequest<'_>,
        source: &mut S,
        sink: &mut K,
        cancelled: impl Future<Output = ()>,
    ) -> Result<AnswerHead, ClientError> {
        if self.config.wire == Wire::V1_0 {
            return Err(ClientError::NeedsV1_1);
        }
        let limits = self.config.limits;
        let out = self.outgoing(request)?;
        let is_open = self.is_open();
        let mut stream = match self.stream.take() {
            Some(stream) if is_open => stream,
            _ => self.open().await?,
        };
        stream.socket().set_deadline(Some(Instant::now() + limits.request_timeout));
        stream.socket().set_stall_limits(None, Some(limits.stall_timeout));
        let outcome = exchange(&mut stream, &out, source, sink, cancelled, &limits).await;
        match outcome {
            Ok(reply) => {
                self.keep(stream, reply.reusable).await;
                reply.result.map_err(ClientError::Refused)
            }
            Err(ExchangeError::Version(crate::wire::ReplyError::V1_0 { .. })) => {
                Err(ClientError::NeedsV1_1)
            }
            Err(error) => Err(self.explain(error)),
        }
    }

    fn outgoing(&self, request: &StreamedRequest<'_>) -> Result<Outgoing, ClientError> {
        let mut options = request.options.clone();
        options.name = options.name.or_else(|| sendable(request.name));
        let block = options.encode().map_err(ClientError::Refused)?;
        let header = RequestHeader::new(
            Version::V1_1,
            &self.config.token,
            request.checksum,
            request.name,
            request.body_bytes,
            Operation::Convert(request.target),
            block.len(),
        );
        Ok(Outgoing {
            checksum: options.checksum,
            head: [&header.to_bytes()[..], &block].concat(),
            body_bytes: request.body_bytes,
        })
    }

    /// Whether the connection can take a next request at once, as far as can be told: a server that
    /// has ended it in the meantime has said so by now.
    #[must_use]
    pub fn is_open(&self) -> bool {
        let is_quiet = |stream: &TlsStream| !self.is_used || !stream.socket().has_input();
        self.stream.as_ref().is_some_and(is_quiet)
    }
}
