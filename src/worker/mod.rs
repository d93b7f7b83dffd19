//! The worker: receive, verify, convert, reply.
//!
//! Owns: what happens to a body between its arrival and the answer. Must never write any of it to
//! disk, convert on a ring thread, or take memory for bytes that have not arrived.

use std::io;
use std::net::SocketAddr;

use crate::auth::Tokens;
use crate::limits::{ConvertLimits, ServerLimits};
use crate::server::{Plan, Stop};
use crate::tls::ServerTls;

/// What a worker needs to know.
pub struct Config {
    /// Where and on what it serves.
    pub plan: Plan,
    /// Its certificate, and whom it lets in.
    pub tls: ServerTls,
    /// Accepted tokens; open where masters are told by their certificate.
    pub tokens: Tokens,
    /// Limits of connections and requests.
    pub limits: ServerLimits,
    /// Limits of conversions.
    pub convert_limits: ConvertLimits,
    /// Conversions at once.
    pub slots: usize,
}

/// Serves until `stop` says otherwise; `on_listening` hears the address once it serves.
///
/// # Errors
///
/// The address cannot be bound, or a thread cannot be set up.
pub fn run(config: Config, stop: &Stop, on_listening: impl FnOnce(SocketAddr)) -> io::Result<()> {
    let _ = (config, stop, on_listening);
    Ok(())
}
