//! The HTTP gateway: the page for people, and the API beside it.
//!
//! Owns: HTTP, what of it is let in, and the way of a file from there to a master, as whose client it
//! works like any other. Must never write anything of a file to disk, hold more of one than the
//! buffers in flight (but for forms, whose limit is small), or show a token.
//!
//! A thread has one event loop, on which the connections to browsers and those to the master live
//! side by side: a body goes from one to the other without a change of thread.

mod answer;
mod app;
mod assets;
mod bundle;
mod convert;
mod digest;
mod form;
mod formats;
mod front;
mod hosts;
mod master;
mod names;
mod openapi;
mod pieces;
mod problem;
mod serve;
mod stall;
mod status;
mod store;
mod upload;
mod zip;

use std::net::SocketAddr;
use std::time::Duration;

pub use serve::{registry, run};
pub use store::StoreAccess;

use crate::auth::Token;
use crate::client::Address;
use crate::io::Driver;
use crate::limits::{ClientLimits, WebLimits};
use crate::metrics::Registry;
use crate::tls::{ClientTls, ServerTls};

/// What a gateway needs to know.
pub struct Config {
    /// Where it listens; port 0 lets the kernel choose.
    pub listen: SocketAddr,
    /// What carries the input and output towards the master.
    pub driver: Driver,
    /// Event loops, one a thread.
    pub threads: usize,
    /// How long requests in flight may go on once a drain has begun.
    pub grace: Duration,
    /// What it shows to browsers; without it, it speaks HTTP in the clear.
    pub https: Option<ServerTls>,
    /// The master.
    pub server: Address,
    /// Whom it trusts as the master.
    pub tls: ClientTls,
    /// What it shows to the master for those who show nothing themselves.
    pub token: Option<Token>,
    /// A file store beside the conversions.
    pub store: Option<StoreAccess>,
    /// What it counts, by [`registry`].
    pub metrics: Registry,
    /// Names under which browsers reach it, beside those of this machine and IP addresses.
    pub names: Vec<String>,
    /// Limits towards browsers.
    pub limits: WebLimits,
    /// Limits towards the master.
    pub client_limits: ClientLimits,
}
