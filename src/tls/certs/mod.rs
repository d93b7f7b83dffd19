//! Certificates of our own: a CA, and a server's and a client's leaf that it signs.
//!
//! All keys are ECDSA P-256: every TLS library knows them, and they make short certificates.

mod dir;
mod make;
mod renew;

pub(super) use dir::names;
pub use dir::{CertDir, CertInfo, CertKind};
pub use make::{
    CA_VALID_DAYS, LEAF_VALID_DAYS, PemPair, make_ca, make_client_leaf, make_named_client_leaf,
    make_server_leaf,
};
pub use renew::Renewal;

use super::config_error::TlsConfigError;
use super::identity::{Identity, Roots};

/// Names of the subjects that [`CertDir::init`] and [`throwaway`] make.
const CA_NAME: &str = "fxsrv CA";
const CLIENT_NAME: &str = "fxsrv client";

/// Identities that live in memory and end with the process.
#[derive(Debug, Clone)]
pub struct Throwaway {
    /// Trusts both identities.
    pub roots: Roots,
    /// A server of the names asked for.
    pub server: Identity,
    /// A client.
    pub client: Identity,
}

/// Makes a CA, a server of `names` (DNS names or IP addresses) and a client, in memory only.
///
/// # Errors
///
/// Where a name is neither a DNS name nor an IP address, or there is none.
pub fn throwaway(names: &[String]) -> Result<Throwaway, TlsConfigError> {
    let ca = make_ca(CA_NAME, CA_VALID_DAYS)?;
    let server = make_server_leaf(&ca, names, LEAF_VALID_DAYS)?;
    let client = make_client_leaf(&ca, CLIENT_NAME, LEAF_VALID_DAYS)?;
    Ok(Throwaway {
        roots: Roots::from_pem(&ca.cert_pem)?,
        server: Identity::from_pem(&server.cert_pem, &server.key_pem)?,
        client: Identity::from_pem(&client.cert_pem, &client.key_pem)?,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
