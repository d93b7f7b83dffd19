//! One request to a file store and its answer, in constant memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use fxsrv::auth::Token;
use fxsrv::io::{BUFFER_BYTES, Buffer};
use fxsrv::store::protocol::{Answer, op};
use fxsrv::tls::TlsSession;
use fxsrv::transport::{RECORD_PLAIN_MAX, Stream};
use fxsrv::wire::{ChecksumKind, Hasher};

use super::{Answered, Failed};

/// What a store is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreOp {
    /// To keep a file.
    Put,
    /// To hand one out.
    Get,
    /// To give one another name, to and fro.
    Change,
    /// To summarise the numbers in one.
    Summary,
    /// To say what it knows.
    Help,
}

/// A request to a store that is sent again and again. Each connection has a file of its own, so that
/// none waits for another's lock.
#[derive(Debug, Clone)]
pub struct StoreScript {
    op: StoreOp,
    token: Option<Token>,
    file: Arc<Vec<u8>>,
    checksum: [u8; 16],
    chunk_bytes: usize,
    /// Tells the names of this load from those of the one before it, which a CHANGE has left behind.
    load: u32,
}

/// Whose request it is, and how many it has done.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Turn {
    pub(super) asker: usize,
    pub(super) done: u64,
}

const OP_SHIFT: u8 = 5;
const LENGTH_MASK: u8 = 0x1f;

/// The upper three bits of an answer with a file in it.
const FILE: u8 = 1;
const SUMMARY: u8 = 2;
const HELP: u8 = 6;

impl StoreScript {
    /// A request about `file`, which is sent, if it is, in writes of `chunk_bytes`. `token` is shown on
    /// each new connection.
    #[must_use]
    pub fn new(op: StoreOp, token: Option<&Token>, file: Arc<Vec<u8>>, chunk_bytes: usize) -> Self {
        let checksum = ChecksumKind::Xxh3.of(&file);
        let (chunk_bytes, token) = (chunk_bytes.max(1), token.cloned());
        Self { op, token, file, checksum, chunk_bytes, load: 0 }
    }

    /// What is to be kept before the first request, if anything: for a load of one request of each
    /// connection. `self` is then about these files.
    #[must_use]
    pub fn preparation(&mut self) -> Option<Self> {
        self.load = new_load();
        let is_about_files = !matches!(self.op, StoreOp::Put | StoreOp::Help);
        is_about_files.then(|| Self { op: StoreOp::Put, ..self.clone() })
    }

    /// Bytes that are sent of a file.
    pub(super) fn body_bytes(&self) -> u64 {
        if self.op == StoreOp::Put { self.file.len() as u64 } else { 0 }
    }

    /// Windows under a new connection. A chunk fits the sending one whole, so that it is one write.
    pub(super) fn attach(&self, stream: &mut Stream) {
        let chunk = self.chunk_bytes.max(RECORD_PLAIN_MAX);
        let records = chunk.div_ceil(RECORD_PLAIN_MAX);
        let full = TlsSession::sealed_bytes(RECORD_PLAIN_MAX);
        stream.attach_recv(Buffer::heap(BUFFER_BYTES));
        stream.attach_send(Buffer::heap(records * full));
    }

    /// Shows the token, where there is one.
    pub(super) async fn greet(&self, stream: &mut Stream) -> Result<(), Failed> {
        let Some(token) = &self.token else { return Ok(()) };
        let line = format!("AUTH {}\n", token.reveal());
        stream.write_all(line.as_bytes()).await.map_err(|error| Failed::of_stream(&error))?;
        match byte(stream).await? {
            answer if answer == Answer::Done.byte() => Ok(()),
            _ => Err(Failed::NotAdmitted),
        }
    }

    /// Sends the request and reads its answer; with `verify`, a file is held against what was kept.
    pub(super) async fn exchange(
        &self,
        stream: &mut Stream,
        turn: Turn,
        verify: bool,
    ) -> Result<Answered, Failed> {
        self.send(stream, turn).await?;
        let first = byte(stream).await?;
        let body_bytes = match (self.op, first >> OP_SHIFT) {
            (StoreOp::Put | StoreOp::Change, 0) => 0,
            (StoreOp::Get, FILE) => {
                let bytes = head(stream, first).await?;
                let checksum = self.body(stream, bytes, verify).await?;
                let is_it = bytes == self.file.len() as u64;
                if !is_it || checksum.is_some_and(|checksum| checksum != self.checksum) {
                    return Err(Failed::Damaged);
                }
                bytes
            }
            (StoreOp::Summary, SUMMARY) => {
                let bytes = head(stream, first).await?;
                self.body(stream, bytes, false).await?;
                bytes
            }
            (StoreOp::Help, HELP) => {
                let bytes = u64::from(first & LENGTH_MASK);
                self.body(stream, bytes, false).await?;
                bytes
            }
            _ => return Err(failure(first)),
        };
        Ok(Answered { body_bytes, convert_us: None })
    }

    async fn send(&self, stream: &mut Stream, turn: Turn) -> Result<(), Failed> {
        let lost = |error| Failed::of_stream(&error);
        let side = if self.op == StoreOp::Change { turn.done % 2 } else { 0 };
        let name = |side: u64| self.name(turn.asker, side);
        match self.op {
            StoreOp::Help => stream.write_all(&[op::HELP << OP_SHIFT]).await.map_err(lost),
            StoreOp::Get => stream.write_all(&request(op::GET, &name(0))).await.map_err(lost),
            StoreOp::Summary => {
                stream.write_all(&request(op::SUMMARY, &name(0))).await.map_err(lost)
            }
            StoreOp::Change => {
                let both = [request(op::CHANGE, &name(side)), request(0, &name(1 - side))];
                stream.write_all(&both.concat()).await.map_err(lost)
            }
            StoreOp::Put => {
                // A plan has no file that large.
                let bytes = u32::try_from(self.file.len()).unwrap_or(u32::MAX);
                let head = [&request(op::PUT, &name(0))[..], &bytes.to_be_bytes()].concat();
                // With the first of the data, as a client should.
                stream.queue(&head).await.map_err(lost)?;
                let first = self.chunk_bytes.saturating_sub(head.len()).min(self.file.len());
                stream.write_all(&self.file[..first]).await.map_err(lost)?;
                for chunk in self.file[first..].chunks(self.chunk_bytes) {
                    stream.write_all(chunk).await.map_err(lost)?;
                }
                Ok(())
            }
        }
    }

    /// At most 31 bytes. Only CHANGE moves its files about, and needs new names in each load.
    fn name(&self, asker: usize, side: u64) -> String {
        if self.is_moved() {
            format!("bench-{:08x}-{asker}-{side}", self.load)
        } else {
            format!("bench-{asker}")
        }
    }

    /// An empty file is that of a CHANGE, or of its preparation.
    fn is_moved(&self) -> bool {
        self.file.is_empty()
    }

    /// Reads and drops so many bytes; with `verify`, their checksum.
    async fn body(
        &self,
        stream: &mut Stream,
        bytes: u64,
        verify: bool,
    ) -> Result<Option<[u8; 16]>, Failed> {
        let kind = if verify { ChecksumKind::Xxh3 } else { ChecksumKind::None };
        let (mut left, mut hasher) = (bytes, Hasher::new(kind));
        while left > 0 {
            let read = stream.read_at_most(left, &mut |plain| hasher.update(plain)).await;
            match read.map_err(|error| Failed::of_stream(&error))? {
                0 => return Err(Failed::Broken),
                read => left -= read as u64,
            }
        }
        Ok(verify.then(|| hasher.finish()))
    }
}

/// What an answer says that is none of the good ones. Its upper three bits count alone.
fn failure(first: u8) -> Failed {
    let is = |known: Answer| first >> OP_SHIFT == known.byte() >> OP_SHIFT;
    if is(Answer::NotFound) {
        Failed::NotFound
    } else if is(Answer::Refused) {
        Failed::Declined
    } else {
        Failed::Protocol
    }
}

/// The first bytes of a request: the operation, and a name.
fn request(op: u8, name: &str) -> Vec<u8> {
    // A name has no more than 31 bytes.
    [&[op << OP_SHIFT | name.len().to_le_bytes()[0]], name.as_bytes()].concat()
}

async fn byte(stream: &mut Stream) -> Result<u8, Failed> {
    let mut byte = [0];
    stream.read_exact(&mut byte).await.map_err(|error| Failed::of_stream(&error))?;
    Ok(byte[0])
}

/// Drops the name of an answer's file, and says how large the file is.
async fn head(stream: &mut Stream, first: u8) -> Result<u64, Failed> {
    let mut head = [0; 31 + 4];
    let name_bytes = usize::from(first & LENGTH_MASK);
    let head = &mut head[..name_bytes + 4];
    stream.read_exact(head).await.map_err(|error| Failed::of_stream(&error))?;
    Ok(head[name_bytes..].iter().fold(0, |size, &byte| size << 8 | u64::from(byte)))
}

/// A number that no load before this one had, most likely also of an earlier run at the same store.
fn new_load() -> u32 {
    static LOADS: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.subsec_nanos().wrapping_add(LOADS.fetch_add(1, Ordering::Relaxed))
}
