//! One memory block for socket operations, registered with a ring or plain.

use std::fmt;

use tokio::sync::OwnedSemaphorePermit;
use tokio_uring::buf::fixed::FixedBuf;

use crate::metrics;

/// A block of bytes, all of them initialised. What is valid in it, its holder knows.
///
/// What was written to it is zeroed before it goes back to its pool or to the heap: it is somebody's
/// file, and the next holder is somebody else. Only so much of it is, since a small request would
/// otherwise pay for a whole block.
#[derive(Default)]
pub struct Buffer {
    storage: Storage,
    /// Nothing was written from here on.
    written: usize,
}

#[derive(Default)]
pub(super) enum Storage {
    /// Nothing: the state of an idle connection, and of a window whose buffer is lent.
    #[default]
    Empty,
    /// Plain memory; the length is the capacity.
    Heap(Vec<u8>),
    /// A pool's memory. The block goes back before its place counts as free: fields are dropped in
    /// this order.
    Pooled { block: FixedBuf, lease: Lease },
}

/// A buffer's place in its pool; the place is free again when this is dropped.
pub(super) struct Lease {
    _permit: OwnedSemaphorePermit,
    registered: bool,
}

impl Lease {
    pub(super) fn new(permit: OwnedSemaphorePermit, registered: bool) -> Self {
        metrics::count(|here| here.buffers_taken.add(1));
        Self { _permit: permit, registered }
    }

    pub(super) fn is_registered(&self) -> bool {
        self.registered
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        metrics::count(|here| here.buffers_returned.add(1));
    }
}

impl Buffer {
    /// A zeroed block of `bytes` on the heap, outside of any pool.
    #[must_use]
    pub fn heap(bytes: usize) -> Self {
        Self::of(Storage::Heap(vec![0; bytes]), 0)
    }

    /// A block of which the first `written` bytes are somebody's.
    pub(super) fn of(storage: Storage, written: usize) -> Self {
        Self { storage, written }
    }

    /// Takes it apart, for an operation that owns the block.
    pub(super) fn into_parts(mut self) -> (Storage, usize) {
        (std::mem::take(&mut self.storage), self.written)
    }

    /// What it stands on.
    #[cfg(test)]
    pub(super) fn storage(&self) -> &Storage {
        &self.storage
    }

    /// The whole block, to be written.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.mark(usize::MAX);
        self.block_mut()
    }

    /// Says that somebody's bytes stand in the block up to `end`.
    pub(super) fn mark(&mut self, end: usize) {
        self.written = self.written.max(end);
    }

    /// The block, for whoever marks what it writes.
    pub(super) fn block_mut(&mut self) -> &mut [u8] {
        match &mut self.storage {
            Storage::Empty => &mut [],
            Storage::Heap(block) => block,
            Storage::Pooled { block, .. } => block,
        }
    }

    /// The whole block.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match &self.storage {
            Storage::Empty => &[],
            Storage::Heap(block) => block,
            Storage::Pooled { block, .. } => block,
        }
    }

    /// Size of the block.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.bytes().len()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let end = self.written.min(self.capacity());
        if end > 0 {
            wipe(&mut self.block_mut()[..end]);
        }
    }
}

/// Zeroes what was somebody's file. At the speed of memory, which byte for byte it would not be.
pub fn wipe(bytes: &mut [u8]) {
    bytes.fill(0);
    // Memory that is about to be freed need not be zeroed, for all that a compiler knows.
    std::hint::black_box(bytes);
}

/// Never shows the bytes: they are somebody's file.
impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.storage {
            Storage::Empty => "Empty",
            Storage::Heap(_) => "Heap",
            Storage::Pooled { .. } => "Pooled",
        };
        write!(f, "{kind}({} bytes)", self.capacity())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_known_and_no_more() {
        let mut buffer = Buffer::heap(100);
        assert_eq!(buffer.written, 0);
        buffer.mark(10);
        buffer.mark(5);
        assert_eq!(buffer.written, 10);
        let (storage, written) = buffer.into_parts();
        let mut buffer = Buffer::of(storage, written);
        assert_eq!((buffer.capacity(), buffer.written), (100, 10));
        buffer.bytes_mut()[0] = 1;
        assert_eq!(buffer.written, usize::MAX);
    }
}
