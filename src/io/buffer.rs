//! One memory block for socket operations, registered with a ring or plain.

use std::fmt;

use tokio::sync::OwnedSemaphorePermit;
use tokio_uring::buf::fixed::FixedBuf;

use crate::metrics;

/// A block of bytes, all of them initialised. What is valid in it, its holder knows: a recycled
/// block still has what an earlier holder left, so nobody may look past what it wrote itself.
#[derive(Default)]
pub struct Buffer(pub(super) Storage);

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
        Self(Storage::Heap(vec![0; bytes]))
    }

    /// The whole block, to be written.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        match &mut self.0 {
            Storage::Empty => &mut [],
            Storage::Heap(block) => block,
            Storage::Pooled { block, .. } => block,
        }
    }

    /// The whole block.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match &self.0 {
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

/// Never shows the bytes: they are somebody's file.
impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.0 {
            Storage::Empty => "Empty",
            Storage::Heap(_) => "Heap",
            Storage::Pooled { .. } => "Pooled",
        };
        write!(f, "{kind}({} bytes)", self.capacity())
    }
}
