//! The configurations of a server and of a client, shared by all their connections.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{ClientConfig, ServerConfig, SupportedProtocolVersion, version};

use super::config_error::TlsConfigError;
use super::identity::{Identity, Roots};
use super::verifier::{AnyServer, NamedClients};

/// Whom a server lets in.
#[derive(Debug, Clone, Copy)]
pub enum ClientAuth<'a> {
    /// Whoever connects.
    None,
    /// Who holds a client certificate that one of these roots has signed.
    Required(&'a Roots),
    /// The same, if the certificate has one of these names: DNS names or IP addresses.
    Named(&'a Roots, &'a [String]),
}

/// Whom a client believes.
#[derive(Debug, Clone, Copy)]
pub enum Trust<'a> {
    /// A server whose certificate one of these roots has signed, for the name asked for.
    Roots(&'a Roots),
    /// Any server. Whoever stands between reads and changes everything.
    Insecure,
}

/// Which versions of TLS are spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Versions {
    /// TLS 1.2 and 1.3: towards clients of any make.
    Tls12And13,
    /// TLS 1.3 alone: between our own machines.
    Tls13,
}

impl Versions {
    fn list(self) -> &'static [&'static SupportedProtocolVersion] {
        static BOTH: [&SupportedProtocolVersion; 2] = [&version::TLS13, &version::TLS12];
        match self {
            Self::Tls12And13 => &BOTH,
            Self::Tls13 => &BOTH[..1],
        }
    }
}

/// A server's side. Clones are cheap and share the keys that seal session tickets, so that a
/// client may resume on another thread.
#[derive(Debug, Clone)]
pub struct ServerTls(Arc<ServerConfig>);

impl ServerTls {
    /// A server that shows `identity`. Early data is never accepted, since it can be replayed.
    ///
    /// # Errors
    ///
    /// Where rustls refuses what it is given.
    pub fn new(
        identity: &Identity,
        client_auth: ClientAuth<'_>,
        versions: Versions,
    ) -> Result<Self, TlsConfigError> {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(versions.list())
            .map_err(TlsConfigError::refused)?;
        let builder = match client_auth {
            ClientAuth::None => builder.with_no_client_auth(),
            ClientAuth::Required(roots) => builder.with_client_cert_verifier(of_roots(roots)?),
            ClientAuth::Named(roots, names) => builder.with_client_cert_verifier(Arc::new(
                NamedClients::new(of_roots(roots)?, names.to_vec()),
            )),
        };
        let mut config = builder.with_cert_resolver(identity.resolver());
        config.ticketer = aws_lc_rs::Ticketer::new().map_err(TlsConfigError::refused)?;
        // Tickets hold the state; a cache here would be one lock for all threads.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        // For the record layer of an established connection (`traffic.rs`).
        config.enable_secret_extraction = true;
        Ok(Self(Arc::new(config)))
    }

    pub(super) fn rustls(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0)
    }
}

/// A client's side. Clones are cheap and share the tickets that servers have given.
#[derive(Debug, Clone)]
pub struct ClientTls(Arc<ClientConfig>);

impl ClientTls {
    /// A client that believes `trust`, and shows `identity` to a server that asks for one.
    ///
    /// # Errors
    ///
    /// Where rustls refuses what it is given.
    pub fn new(
        trust: Trust<'_>,
        identity: Option<&Identity>,
        versions: Versions,
    ) -> Result<Self, TlsConfigError> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(versions.list())
            .map_err(TlsConfigError::refused)?;
        let builder = match trust {
            Trust::Roots(roots) => builder.with_webpki_verifier(
                WebPkiServerVerifier::builder_with_provider(roots.store(), provider())
                    .build()
                    .map_err(TlsConfigError::refused)?,
            ),
            Trust::Insecure => {
                builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyServer::new()))
            }
        };
        let mut config = match identity {
            Some(identity) => builder.with_client_cert_resolver(identity.resolver()),
            None => builder.with_no_client_auth(),
        };
        config.enable_secret_extraction = true;
        Ok(Self(Arc::new(config)))
    }

    #[cfg(test)]
    pub(super) fn from_rustls(config: ClientConfig) -> Self {
        Self(Arc::new(config))
    }

    pub(super) fn rustls(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.0)
    }
}

fn of_roots(roots: &Roots) -> Result<Arc<dyn ClientCertVerifier>, TlsConfigError> {
    WebPkiClientVerifier::builder_with_provider(roots.store(), provider())
        .build()
        .map_err(TlsConfigError::refused)
}

/// aws-lc-rs by name: the process-wide default may be anything, or nothing.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}
