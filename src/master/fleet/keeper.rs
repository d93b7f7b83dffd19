//! Who keeps the fleet true: checks, look-ups and changes of the list, in one place a process.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{oneshot, watch};

use super::health::Seen;
use super::probe::Probe;
use super::resolve::{self, Resolver};
use super::worker::Worker;
use super::{Fleet, Wanted, WorkerList, WorkerSpec};
use crate::client::Address;
use crate::io::{Driver, spawn};
use crate::limits::FleetLimits;
use crate::master::Live;
use crate::server::Changing;
use crate::wire::Version;

/// A worker that is in doubt is looked at so much sooner.
const DOUBT_DIVISOR: u32 = 4;

/// How long a start waits for the addresses of the workers.
const FIRST_LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// Keeps a fleet. It has a thread and an event loop of its own, so that a thread that is busy with
/// requests is no reason to take a worker for dead.
pub(in crate::master) struct Keeper {
    fleet: Fleet,
    live: Changing<Live>,
    worker_wire: Version,
    limits: FleetLimits,
    named: Vec<WorkerSpec>,
    /// Workers that announce themselves somewhere, as somebody else finds them.
    found: Option<watch::Receiver<Vec<WorkerSpec>>>,
    /// The name whose addresses are workers, and what they are.
    dns: Option<(Address, Resolver)>,
    resolved: Vec<SocketAddr>,
}

impl Keeper {
    /// Fills `fleet` with what `live` lists.
    ///
    /// # Errors
    ///
    /// A thread for look-ups cannot be started.
    pub(in crate::master) fn new(
        fleet: Fleet,
        live: Changing<Live>,
        found: Option<watch::Receiver<Vec<WorkerSpec>>>,
        worker_wire: Version,
    ) -> io::Result<Self> {
        let limits = fleet.limits;
        let mut keeper = Self {
            fleet,
            live,
            worker_wire,
            limits,
            named: Vec::new(),
            found,
            dns: None,
            resolved: Vec::new(),
        };
        let list = keeper.live.now().workers.clone();
        keeper.take(list)?;
        Ok(keeper)
    }

    /// Keeps the fleet until `over` is done, or its sender gone.
    ///
    /// # Errors
    ///
    /// The event loop cannot be set up.
    pub(in crate::master) fn run(self, over: oneshot::Receiver<()>) -> io::Result<()> {
        Driver::Epoll.run(self.keep(over))
    }

    async fn keep(mut self, mut over: oneshot::Receiver<()>) {
        let mut live = self.live.clone();
        let mut ticks = tokio::time::interval(self.limits.check_interval / (2 * DOUBT_DIVISOR));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let running = Rc::new(Cell::new(0));
        loop {
            tokio::select! {
                _ = &mut over => return,
                () = live.changed() => {
                    let list = live.now().workers.clone();
                    if let Err(error) = self.take(list) {
                        tracing::error!(%error, "cannot look up the workers' name; the list stays");
                    }
                }
                () = changed(&mut self.found) => self.apply(),
                resolved = next_of(&mut self.dns) => {
                    self.resolved = resolved;
                    self.apply();
                }
                _ = ticks.tick() => {
                    self.fleet.forget();
                    self.start_checks(&running);
                }
            }
        }
    }

    /// Goes over to another list.
    fn take(&mut self, list: WorkerList) -> io::Result<()> {
        let WorkerList { named, dns } = list;
        if self.dns.as_ref().map(|(name, _)| name) != dns.as_ref() {
            let started = dns.map(|name| {
                let (period, lookup) = (self.limits.lookup_interval, resolve::system);
                Resolver::start(name.clone(), period, FIRST_LOOKUP_TIMEOUT, lookup)
                    .map(|resolver| (name, resolver))
            });
            self.dns = started.transpose()?;
            self.resolved =
                self.dns.as_mut().map(|(_, resolver)| resolver.first()).unwrap_or_default();
        }
        self.named = named;
        self.apply();
        Ok(())
    }

    fn apply(&self) {
        let name = self.dns.as_ref().map(|(name, _)| name.host());
        let found = self.found.as_ref().map(|found| found.borrow().clone()).unwrap_or_default();
        let unlisted =
            |spec: &WorkerSpec| self.named.iter().all(|named| named.address != spec.address);
        let found = found.into_iter().filter(unlisted);
        let named: Vec<_> = self.named.iter().cloned().chain(found).collect();
        self.fleet.set(&wanted(&named, name, &self.resolved));
    }

    /// Starts the checks that are due, each beside the others, and no more than the limit at once.
    fn start_checks(&self, running: &Rc<Cell<usize>>) {
        let now = Instant::now();
        for worker in self.fleet.members().iter().filter(|worker| worker.is_listed()) {
            if running.get() >= self.limits.checks_max {
                return;
            }
            {
                let mut check = worker.check();
                if check.is_running || check.due.is_some_and(|due| due > now) {
                    continue;
                }
                check.is_running = true;
            }
            running.set(running.get() + 1);
            let (live, running) = (self.live.now(), Rc::clone(running));
            let (worker, wire, limits) = (Arc::clone(worker), self.worker_wire, self.limits);
            spawn(async move {
                check(&worker, &live, wire, limits).await;
                running.set(running.get() - 1);
            });
        }
    }
}

async fn next_of(dns: &mut Option<(Address, Resolver)>) -> Vec<SocketAddr> {
    match dns {
        Some((_, resolver)) => resolver.changed().await,
        None => std::future::pending().await,
    }
}

/// Waits for other workers to be found. Without their finder, those of its last word stay.
async fn changed(found: &mut Option<watch::Receiver<Vec<WorkerSpec>>>) {
    let Some(receiver) = found else { return std::future::pending().await };
    if receiver.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// The workers given one by one, and the addresses of the name beside them. An address that is given
/// both ways is one worker, with the weight that it was given.
fn wanted(named: &[WorkerSpec], name: Option<&str>, resolved: &[SocketAddr]) -> Vec<Wanted> {
    let given = named.iter().map(|spec| Wanted {
        address: spec.address.to_string(),
        server_name: spec.address.host().to_owned(),
        weight: spec.weight,
    });
    let mut wanted: Vec<_> = given.collect();
    let count = wanted.len();
    for address in resolved {
        let address = address.to_string();
        if !wanted[..count].iter().any(|given| given.address == address) {
            let server_name = name.unwrap_or_default().to_owned();
            wanted.push(Wanted { address, server_name, weight: 1 });
        }
    }
    wanted.truncate(super::WORKERS_MAX);
    wanted
}

/// Looks at one worker, and says when to look again.
async fn check(worker: &Worker, live: &Live, wire: Version, limits: FleetLimits) {
    let probe = Probe { tls: &live.worker_tls, token: live.tokens.any(), wire, limits };
    let started = Instant::now();
    let asked = probe.ask(worker).await;
    let took = started.elapsed();
    match &asked {
        Ok(report) if report.is_leaving => worker.see(Seen::Leaving, &""),
        Ok(report) => {
            worker.see(Seen::Good, &"");
            if report.is_unready {
                // It is there, and others are asked first.
                worker.is_busy_for(limits.check_interval * 2);
            }
        }
        Err(error) => worker.see(Seen::Bad, error),
    }
    let pause = if worker.is_in_doubt() {
        limits.check_interval / DOUBT_DIVISOR
    } else {
        limits.check_interval
    };
    let mut check = worker.check();
    check.is_running = false;
    // A tenth more or less, so that the workers of a fleet are not all asked at once.
    check.due = Some(started + pause.mul_f64(fastrand::f64().mul_add(0.2, 0.9)));
    if let Ok(report) = asked {
        check.latency = Some(check.latency.map_or(took, |mean| (mean * 3 + took) / 4));
        check.report = Some((Instant::now(), report));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_given_and_found_is_one_worker() {
        let list = WorkerList::parse(&["10.0.0.1:6000,weight=3".to_owned()], None).unwrap();
        let resolved = ["10.0.0.1:6000", "10.0.0.2:6000"].map(|text| text.parse().unwrap());
        let wanted = wanted(&list.named, Some("workers"), &resolved);
        let facts: Vec<_> = wanted
            .iter()
            .map(|one| (one.address.as_str(), one.server_name.as_str(), one.weight))
            .collect();
        assert_eq!(facts, [("10.0.0.1:6000", "10.0.0.1", 3), ("10.0.0.2:6000", "workers", 1)]);
    }
}
