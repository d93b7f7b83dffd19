//! The bounded pool of buffers of one thread.
//!
//! The pool bounds the memory of all connections, and recycles it. Whoever needs several buffers takes
//! them all at once or waits in line: taking them one by one could deadlock.
//!
//! Those of the usual size are registered with a ring, as far as the memory lock limit allows it. The
//! large ones never are: registering gains nothing on TCP, where the copy is inside of the network
//! stack and goes page by page for registered memory, and all of what is registered is resident and
//! charged at once.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_uring::buf::fixed::FixedBufPool;

use super::aligned::AlignedBlock;
use super::buffer::{Buffer, Lease, Storage};
use super::driver::Driver;
use super::{BUFFER_BYTES, memlock};
use crate::metrics;

/// tokio-uring keeps at most this many buffers (`UIO_MAXIOV`) and drops the rest without a word.
pub const BUFFERS_MAX: usize = 1024;

/// Fewer buffers than this serve no two requests at a time.
pub const BUFFERS_MIN: usize = 8;

/// Buffers of one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Class {
    /// How many there are.
    pub count: usize,
    /// What each carries: its block is a little larger, for what records add.
    pub bytes: usize,
}

/// What a pool consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolPlan {
    /// For every request.
    pub small: Class,
    /// For large bodies, as far as they go: a read and a write then move more, and cost less for
    /// each byte. None where the count is 0.
    pub bulk: Class,
    /// Whether a ring is to know those of the usual size.
    pub is_registered: bool,
}

/// The buffers of one thread. Clones share them.
#[derive(Clone)]
pub struct BufferPool {
    small: Shelf,
    bulk: Shelf,
}

/// The buffers of one class.
#[derive(Clone)]
struct Shelf {
    class: Class,
    blocks: Rc<FixedBufPool<AlignedBlock>>,
    registered: bool,
    free: Arc<Semaphore>,
}

impl Class {
    /// Bytes of the block below: a record of 16 KiB adds up to 29 bytes, which is less than one in
    /// 512, and registration pins whole pages anyway. A block of 64 KiB and no more would hold three
    /// whole records, and of the fourth all but 88 bytes.
    fn block_bytes(self) -> usize {
        (self.bytes + self.bytes / 512).next_multiple_of(memlock::PAGE_BYTES)
    }

    /// Bytes of all blocks.
    pub(super) fn total_bytes(self) -> usize {
        self.count * self.block_bytes()
    }

    /// As many of these as `limit_bytes` hold.
    fn within(self, limit_bytes: usize) -> Self {
        Self { count: self.count.min(limit_bytes / self.block_bytes()), ..self }
    }
}

impl PoolPlan {
    /// `count` buffers of the usual size, and none for bulk.
    #[must_use]
    pub fn small(count: usize) -> Self {
        Self {
            small: Class { count, bytes: BUFFER_BYTES },
            bulk: Class { count: 0, bytes: BUFFER_BYTES },
            is_registered: true,
        }
    }

    fn check(&self) -> io::Result<()> {
        let count = self.small.count.max(self.bulk.count);
        if self.small.count >= BUFFERS_MIN && count <= BUFFERS_MAX {
            return Ok(());
        }
        Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{count} buffers: a pool has {BUFFERS_MIN} to {BUFFERS_MAX}"),
        ))
    }
}

impl BufferPool {
    /// The pool of `plan`, with one line for the operator where it had to become smaller or stay
    /// unregistered. Must run on the thread's event loop, which is one of `loops` of the process: they
    /// share what may be locked.
    ///
    /// # Errors
    ///
    /// The plan has under 8 or over 1,024 buffers, or the memory cannot be had.
    pub fn new(
        driver: Driver,
        plan: &PoolPlan,
        loops: usize,
    ) -> io::Result<(Self, Option<String>)> {
        plan.check()?;
        let (small, warning) = if driver == Driver::Uring && plan.is_registered {
            Shelf::registered(plan.small, loops)?
        } else {
            (Shelf::plain(plan.small)?, None)
        };
        Ok((Self { small, bulk: Shelf::plain(plan.bulk)? }, warning))
    }

    /// Takes `N` buffers at once, waiting in line until they are free.
    pub async fn acquire<const N: usize>(&self) -> [Buffer; N] {
        let acquiring = Arc::clone(&self.small.free).acquire_many_owned(places(N));
        let acquired = if self.small.free.available_permits() < N {
            let since = Instant::now();
            let acquired = acquiring.await;
            metrics::count(|here| {
                here.admission_waits.add(1);
                let waited_us = u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX);
                here.admission_wait_us.add(waited_us);
            });
            acquired
        } else {
            acquiring.await
        };
        match acquired {
            Ok(permit) => self.small.take(permit),
            // The semaphore is never closed.
            Err(_) => std::array::from_fn(|_| Buffer::heap(self.small.class.block_bytes())),
        }
    }

    /// Takes `N` buffers for so many bytes: large ones where they are worth it and free at once, or
    /// else as [`Self::acquire`]. Nobody waits for the large ones, since the others do the same.
    pub async fn acquire_for<const N: usize>(&self, bytes: u64) -> [Buffer; N] {
        if bytes >= self.bulk.class.bytes as u64 {
            let free = Arc::clone(&self.bulk.free);
            if let Ok(permit) = free.try_acquire_many_owned(places(N)) {
                return self.bulk.take(permit);
            }
        }
        self.acquire().await
    }

    /// Buffers that nobody holds, of both sizes.
    #[must_use]
    pub fn free_count(&self) -> usize {
        self.small.free.available_permits() + self.bulk.free.available_permits()
    }

    /// Buffers in all, of both sizes.
    #[must_use]
    pub fn count(&self) -> usize {
        self.small.class.count + self.bulk.class.count
    }

    /// What a buffer of the smaller size carries.
    #[must_use]
    pub fn buffer_bytes(&self) -> usize {
        self.small.class.bytes
    }

    /// What there is of either size.
    #[must_use]
    pub fn plan(&self) -> PoolPlan {
        let is_registered = self.is_registered();
        PoolPlan { small: self.small.class, bulk: self.bulk.class, is_registered }
    }

    /// Whether the ring knows those of the usual size.
    #[must_use]
    pub fn is_registered(&self) -> bool {
        self.small.registered
    }
}

impl Shelf {
    /// Buffers that the ring knows, or as many as it takes, or plain ones: in that order. The operator
    /// hears of what is not as planned.
    fn registered(planned: Class, loops: usize) -> io::Result<(Self, Option<String>)> {
        let limit = memlock::limit();
        let mut class = limit.map_or(planned, |limit| planned.within(memlock::share(limit, loops)));
        let warn = |instead: &str| Some(memlock::warning(planned, loops, limit, instead));
        while class.count >= BUFFERS_MIN {
            let blocks = blocks(class)?;
            // The limit is charged per user and given back late, so that the kernel may still
            // refuse what the plan allows.
            if blocks.register().is_ok() {
                let fewer = class.count < planned.count;
                let warning = if fewer { warn(&format!("{} are", class.count)) } else { None };
                return Ok((Self::of(class, blocks, true), warning));
            }
            class.count = class.count * 3 / 4;
        }
        Ok((Self::plain(planned)?, warn("all stay unregistered")))
    }

    /// Buffers in plain memory.
    fn plain(class: Class) -> io::Result<Self> {
        Ok(Self::of(class, blocks(class)?, false))
    }

    fn of(class: Class, blocks: FixedBufPool<AlignedBlock>, registered: bool) -> Self {
        let free = Arc::new(Semaphore::new(class.count));
        Self { class, blocks: Rc::new(blocks), registered, free }
    }

    fn take<const N: usize>(&self, mut permit: OwnedSemaphorePermit) -> [Buffer; N] {
        let block_bytes = self.class.block_bytes();
        std::array::from_fn(|_| match (self.blocks.try_next(block_bytes), permit.split(1)) {
            (Some(block), Some(permit)) => {
                let lease = Lease::new(permit, self.registered);
                Buffer::of(Storage::Pooled { block, lease }, 0)
            }
            // A block that an abandoned operation still holds: its place was given back without it.
            _ => Buffer::heap(block_bytes),
        })
    }
}

impl std::fmt::Debug for BufferPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let registered = if self.is_registered() { "registered" } else { "plain" };
        write!(f, "{}, {registered}", self.plan())
    }
}

impl std::fmt::Display for Class {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} buffers of {} KiB", self.count, self.bytes / 1024)
    }
}

impl std::fmt::Display for PoolPlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.small)?;
        match self.bulk.count {
            0 => Ok(()),
            count => write!(f, " and {count} of {} KiB", self.bulk.bytes / 1024),
        }
    }
}

fn places(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn blocks(class: Class) -> io::Result<FixedBufPool<AlignedBlock>> {
    let blocks: io::Result<Vec<_>> =
        (0..class.count).map(|_| AlignedBlock::zeroed(class.block_bytes())).collect();
    Ok(FixedBufPool::new(blocks?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: usize = 1024;

    #[test]
    fn a_block_holds_whole_records_of_either_version() {
        for (bytes, records, block) in [(64 * KIB, 4, 68 * KIB), (256 * KIB, 16, 260 * KIB)] {
            let class = Class { count: 1, bytes };
            assert_eq!(class.block_bytes(), block);
            assert!(class.block_bytes() >= records * (16 * KIB + 29));
        }
    }

    #[test]
    fn a_limit_holds_whole_blocks() {
        let class = Class { count: 32, bytes: 64 * KIB };
        assert_eq!(class.total_bytes(), 32 * 68 * KIB);
        assert_eq!(class.within(8 * KIB * KIB), class);
        assert_eq!(class.within(KIB * KIB).count, 15);
        assert_eq!(class.within(0).count, 0);
    }
}
