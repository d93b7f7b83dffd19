//! TLS as a state machine without I/O, its configurations, and the certificates that it uses.
//!
//! Owns: the session ([`TlsSession`]: `advance`, `seal`, `close`), the configurations of a server
//! and of a client, and certificates: made, loaded, described. Must never await, touch a socket or
//! take rustls' process-wide provider, and is the only room that names rustls' connection types.

mod acceptor;
pub mod certs;
mod config;
mod config_error;
mod conn;
mod control;
mod error;
mod identity;
mod records;
mod session;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod traffic;
mod unbuffered;
mod verifier;

pub use acceptor::TlsAcceptor;
pub use config::{ClientAuth, ClientTls, ServerTls, Trust, Versions};
pub use config_error::TlsConfigError;
pub use error::{CertificateProblem, TlsError};
pub use identity::{Identity, Roots};
pub use session::{
    Progress, RECORD_OVERHEAD_BYTES, RECORD_PLAIN_BYTES_MAX, RECORD_WIRE_BYTES_MAX, TlsSession,
};
