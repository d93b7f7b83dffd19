//! A number that one thread writes.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that its thread alone raises, and that any thread may read.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `amount`. A load and a store instead of `fetch_add`, which would lock the cache line: no
    /// other thread writes here.
    pub fn add(&self, amount: u64) {
        self.0.store(self.read().wrapping_add(amount), Ordering::Relaxed);
    }

    /// Raises it to `value`, if it is less.
    pub(super) fn raise_to(&self, value: u64) {
        self.0.store(self.read().max(value), Ordering::Relaxed);
    }

    /// What it has come to.
    #[must_use]
    pub fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
