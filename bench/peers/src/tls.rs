//! TLS as every contender has to speak it: 1.3, AES-256-GCM, X25519, certificates of ECDSA P-256.
//!
//! Both ends of the chain offer nothing else, so that no contender gets away with a cheaper choice.

use std::path::Path;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::Fallible;

/// The name in the servers' certificate.
pub(crate) fn server_name() -> Fallible<ServerName<'static>> {
    Ok(ServerName::try_from("localhost")?)
}

/// A server with the certificate of `certs`. With `mutual` it lets in only who has one too.
pub(crate) fn server(certs: &Path, mutual: bool) -> Fallible<Arc<ServerConfig>> {
    let builder =
        ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13])?;
    let builder = if mutual {
        let roots = Arc::new(roots(certs)?);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider()).build()?;
        builder.with_client_cert_verifier(verifier)
    } else {
        builder.with_no_client_auth()
    };
    let (chain, key) = identity(certs, "server")?;
    Ok(Arc::new(builder.with_single_cert(chain, key)?))
}

/// A client that trusts the CA of `certs`, and shows its client certificate if `mutual`.
pub(crate) fn client(certs: &Path, mutual: bool) -> Fallible<Arc<ClientConfig>> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(roots(certs)?);
    Ok(Arc::new(if mutual {
        let (chain, key) = identity(certs, "client")?;
        builder.with_client_auth_cert(chain, key)?
    } else {
        builder.with_no_client_auth()
    }))
}

/// The same, for clients of whom each is a new one: no session is resumed.
pub(crate) fn forgetful_client(certs: &Path) -> Fallible<Arc<ClientConfig>> {
    let mut config = Arc::unwrap_or_clone(client(certs, false)?);
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384],
        kx_groups: vec![aws_lc_rs::kx_group::X25519],
        ..aws_lc_rs::default_provider()
    })
}

fn roots(certs: &Path) -> Fallible<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(certs.join("ca.pem"))? {
        roots.add(certificate?)?;
    }
    Ok(roots)
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn identity(certs: &Path, who: &str) -> Fallible<Identity> {
    let chain = CertificateDer::pem_file_iter(certs.join(format!("{who}.pem")))?
        .collect::<Result<Vec<_>, _>>()?;
    Ok((chain, PrivateKeyDer::from_pem_file(certs.join(format!("{who}.key")))?))
}
