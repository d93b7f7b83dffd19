//! The jobs that wait for a slot, in their order. Whoever no longer wants one takes it out again.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// A bounded queue between threads.
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    len_max: usize,
}

struct State<T> {
    waiting: VecDeque<T>,
    is_closed: bool,
}

impl<T> Queue<T> {
    pub(super) fn new(len_max: usize) -> Self {
        let state = State { waiting: VecDeque::new(), is_closed: false };
        Self { state: Mutex::new(state), changed: Condvar::new(), len_max }
    }

    /// Puts `one` behind all others; `false` where there is no place.
    pub(super) fn push(&self, one: T) -> bool {
        let mut state = self.lock();
        if state.waiting.len() >= self.len_max {
            return false;
        }
        state.waiting.push_back(one);
        drop(state);
        self.changed.notify_one();
        true
    }

    /// Waits for the first; `None` once the queue is closed and nothing waits in it.
    pub(super) fn pop(&self) -> Option<T> {
        let mut state = self.lock();
        loop {
            if let Some(first) = state.waiting.pop_front() {
                return Some(first);
            }
            if state.is_closed {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes out the one that is meant, if it waits.
    pub(super) fn take(&self, is_meant: impl Fn(&T) -> bool) -> Option<T> {
        let mut state = self.lock();
        let place = state.waiting.iter().position(is_meant)?;
        state.waiting.remove(place)
    }

    /// Nothing comes after what is in it.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
    }

    pub(super) fn len(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Nothing can be left half done under it.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_is_taken_out_leaves_its_place_to_others() {
        let queue = Queue::new(2);
        assert!(queue.push(1) && queue.push(2) && !queue.push(3));
        assert_eq!((queue.take(|one| *one == 1), queue.take(|one| *one == 1)), (Some(1), None));
        assert!(queue.push(3));
        queue.close();
        assert_eq!(
            (queue.len(), queue.pop(), queue.pop(), queue.pop()),
            (2, Some(2), Some(3), None)
        );
    }

    #[test]
    fn a_thread_that_waits_is_woken_by_what_comes_and_by_the_end() {
        let queue = Queue::new(8);
        std::thread::scope(|scope| {
            let takes = scope.spawn(|| std::iter::from_fn(|| queue.pop()).collect::<Vec<_>>());
            assert!((0..5).all(|one| queue.push(one)));
            queue.close();
            assert_eq!(takes.join().ok(), Some(vec![0, 1, 2, 3, 4]));
        });
    }
}
