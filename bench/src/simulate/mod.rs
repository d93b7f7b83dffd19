//! Routing policies, simulated: requests of heavy-tailed sizes arrive at random, a master sends each to a
//! worker, and a worker does one after the other in each of its slots.
//!
//! Owns: the model and its events. Must never look at a clock: the same seed gives the same numbers on
//! every machine.
//!
//! What is simulated is waiting for a slot. Networks, masters and memory are left out, and so is what two
//! conversions of one machine take from each other.

mod queue;
mod sizes;

use std::collections::VecDeque;

pub use queue::Events;
pub use sizes::Sizes;

use crate::rng::Rng;

/// How a request finds its worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Any worker.
    Random,
    /// One after the other.
    RoundRobin,
    /// Of two workers at random, the one with fewer bytes outstanding: what a master does.
    TwoChoices,
    /// Requests wait in one line, and a worker takes the next when it has a free slot: what a queue
    /// does.
    Pull,
}

impl Policy {
    /// All of them, in the order of the plots.
    pub const ALL: [Self; 4] = [Self::Random, Self::RoundRobin, Self::TwoChoices, Self::Pull];

    /// The name in plots and results.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::RoundRobin => "round-robin",
            Self::TwoChoices => "two choices",
            Self::Pull => "pull",
        }
    }
}

/// What is simulated.
#[derive(Debug, Clone, Copy)]
pub struct Model {
    /// Workers.
    pub workers: usize,
    /// Conversions at once of each.
    pub slots: usize,
    /// The share of all slots that is busy on the whole, below 1.
    pub load: f64,
    /// What requests are like.
    pub sizes: Sizes,
    /// Requests that are counted; a tenth as many before them is not.
    pub requests: usize,
    /// Decides everything that is random.
    pub seed: u64,
}

/// How long requests took, in units of the mean time of a conversion.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// From arrival to answer, in order.
    times: Vec<f64>,
    /// From arrival to the start of the conversion, on the mean.
    pub mean_wait: f64,
}

impl Outcome {
    /// The time that a share `quantile` of all requests stayed within.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub fn quantile(&self, quantile: f64) -> f64 {
        let last = self.times.len().saturating_sub(1);
        let at = (last as f64 * quantile).round() as usize;
        self.times.get(at.min(last)).copied().unwrap_or(0.0)
    }

    /// The mean of all.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.times.iter().sum::<f64>() / self.times.len().max(1) as f64
    }
}

#[derive(Debug, Clone, Copy)]
struct Request {
    arrived: f64,
    size: f64,
    counts: bool,
}

#[derive(Debug, Default, Clone)]
struct Worker {
    busy: usize,
    line: VecDeque<Request>,
    /// Sizes of those in line and in work, together.
    outstanding: f64,
}

enum Event {
    Arrival,
    /// A worker is through with a request.
    Done {
        worker: usize,
        request: Request,
    },
}

struct Run {
    model: Model,
    policy: Policy,
    rng: Rng,
    events: Events<Event>,
    workers: Vec<Worker>,
    /// Where requests wait that workers pull, and workers that wait for requests.
    common: VecDeque<Request>,
    free: Vec<usize>,
    turn: usize,
    arrived: usize,
    times: Vec<f64>,
    wait: f64,
}

/// Lets requests arrive, wait and be done, and says how long they took.
#[must_use]
pub fn simulate(model: &Model, policy: Policy) -> Outcome {
    let mut run = Run {
        model: *model,
        policy,
        rng: Rng::new(model.seed),
        events: Events::default(),
        workers: vec![Worker::default(); model.workers],
        common: VecDeque::new(),
        free: (0..model.workers).flat_map(|worker| vec![worker; model.slots]).collect(),
        turn: 0,
        arrived: 0,
        times: Vec::with_capacity(model.requests),
        wait: 0.0,
    };
    run.events.add(0.0, Event::Arrival);
    while let Some((now, event)) = run.events.next() {
        match event {
            Event::Arrival => run.arrive(now),
            Event::Done { worker, request } => run.end(now, worker, request),
        }
    }
    let mut times = run.times;
    times.sort_by(f64::total_cmp);
    let mean_wait = run.wait / times.len().max(1) as f64;
    Outcome { times, mean_wait }
}

impl Run {
    fn arrive(&mut self, now: f64) {
        let warm_up = self.model.requests / 10;
        let request = Request {
            arrived: now,
            size: self.model.sizes.draw(&mut self.rng),
            counts: self.arrived >= warm_up,
        };
        self.arrived += 1;
        if self.arrived < self.model.requests + warm_up {
            let slots = (self.model.workers * self.model.slots) as f64;
            let gap = self.rng.exponential() / (slots * self.model.load);
            self.events.add(now + gap, Event::Arrival);
        }
        if self.policy == Policy::Pull {
            match self.free.pop() {
                Some(worker) => self.begin(now, worker, request),
                None => self.common.push_back(request),
            }
            return;
        }
        let chosen = self.choose();
        let worker = &mut self.workers[chosen];
        worker.outstanding += request.size;
        if worker.busy < self.model.slots {
            self.begin(now, chosen, request);
        } else {
            worker.line.push_back(request);
        }
    }

    fn choose(&mut self) -> usize {
        let count = self.workers.len();
        match self.policy {
            Policy::RoundRobin => {
                self.turn = (self.turn + 1) % count;
                self.turn
            }
            Policy::TwoChoices => {
                let one = self.rng.below(count);
                // Another one, where there is.
                let other =
                    if count > 1 { (one + 1 + self.rng.below(count - 1)) % count } else { one };
                let is_less = self.workers[other].outstanding < self.workers[one].outstanding;
                if is_less { other } else { one }
            }
            Policy::Random | Policy::Pull => self.rng.below(count),
        }
    }

    fn begin(&mut self, now: f64, worker: usize, request: Request) {
        self.workers[worker].busy += 1;
        if request.counts {
            self.wait += now - request.arrived;
        }
        self.events.add(now + request.size, Event::Done { worker, request });
    }

    fn end(&mut self, now: f64, at: usize, request: Request) {
        if request.counts {
            self.times.push(now - request.arrived);
        }
        let worker = &mut self.workers[at];
        worker.busy -= 1;
        worker.outstanding -= request.size;
        let next = match self.policy {
            Policy::Pull => self.common.pop_front(),
            _ => worker.line.pop_front(),
        };
        match next {
            Some(next) => self.begin(now, at, next),
            None if self.policy == Policy::Pull => self.free.push(at),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(workers: usize, sizes: Sizes) -> Model {
        Model { workers, slots: 1, load: 0.7, sizes, requests: 200_000, seed: 1 }
    }

    #[test]
    fn one_seed_is_one_outcome() {
        let model = Model { requests: 2_000, ..model(10, Sizes::HEAVY) };
        for policy in Policy::ALL {
            assert_eq!(simulate(&model, policy), simulate(&model, policy));
            let other = simulate(&Model { seed: 2, ..model }, policy);
            assert_ne!(simulate(&model, policy), other);
        }
    }

    #[test]
    fn a_single_worker_waits_as_theory_says() {
        // M/M/1: waiting is rho / (1 - rho). M/D/1: half of that.
        for (sizes, expected) in [(Sizes::Exponential, 0.7 / 0.3), (Sizes::Equal, 0.5 * 0.7 / 0.3)]
        {
            for policy in Policy::ALL {
                let found = simulate(&model(1, sizes), policy).mean_wait;
                assert!((found / expected - 1.0).abs() < 0.05, "{policy:?}: {found}, {expected}");
            }
        }
    }

    #[test]
    fn a_common_line_waits_as_theory_says() {
        // M/M/2 at rho = 0.7: Erlang C gives rho^2 / (1 - rho^2) services.
        let found = simulate(&model(2, Sizes::Exponential), Policy::Pull).mean_wait;
        let expected = 0.49 / (1.0 - 0.49);
        assert!((found / expected - 1.0).abs() < 0.05, "{found}, {expected}");
    }

    #[test]
    fn every_request_ends_and_better_policies_wait_less() {
        let model = Model { requests: 50_000, ..model(50, Sizes::HEAVY) };
        let outcomes = Policy::ALL.map(|policy| simulate(&model, policy));
        for outcome in &outcomes {
            assert_eq!(outcome.times.len(), model.requests);
        }
        let [random, round_robin, two, pull] = outcomes.map(|outcome| outcome.mean_wait);
        assert!(random > round_robin && round_robin > two && two > pull);
    }
}
