//! The choice of a worker: two at random, and of these the one with less to do.
//!
//! Two at random are nearly as good as a look at all of them, and unlike that they do not send
//! every thread, and every master beside this one, to the same idle worker at the same moment
//! (M. Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001).

use std::cell::RefCell;
use std::sync::Arc;

use tokio::sync::watch;

use super::Members;
use super::health::Rank;
use super::worker::{Outstanding, Worker};

/// What a request weighs beside its bytes, so that many small ones count for something.
const REQUEST_WEIGHT_BYTES: u64 = 64 * 1024;

/// One thread's view of the workers.
pub(in crate::master) struct View {
    members: watch::Receiver<Members>,
    random: RefCell<fastrand::Rng>,
}

impl View {
    pub(super) fn new(members: watch::Receiver<Members>, random: fastrand::Rng) -> Self {
        Self { members, random: RefCell::new(random) }
    }

    /// The worker to ask next for a request with a body of `body_bytes`, after those that were
    /// `tried`; `None` where there is nobody left to ask. The request counts as outstanding with it
    /// from now on.
    pub(in crate::master) fn choose(
        &self,
        body_bytes: u64,
        tried: &[Arc<Worker>],
    ) -> Option<Outstanding> {
        let members = Arc::clone(&self.members.borrow());
        let worker = choose(&members, tried, &mut self.random.borrow_mut())?;
        Some(Outstanding::with(Arc::clone(worker), body_bytes))
    }

    /// Whether a worker is up that is neither `present` nor among those `tried`.
    pub(in crate::master) fn has_another(
        &self,
        tried: &[Arc<Worker>],
        present: &Arc<Worker>,
    ) -> bool {
        let is_known = |worker| {
            tried.iter().chain([present]).any(|tried: &Arc<Worker>| Arc::ptr_eq(tried, worker))
        };
        self.members.borrow().iter().any(|worker| worker.is_wanted() && !is_known(worker))
    }
}

fn choose<'a>(
    members: &'a [Arc<Worker>],
    tried: &[Arc<Worker>],
    random: &mut fastrand::Rng,
) -> Option<&'a Arc<Worker>> {
    let is_open = |worker: &Arc<Worker>| {
        worker.is_listed()
            && worker.weight() > 0
            && !tried.iter().any(|tried| Arc::ptr_eq(tried, worker))
    };
    let rank = members.iter().filter(|worker| is_open(worker)).map(|worker| worker.rank()).min()?;
    // One last resort: whoever is down may be so in a way that takes the whole of a timeout.
    if rank == Rank::Last && tried.iter().any(|worker| worker.rank() == Rank::Last) {
        return None;
    }
    pick(members, is_open, rank, random)
}

/// One of those that are open and of `rank`. A check on another thread may have changed a rank since
/// it was looked at: where nobody is left of it, any that is open is as good.
fn pick<'a>(
    members: &'a [Arc<Worker>],
    is_open: impl Fn(&Arc<Worker>) -> bool,
    rank: Rank,
    random: &mut fastrand::Rng,
) -> Option<&'a Arc<Worker>> {
    let candidates = || members.iter().filter(|worker| is_open(worker) && worker.rank() == rank);
    let Some(first) = draw(candidates(), random) else {
        return draw(members.iter().filter(|worker| is_open(worker)), random);
    };
    let others = || candidates().filter(|worker| !Arc::ptr_eq(worker, first));
    let Some(second) = draw(others(), random) else { return Some(first) };
    Some(if has_less_to_do(second, first) { second } else { first })
}

/// One of the candidates, each as likely as its weight says. Another thread may change a rank or a
/// weight between the two passes: then the last one is taken, which is as good as any.
fn draw<'a>(
    candidates: impl Iterator<Item = &'a Arc<Worker>> + Clone,
    random: &mut fastrand::Rng,
) -> Option<&'a Arc<Worker>> {
    let total: u64 = candidates.clone().map(|worker| u64::from(worker.weight())).sum();
    let mut at = random.u64(..total.max(1));
    let mut last = None;
    for worker in candidates {
        let weight = u64::from(worker.weight());
        if at < weight {
            return Some(worker);
        }
        at -= weight;
        last = Some(worker);
    }
    last
}

/// Whether `one` has fewer bytes outstanding for its weight than `other`.
fn has_less_to_do(one: &Worker, other: &Worker) -> bool {
    let load = |worker: &Worker| {
        let requests = u64::from(worker.outstanding()) * REQUEST_WEIGHT_BYTES;
        u128::from(worker.outstanding_bytes().saturating_add(requests))
    };
    load(one) * u128::from(other.weight()) < load(other) * u128::from(one.weight())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::health::Seen;
    use super::*;
    use crate::limits::FleetLimits;

    const MIB: u64 = 1024 * 1024;

    /// Workers that are up, by their weights.
    fn workers(weights: &[u32]) -> Vec<Arc<Worker>> {
        let make = |(number, weight): (usize, &u32)| {
            let worker = Worker::new(format!("w{number}:1"), String::new(), FleetLimits::DEFAULT);
            worker.set_weight(*weight);
            worker.see(Seen::Good, &"");
            Arc::new(worker)
        };
        weights.iter().enumerate().map(make).collect()
    }

    fn random() -> fastrand::Rng {
        fastrand::Rng::with_seed(7)
    }

    fn position(members: &[Arc<Worker>], worker: &Arc<Worker>) -> usize {
        members.iter().position(|member| Arc::ptr_eq(member, worker)).unwrap()
    }

    /// How often each is chosen out of 12,000, when every request ends before the next begins.
    fn shares(members: &[Arc<Worker>]) -> Vec<u32> {
        let (mut counts, mut random) = (vec![0; members.len()], random());
        for _ in 0..12_000 {
            counts[position(members, choose(members, &[], &mut random).unwrap())] += 1;
        }
        counts
    }

    #[test]
    fn idle_workers_get_shares_by_their_weights() {
        for (weights, expected) in [
            (&[1, 1][..], &[6000, 6000][..]),
            (&[3, 1], &[9000, 3000]),
            (&[1, 2, 3], &[2000, 4000, 6000]),
        ] {
            for (count, expected) in shares(&workers(weights)).into_iter().zip(expected) {
                assert!(
                    count.abs_diff(*expected) < 300,
                    "{count} instead of {expected}: {weights:?}"
                );
            }
        }
    }

    #[test]
    fn of_two_the_one_with_fewer_bytes_for_its_weight_is_chosen() {
        let members = workers(&[1, 3]);
        let _light = Outstanding::with(Arc::clone(&members[0]), 2 * MIB);
        let _heavy = Outstanding::with(Arc::clone(&members[1]), 5 * MIB);
        assert_eq!(shares(&members), [0, 12_000]);
        let _more = Outstanding::with(Arc::clone(&members[1]), 2 * MIB);
        assert_eq!(shares(&members), [12_000, 0]);
    }

    #[test]
    fn requests_that_stay_are_spread_by_weight() {
        let members = workers(&[1, 1, 2, 4]);
        let (mut random, mut held) = (random(), Vec::new());
        for _ in 0..800 {
            let worker = Arc::clone(choose(&members, &[], &mut random).unwrap());
            held.push(Outstanding::with(worker, MIB));
        }
        for (member, expected) in members.iter().zip([100_u32, 100, 200, 400]) {
            let count = member.outstanding();
            assert!(count.abs_diff(expected) <= expected / 10, "{count} instead of {expected}");
        }
        drop(held);
        assert!(members.iter().all(|member| member.outstanding_bytes() == 0));
    }

    #[test]
    fn ready_workers_go_before_doubtful_ones_and_those_before_the_rest() {
        let members = workers(&[1, 1, 1]);
        members[0].see(Seen::Leaving, &"");
        members[1].see(Seen::Bad, &"");
        assert_eq!(shares(&members), [0, 0, 12_000]);
        let tried = [Arc::clone(&members[2])];
        let doubtful = choose(&members, &tried, &mut random()).unwrap();
        assert_eq!(position(&members, doubtful), 1);
        let tried = [Arc::clone(&members[2]), Arc::clone(&members[1])];
        let last = choose(&members, &tried, &mut random()).unwrap();
        assert_eq!(position(&members, last), 0);
        assert!(choose(&members, &members, &mut random()).is_none());
    }

    #[test]
    fn a_rank_that_changes_during_the_choice_hides_no_worker() {
        let members = workers(&[1]);
        for rank in [Rank::Ready, Rank::Doubtful, Rank::Last] {
            assert!(pick(&members, |_| true, rank, &mut random()).is_some(), "{rank:?}");
        }
        assert!(pick(&members, |_| false, Rank::Ready, &mut random()).is_none());
    }

    #[test]
    fn there_is_one_last_resort() {
        let members = workers(&[1, 1]);
        for member in &members {
            (0..3).for_each(|_| member.see(Seen::Bad, &""));
        }
        let first = Arc::clone(choose(&members, &[], &mut random()).unwrap());
        assert!(choose(&members, &[first], &mut random()).is_none());
    }

    #[test]
    fn nothing_goes_to_a_worker_of_no_weight_or_off_the_list() {
        let members = workers(&[1, 0, 1]);
        members[2].set_listed(false);
        assert_eq!(shares(&members), [12_000, 0, 0]);
        members[0].set_listed(false);
        assert!(choose(&members, &[], &mut random()).is_none());
    }
}
