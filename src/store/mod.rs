//! The file store: PUT, GET, CHANGE, SUMMARY and HELP over one directory, or a bucket.
//!
//! Owns: the protocol, the files and their names, checksums and limits, and what a change survives.
//! Must never: take a path from a request, show a file that is not whole, acknowledge what is not
//! done, or hold a file in memory.

mod backend;
mod checksum;
mod commit;
mod directory;
mod ended;
mod error;
mod get;
mod name;
mod numbers;
mod peers;
pub mod protocol;
mod put;
mod recent;
#[cfg(feature = "s3")]
mod s3;
mod sandbox;
mod scrub;
mod service;
mod summarise;
mod usage;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

pub use backend::Files;
pub use commit::Durability;
pub use directory::{Directory, Draft, Found};
pub use ended::registry;
pub use error::StoreError;
pub use name::{NAME_BYTES_MAX, Name, NameError};
pub use numbers::{Summariser, Summary, SummaryError, parse_line, python_repr};
#[cfg(feature = "s3")]
pub use s3::{Bucket, BucketAddress, BucketError, Opened, PlainBucket, Settings as BucketSettings};
pub use sandbox::{Confinement, confine, confine_to_reading};
pub use scrub::{Finding, check};
pub use usage::Usage;

use crate::auth::Tokens;
use crate::limits::ServerLimits;
use crate::metrics::Registry;
use crate::server::{self, Plan, Stop};
use crate::tls::ServerTls;
use backend::Backend;
use service::{Shared, Store};

/// How a connection is secured.
pub enum Security {
    /// With TLS, and this certificate.
    Tls(ServerTls),
    /// Not at all.
    Plain,
}

/// Whether a connection is kept after an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Connections {
    /// For any number of requests, until the client ends it.
    #[default]
    Kept,
    /// It is closed after one answer, as some clients expect.
    OneShot,
}

/// What the answer to SUMMARY looks like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SummaryForm {
    /// A file, with name and size.
    #[default]
    File,
    /// The text and nothing else.
    Raw,
}

/// What a store needs to know.
pub struct Config {
    /// Where and on what it serves.
    pub plan: Plan,
    /// With TLS or without.
    pub security: Security,
    /// Whom it lets in: with anything but [`Tokens::Open`], a connection begins with a token.
    pub tokens: Tokens,
    /// Limits of connections; those of files belong to the directory.
    pub limits: ServerLimits,
    /// What an acknowledged change survives.
    pub durability: Durability,
    /// Whether connections are kept.
    pub connections: Connections,
    /// How a summary is answered.
    pub summary: SummaryForm,
    /// Where it counts; [`registry`] makes one.
    pub metrics: Registry,
}

/// Serves `files` until `stop` says otherwise; `on_listening` hears the address
/// once it serves.
///
/// # Errors
///
/// The address cannot be bound, or a thread cannot be set up.
pub fn run(
    config: Config,
    files: impl Into<Files>,
    stop: &Stop,
    on_listening: impl FnOnce(SocketAddr),
) -> io::Result<()> {
    let backend = Backend::start(files.into(), &config)?;
    let (plan, metrics) = (config.plan.clone(), config.metrics.clone());
    let shared = Arc::new(Shared::new(config, backend));
    let make = |context| Store::new(context, Arc::clone(&shared));
    server::run(&plan, stop, &metrics, make, on_listening)
}
