//! A result on its way out: from the task that talks to the master to the body of a response.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::http::HeaderMap;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::{oneshot, watch};

use super::app::Place;
use super::digest::{REPR_DIGEST, Sha256};
use super::pieces::{self, Pieces, ToPieces};
use super::problem::Problem;
use crate::client::{AnswerHead, Sink};

/// The end that the master's answer goes into.
pub(super) struct ToClient {
    head: Option<oneshot::Sender<Result<AnswerHead, Problem>>>,
    pieces: ToPieces,
}

/// The end that the client's response is made of. Whoever drops it, or what came of it, gives the
/// request up.
pub(super) struct FromMaster {
    head: oneshot::Receiver<Result<AnswerHead, Problem>>,
    pieces: Pieces,
    _here: watch::Sender<()>,
}

/// Tells when nobody waits for the answer any more.
pub(super) struct Gone(watch::Receiver<()>);

/// Both ends of an answer.
pub(super) fn channel(stall: Duration) -> (ToClient, FromMaster, Gone) {
    let (tell_head, head) = oneshot::channel();
    let (tell_pieces, pieces) = pieces::channel(stall);
    let (here, gone) = watch::channel(());
    let to_client = ToClient { head: Some(tell_head), pieces: tell_pieces };
    (to_client, FromMaster { head, pieces, _here: here }, Gone(gone))
}

impl Gone {
    pub(super) async fn wait(mut self) {
        while self.0.changed().await.is_ok() {}
    }
}

impl ToClient {
    /// Says how it ended.
    pub(super) async fn end(&mut self, outcome: Result<(), Problem>) {
        let Err(error) = outcome else { return };
        if let Some(head) = self.head.take() {
            let _ = head.send(Err(error));
        } else {
            self.pieces.fail(io::Error::other(error)).await;
        }
    }
}

impl Sink for ToClient {
    async fn begin(&mut self, head: &AnswerHead) -> io::Result<()> {
        let teller = self.head.take().ok_or(io::ErrorKind::BrokenPipe)?;
        teller.send(Ok(*head)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    async fn write(&mut self, bytes: Bytes) -> io::Result<()> {
        self.pieces.send(bytes).await
    }
}

impl FromMaster {
    /// The head of the answer, and its body; with the SHA-256 behind it where that is wanted. `place`
    /// is held as long as the body.
    pub(super) async fn answer(
        mut self,
        place: Arc<Place>,
        with_digest: bool,
    ) -> Result<(AnswerHead, Answer), Problem> {
        let head = (&mut self.head).await.unwrap_or_else(|_| {
            Err(Problem::of(crate::wire::Code::ShuttingDown, "the gateway is about to stop"))
        })?;
        let sha256 = with_digest.then(Sha256::new);
        Ok((head, Answer { from: self, left: head.body_bytes, sha256, _place: place }))
    }
}

/// The body of a result.
pub(super) struct Answer {
    from: FromMaster,
    left: u64,
    sha256: Option<Sha256>,
    _place: Arc<Place>,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.left == 0 {
            let trailer = self.sha256.take().map(|hash| {
                Ok(Frame::trailers(HeaderMap::from_iter([(REPR_DIGEST, hash.header())])))
            });
            return Poll::Ready(trailer);
        }
        Poll::Ready(Some(match ready!(self.from.pieces.poll_next(cx)) {
            Some(Ok(bytes)) => {
                self.left = self.left.saturating_sub(bytes.len() as u64);
                if let Some(hash) = &mut self.sha256 {
                    hash.update(&bytes);
                }
                Ok(Frame::data(bytes))
            }
            Some(Err(error)) => Err(error),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0 && self.sha256.is_none()
    }

    /// Trailers travel behind a body in chunks alone, which has no size.
    fn size_hint(&self) -> SizeHint {
        match self.sha256 {
            None => SizeHint::with_exact(self.left),
            Some(_) => SizeHint::default(),
        }
    }
}
