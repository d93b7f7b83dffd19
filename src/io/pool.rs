//! The bounded pool of buffers of one ring thread.
//!
//! The buffers are registered with the ring where it is one and the memory lock limit allows it.
//! On TCP that makes nothing faster, since the copy is inside the network stack; the pool is worth
//! having because it bounds the memory of all connections and recycles it. Whoever needs several
//! buffers takes them all at once or waits in line: taking them one by one could deadlock.

use std::io;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_uring::buf::fixed::{FixedBuf, FixedBufPool};

use super::aligned::AlignedBlock;
use super::buffer::{Buffer, Lease, Storage};
use super::driver::Driver;
use super::memlock;
use crate::metrics;

/// tokio-uring keeps at most this many buffers (`UIO_MAXIOV`) and drops the rest without a word.
pub const BUFFERS_MAX: usize = 1024;

/// Fewer buffers than this serve no two requests at a time.
const BUFFERS_MIN: usize = 8;

/// The buffers of one thread. Clones share them.
#[derive(Clone)]
pub struct BufferPool {
    blocks: Rc<FixedBufPool<AlignedBlock>>,
    free: Arc<Semaphore>,
    buffer_bytes: usize,
    count: usize,
    registered: bool,
}

impl BufferPool {
    /// A pool of `count` buffers of `buffer_bytes` each, with one line for the operator where it
    /// had to become smaller or stay unregistered. Must run on the thread's event loop.
    ///
    /// # Errors
    ///
    /// `count` is not within 8 to 1,024.
    pub fn new(
        driver: Driver,
        count: usize,
        buffer_bytes: usize,
    ) -> io::Result<(Self, Option<String>)> {
        if !(BUFFERS_MIN..=BUFFERS_MAX).contains(&count) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{count} buffers: a pool has {BUFFERS_MIN} to {BUFFERS_MAX}"),
            ));
        }
        if driver == Driver::Epoll {
            return Ok((
                Self::with(blocks(count, buffer_bytes)?, count, buffer_bytes, false),
                None,
            ));
        }
        let plan = memlock::plan(count, buffer_bytes, memlock::limit());
        let mut fitting = plan.count;
        while fitting >= BUFFERS_MIN {
            let pool = blocks(fitting, buffer_bytes)?;
            // The limit is charged per user and given back late, so that the kernel may still
            // refuse what the plan allows.
            if pool.register().is_ok() {
                let warning = (fitting < count).then(|| plan.warning(fitting));
                return Ok((Self::with(pool, fitting, buffer_bytes, true), warning));
            }
            fitting = fitting * 3 / 4;
        }
        let warning = plan.warning(0);
        Ok((Self::with(blocks(count, buffer_bytes)?, count, buffer_bytes, false), Some(warning)))
    }

    fn with(
        blocks: FixedBufPool<AlignedBlock>,
        count: usize,
        buffer_bytes: usize,
        registered: bool,
    ) -> Self {
        let free = Arc::new(Semaphore::new(count));
        Self { blocks: Rc::new(blocks), free, buffer_bytes, count, registered }
    }

    /// Takes `N` buffers at once, waiting in line until they are free.
    pub async fn acquire<const N: usize>(&self) -> [Buffer; N] {
        let permits = u32::try_from(N).unwrap_or(u32::MAX);
        if self.free.available_permits() < N {
            metrics::count(|here| here.admission_waits.add(1));
        }
        let Ok(mut permit) = Arc::clone(&self.free).acquire_many_owned(permits).await else {
            // The semaphore is never closed.
            return std::array::from_fn(|_| Buffer::heap(self.buffer_bytes));
        };
        std::array::from_fn(|_| match (self.blocks.try_next(self.buffer_bytes), permit.split(1)) {
            (Some(block), Some(permit)) => self.lease(block, permit),
            // A block that an abandoned operation still holds: its place was given back without it.
            _ => Buffer::heap(self.buffer_bytes),
        })
    }

    fn lease(&self, block: FixedBuf, permit: OwnedSemaphorePermit) -> Buffer {
        let lease = Lease::new(permit, self.registered);
        Buffer(Storage::Pooled { block, lease })
    }

    /// Buffers that nobody holds.
    #[must_use]
    pub fn free_count(&self) -> usize {
        self.free.available_permits()
    }

    /// Buffers in all.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Size of each.
    #[must_use]
    pub fn buffer_bytes(&self) -> usize {
        self.buffer_bytes
    }

    /// Whether the ring knows them.
    #[must_use]
    pub fn is_registered(&self) -> bool {
        self.registered
    }
}

impl std::fmt::Debug for BufferPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let registered = if self.registered { "registered" } else { "plain" };
        write!(f, "{} {registered} buffers of {} bytes", self.count, self.buffer_bytes)
    }
}

fn blocks(count: usize, buffer_bytes: usize) -> io::Result<FixedBufPool<AlignedBlock>> {
    let blocks: io::Result<Vec<_>> =
        (0..count).map(|_| AlignedBlock::zeroed(buffer_bytes)).collect();
    Ok(FixedBufPool::new(blocks?))
}
