//! Receiving a body into memory.

use crate::exchange::Head;
use crate::transport::{StreamError, TlsStream};
use crate::wire::{Code, Failure, Hasher};

/// First allocation of a body. Beyond it memory follows what has really arrived, doubling, so that
/// a header that announces 1 TB costs no more than this.
const FIRST_ALLOCATION_BYTES: u64 = 1024 * 1024;

/// A body that is in memory, and its checksum.
pub(super) struct Body {
    pub(super) bytes: Vec<u8>,
    pub(super) checksum: [u8; 16],
}

/// Why a body is not there.
pub(super) enum ReceiveError {
    /// The connection failed, and nobody is there to be answered.
    Stream(StreamError),
    /// The request failed; so much of the body is unread, or nobody knows whether it will come.
    Failed { failure: Failure, unread_bytes: Option<u64> },
}

impl ReceiveError {
    /// A sender that stalls can still be told; one that is gone cannot.
    fn from_stream(error: StreamError, left: u64) -> Self {
        match error {
            StreamError::TimedOut => Self::Failed {
                failure: Failure::new(
                    Code::Timeout,
                    format!("the body stalled with {left} bytes still to come"),
                )
                .with_hint("check the connection and send again"),
                unread_bytes: None,
            },
            error => Self::Stream(error),
        }
    }
}

/// Receives the body that `head` announces. It is hashed as it arrives, while it is in the cache:
/// at the end it costs as much again and adds to the latency.
pub(super) async fn receive(stream: &mut TlsStream, head: &Head) -> Result<Body, ReceiveError> {
    let total = head.header.body_bytes();
    let mut hasher = Hasher::new(head.options.checksum);
    let mut bytes = Vec::new();
    let mut left = total;
    while left > 0 {
        make_room(&mut bytes, total)
            .map_err(|failure| ReceiveError::Failed { failure, unread_bytes: Some(left) })?;
        let room = (bytes.capacity() - bytes.len()) as u64;
        let read = stream
            .read_at_most(left.min(room), &mut |plain| {
                hasher.update(plain);
                bytes.extend_from_slice(plain);
            })
            .await
            .map_err(|error| ReceiveError::from_stream(error, left))?;
        if read == 0 {
            return Err(ReceiveError::Stream(StreamError::Closed { missing: left }));
        }
        left -= read as u64;
    }
    Ok(Body { bytes, checksum: hasher.finish() })
}

fn make_room(bytes: &mut Vec<u8>, total: u64) -> Result<(), Failure> {
    if bytes.len() < bytes.capacity() {
        return Ok(());
    }
    let grown = (bytes.len() as u64 * 2).max(FIRST_ALLOCATION_BYTES).min(total);
    let more = usize::try_from(grown).unwrap_or(usize::MAX).saturating_sub(bytes.len());
    bytes.try_reserve_exact(more).map_err(|_| {
        Failure::new(Code::WorkerFailed, format!("no memory for a body of {total} bytes"))
            .with_hint("try again later, or send a smaller file")
    })
}
