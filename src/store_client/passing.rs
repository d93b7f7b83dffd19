//! Files that pass through beside something else: each transfer has a connection of its own, and a
//! task that works it, so that who takes or gives the bytes may come and go.
//!
//! Nothing of a ring is dropped half done: whoever leaves a transfer shuts its socket down, and the
//! task ends by itself.

use std::io;
use std::net::Shutdown;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::{Connection, StoreClientError};
use crate::client::{AnswerHead, Sink, Source};
use crate::io::{Socket, spawn};
use crate::store::Name;
use crate::transport::StreamError;

/// Pieces of up to 64 KiB on their way in one direction.
const PIECES_MAX: usize = 4;

/// A file on its way from a store. Dropped, it is given up.
pub struct Download {
    bytes: u64,
    pieces: mpsc::Receiver<Bytes>,
    outcome: Outcome,
}

/// A file on its way to a store. Dropped before it is finished, it leaves the store as it was.
pub struct Upload {
    pieces: mpsc::Sender<Bytes>,
    outcome: Outcome,
}

/// How a transfer ends.
struct Outcome {
    told: oneshot::Receiver<Result<(), StoreClientError>>,
    socket: Socket,
}

/// The task's ends of a transfer.
struct Outgoing {
    begun: Option<oneshot::Sender<u64>>,
    pieces: mpsc::Sender<Bytes>,
}

struct Incoming(mpsc::Receiver<Bytes>);

impl Connection {
    /// Begins to fetch a file.
    ///
    /// # Errors
    ///
    /// There is none, or the connection breaks off.
    pub async fn download(mut self, name: &Name) -> Result<Download, StoreClientError> {
        let (sender, pieces) = mpsc::channel(PIECES_MAX);
        let (begin, size) = oneshot::channel();
        let (tell, told) = oneshot::channel();
        let mut outcome = Outcome { told, socket: self.stream.socket().clone() };
        let name = name.clone();
        spawn(async move {
            let mut sink = Outgoing { begun: Some(begin), pieces: sender };
            let fetched = self.get_streamed(&name, &mut sink).await;
            let is_whole = fetched.is_ok();
            // Whoever asked may have left.
            let _ = tell.send(fetched.map(|_| ()));
            drop(sink);
            if is_whole {
                self.close().await;
            }
        });
        match size.await {
            Ok(bytes) => Ok(Download { bytes, pieces, outcome }),
            Err(_) => Err(outcome.failure().await),
        }
    }

    /// Begins to store a file of `bytes`, in place of one that has its name.
    #[must_use]
    pub fn upload(mut self, name: &Name, bytes: u32) -> Upload {
        let (pieces, receiver) = mpsc::channel(PIECES_MAX);
        let (tell, told) = oneshot::channel();
        let outcome = Outcome { told, socket: self.stream.socket().clone() };
        let name = name.clone();
        spawn(async move {
            let mut source = Incoming(receiver);
            let stored = self.put_streamed(&name, bytes, &mut source).await;
            let is_stored = stored.is_ok();
            // Whoever sends may have left.
            let _ = tell.send(stored);
            drop(source);
            // A connection that is dropped in the middle of a file leaves the store as it was.
            if is_stored {
                self.close().await;
            }
        });
        Upload { pieces, outcome }
    }
}

impl Download {
    /// How large the file is.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The next bytes, or `None` after the last. May be dropped while it waits.
    ///
    /// # Errors
    ///
    /// The rest does not arrive: what came before it is no file.
    pub async fn next(&mut self) -> Result<Option<Bytes>, StoreClientError> {
        match self.pieces.recv().await {
            Some(piece) => Ok(Some(piece)),
            None => self.outcome.wait().await.map(|()| None),
        }
    }
}

impl Upload {
    /// Sends the next bytes. May be dropped while it waits; these bytes are then not sent.
    ///
    /// # Errors
    ///
    /// The store has ended the transfer.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), StoreClientError> {
        match self.pieces.send(bytes).await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.outcome.failure().await),
        }
    }

    /// Waits until the store has the file, all bytes of which were sent.
    ///
    /// # Errors
    ///
    /// The store refuses, or the connection breaks off.
    pub async fn finish(mut self) -> Result<(), StoreClientError> {
        self.outcome.wait().await
    }
}

impl Outcome {
    async fn wait(&mut self) -> Result<(), StoreClientError> {
        if self.told.is_terminated() {
            return Ok(());
        }
        let ended = |_| StoreClientError::Lost(StreamError::Closed { missing: 0 });
        (&mut self.told).await.map_err(ended)?
    }

    /// Why a transfer has ended that should go on.
    async fn failure(&mut self) -> StoreClientError {
        let early = StoreClientError::Lost(StreamError::Closed { missing: 0 });
        self.wait().await.err().unwrap_or(early)
    }
}

impl Drop for Outcome {
    fn drop(&mut self) {
        // Once the outcome was heard, only the goodbye is still on its way.
        if !self.told.is_terminated() {
            self.socket.shutdown(Shutdown::Both);
        }
    }
}

impl Sink for Outgoing {
    async fn begin(&mut self, head: &AnswerHead) -> io::Result<()> {
        let begun = self.begun.take().map(|begun| begun.send(head.body_bytes));
        if begun.is_some_and(|told| told.is_ok()) { Ok(()) } else { Err(left()) }
    }

    async fn write(&mut self, bytes: Bytes) -> io::Result<()> {
        self.pieces.send(bytes).await.map_err(|_| left())
    }
}

impl Source for Incoming {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        Ok(self.0.recv().await)
    }
}

/// Nobody hears it.
fn left() -> io::Error {
    io::Error::other("the other side has left")
}
