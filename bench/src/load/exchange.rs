//! One request and its answer on a connection, in constant memory.
//!
//! The request lies ready, header and checksum included, and the answer is counted and dropped: the
//! generator should cost little beside the server that it measures.

use std::cell::Cell;
use std::net::Shutdown;
use std::sync::Arc;

use fxsrv::auth::Token;
use fxsrv::io::Buffer;
use fxsrv::tls::TlsSession;
use fxsrv::transport::{RECORD_PLAIN_MAX, ReadHalf, StreamError, TlsStream, WriteHalf};
use fxsrv::wire::{
    ChecksumKind, Code, Failure, Hasher, Operation, REPLY_HEADER_BYTES, REPLY_V1_0_HEADER_BYTES,
    ReplyHeader, RequestHeader, RequestOptions, Version, parse_reply_v1_0_header,
};

use super::{Answered, Failed};

/// The window that answers are read into: the size that the server's own have.
const RECV_BYTES: usize = fxsrv::io::BUFFER_BYTES;

/// What is kept of an answer, to read a failure's text from it.
const TEXT_BYTES_MAX: usize = 256;

/// What the server is to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// A result.
    Result,
    /// This refusal, given after the whole body was read.
    Refusal(Code),
}

/// A request for a conversion that is sent again and again.
#[derive(Debug, Clone)]
pub struct Conversion {
    version: Version,
    expect: Expect,
    checksum: ChecksumKind,
    /// Header and options, and the part of the body that goes with them.
    first: Arc<Vec<u8>>,
    body: Arc<Vec<u8>>,
    /// Where the rest of the body starts.
    rest: usize,
    chunk_bytes: usize,
}

impl Conversion {
    /// A request of `body`, sent in writes of `chunk_bytes`.
    ///
    /// # Errors
    ///
    /// The options cannot be said.
    pub fn new(
        version: Version,
        token: &Token,
        operation: Operation,
        checksum: ChecksumKind,
        body: Arc<Vec<u8>>,
        chunk_bytes: usize,
        expect: Expect,
    ) -> Result<Self, Failure> {
        let (checksum, block) = match version {
            Version::V1_0 => (ChecksumKind::Md5, Vec::new()),
            Version::V1_1 => {
                (checksum, RequestOptions { checksum, ..RequestOptions::default() }.encode()?)
            }
        };
        let header = RequestHeader::new(
            version,
            token,
            checksum.of(&body),
            "bench",
            body.len() as u64,
            operation,
            block.len(),
        );
        let chunk_bytes = chunk_bytes.max(1);
        let head = [&header.to_bytes()[..], &block].concat();
        let rest = chunk_bytes.saturating_sub(head.len()).min(body.len());
        let first = Arc::new([&head, &body[..rest]].concat());
        Ok(Self { version, expect, checksum, first, body, rest, chunk_bytes })
    }

    /// Bytes of the body.
    #[must_use]
    pub fn body_bytes(&self) -> u64 {
        self.body.len() as u64
    }

    /// Windows under a new connection. A chunk fits the sending one whole, so that it is one write.
    pub(super) fn attach(&self, stream: &mut TlsStream) {
        let chunk = self.chunk_bytes.max(self.first.len());
        let records = chunk.div_ceil(RECORD_PLAIN_MAX);
        let full = TlsSession::sealed_bytes(RECORD_PLAIN_MAX);
        stream.attach([Buffer::heap(RECV_BYTES), Buffer::heap(records * full)]);
    }

    /// Sends the request and reads its answer; with `verify`, down to its checksum. Says also
    /// whether the connection takes another.
    pub(super) async fn exchange(
        &self,
        stream: &mut TlsStream,
        verify: bool,
    ) -> (Result<Answered, Failed>, bool) {
        let socket = stream.socket().clone();
        let (sent, answered, cut) = (Cell::new(false), Cell::new(false), Cell::new(false));
        let (mut read, mut write) = stream.split();
        let sending = async {
            let result = self.send(&mut write, &answered).await;
            sent.set(matches!(result, Ok(true)));
            result
        };
        let receiving = async {
            let result = self.receive(&mut read, verify).await;
            answered.set(true);
            if !sent.get() {
                // An answer before the end of the body: nobody waits for the rest.
                cut.set(true);
                socket.shutdown(Shutdown::Both);
            }
            result
        };
        // The sending is polled first: where both have ended, the answer was not early.
        let (_, result) = tokio::join!(biased; sending, receiving);
        let reusable = !cut.get() && result.is_ok() && self.version == Version::V1_1;
        (result, reusable)
    }

    async fn send(
        &self,
        write: &mut WriteHalf<'_>,
        answered: &Cell<bool>,
    ) -> Result<bool, StreamError> {
        write.write_all(&self.first).await?;
        for chunk in self.body[self.rest..].chunks(self.chunk_bytes) {
            if answered.get() {
                return Ok(false);
            }
            write.write_all(chunk).await?;
        }
        Ok(true)
    }

    async fn receive(&self, read: &mut ReadHalf<'_>, verify: bool) -> Result<Answered, Failed> {
        match self.version {
            Version::V1_0 => self.receive_v1_0(read).await,
            Version::V1_1 => self.receive_v1_1(read, verify).await,
        }
    }

    async fn receive_v1_0(&self, read: &mut ReadHalf<'_>) -> Result<Answered, Failed> {
        let mut header = [0; REPLY_V1_0_HEADER_BYTES];
        exact(read, &mut header).await?;
        let body = Body::read(read, parse_reply_v1_0_header(&header)).await?;
        let refused = Refusal::of_v1_0(&body.start);
        self.judge(refused, body.bytes, None)
    }

    async fn receive_v1_1(
        &self,
        read: &mut ReadHalf<'_>,
        verify: bool,
    ) -> Result<Answered, Failed> {
        let mut reply = Reply::new(if verify { self.checksum } else { ChecksumKind::None });
        while reply.header_bytes < REPLY_HEADER_BYTES {
            // What comes with the header is read with it, and not put aside: no other answer is due.
            more(read, u64::MAX, &mut |plain| reply.take(plain)).await?;
        }
        let header = ReplyHeader::parse(&reply.header).map_err(|_| Failed::Protocol)?;
        while reply.body_bytes < header.body_bytes {
            let left = header.body_bytes - reply.body_bytes;
            more(read, left, &mut |plain| reply.take(plain)).await?;
        }
        if reply.body_bytes > header.body_bytes {
            return Err(Failed::Protocol);
        }
        if verify && header.status == 0 && reply.hasher.finish() != header.checksum {
            return Err(Failed::Damaged);
        }
        let refused = (header.status != 0)
            .then(|| Code::from_number(header.status).unwrap_or(Code::WorkerFailed))
            .map(Refusal::Named);
        self.judge(refused, header.body_bytes, Some(header.convert_us))
    }

    fn judge(
        &self,
        refused: Option<Refusal>,
        body_bytes: u64,
        convert_us: Option<u32>,
    ) -> Result<Answered, Failed> {
        match (self.expect, refused) {
            // The text of a refusal is no payload.
            (Expect::Refusal(code), Some(refused)) if refused.may_be(code) => {
                Ok(Answered { body_bytes: 0, convert_us: None })
            }
            (_, Some(refused)) => Err(Failed::Refused(refused.code())),
            (Expect::Refusal(_), None) => Err(Failed::Unrefused),
            (Expect::Result, None) => Ok(Answered { body_bytes, convert_us }),
        }
    }
}

/// How a server said no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    /// By a code of the specification.
    Named(Code),
    /// By words of its own behind `ERROR: `, as other servers of v1.0 do.
    OwnWords,
}

impl Refusal {
    /// What the start of an answer says, if it is a refusal.
    fn of_v1_0(text: &[u8]) -> Option<Self> {
        let code = Failure::from_v1_0_text(text)?.code;
        // It stands for all that has no name as well.
        let is_named = code != Code::WorkerFailed || text.starts_with(b"ERROR: WORKER_FAILED");
        Some(if is_named { Self::Named(code) } else { Self::OwnWords })
    }

    fn may_be(self, code: Code) -> bool {
        self == Self::Named(code) || self == Self::OwnWords
    }

    fn code(self) -> Code {
        match self {
            Self::Named(code) => code,
            Self::OwnWords => Code::WorkerFailed,
        }
    }
}

/// An answer of v1.1 as it comes in, whose body is dropped.
struct Reply {
    header: [u8; REPLY_HEADER_BYTES],
    header_bytes: usize,
    body_bytes: u64,
    hasher: Hasher,
}

impl Reply {
    fn new(kind: ChecksumKind) -> Self {
        let header = [0; REPLY_HEADER_BYTES];
        Self { header, header_bytes: 0, body_bytes: 0, hasher: Hasher::new(kind) }
    }

    fn take(&mut self, plain: &[u8]) {
        let room = &mut self.header[self.header_bytes..];
        let (header, body) = plain.split_at(room.len().min(plain.len()));
        room[..header.len()].copy_from_slice(header);
        self.header_bytes += header.len();
        self.body_bytes += body.len() as u64;
        self.hasher.update(body);
    }
}

/// The start of a body of v1.0 whose rest was read and dropped.
struct Body {
    bytes: u64,
    start: Vec<u8>,
}

impl Body {
    async fn read(read: &mut ReadHalf<'_>, bytes: u64) -> Result<Self, Failed> {
        let (mut left, mut start) = (bytes, Vec::new());
        while left > 0 {
            left -= more(read, left, &mut |plain| {
                let room = TEXT_BYTES_MAX.saturating_sub(start.len());
                start.extend_from_slice(&plain[..room.min(plain.len())]);
            })
            .await?;
        }
        Ok(Self { bytes, start })
    }
}

/// Reads once, and says how much; the end of the connection is an error.
async fn more(
    read: &mut ReadHalf<'_>,
    limit: u64,
    sink: &mut dyn FnMut(&[u8]),
) -> Result<u64, Failed> {
    match read.read_at_most(limit, sink).await.map_err(|error| Failed::of_stream(&error))? {
        0 => Err(Failed::Broken),
        got => Ok(got as u64),
    }
}

async fn exact(read: &mut ReadHalf<'_>, out: &mut [u8]) -> Result<(), Failed> {
    read.read_exact(out).await.map_err(|error| Failed::of_stream(&error))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn judged(expect: Expect, text: &[u8]) -> Result<(), Failed> {
        let token = Token::parse("token").unwrap();
        let operation = Operation::Convert(fxsrv::convert::Target::Jpg);
        let body = Arc::new(vec![0; 10]);
        let script = Conversion::new(
            Version::V1_0,
            &token,
            operation,
            ChecksumKind::Md5,
            body,
            4096,
            expect,
        );
        let refused = Refusal::of_v1_0(text);
        script.unwrap().judge(refused, text.len() as u64, None).map(|_| ())
    }

    #[test]
    fn an_upload_of_v1_0_is_refused_in_whatever_words() {
        let upload = Expect::Refusal(Code::UnknownType);
        assert_eq!(judged(upload, b"ERROR: UNKNOWN_TYPE: no type that is known"), Ok(()));
        assert_eq!(judged(upload, b"ERROR: Unsupported conversion"), Ok(()));
        assert_eq!(judged(upload, b"ERROR: Oops: cannot identify image file"), Ok(()));
        // Another code of the specification is another refusal.
        let busy = judged(upload, b"ERROR: BUSY: come back later");
        assert_eq!(busy, Err(Failed::Refused(Code::Busy)));
        let failed = judged(upload, b"ERROR: WORKER_FAILED: a worker crashed");
        assert_eq!(failed, Err(Failed::Refused(Code::WorkerFailed)));
        assert_eq!(judged(upload, b"\xff\xd8\xff"), Err(Failed::Unrefused));
        // Where a result is expected, no refusal will do.
        let refused = judged(Expect::Result, b"ERROR: Unsupported conversion");
        assert_eq!(refused, Err(Failed::Refused(Code::WorkerFailed)));
        assert_eq!(judged(Expect::Result, b"\xff\xd8\xff"), Ok(()));
    }
}
