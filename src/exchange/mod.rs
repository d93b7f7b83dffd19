//! Requests and answers on a connection: where the wire meets the transport, on the serving side.
//!
//! Owns: a connection's course from its handshake to its end, reading a request's head and checking it
//! in the order of the specification, and answering so that the answer arrives whole. Must never touch
//! a body but to drop it.

mod access;
mod connection;
mod end;
pub mod spans;
#[cfg(feature = "otlp")]
mod trace_context;

use std::time::{Duration, Instant};

use zeroize::Zeroizing;

pub use access::{Access, AccessLog, Times};
pub use connection::{Server, acquire, serve, turn_away};
pub use end::{End, registry};

use crate::auth::{Denied, Grant};
use crate::limits::ServerLimits;
use crate::transport::{RECORD_PLAIN_MAX, StreamError, TlsStream};
use crate::wire::{
    Admitted, ChecksumKind, Code, Failure, Operation, REQUEST_HEADER_BYTES, RequestHeader,
    RequestOptions, Version, admit,
};

/// A request whose head is read and admitted; its body is still on the wire.
#[derive(Debug)]
pub struct Head {
    /// The header as it came.
    pub header: RequestHeader,
    /// Its version, which is also the answer's.
    pub version: Version,
    /// What is asked for.
    pub operation: Operation,
    /// The options as they came; empty in v1.0.
    pub options_block: Vec<u8>,
    /// The options, read.
    pub options: RequestOptions,
    /// By when the request must be over.
    pub deadline: Instant,
    /// What its token lets it do.
    pub grant: Grant,
}

/// A request that is answered before its body is read.
#[derive(Debug)]
pub struct Refusal {
    /// The version of the answer.
    pub version: Version,
    /// Why.
    pub failure: Failure,
    /// The kind of the answer's checksum.
    pub checksum: ChecksumKind,
    /// What follows of this request, or `None` where that cannot be known.
    pub unread_bytes: Option<u64>,
}

/// What becomes of a connection after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// It takes the next request.
    Keep,
    /// It is ended in order, and the client heard out.
    Finish,
}

/// Waits for a request and reads its head. `None` is the client's orderly end. `check` says what
/// a token is good for, when the request is here: tokens may change while a connection waits.
///
/// # Errors
///
/// The connection failed, or a deadline passed.
async fn read_head(
    stream: &mut TlsStream,
    check: &dyn Fn(&[u8]) -> Result<Grant, Denied>,
    limits: &ServerLimits,
    idle_timeout: Duration,
) -> Result<Option<Result<Head, Refusal>>, StreamError> {
    if !stream.wait_for_request(idle_timeout).await? {
        return Ok(None);
    }
    stream.socket().set_deadline(Some(Instant::now() + limits.header_timeout));
    let mut bytes = Zeroizing::new([0; REQUEST_HEADER_BYTES]);
    stream.read_exact(&mut *bytes).await?;
    let header = RequestHeader::parse(&bytes);
    let head = match admit(&header, check, limits.body_bytes_max) {
        Ok(admitted) => {
            let mut options_block = vec![0; admitted.options_bytes];
            stream.read_exact(&mut options_block).await?;
            let deadline = Instant::now() + limits.request_timeout;
            read_options(header, admitted, options_block, deadline)
        }
        Err((version, failure)) => Err(Refusal {
            version: version.unwrap_or(Version::V1_0),
            failure,
            checksum: ChecksumKind::default(),
            unread_bytes: version.and_then(|version| unread_bytes(&header, version)),
        }),
    };
    // Longer than the request's own time, so that its end can still be told.
    let last = Instant::now() + limits.request_timeout + limits.linger_timeout;
    stream.socket().set_deadline(Some(last));
    Ok(Some(head))
}

fn read_options(
    header: RequestHeader,
    admitted: Admitted,
    options_block: Vec<u8>,
    deadline: Instant,
) -> Result<Head, Refusal> {
    let Admitted { version, operation, grant, .. } = admitted;
    match RequestOptions::parse(&options_block, operation) {
        Ok(options) => {
            Ok(Head { header, version, operation, options_block, options, deadline, grant })
        }
        Err(failure) => Err(Refusal {
            version,
            failure,
            checksum: ChecksumKind::default(),
            unread_bytes: Some(header.body_bytes()),
        }),
    }
}

/// What follows a header that was refused, as far as its own numbers tell.
fn unread_bytes(header: &RequestHeader, version: Version) -> Option<u64> {
    let options = header.options_bytes(version).ok()?;
    header.body_bytes().checked_add(options as u64)
}

/// Answers with `failure`, in the form of the version, after `convert_us` of converting.
///
/// # Errors
///
/// The connection failed.
pub async fn send_failure(
    stream: &mut TlsStream,
    version: Version,
    checksum: ChecksumKind,
    failure: &Failure,
    convert_us: u32,
) -> Result<(), StreamError> {
    let reply = match version {
        Version::V1_0 => failure.reply_v1_0(),
        Version::V1_1 => failure.reply_v1_1_after(checksum, convert_us),
    };
    stream.write_all(&reply).await
}

/// Answers a refusal. In v1.1 the connection is kept where dropping the rest of the request is
/// cheaper than a new connection.
///
/// # Errors
///
/// The connection failed.
pub async fn refuse(
    stream: &mut TlsStream,
    refusal: &Refusal,
    limits: &ServerLimits,
) -> Result<Next, StreamError> {
    send_failure(stream, refusal.version, refusal.checksum, &refusal.failure, 0).await?;
    match (refusal.version, refusal.unread_bytes) {
        (Version::V1_1, Some(bytes)) if bytes <= limits.discard_bytes_max => {
            stream.socket().set_deadline(Some(Instant::now() + limits.linger_timeout));
            stream.socket().set_read_stall_limit(Some(limits.stall_timeout));
            let discarded = discard(stream, bytes).await;
            stream.socket().set_read_stall_limit(None);
            // Whoever does not send what it announced has its answer, and is left in order.
            Ok(if discarded.is_ok() { Next::Keep } else { Next::Finish })
        }
        _ => Ok(Next::Finish),
    }
}

/// Reads `bytes` of a body and drops them.
///
/// # Errors
///
/// The connection failed or ended before them.
async fn discard(stream: &mut TlsStream, bytes: u64) -> Result<(), StreamError> {
    let mut left = bytes;
    while left > 0 {
        match stream.read_at_most(left.min(RECORD_PLAIN_MAX as u64), &mut |_| ()).await? {
            0 => return Err(StreamError::Closed { missing: left }),
            read => left -= read as u64,
        }
    }
    Ok(())
}

/// Counts the refusals of a connection that nothing good is to be expected of.
#[derive(Debug, Default)]
struct Strangers(u32);

impl Strangers {
    /// Whether `refusal` is one too many: a connection must not be a way to try token after token.
    fn is_too_many(&mut self, refusal: &Refusal, limits: &ServerLimits) -> bool {
        if matches!(refusal.failure.code, Code::Unauthorized | Code::BadVersion) {
            self.0 += 1;
        }
        self.0 >= limits.strangers_requests_max
    }
}
