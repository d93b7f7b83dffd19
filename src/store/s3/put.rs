//! PUT and GET on a ring thread, with the file in a bucket.

use std::time::Instant;

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;

use super::Bucket;
use super::bucket::PIECE_BYTES;
use super::fetch::Fetched;
use super::upload::Piece;
use crate::io::{BUFFER_BYTES, Buffer};
use crate::store::StoreError;
use crate::store::checksum::Hasher;
use crate::store::get::{HEAD_ROOM, STEP_BYTES};
use crate::store::name::{Name, NameError};
use crate::store::protocol::{Answer, FileHead};
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

    pub(in crate::store) async fn get_object(
        &self,
        bucket: &Bucket,
        stream: &mut Stream,
        name: Result<Name, NameError>,
    ) -> Result<Next, StreamError> {
        let started = Instant::now();
        let name = match name {
            Ok(name) => name,
            Err(error) => return self.refuse(stream, "GET", None, &error.into()).await,
        };
        let max = u64::from(u32::MAX);
        let file = match bucket.fetch(&name).await {
            Ok(file) if file.bytes > max => Err(StoreError::TooLarge { bytes: file.bytes, max }),
            fetched => fetched,
        };
        let mut file = match file {
            Ok(file) => file,
            Err(error) => return self.refuse(stream, "GET", Some(&name), &error).await,
        };
        let time = bucket.limits().transfer_time(file.bytes);
        stream.socket().set_deadline(Some(started + time));
        let next = self.send_object(stream, &name, &mut file, started).await?;
        stream.socket().set_deadline(None);
        Ok(next)
    }

    async fn send_object(
        &self,
        stream: &mut Stream,
        name: &Name,
        file: &mut Fetched,
        started: Instant,
    ) -> Result<Next, StreamError> {
        // `get_object` has held it against the field.
        let head = FileHead::file(name, u32::try_from(file.bytes).unwrap_or(u32::MAX));
        let mut start = HEAD_ROOM - head.bytes().len();
        // Beside the pool, as the pieces are: it waits for a bucket as long as those do.
        let mut data = Buffer::heap(BUFFER_BYTES);
        data.bytes_mut()[start..HEAD_ROOM].copy_from_slice(head.bytes());
        let (mut hasher, mut left) = (Hasher::default(), file.bytes);
        let mut is_begun = false;
        loop {
            let step = usize::try_from(left).unwrap_or(STEP_BYTES).min(STEP_BYTES);
            let block = &mut data.bytes_mut()[HEAD_ROOM..HEAD_ROOM + step];
            let filled = file.fill(block).await.and_then(|()| {
                hasher.update(block);
                left -= step as u64;
                if left == 0 { verify(&hasher, file.checksum) } else { Ok(()) }
            });
            match filled {
                Ok(()) => {}
                Err(error) if is_begun => {
                    log_refusal(stream, "GET", Some(name), &error);
                    return Ok(Next::Cut);
                }
                Err(error) => return self.refuse(stream, "GET", Some(name), &error).await,
            }
            if !is_begun {
                let [send] = self.context.pool.acquire::<1>().await;
                stream.attach_send(send);
            }
            stream.queue(&data.bytes()[start..HEAD_ROOM + step]).await?;
            stream.flush().await?;
            (start, is_begun) = (HEAD_ROOM, true);
            if left == 0 {
                log_access(stream, "GET", Some(name), file.bytes, started);
                return Ok(Next::Keep);
            }
        }
    }
}

fn verify(hasher: &Hasher, stored: Option<u128>) -> Result<(), StoreError> {
    let Some(stored) = stored else { return Ok(()) };
    match hasher.finish() {
        computed if computed == stored => Ok(()),
        computed => Err(StoreError::Damaged { computed, stored }),
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
