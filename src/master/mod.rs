//! The master: admit, choose a worker, tunnel.
//!
//! Owns: the way of a request from a client to a worker and back. Must never hold a whole body,
//! write any of it to disk, or look into it.

mod fleet;
mod kept;
mod reply;
mod service;
mod tunnel;
mod upstream;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{oneshot, watch};

use crate::auth::{Guard, Tokens};
use crate::exchange::AccessLog;
use crate::limits::{FleetLimits, ServerLimits, UpstreamLimits};
use crate::metrics::Registry;
use crate::server::{self, Changing, Plan, Stop};
use crate::tls::{ClientTls, ServerTls};
use crate::wire::Version;
use fleet::{Fleet, Keeper};
pub use fleet::{WORKERS_MAX, WorkerList, WorkerListError, WorkerSpec};
use service::{Master, Shared};
use upstream::Upstreams;

/// What a master needs to know.
pub struct Config {
    /// Where and on what it serves.
    pub plan: Plan,
    /// What can change while it serves.
    pub live: Changing<Live>,
    /// What the workers speak. To v1.0 it opens one connection a request.
    pub worker_wire: Version,
    /// Limits of connections and requests.
    pub limits: ServerLimits,
    /// How it watches its workers.
    pub fleet_limits: FleetLimits,
    /// What it keeps of its connections to them.
    pub upstream_limits: UpstreamLimits,
    /// Where it counts; [`crate::exchange::registry`] makes one.
    pub metrics: Registry,
    /// Where a line of each request goes.
    pub access: AccessLog,
    /// Whether an address that shows wrong tokens over and over is not served for a while.
    pub limits_guesses: bool,
}

/// What can change while a master serves.
#[derive(Debug)]
pub struct Live {
    /// Its certificate towards clients.
    pub tls: ServerTls,
    /// Accepted tokens.
    pub tokens: Tokens,
    /// Its workers.
    pub workers: WorkerList,
    /// Its identity and trust towards workers.
    pub worker_tls: ClientTls,
}

/// Serves until `stop` says otherwise; `on_listening` hears the address once it serves.
///
/// # Errors
///
/// The address cannot be bound, or a thread cannot be set up.
pub fn run(config: Config, stop: &Stop, on_listening: impl FnOnce(SocketAddr)) -> io::Result<()> {
    run_following(config, None, stop, on_listening)
}

/// The same for a master that somebody tells of workers beside those on its list, whenever there are
/// others.
///
/// # Errors
///
/// The address cannot be bound, or a thread cannot be set up.
pub fn run_following(
    config: Config,
    found: Option<watch::Receiver<Vec<WorkerSpec>>>,
    stop: &Stop,
    on_listening: impl FnOnce(SocketAddr),
) -> io::Result<()> {
    let Config { plan, live, worker_wire, limits, fleet_limits, upstream_limits, .. } = config;
    let (metrics, guard) = (config.metrics, Guard::new(config.limits_guesses));
    let fleet = Fleet::new(fleet_limits);
    fleet.show_in(&metrics);
    let keeper = Keeper::new(fleet.clone(), live.clone(), found, worker_wire)?;
    let shared = Arc::new(Shared {
        live: live.clone(),
        fleet,
        worker_wire,
        limits,
        guard,
        access: config.access,
    });
    let make = |context| {
        let upstreams =
            Upstreams::new(shared.fleet.view(), live.clone(), fleet_limits, upstream_limits);
        Master::new(context, Arc::clone(&shared), upstreams)
    };
    std::thread::scope(|scope| {
        let (end, over) = oneshot::channel();
        let kept = std::thread::Builder::new()
            .name("fleet".into())
            .spawn_scoped(scope, || keeper.run(over))?;
        let served = server::run(&plan, stop, &metrics, make, on_listening);
        drop(end);
        let kept = kept.join().unwrap_or_else(|_| Err(io::Error::other("the fleet's thread died")));
        served.and(kept)
    })
}
