//! The master: admit, choose a worker, tunnel.
//!
//! Owns: the way of a request from a client to a worker and back. Must never hold a whole body,
//! write any of it to disk, or look into it.

mod fleet;
mod reply;
mod service;
mod tunnel;
mod upstream;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::auth::Tokens;
use crate::limits::ServerLimits;
use crate::metrics::Registry;
use crate::server::{self, Plan, Stop};
use crate::tls::{ClientTls, ServerTls};
use crate::wire::Version;
use fleet::Fleet;
use service::{Master, Shared};
use upstream::Upstreams;

/// What a master needs to know.
pub struct Config {
    /// Where and on what it serves.
    pub plan: Plan,
    /// Its certificate towards clients.
    pub tls: ServerTls,
    /// Accepted tokens.
    pub tokens: Tokens,
    /// Its workers, each `host:port`; names are resolved at every connect.
    pub workers: Vec<String>,
    /// Its identity and trust towards workers.
    pub worker_tls: ClientTls,
    /// What the workers speak. To v1.0 it opens one connection a request.
    pub worker_wire: Version,
    /// Limits of connections and requests.
    pub limits: ServerLimits,
    /// Where it counts; [`crate::exchange::registry`] makes one.
    pub metrics: Registry,
}

/// Serves until `stop` says otherwise; `on_listening` hears the address once it serves.
///
/// # Errors
///
/// The address cannot be bound, or a thread cannot be set up.
pub fn run(config: Config, stop: &Stop, on_listening: impl FnOnce(SocketAddr)) -> io::Result<()> {
    let Config { plan, tls, tokens, workers, worker_tls, worker_wire, limits, metrics } = config;
    let shared = Arc::new(Shared { tls, tokens, worker_wire, limits });
    let count = workers.len() as u64;
    metrics.gauge("workers", "Workers that are configured.", move || count);
    let make = |context| {
        let upstreams = Upstreams::new(Fleet::new(&workers), worker_tls.clone());
        Master::new(context, Arc::clone(&shared), upstreams)
    };
    server::run(&plan, stop, &metrics, make, on_listening)
}
