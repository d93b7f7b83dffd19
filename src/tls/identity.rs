//! Who we are, and whom we trust: a certificate chain with its key, and root certificates.

use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use zeroize::{Zeroize, Zeroizing};

use super::config_error::TlsConfigError;

/// A certificate chain with the private key of its first certificate. Clones share it.
#[derive(Debug, Clone)]
pub struct Identity(Arc<CertifiedKey>);

impl Identity {
    /// Reads a chain (leaf first) and a key (PKCS #8, SEC 1 or PKCS #1) from PEM texts.
    ///
    /// # Errors
    ///
    /// Where either is missing or unreadable, or they are of different pairs.
    pub fn from_pem(cert_chain_pem: &str, key_pem: &str) -> Result<Self, TlsConfigError> {
        Self::parse(cert_chain_pem, "the certificate", key_pem, "the private key")
    }

    /// The same from two files.
    ///
    /// # Errors
    ///
    /// As [`Self::from_pem`], and where a file cannot be read; the error names it.
    pub fn load(cert_path: &Path, key_path: &Path) -> Result<Self, TlsConfigError> {
        let cert = read(cert_path)?;
        let key = read(key_path)?;
        Self::parse(&cert, &cert_path.display().to_string(), &key, &key_path.display().to_string())
    }

    fn parse(
        cert_pem: &str,
        cert_origin: &str,
        key_pem: &str,
        key_origin: &str,
    ) -> Result<Self, TlsConfigError> {
        let chain = certificates(cert_pem, cert_origin)?;
        let mut key_der = PrivateKeyDer::from_pem_slice(key_pem.as_bytes())
            .map_err(|error| TlsConfigError::pem(key_origin, format!("no private key: {error}")))?;
        let key = any_supported_type(&key_der);
        key_der.zeroize();
        let key = key.map_err(|error| TlsConfigError::pem(key_origin, error.to_string()))?;
        let pair = CertifiedKey::new(chain, key);
        match pair.keys_match() {
            Ok(()) => Ok(Self(Arc::new(pair))),
            Err(rustls::Error::InconsistentKeys(_)) => Err(TlsConfigError::KeyMismatch {
                origin: format!("{cert_origin} and {key_origin}"),
            }),
            Err(error) => Err(TlsConfigError::pem(cert_origin, error.to_string())),
        }
    }

    pub(super) fn resolver(&self) -> Arc<SingleCertAndKey> {
        Arc::new(SingleCertAndKey::from(Arc::clone(&self.0)))
    }
}

/// The root certificates that are trusted. Clones share them.
#[derive(Debug, Clone)]
pub struct Roots(Arc<RootCertStore>);

impl Roots {
    /// Reads one or more certificates from a PEM text.
    ///
    /// # Errors
    ///
    /// Where there is none, or one cannot be read.
    pub fn from_pem(pem: &str) -> Result<Self, TlsConfigError> {
        Self::parse(pem, "the root certificates")
    }

    /// The same from a file.
    ///
    /// # Errors
    ///
    /// As [`Self::from_pem`], and where the file cannot be read; the error names it.
    pub fn load(path: &Path) -> Result<Self, TlsConfigError> {
        Self::parse(&read(path)?, &path.display().to_string())
    }

    fn parse(pem: &str, origin: &str) -> Result<Self, TlsConfigError> {
        let mut store = RootCertStore::empty();
        for certificate in certificates(pem, origin)? {
            store
                .add(certificate)
                .map_err(|error| TlsConfigError::pem(origin, error.to_string()))?;
        }
        Ok(Self(Arc::new(store)))
    }

    pub(super) fn store(&self) -> Arc<RootCertStore> {
        Arc::clone(&self.0)
    }
}

fn certificates(pem: &str, origin: &str) -> Result<Vec<CertificateDer<'static>>, TlsConfigError> {
    let chain = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| TlsConfigError::pem(origin, error.to_string()))?;
    if chain.is_empty() {
        return Err(TlsConfigError::pem(origin, "no certificate in it"));
    }
    Ok(chain)
}

/// A whole text file; wiped when it is dropped, since it may be a key.
fn read(path: &Path) -> Result<Zeroizing<String>, TlsConfigError> {
    std::fs::read_to_string(path)
        .map(Zeroizing::new)
        .map_err(|error| TlsConfigError::read(path, error))
}
