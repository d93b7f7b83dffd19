//! The workers of a master: which there are, how they are, and which is asked first.
//!
//! Owns: the set of workers, one for all threads; the checks and the look-ups that keep it true, on
//! one thread of their own; and the choice. Must never see a request's bytes, and reaches a worker
//! through `upstream` alone.

mod choice;
mod health;
mod keeper;
mod list;
mod probe;
mod report;
mod resolve;
mod status;
mod worker;

use std::sync::Arc;

use tokio::sync::watch;

pub(super) use choice::View;
pub(super) use keeper::Keeper;
pub use list::{WORKERS_MAX, WorkerList, WorkerListError, WorkerSpec};
pub(super) use worker::{Reached, Worker};

use crate::limits::FleetLimits;
use crate::metrics::Registry;
use health::State;

/// All workers: those on the list, and those that left it and still have requests.
type Members = Arc<Vec<Arc<Worker>>>;

/// The workers of a process. Its clones are one fleet.
#[derive(Clone)]
pub(super) struct Fleet {
    members: Arc<watch::Sender<Members>>,
    limits: FleetLimits,
}

/// A worker that is to be in the set.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    /// `host:port`, to connect to.
    address: String,
    /// The name that its certificate must have.
    server_name: String,
    weight: u32,
}

impl Fleet {
    /// A fleet without a worker.
    pub(super) fn new(limits: FleetLimits) -> Self {
        Self { members: Arc::new(watch::Sender::default()), limits }
    }

    /// One thread's view of it.
    pub(super) fn view(&self) -> View {
        View::new(self.members.subscribe(), fastrand::Rng::new())
    }

    /// Adds its size to what a registry tells.
    pub(super) fn show_in(&self, metrics: &Registry) {
        let fleet = self.clone();
        metrics.gauge("workers", "Workers on the list.", move || fleet.count() as u64);
        let fleet = self.clone();
        metrics.gauge("workers_ready", "Workers that take requests.", move || fleet.ready() as u64);
    }

    fn members(&self) -> Members {
        Arc::clone(&self.members.borrow())
    }

    /// Makes `wanted` the list. A worker that is on it already stays what it is, with what is
    /// outstanding and known of it; one that is not gets no more requests, and those that it has go
    /// on.
    fn set(&self, wanted: &[Wanted]) {
        let old = self.members();
        let mut members: Vec<_> =
            wanted.iter().map(|wanted| self.find_or_make(&old, wanted)).collect();
        for member in old.iter() {
            if members.iter().any(|kept| Arc::ptr_eq(kept, member)) {
                continue;
            }
            if member.is_listed() {
                let worker = member.address();
                tracing::info!(
                    worker,
                    outstanding = member.outstanding(),
                    "a worker is off the list"
                );
            }
            member.set_listed(false);
            members.push(Arc::clone(member));
        }
        self.members.send_replace(Arc::new(members));
        self.forget();
    }

    fn find_or_make(&self, old: &[Arc<Worker>], wanted: &Wanted) -> Arc<Worker> {
        let Wanted { address, server_name, weight } = wanted;
        let same =
            |old: &&Arc<Worker>| old.address() == address && old.server_name() == server_name;
        let worker = old.iter().find(same).cloned().unwrap_or_else(|| {
            tracing::info!(worker = address, weight, "a worker is on the list");
            Arc::new(Worker::new(address.clone(), server_name.clone(), self.limits))
        });
        worker.set_weight(*weight);
        worker.set_listed(true);
        worker
    }

    /// Forgets those that are off the list and have nothing left to do.
    fn forget(&self) {
        let members = self.members();
        let stays = |member: &&Arc<Worker>| member.is_listed() || member.outstanding() > 0;
        if members.iter().all(|member| stays(&member)) {
            return;
        }
        let left = members.iter().filter(stays).cloned().collect();
        self.members.send_replace(Arc::new(left));
    }

    /// How many are on the list.
    fn count(&self) -> usize {
        self.members().iter().filter(|worker| worker.is_listed()).count()
    }

    /// How many of these take requests.
    fn ready(&self) -> usize {
        let members = self.members();
        let is_ready = |worker: &&Arc<Worker>| {
            worker.is_wanted() && worker.weight() > 0 && worker.state() == State::Up
        };
        members.iter().filter(is_ready).count()
    }
}

#[cfg(test)]
mod tests {
    use super::worker::Outstanding;
    use super::*;

    fn wanted(addresses: &[&str]) -> Vec<Wanted> {
        let make = |address: &&str| Wanted {
            address: (*address).to_owned(),
            server_name: "workers".to_owned(),
            weight: 1,
        };
        addresses.iter().map(make).collect()
    }

    fn names(fleet: &Fleet) -> Vec<String> {
        fleet.members().iter().map(|worker| worker.address().to_owned()).collect()
    }

    #[test]
    fn a_worker_that_stays_on_the_list_stays_what_it_is() {
        let fleet = Fleet::new(FleetLimits::DEFAULT);
        fleet.set(&wanted(&["a:1", "b:1"]));
        let before = fleet.members();
        let mut again = wanted(&["b:1", "c:1"]);
        again[0].weight = 5;
        fleet.set(&again);
        assert_eq!(names(&fleet), ["b:1", "c:1"]);
        let after = fleet.members();
        assert!(Arc::ptr_eq(&before[1], &after[0]) && after[0].weight() == 5);
    }

    #[test]
    fn a_worker_off_the_list_is_drained_and_then_forgotten() {
        let fleet = Fleet::new(FleetLimits::DEFAULT);
        fleet.set(&wanted(&["a:1"]));
        let view = fleet.view();
        let request = view.choose(0, &[]).map(Outstanding::reached);
        fleet.set(&wanted(&["b:1"]));
        assert_eq!((names(&fleet), fleet.count()), (vec!["b:1".into(), "a:1".into()], 1));
        assert_eq!(fleet.members()[1].reached(), 1, "its request goes on");
        for _ in 0..10 {
            let chosen = view.choose(0, &[]);
            assert!(chosen.is_some_and(|chosen| chosen.worker().address() == "b:1"));
        }
        fleet.forget();
        assert_eq!(names(&fleet), ["b:1", "a:1"]);
        drop(request);
        fleet.forget();
        assert_eq!(names(&fleet), ["b:1"]);
    }

    #[test]
    fn a_worker_that_comes_back_while_it_is_drained_is_the_same() {
        let fleet = Fleet::new(FleetLimits::DEFAULT);
        fleet.set(&wanted(&["a:1"]));
        let before = fleet.members();
        let request = fleet.view().choose(0, &[]);
        fleet.set(&[]);
        assert!(fleet.view().choose(0, &[]).is_none());
        fleet.set(&wanted(&["a:1"]));
        assert!(Arc::ptr_eq(&before[0], &fleet.members()[0]));
        assert_eq!(fleet.members()[0].outstanding(), 1);
        drop(request);
    }
}
