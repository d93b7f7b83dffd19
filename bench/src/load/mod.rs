//! The load generator.
//!
//! Owns: when requests are due, sending them, and counting what came of each. Must never take the
//! time of a request from the moment it happened to be sent: in an open loop the clock starts at the
//! scheduled instant, so that a server that stalls is charged for all who would have come meanwhile.

mod exchange;
mod generator;
mod outcome;
mod pacer;
mod record;
mod schedule;
mod script;
mod store;

use std::net::SocketAddr;
use std::time::Duration;

use fxsrv::io::Driver;
use fxsrv::tls::{ClientTls, Roots, Trust, Versions};

pub use exchange::{Conversion, Expect};
pub use generator::{LoadError, Run, prepared, run};
pub use outcome::{Answered, Failed};
pub use record::{Recorder, latency_histogram};
pub use schedule::{Arrivals, Schedule};
pub use script::Script;
pub use store::{StoreOp, StoreScript};

/// What decides that a request is sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Drive {
    /// The clock. A request that finds all connections busy waits, and its waiting counts.
    Open {
        /// Requests a second.
        rate: f64,
        /// How they are spread over that second.
        arrivals: Arrivals,
    },
    /// The answer to the one before it: every connection asks as fast as it is answered. This finds
    /// the capacity, and hides every stall from the percentiles.
    Closed,
    /// The same for so many requests of each connection, whatever they take: for what is counted
    /// rather than timed. All of them are recorded.
    Fixed {
        /// Requests of each connection.
        each: u64,
    },
}

/// What becomes of a connection after its request. v1.0 knows no more than [`Self::New`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reuse {
    /// It serves the next request.
    Kept,
    /// Each request opens its own and resumes the TLS session.
    New,
    /// Each request opens its own, with a full handshake.
    NewUnresumed,
}

/// One run of the generator.
#[derive(Debug, Clone)]
pub struct Load {
    /// What decides that a request is sent.
    pub drive: Drive,
    /// Requests in flight at most, over all threads.
    pub connections: usize,
    /// Threads of the generator; no more than connections are used.
    pub threads: usize,
    /// What carries its input and output.
    pub driver: Driver,
    /// What becomes of connections.
    pub reuse: Reuse,
    /// Requests due in this time are sent and not recorded.
    pub warm_up: Duration,
    /// Requests due in this time are recorded.
    pub measured: Duration,
    /// A request without its whole answer by then is a timeout.
    pub request_timeout: Duration,
    /// Requests that are due and still unsent this long after the end are given up and counted.
    pub drain: Duration,
    /// Decides the arrivals.
    pub seed: u64,
}

/// The server that is measured.
#[derive(Debug, Clone)]
pub struct Target {
    /// Where it is.
    pub address: SocketAddr,
    /// What its certificate must say; not looked at without roots.
    pub name: String,
    /// Whom the generator trusts; anybody where there is none, as the original's clients do.
    pub roots: Option<Roots>,
    /// Without TLS, which a store may speak.
    pub is_plain: bool,
}

impl Target {
    /// A configuration of its own has tickets of its own: none, at first.
    fn tls(&self) -> Result<ClientTls, LoadError> {
        let trust = self.roots.as_ref().map_or(Trust::Insecure, Trust::Roots);
        ClientTls::new(trust, None, Versions::Tls12And13)
            .map_err(|error| LoadError::Tls(error.to_string()))
    }
}
