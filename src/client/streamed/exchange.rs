//! One streamed request and its answer over one connection, both directions at once.
//!
//! As in the exchange of a file that is held, no operation in flight is ever dropped: the socket is
//! shut down, and the operation is awaited. Waiting for a source or a sink is no such operation, and
//! ends as soon as nobody needs it any more.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::net::Shutdown;
use std::pin::pin;

use bytes::{Bytes, BytesMut};
use tokio::sync::Notify;

use super::{AnswerHead, Sink, Source};
use crate::client::ClientError;
use crate::client::exchange::{ExchangeError, Receiver};
use crate::io::{BUFFER_BYTES, Socket};
use crate::limits::ClientLimits;
use crate::transport::{RECORD_PLAIN_MAX, StreamError, TlsStream, WriteHalf};
use crate::wire::{ChecksumKind, Failure, Hasher};

/// A request, ready to be sent but for its body.
pub(super) struct Outgoing {
    pub(super) checksum: ChecksumKind,
    /// Header and options.
    pub(super) head: Vec<u8>,
    pub(super) body_bytes: u64,
}

/// What came back.
pub(super) struct Reply {
    pub(super) result: Result<AnswerHead, Failure>,
    /// Whether the connection takes another request.
    pub(super) reusable: bool,
}

/// What the two directions and the canceller tell each other.
struct Shared<'a> {
    socket: &'a Socket,
    /// Nobody needs what is still to come from the source, or to go to the sink.
    over: Cell<bool>,
    over_changed: Notify,
    /// What ended the request on this side of the connection.
    own_failure: RefCell<Option<ClientError>>,
}

impl Shared<'_> {
    fn end(&self) {
        self.over.set(true);
        self.over_changed.notify_waiters();
    }

    /// Gives the request up. Its operations in flight end by themselves.
    fn fail(&self, error: ClientError) {
        self.own_failure.borrow_mut().get_or_insert(error);
        self.socket.shutdown(Shutdown::Both);
        self.end();
    }

    /// Waits for `work`, or `None` where it is not needed any more.
    async fn unless_over<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let ended = self.over_changed.notified();
        if self.over.get() {
            return None;
        }
        tokio::select! {
            biased;
            done = work => Some(done),
            () = ended => None,
        }
    }
}

/// Sends `out` and the bytes of `source`, and receives the answer into `sink` meanwhile.
pub(super) async fn exchange<S: Source, K: Sink>(
    stream: &mut TlsStream,
    out: &Outgoing,
    source: &mut S,
    sink: &mut K,
    cancelled: impl Future<Output = ()>,
    limits: &ClientLimits,
) -> Result<Reply, ExchangeError> {
    let socket = stream.socket().clone();
    let shared = Shared {
        socket: &socket,
        over: Cell::new(false),
        over_changed: Notify::new(),
        own_failure: RefCell::new(None),
    };
    let (sent, cut) = (Cell::new(false), Cell::new(false));
    let (mut read, mut write) = stream.split();
    let sending = async {
        let result = send(&mut write, out, source, &shared).await;
        sent.set(matches!(result, Ok(true)));
        result
    };
    let receiving = async {
        let mut receiver =
            Receiver { read: &mut read, socket: &socket, limits, report: &|_progress| {} };
        let result = receive(&mut receiver, out, sink, &shared).await;
        if !sent.get() {
            // Whatever is still being sent nobody waits for any more.
            cut.set(true);
            socket.shutdown(Shutdown::Both);
        }
        shared.end();
        result
    };
    // The sending is looked at first: an answer that is there by the end of it cuts nothing.
    let mut both = pin!(async { tokio::join!(biased; sending, receiving) });
    let (sending, receiving) = tokio::select! {
        biased;
        done = &mut both => done,
        () = cancelled => {
            shared.fail(ClientError::Cancelled);
            both.await
        }
    };
    if let Some(error) = shared.own_failure.take() {
        return Err(ExchangeError::Final(error));
    }
    match (receiving, sending) {
        (Ok(result), _) => Ok(Reply { result, reusable: !cut.get() }),
        _ if socket.has_expired() => Err(ExchangeError::TimedOut),
        // What failed first says more than the end of the file that follows it.
        (Err(ExchangeError::NoAnswer(error)), Err(first)) if error.is_peer_gone() => {
            Err(ExchangeError::NoAnswer(first))
        }
        (Err(error), _) => Err(error),
    }
}

/// Sends header, options and body; `false` where that was given up before its end.
async fn send<S: Source>(
    write: &mut WriteHalf<'_>,
    out: &Outgoing,
    source: &mut S,
    shared: &Shared<'_>,
) -> Result<bool, StreamError> {
    write.queue(&out.head).await?;
    let mut left = out.body_bytes;
    while left > 0 {
        let Some(bytes) = next(write, source, shared).await? else { return Ok(false) };
        if bytes.len() as u64 > left {
            let over = bytes.len() as u64 - left;
            shared.fail(ClientError::Source(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("it has {over} bytes and more over the {} announced", out.body_bytes),
            )));
            return Ok(false);
        }
        left -= bytes.len() as u64;
        write.queue(&bytes).await?;
    }
    write.flush().await?;
    Ok(true)
}

/// The next bytes of the body, or `None` where the request is over. What is sealed already goes out
/// before there is a wait, and waits itself while there is more at once.
async fn next<S: Source>(
    write: &mut WriteHalf<'_>,
    source: &mut S,
    shared: &Shared<'_>,
) -> Result<Option<Bytes>, StreamError> {
    let mut next = pin!(source.next());
    let at_once = tokio::select! {
        biased;
        bytes = &mut next => Some(bytes),
        () = std::future::ready(()) => None,
    };
    let bytes = if at_once.is_some() {
        at_once
    } else {
        write.flush().await?;
        shared.unless_over(next).await
    };
    Ok(match bytes {
        // An answer came early: the rest is of no use to anyone.
        _ if shared.over.get() => None,
        None => None,
        Some(Ok(Some(bytes))) => Some(bytes),
        Some(Ok(None)) => {
            let early = "it ended before the size that was announced";
            shared.fail(ClientError::Source(io::Error::new(io::ErrorKind::UnexpectedEof, early)));
            None
        }
        Some(Err(error)) => {
            shared.fail(ClientError::Source(error));
            None
        }
    })
}

async fn receive<K: Sink>(
    receiver: &mut Receiver<'_, '_>,
    out: &Outgoing,
    sink: &mut K,
    shared: &Shared<'_>,
) -> Result<Result<AnswerHead, Failure>, ExchangeError> {
    let header = receiver.header_v1_1().await?;
    if header.status != 0 {
        return receiver.failure(&header).await.map(Err);
    }
    let head = AnswerHead {
        body_bytes: header.body_bytes,
        checksum: header.checksum,
        convert_us: header.convert_us,
    };
    let max = receiver.limits.answer_bytes_max;
    if head.body_bytes > max {
        let bytes = head.body_bytes;
        return Err(ExchangeError::Final(ClientError::AnswerTooLarge { bytes, max }));
    }
    if head.body_bytes == 0 {
        return Err(ExchangeError::Final(ClientError::EmptyAnswer));
    }
    tell(shared.unless_over(sink.begin(&head)).await, shared)?;
    let mut hasher = Hasher::new(out.checksum);
    let mut left = head.body_bytes;
    while left > 0 {
        let bytes = chunk(receiver, head.body_bytes, left, &mut hasher).await?;
        left -= bytes.len() as u64;
        tell(shared.unless_over(sink.write(bytes)).await, shared)?;
    }
    let computed = hasher.finish();
    if computed != head.checksum {
        return Err(ExchangeError::Final(ClientError::Damaged {
            computed: u128::from_be_bytes(computed),
            announced: u128::from_be_bytes(head.checksum),
        }));
    }
    Ok(Ok(head))
}

/// The next piece of the answer: about a buffer of it, unless the rest is less. The sink is woken
/// once for several records.
async fn chunk(
    receiver: &mut Receiver<'_, '_>,
    expected: u64,
    left: u64,
    hasher: &mut Hasher,
) -> Result<Bytes, ExchangeError> {
    let most = usize::try_from(left).unwrap_or(BUFFER_BYTES).min(BUFFER_BYTES);
    // The record that passes the mark is taken whole: a part of it would have to be kept elsewhere.
    let mut bytes = BytesMut::with_capacity(most + RECORD_PLAIN_MAX);
    while bytes.len() < most {
        let wanted = left - bytes.len() as u64;
        let mut take = |plain: &[u8]| {
            hasher.update(plain);
            bytes.extend_from_slice(plain);
        };
        let read = receiver.read.read_at_most(wanted, &mut take).await;
        if !matches!(read, Ok(1..)) {
            let got = expected - left + bytes.len() as u64;
            return Err(ExchangeError::BrokenOff { got, expected });
        }
    }
    Ok(bytes.freeze())
}

/// What became of the sink's work, for the receiving.
fn tell(done: Option<io::Result<()>>, shared: &Shared<'_>) -> Result<(), ExchangeError> {
    match done {
        Some(Ok(())) => Ok(()),
        Some(Err(error)) => {
            shared.fail(ClientError::Sink(error));
            Err(ExchangeError::Final(ClientError::Cancelled))
        }
        None => Err(ExchangeError::Final(ClientError::Cancelled)),
    }
}
