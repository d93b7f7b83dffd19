//! The worker: receive, verify, convert, reply.
//!
//! Owns: what happens to a body between its arrival and the answer. Must never write any of it to
//! disk, convert on a ring thread, or take memory for bytes that have not arrived.

mod admission;
mod ages;
mod body;
mod converter;
mod engine;
mod queue;
mod service;
mod slots;
mod turns;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::auth::{Guard, Tokens};
use crate::exchange::AccessLog;
use crate::io::use_huge_pages;
use crate::isolation::{Font, Isolation};
use crate::limits::{ConvertLimits, ServerLimits};
use crate::metrics::Registry;
use crate::server::{self, Changing, Plan, Stop};
use crate::tls::ServerTls;
use admission::Admission;
use body::Budget;
pub use converter::{Converter, Made};
use engine::Engine;
use service::{Shared, Worker};
use slots::Slots;

/// What a worker needs to know.
pub struct Config {
    /// Where and on what it serves.
    pub plan: Plan,
    /// What can change while it serves.
    pub live: Changing<Live>,
    /// Limits of connections and requests.
    pub limits: ServerLimits,
    /// Limits of conversions.
    pub convert_limits: ConvertLimits,
    /// For characters that the built-in fonts lack, in this order; at most [`crate::limits::FONTS_MAX`].
    pub fonts: Vec<Font>,
    /// Where conversions run.
    pub isolation: Isolation,
    /// Conversions at once.
    pub slots: usize,
    /// Where it counts; [`crate::exchange::registry`] makes one.
    pub metrics: Registry,
    /// Where a line of each request goes.
    pub access: AccessLog,
    /// Whether an address that shows wrong tokens over and over is not served for a while. Masters
    /// that are known by their certificates need no such watch.
    pub limits_guesses: bool,
}

/// What can change while a worker serves.
#[derive(Debug)]
pub struct Live {
    /// Its certificate, and whom it lets in.
    pub tls: ServerTls,
    /// Accepted tokens; open where masters are told by their certificate.
    pub tokens: Tokens,
}

/// Serves until `stop` says otherwise; `on_listening` hears the address once it serves.
///
/// # Errors
///
/// The address cannot be bound, or a thread cannot be set up.
pub fn run(config: Config, stop: &Stop, on_listening: impl FnOnce(SocketAddr)) -> io::Result<()> {
    run_sharing(config, stop, drop, on_listening)
}

/// The same for a worker whose conversions others of its process have a part of: `share` gets it
/// before the worker serves.
///
/// # Errors
///
/// The address cannot be bound, or a thread cannot be set up.
pub fn run_sharing(
    config: Config,
    stop: &Stop,
    share: impl FnOnce(Converter),
    on_listening: impl FnOnce(SocketAddr),
) -> io::Result<()> {
    let Config { plan, live, limits, convert_limits, fonts, isolation, slots, metrics, .. } =
        config;
    use_huge_pages();
    let admission = Admission::new(slots, limits);
    let engine = Engine::start(slots, convert_limits, &fonts, &isolation)?;
    let slots = Arc::new(Slots::start(slots, engine)?);
    share(Converter::over(Arc::clone(&slots), admission.clone(), limits.convert_timeout));
    let budget = Budget::new(limits.bodies_bytes_max);
    slots.show_in(&metrics);
    budget.show_in(&metrics);
    admission.show_in(&metrics);
    let (guard, access) = (Guard::new(config.limits_guesses), config.access);
    let shared = Arc::new(Shared { live, limits, slots, budget, admission, guard, access });
    let make = |context| Worker::new(context, Arc::clone(&shared));
    server::run(&plan, stop, &metrics, make, on_listening)
}
