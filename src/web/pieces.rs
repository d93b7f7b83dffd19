//! A body that one task of a thread makes and another sends on.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame};
use tokio::sync::mpsc;

/// Pieces of 64 KiB between the two: one is being written while the next is received.
const PIECES: usize = 1;

/// The end that pieces go into.
pub(super) struct ToPieces {
    sender: mpsc::Sender<io::Result<Bytes>>,
    stall: Duration,
}

/// The end that is a body. A body that should go on where the other end is gone is cut.
pub(super) struct Pieces(mpsc::Receiver<io::Result<Bytes>>);

/// Both ends. A reader that takes nothing for `stall` is given up.
pub(super) fn channel(stall: Duration) -> (ToPieces, Pieces) {
    let (sender, receiver) = mpsc::channel(PIECES);
    (ToPieces { sender, stall }, Pieces(receiver))
}

impl ToPieces {
    /// Passes a piece on, as soon as there is room for it.
    pub(super) async fn send(&self, bytes: Bytes) -> io::Result<()> {
        match tokio::time::timeout(self.stall, self.sender.send(Ok(bytes))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(io::ErrorKind::BrokenPipe.into()),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// Cuts the body, so that nobody takes a part for the whole.
    pub(super) async fn fail(&self, error: io::Error) {
        // A reader that is gone has nothing to take for the whole.
        let _ = tokio::time::timeout(self.stall, self.sender.send(Err(error))).await;
    }

    /// Waits until nobody reads any more.
    pub(super) async fn closed(&self) {
        self.sender.closed().await;
    }
}

impl Pieces {
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        self.0.poll_recv(cx)
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.poll_next(cx).map(|piece| piece.map(|bytes| bytes.map(Frame::data)))
    }
}
