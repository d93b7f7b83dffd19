//! How long jobs have been there.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The jobs that somebody waits for, oldest first.
#[derive(Default)]
pub(super) struct Ages(Mutex<Jobs>);

#[derive(Default)]
struct Jobs {
    next: u64,
    since: BTreeMap<u64, Instant>,
}

/// A job, until it is dropped.
pub(super) struct Aging<'a> {
    ages: &'a Ages,
    number: u64,
}

impl Ages {
    /// A job comes in.
    pub(super) fn begin(&self) -> Aging<'_> {
        let mut jobs = self.lock();
        let number = jobs.next;
        jobs.next += 1;
        jobs.since.insert(number, Instant::now());
        Aging { ages: self, number }
    }

    /// The age of the oldest; zero where there is none.
    pub(super) fn oldest(&self) -> Duration {
        self.lock().since.values().next().map_or(Duration::ZERO, Instant::elapsed)
    }

    /// Nothing can be left half done under it.
    fn lock(&self) -> MutexGuard<'_, Jobs> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Aging<'_> {
    fn drop(&mut self) {
        self.ages.lock().since.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_the_first_that_is_still_there() {
        let ages = Ages::default();
        assert_eq!(ages.oldest(), Duration::ZERO);
        let first = ages.begin();
        let second = ages.begin();
        let younger = ages.lock().since[&1].elapsed();
        assert!(ages.oldest() >= younger);
        drop(first);
        assert_eq!(ages.lock().since.keys().collect::<Vec<_>>(), [&1]);
        drop(second);
        assert_eq!(ages.oldest(), Duration::ZERO);
    }
}
