//! Receiving a body into memory.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::exchange::Head;
use crate::metrics::Registry;
use crate::transport::{StreamError, TlsStream};
use crate::wire::{Code, Failure, Hasher};

/// First allocation of a body. Beyond it memory follows what has really arrived, doubling, so that
/// a header that announces 1 TB costs no more than this.
const FIRST_ALLOCATION_BYTES: u64 = 1024 * 1024;

/// The memory budget is counted in blocks of this size.
const BUDGET_BLOCK_BYTES: u64 = 64 * 1024;

/// When a body that found no memory is worth sending again: most conversions are over by then.
const RETRY_AFTER_MS: u32 = 1_000;

/// The memory that the bodies of a worker may take together. Clones share it.
#[derive(Clone)]
pub(super) struct Budget {
    free: Arc<Semaphore>,
    blocks: usize,
}

/// A body's share of the budget, free again when this is dropped.
#[derive(Default)]
pub(super) struct Share {
    permit: Option<OwnedSemaphorePermit>,
    bytes: u64,
}

impl Budget {
    pub(super) fn new(bytes_max: u64) -> Self {
        let blocks = usize::try_from(bytes_max / BUDGET_BLOCK_BYTES).unwrap_or(usize::MAX);
        let blocks = blocks.min(Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(blocks)), blocks }
    }

    /// Shows what there is, and what is left of it, in `metrics`.
    pub(super) fn show_in(&self, metrics: &Registry) {
        let bytes = |blocks: usize| blocks as u64 * BUDGET_BLOCK_BYTES;
        let (free, all) = (Arc::clone(&self.free), bytes(self.blocks));
        metrics.gauge("memory_budget", "Bytes of bodies that may be held.", move || all);
        metrics.gauge("memory_budget_left", "Bytes of bodies that may still come.", move || {
            bytes(free.available_permits())
        });
    }

    /// Raises `share` to `bytes`, if there is so much.
    fn raise(&self, share: &mut Share, bytes: u64) -> Result<(), Failure> {
        let missing = bytes.saturating_sub(share.bytes).div_ceil(BUDGET_BLOCK_BYTES);
        let blocks = u32::try_from(missing).unwrap_or(u32::MAX);
        let permit = Arc::clone(&self.free).try_acquire_many_owned(blocks).map_err(|_| {
            Failure::new(Code::Busy, format!("no memory for a body of {bytes} bytes now"))
                .with_retry_after_ms(RETRY_AFTER_MS)
                .with_hint("try again after the given time")
        })?;
        match &mut share.permit {
            Some(held) => held.merge(permit),
            None => share.permit = Some(permit),
        }
        share.bytes += missing * BUDGET_BLOCK_BYTES;
        Ok(())
    }
}

/// A body that is in memory, its share of the budget, and its checksum.
pub(super) struct Body {
    pub(super) bytes: Vec<u8>,
    pub(super) checksum: [u8; 16],
    _share: Share,
}

impl Body {
    /// A body that came another way than over a connection, and whose memory is counted by whoever
    /// had it.
    pub(super) fn in_hand(bytes: Vec<u8>) -> Self {
        Self { bytes, checksum: [0; 16], _share: Share::default() }
    }
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
pub(super) async fn receive(
    stream: &mut TlsStream,
    head: &Head,
    budget: &Budget,
) -> Result<Body, ReceiveError> {
    let total = head.header.body_bytes();
    let mut hasher = Hasher::new(head.options.checksum);
    let (mut bytes, mut share) = (Vec::new(), Share::default());
    let mut left = total;
    while left > 0 {
        make_room(&mut bytes, &mut share, total, budget)
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
    Ok(Body { bytes, checksum: hasher.finish(), _share: share })
}

fn make_room(
    bytes: &mut Vec<u8>,
    share: &mut Share,
    total: u64,
    budget: &Budget,
) -> Result<(), Failure> {
    if bytes.len() < bytes.capacity() {
        return Ok(());
    }
    let grown = (bytes.len() as u64 * 2).max(FIRST_ALLOCATION_BYTES).min(total);
    budget.raise(share, grown)?;
    let more = usize::try_from(grown).unwrap_or(usize::MAX).saturating_sub(bytes.len());
    bytes.try_reserve_exact(more).map_err(|_| {
        Failure::new(Code::WorkerFailed, format!("no memory for a body of {total} bytes"))
            .with_hint("try again later, or send a smaller file")
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn bodies_share_a_budget_and_give_it_back() {
        let budget = Budget::new(4 * BUDGET_BLOCK_BYTES);
        let (mut first, mut second) = (Share::default(), Share::default());
        budget.raise(&mut first, 1).unwrap();
        budget.raise(&mut first, BUDGET_BLOCK_BYTES).unwrap();
        budget.raise(&mut first, BUDGET_BLOCK_BYTES + 1).unwrap();
        budget.raise(&mut second, 2 * BUDGET_BLOCK_BYTES).unwrap();
        let failure = budget.raise(&mut second, 3 * BUDGET_BLOCK_BYTES).unwrap_err();
        assert_eq!((failure.code, failure.retry_after_ms), (Code::Busy, RETRY_AFTER_MS));
        drop(first);
        budget.raise(&mut second, 4 * BUDGET_BLOCK_BYTES).unwrap();
    }

    #[test]
    fn memory_follows_what_arrives_and_never_passes_what_was_announced() {
        let budget = Budget::new(1 << 30);
        let (mut bytes, mut share) = (Vec::new(), Share::default());
        make_room(&mut bytes, &mut share, 1 << 40, &budget).unwrap();
        assert_eq!(bytes.capacity() as u64, FIRST_ALLOCATION_BYTES);
        bytes.resize(bytes.capacity(), 0);
        make_room(&mut bytes, &mut share, FIRST_ALLOCATION_BYTES + 10, &budget).unwrap();
        assert_eq!(bytes.capacity() as u64, FIRST_ALLOCATION_BYTES + 10);
    }
}
