//! The bounded pool of buffers of one thread.
//!
//! The buffers are registered with the ring where it is one and the memory lock limit allows it.
//! On TCP that makes nothing faster, since the copy is inside the network stack; the pool is worth
//! having because it bounds the memory of all connections and recycles it. Whoever needs several
//! buffers takes them all at once or waits in line: taking them one by one could deadlock.

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
    /// Whether an operator has asked for so many of the large ones, and is told where there are fewer.
    pub is_bulk_asked_for: bool,
}

/// The buffers of one thread. Clones share them.
#[derive(Clone)]
pub struct BufferPool {
    blocks: Rc<FixedBufPool<AlignedBlock>>,
    small: Shelf,
    bulk: Shelf,
    is_bulk_asked_for: bool,
    registered: bool,
}

/// The places of one class.
#[derive(Clone)]
struct Shelf {
    class: Class,
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
    fn total_bytes(self) -> usize {
        self.count * self.block_bytes()
    }
}

impl PoolPlan {
    /// `count` buffers of the usual size, and none for bulk.
    #[must_use]
    pub fn small(count: usize) -> Self {
        Self {
            small: Class { count, bytes: BUFFER_BYTES },
            bulk: Class { count: 0, bytes: BUFFER_BYTES },
            is_bulk_asked_for: false,
        }
    }

    /// Bytes of all blocks.
    #[must_use]
    pub fn total_bytes(&self) -> usize {
        self.small.total_bytes() + self.bulk.total_bytes()
    }

    /// The most of this plan that `limit_bytes` holds: what is for bulk is given up first.
    fn within(self, limit_bytes: usize) -> Self {
        let small = self.small.count.min(limit_bytes / self.small.block_bytes());
        let left = limit_bytes - small * self.small.block_bytes();
        // A request takes two at once.
        let bulk = self.bulk.count.min(left / self.bulk.block_bytes() / 2 * 2);
        self.with_counts(small, if small < self.small.count { 0 } else { bulk })
    }

    /// What to try where the kernel has refused this.
    fn smaller(self) -> Self {
        match self.bulk.count {
            0 => self.with_counts(self.small.count * 3 / 4, 0),
            bulk => self.with_counts(self.small.count, bulk / 2),
        }
    }

    /// Whether an operator is to hear that there is only `made` of this.
    fn misses(&self, made: &Self) -> bool {
        made.small.count < self.small.count
            || self.is_bulk_asked_for && made.bulk.count < self.bulk.count
    }

    fn with_counts(self, small: usize, bulk: usize) -> Self {
        Self {
            small: Class { count: small, ..self.small },
            bulk: Class { count: bulk, ..self.bulk },
            ..self
        }
    }

    fn check(&self) -> io::Result<()> {
        let count = self.small.count + self.bulk.count;
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
        if driver == Driver::Epoll {
            return Ok((Self::with(blocks(plan)?, plan, false), None));
        }
        let limit = memlock::limit();
        let mut attempt = limit.map_or(*plan, |limit| plan.within(memlock::share(limit, loops)));
        while attempt.small.count >= BUFFERS_MIN {
            let pool = blocks(&attempt)?;
            // The limit is charged per user and given back late, so that the kernel may still
            // refuse what the plan allows.
            if pool.register().is_ok() {
                let warning = plan
                    .misses(&attempt)
                    .then(|| memlock::warning(plan, loops, limit, &format!("{attempt} are")));
                return Ok((Self::with(pool, &attempt, true), warning));
            }
            attempt = attempt.smaller();
        }
        let warning = memlock::warning(plan, loops, limit, "all stay unregistered");
        Ok((Self::with(blocks(plan)?, plan, false), Some(warning)))
    }

    fn with(blocks: FixedBufPool<AlignedBlock>, plan: &PoolPlan, registered: bool) -> Self {
        let shelf = |class: Class| Shelf { class, free: Arc::new(Semaphore::new(class.count)) };
        Self {
            blocks: Rc::new(blocks),
            small: shelf(plan.small),
            bulk: shelf(plan.bulk),
            is_bulk_asked_for: plan.is_bulk_asked_for,
            registered,
        }
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
            Ok(permit) => self.take(&self.small, permit),
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
                return self.take(&self.bulk, permit);
            }
        }
        self.acquire().await
    }

    fn take<const N: usize>(&self, from: &Shelf, mut permit: OwnedSemaphorePermit) -> [Buffer; N] {
        let block_bytes = from.class.block_bytes();
        std::array::from_fn(|_| match (self.blocks.try_next(block_bytes), permit.split(1)) {
            (Some(block), Some(permit)) => {
                let lease = Lease::new(permit, self.registered);
                Buffer(Storage::Pooled { block, lease })
            }
            // A block that an abandoned operation still holds: its place was given back without it.
            _ => Buffer::heap(block_bytes),
        })
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
        PoolPlan {
            small: self.small.class,
            bulk: self.bulk.class,
            is_bulk_asked_for: self.is_bulk_asked_for,
        }
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
        write!(f, "{} {registered}", self.plan())
    }
}

impl std::fmt::Display for PoolPlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kib = |class: Class| class.bytes / 1024;
        write!(f, "{} buffers of {} KiB", self.small.count, kib(self.small))?;
        match self.bulk.count {
            0 => Ok(()),
            count => write!(f, " and {count} of {} KiB", kib(self.bulk)),
        }
    }
}

fn places(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn blocks(plan: &PoolPlan) -> io::Result<FixedBufPool<AlignedBlock>> {
    let of =
        |class: Class| (0..class.count).map(move |_| AlignedBlock::zeroed(class.block_bytes()));
    let blocks: io::Result<Vec<_>> = of(plan.small).chain(of(plan.bulk)).collect();
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
    fn what_is_for_bulk_is_given_up_first() {
        let bulk = Class { count: 8, bytes: 256 * KIB };
        let plan = PoolPlan { bulk, ..PoolPlan::small(32) };
        assert_eq!(plan.total_bytes(), (32 * 68 + 8 * 260) * KIB);
        assert_eq!(plan.within(8 * KIB * KIB), plan);
        assert_eq!(plan.within(4 * KIB * KIB), plan.with_counts(32, 6));
        assert_eq!(plan.within(KIB * KIB), plan.with_counts(15, 0));
        assert_eq!(plan.within(0), plan.with_counts(0, 0));
        assert_eq!(plan.smaller(), plan.with_counts(32, 4));
        assert_eq!(plan.with_counts(32, 0).smaller(), plan.with_counts(24, 0));
    }

    #[test]
    fn an_operator_hears_of_fewer_buffers_than_asked_for() {
        let plan = PoolPlan { bulk: Class { count: 8, bytes: 256 * KIB }, ..PoolPlan::small(32) };
        assert!(!plan.misses(&plan.with_counts(32, 2)), "nobody has asked for the large ones");
        assert!(plan.misses(&plan.with_counts(31, 0)));
        assert!(PoolPlan { is_bulk_asked_for: true, ..plan }.misses(&plan.with_counts(32, 7)));
    }
}
