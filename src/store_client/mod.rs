//! The client of a file store, for the command line and for whatever else has files to keep.
//!
//! Owns: reaching a store, asking, and judging its answers, with files as streams. Must never print,
//! choose where a file goes, or call a file whole whose bytes did not all arrive.

mod connection;
mod error;
mod passing;
mod streamed;

pub use connection::{ASKED_MAX, Connection};
pub use error::StoreClientError;
pub use passing::{Download, Upload};

use crate::auth::Token;
use crate::client::Address;
use crate::io::Driver;
use crate::limits::ClientLimits;
use crate::tls::ClientTls;

/// What a client needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// The store.
    pub server: Address,
    /// Whom it trusts; `None` speaks without TLS.
    pub tls: Option<ClientTls>,
    /// What it shows, where the store asks for a token.
    pub token: Option<Token>,
    /// What it bears.
    pub limits: ClientLimits,
    /// What carries its input and output; it must be that of the running event loop.
    pub driver: Driver,
}

/// How far a transfer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moved {
    /// Bytes that are through.
    pub bytes: u64,
    /// Bytes in all.
    pub total: u64,
}
