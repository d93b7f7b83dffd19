//! One request and its answer over one connection, both directions at once.
//!
//! An error may be answered while the body is still being sent. So the answer is read from the start,
//! and ends the sending. No operation in flight is ever dropped: the socket is shut down, and the
//! operation is awaited to its end.

use std::cell::{Cell, RefCell};
use std::net::Shutdown;

use super::{Answer, ClientError, Progress};
use crate::io::Socket;
use crate::limits::ClientLimits;
use crate::transport::{RECORD_PLAIN_MAX, ReadHalf, StreamError, TlsStream, WriteHalf};
use crate::wire::{
    ChecksumKind, Code, Failure, Hasher, Operation, REPLY_HEADER_BYTES, REPLY_V1_0_HEADER_BYTES,
    ReplyError, ReplyHeader, Version, parse_reply_v1_0_header,
};

/// What is sent between two looks at the answer, and two steps of the progress.
const CHUNK_BYTES: usize = 256 * 1024;

/// An error's text is two lines; ours are under 1 KiB.
const FAILURE_BYTES_MAX: u64 = 64 * 1024;

/// What is taken before the first byte of an answer has arrived. From there on it grows with what
/// really arrives, so that an announced size costs nothing.
const ANSWER_BYTES_START: u64 = 256 * 1024;

/// A request, ready to be sent.
pub(super) struct Outgoing<'a> {
    pub(super) version: Version,
    pub(super) operation: Operation,
    pub(super) checksum: ChecksumKind,
    /// Header and options.
    pub(super) head: Vec<u8>,
    pub(super) body: &'a [u8],
}

/// What came back.
pub(super) struct Reply {
    pub(super) result: Result<Answer, Failure>,
    /// Whether the connection takes another request.
    pub(super) reusable: bool,
}

/// Why nothing whole came back.
#[derive(Debug)]
pub(super) enum ExchangeError {
    /// The connection ended before the first byte of an answer.
    NoAnswer(StreamError),
    /// A v1.1 request was answered in something else.
    Version(ReplyError),
    /// The connection ended inside of the answer.
    BrokenOff { got: u64, expected: u64 },
    /// The answer is whole, and not acceptable; or the time is over.
    Final(ClientError),
    /// The time is over.
    TimedOut,
}

/// Sends `out`, and receives its answer meanwhile.
pub(super) async fn exchange(
    stream: &mut TlsStream,
    out: &Outgoing<'_>,
    limits: &ClientLimits,
    progress: &mut dyn FnMut(Progress),
) -> Result<Reply, ExchangeError> {
    let socket = stream.socket().clone();
    let (sent, answered) = (Cell::new(false), Cell::new(false));
    let progress = RefCell::new(progress);
    let report = |step| progress.borrow_mut()(step);
    let (mut read, mut write) = stream.split();
    let cut = Cell::new(false);
    let sending = async {
        let result = send(&mut write, out, &answered, &report).await;
        sent.set(matches!(result, Ok(true)));
        result
    };
    let receiving = async {
        let mut receiver = Receiver { read: &mut read, socket: &socket, limits, report: &report };
        let result = receiver.receive(out).await;
        answered.set(true);
        if !sent.get() {
            // Whatever is still being sent nobody waits for any more.
            cut.set(true);
            socket.shutdown(Shutdown::Both);
        }
        result
    };
    // The sending is looked at first: an answer that is there by the end of it cuts nothing.
    let (sending, receiving) = tokio::join!(biased; sending, receiving);
    match (receiving, sending) {
        (Ok(result), _) => {
            Ok(Reply { result, reusable: !cut.get() && out.version == Version::V1_1 })
        }
        _ if socket.has_expired() => Err(ExchangeError::TimedOut),
        // What failed first says more than the end of the file that follows it.
        (Err(ExchangeError::NoAnswer(error)), Err(first)) if error.is_peer_gone() => {
            Err(ExchangeError::NoAnswer(first))
        }
        (Err(error), _) => Err(error),
    }
}

/// Sends header, options and body; `false` where an answer came before the end.
async fn send(
    write: &mut WriteHalf<'_>,
    out: &Outgoing<'_>,
    answered: &Cell<bool>,
    report: &dyn Fn(Progress),
) -> Result<bool, StreamError> {
    let total = out.body.len() as u64;
    let uploading = |sent| report(Progress::Uploading { sent, total });
    uploading(0);
    // The head fills up its record with the start of the body: a small file is one packet.
    let room = RECORD_PLAIN_MAX.saturating_sub(out.head.len()).min(out.body.len());
    let (first, mut rest) = out.body.split_at(room);
    write.write_all(&[&out.head, first].concat()).await?;
    while !rest.is_empty() {
        if answered.get() {
            return Ok(false);
        }
        uploading(total - rest.len() as u64);
        let (chunk, next) = rest.split_at(CHUNK_BYTES.min(rest.len()));
        write.write_all(chunk).await?;
        rest = next;
    }
    if !answered.get() {
        uploading(total);
        report(Progress::Converting);
    }
    Ok(true)
}

/// The receiving side of one exchange.
pub(super) struct Receiver<'a, 'b> {
    pub(super) read: &'a mut ReadHalf<'b>,
    pub(super) socket: &'a Socket,
    pub(super) limits: &'a ClientLimits,
    pub(super) report: &'a dyn Fn(Progress),
}

impl Receiver<'_, '_> {
    async fn receive(
        &mut self,
        out: &Outgoing<'_>,
    ) -> Result<Result<Answer, Failure>, ExchangeError> {
        match out.version {
            Version::V1_0 => self.receive_v1_0(out).await,
            Version::V1_1 => self.receive_v1_1(out).await,
        }
    }

    /// The first bytes of an answer, which are there in both versions.
    async fn start(&mut self) -> Result<[u8; REPLY_V1_0_HEADER_BYTES], ExchangeError> {
        let mut start = [0; REPLY_V1_0_HEADER_BYTES];
        self.header(&mut start, 0, REPLY_V1_0_HEADER_BYTES).await?;
        // A conversion may take its time; what is on its way may not stall.
        let stall = Some(self.limits.stall_timeout);
        self.socket.set_stall_limits(stall, stall);
        Ok(start)
    }

    /// Waits for the header of a v1.1 answer.
    pub(super) async fn header_v1_1(&mut self) -> Result<ReplyHeader, ExchangeError> {
        let start = self.start().await?;
        ReplyHeader::check_start(&start).map_err(ExchangeError::Version)?;
        let mut bytes = [0; REPLY_HEADER_BYTES];
        bytes[..start.len()].copy_from_slice(&start);
        self.header(&mut bytes[start.len()..], start.len(), REPLY_HEADER_BYTES).await?;
        ReplyHeader::parse(&bytes).map_err(ExchangeError::Version)
    }

    /// Reads why a v1.1 request was refused. It may have failed before its kind of checksum was
    /// read, so none is checked.
    pub(super) async fn failure(&mut self, header: &ReplyHeader) -> Result<Failure, ExchangeError> {
        let (body, _) = self.body(header.body_bytes, FAILURE_BYTES_MAX, ChecksumKind::None).await?;
        let failure = Failure::from_v1_1(header.status, &body);
        Ok(failure.with_retry_after_ms(header.retry_after_ms))
    }

    async fn receive_v1_1(
        &mut self,
        out: &Outgoing<'_>,
    ) -> Result<Result<Answer, Failure>, ExchangeError> {
        let header = self.header_v1_1().await?;
        if header.status != 0 {
            return self.failure(&header).await.map(Err);
        }
        let (bytes, computed) =
            self.body(header.body_bytes, self.limits.answer_bytes_max, out.checksum).await?;
        if computed != header.checksum {
            return Err(ExchangeError::Final(ClientError::Damaged {
                computed: u128::from_be_bytes(computed),
                announced: u128::from_be_bytes(header.checksum),
            }));
        }
        if bytes.is_empty() && out.operation != Operation::Status {
            return Err(ExchangeError::Final(ClientError::EmptyAnswer));
        }
        Ok(Ok(Answer { bytes, convert_us: Some(header.convert_us) }))
    }

    /// In v1.0 a failure is a text that starts with `ERROR: `. A document's own text may start so
    /// too; taking that for a failure is the lesser evil, since nothing wrong is saved.
    async fn receive_v1_0(
        &mut self,
        out: &Outgoing<'_>,
    ) -> Result<Result<Answer, Failure>, ExchangeError> {
        let announced = parse_reply_v1_0_header(&self.start().await?);
        let (bytes, _) =
            self.body(announced, self.limits.answer_bytes_max, ChecksumKind::None).await?;
        if let Some(failure) = Failure::from_v1_0_text(&bytes) {
            return Ok(Err(failure));
        }
        if !bytes.is_empty() {
            return Ok(Ok(Answer { bytes, convert_us: None }));
        }
        if out.operation == Operation::Convert(crate::convert::Target::Text) {
            return Ok(Err(Failure::new(Code::NoText, "the PDF has no text to extract")
                .with_hint("a scan needs text recognition first")));
        }
        Err(ExchangeError::Final(ClientError::EmptyAnswer))
    }

    /// A part of a header, of which `before` bytes are here and `expected` are to be.
    async fn header(
        &mut self,
        out: &mut [u8],
        before: usize,
        expected: usize,
    ) -> Result<(), ExchangeError> {
        let mut got = 0;
        while got < out.len() {
            let wanted = (out.len() - got) as u64;
            let read = self
                .read
                .read_at_most(wanted, &mut |plain| {
                    out[got..got + plain.len()].copy_from_slice(plain);
                    got += plain.len();
                })
                .await;
            if matches!(read, Ok(1..)) {
                continue;
            }
            if before + got > 0 {
                let (got, expected) = ((before + got) as u64, expected as u64);
                return Err(ExchangeError::BrokenOff { got, expected });
            }
            let closed = StreamError::Closed { missing: wanted };
            return Err(ExchangeError::NoAnswer(read.err().unwrap_or(closed)));
        }
        Ok(())
    }

    /// A body of the announced size, with its checksum.
    async fn body(
        &mut self,
        expected: u64,
        max: u64,
        kind: ChecksumKind,
    ) -> Result<(Vec<u8>, [u8; 16]), ExchangeError> {
        if expected > max {
            let error = ClientError::AnswerTooLarge { bytes: expected, max };
            return Err(ExchangeError::Final(error));
        }
        // At most ANSWER_BYTES_START, which fits.
        let start = usize::try_from(expected.min(ANSWER_BYTES_START)).unwrap_or_default();
        let (mut bytes, mut hasher) = (Vec::with_capacity(start), Hasher::new(kind));
        let mut has_memory = true;
        while (bytes.len() as u64) < expected {
            let wanted = expected - bytes.len() as u64;
            let read = self
                .read
                .read_at_most(wanted, &mut |plain| {
                    has_memory = bytes.try_reserve(plain.len()).is_ok();
                    if has_memory {
                        hasher.update(plain);
                        bytes.extend_from_slice(plain);
                    }
                })
                .await;
            let got = bytes.len() as u64;
            if !has_memory {
                return Err(ExchangeError::Final(ClientError::OutOfMemory { bytes: expected }));
            }
            if !matches!(read, Ok(1..)) {
                return Err(ExchangeError::BrokenOff { got, expected });
            }
            (self.report)(Progress::Downloading { got, total: expected });
        }
        Ok((bytes, hasher.finish()))
    }
}
