//! PUT on a ring thread, with the file in a bucket.

use std::time::Instant;

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;

use super::Bucket;
use super::bucket::PIECE_BYTES;
use super::upload::Piece;
use crate::store::StoreError;
use crate::store::checksum::Hasher;
use crate::store::name::{Name, NameError};
use crate::store::protocol::Answer;
use crate::store::service::{Next, Store, log_access, log_refusal};
use crate::transport::{Stream, StreamError};

/// What became of a body.
struct Received {
    stored: Result<(), StoreError>,
    unread_bytes: u64,
}

impl Store {
    pub(in crate::store) async fn put_object(
        &self,
        bucket: &Bucket,
        stream: &mut Stream,
        name: Result<Name, NameError>,
        bytes: u64,
    ) -> Result<Next, StreamError> {
        let started = Instant::now();
        stream.socket().set_deadline(Some(started + bucket.limits().transfer_time(bytes)));
        let stall = self.shared.config.limits.stall_timeout;
        stream.socket().set_stall_limits(Some(stall), Some(stall));
        let refused = |error| Received { stored: Err(error), unread_bytes: bytes };
        let received = match &name {
            Ok(name) => match bucket.begin(name, bytes).await {
                Ok((pieces, done)) => {
                    let sent = self.send_pieces(stream, bytes, pieces).await?;
                    // The bucket takes its own time, which is not the client's.
                    stream.socket().set_deadline(None);
                    Received { stored: done.done().await, unread_bytes: bytes - sent }
                }
                Err(error) => refused(error),
            },
            Err(error) => refused((*error).into()),
        };
        let name = name.as_ref().ok();
        let next = match received {
            Received { stored: Ok(()), .. } => {
                stream.write_all(&[Answer::Done.byte()]).await?;
                log_access(stream, "PUT", name, bytes, started);
                Next::Keep
            }
            Received { stored: Err(error), unread_bytes } => {
                log_refusal(stream, "PUT", name, &error);
                stream.write_all(&[error.answer().byte()]).await?;
                self.pass_over(stream, unread_bytes).await?
            }
        };
        stream.socket().set_deadline(None);
        stream.socket().set_stall_limits(None, Some(stall));
        Ok(next)
    }

    /// Hands a body on, piece by piece, and says how much of it was read: less than all of it where
    /// the other side has given up.
    async fn send_pieces(
        &self,
        stream: &mut Stream,
        bytes: u64,
        pieces: mpsc::Sender<Piece>,
    ) -> Result<u64, StreamError> {
        if bytes > PIECE_BYTES as u64 {
            let [recv] = self.context.pool.acquire::<1>().await;
            stream.attach_recv(recv);
        }
        let (mut hasher, mut read) = (Hasher::default(), 0);
        while read < bytes {
            let piece = read_piece(stream, bytes - read).await?;
            hasher.update(&piece);
            read += piece.len() as u64;
            if pieces.send(Piece::Data(piece)).await.is_err() {
                break;
            }
        }
        stream.detach();
        // Where nobody listens, the outcome says why.
        let _ = pieces.send(Piece::End(hasher.finish())).await;
        Ok(read)
    }
}

/// A full piece, or what is left.
async fn read_piece(stream: &mut Stream, left: u64) -> Result<Bytes, StreamError> {
    let room = usize::try_from(left).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
    let mut piece = BytesMut::with_capacity(room);
    while piece.len() < room {
        let wanted = (room - piece.len()) as u64;
        if stream.read_at_most(wanted, &mut |plain| piece.extend_from_slice(plain)).await? == 0 {
            return Err(StreamError::Closed { missing: left - piece.len() as u64 });
        }
    }
    Ok(piece.freeze())
}
