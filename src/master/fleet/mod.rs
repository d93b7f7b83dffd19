//! The workers of a master: which there are, which are up, and which is asked first.
//!
//! Owns: the set of workers, the choice among them, and what is known of each. Must never touch a
//! socket: reaching a worker is `upstream`'s.

mod worker;

use std::cell::Cell;
use std::rc::Rc;

pub(super) use worker::{Outstanding, Reached, Worker};

/// The workers, as one thread of the master sees them.
pub(super) struct Fleet {
    all: Vec<Rc<Worker>>,
    /// Where the search for the least busy begins, so that ties go round.
    turn: Cell<usize>,
}

impl Fleet {
    pub(super) fn new(addresses: &[String]) -> Self {
        let all = addresses.iter().map(|address| Rc::new(Worker::new(address))).collect();
        Self { all, turn: Cell::new(0) }
    }

    /// All workers in the order in which they are to be asked: the fewest requests outstanding
    /// first, and last those that could not be reached a short while ago.
    pub(super) fn candidates(&self) -> Vec<Rc<Worker>> {
        let mut candidates = self.all.clone();
        let turn = self.turn.get() % candidates.len().max(1);
        self.turn.set(turn + 1);
        candidates.rotate_left(turn);
        candidates.sort_by_key(|worker| (worker.is_down(), worker.outstanding()));
        candidates
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.all.len()
    }
}
