//! Events in the order of their times.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// What is still to happen.
pub struct Events<T> {
    heap: BinaryHeap<Entry<T>>,
    added: u64,
}

struct Entry<T> {
    at: f64,
    number: u64,
    what: T,
}

impl<T> Default for Events<T> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), added: 0 }
    }
}

impl<T> Events<T> {
    /// Adds an event. Those of one time happen in the order in which they were added.
    pub fn add(&mut self, at: f64, what: T) {
        self.heap.push(Entry { at, number: self.added, what });
        self.added += 1;
    }

    /// The next event and its time.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Option<(f64, T)> {
        self.heap.pop().map(|entry| (entry.at, entry.what))
    }
}

/// The heap gives the greatest first: the earliest is that.
impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        other.at.total_cmp(&self.at).then(other.number.cmp(&self.number))
    }
}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T> Eq for Entry<T> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_and_then_in_turn() {
        let mut events = Events::default();
        for (at, what) in [(2.0, 'c'), (1.0, 'a'), (1.0, 'b')] {
            events.add(at, what);
        }
        let order: Vec<_> = std::iter::from_fn(|| events.next()).map(|(_, what)| what).collect();
        assert_eq!(order, ['a', 'b', 'c']);
    }
}
