//! A directory of certificates: `ca`, `server` and `client`, each a `.pem` and a `.key`.
//!
//! A master and a worker show `server.pem`; a master shows `client.pem` to its workers. Users get
//! `ca.pem` and nothing else, and `ca.key` is needed only to sign more.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use x509_parser::extensions::GeneralName;
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::X509Certificate;
use x509_parser::time::ASN1Time;

use super::make::{
    CA_VALID_DAYS, LEAF_VALID_DAYS, PemPair, make_ca, make_named_client_leaf, make_server_leaf,
};
use super::{CA_NAME, CLIENT_NAME};
use crate::tls::config_error::TlsConfigError;
use crate::tls::identity::{Identity, Roots};

pub(super) const CA_PEM: &str = "ca.pem";
pub(super) const CA_KEY: &str = "ca.key";
pub(super) const SERVER_PEM: &str = "server.pem";
pub(super) const SERVER_KEY: &str = "server.key";
pub(super) const CLIENT_PEM: &str = "client.pem";
pub(super) const CLIENT_KEY: &str = "client.key";

/// Mode of a directory that is made, of a key, and of a certificate.
const DIR_MODE: u32 = 0o700;
pub(super) const KEY_MODE: u32 = 0o600;
pub(super) const CERT_MODE: u32 = 0o644;

const SECONDS_PER_DAY: i64 = 86_400;

/// A directory with the file names above.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertDir {
    path: PathBuf,
}

/// What a certificate is for, by its own extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertKind {
    /// It signs others.
    Ca,
    /// A server shows it.
    Server,
    /// A client shows it.
    Client,
    /// None of these.
    Other,
}

/// One certificate, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertInfo {
    /// Name of the file in its directory.
    pub file: &'static str,
    /// The subject, as in `CN=fxsrv CA`.
    pub subject: String,
    /// DNS names and IP addresses that it is for.
    pub names: Vec<String>,
    /// The last day, as in `2027-01-31` (UTC).
    pub not_after: String,
    /// Whole days left; negative where it is over.
    pub days_left: i64,
    /// The same in seconds.
    pub seconds_left: i64,
    /// What it is for.
    pub kind: CertKind,
}

impl CertDir {
    /// A directory that is there, or is not: the files are looked at when they are loaded.
    pub fn open(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Makes a CA, a server's leaf for `names` and a client's leaf, and writes all six files into
    /// `path`. Directories that are missing are made, for the owner alone.
    ///
    /// # Errors
    ///
    /// Where one of the files is there already (none is then written), a name is neither a DNS
    /// name nor an IP address, or a file cannot be written.
    pub fn init(path: impl Into<PathBuf>, names: &[String]) -> Result<Self, TlsConfigError> {
        Self::init_named(path, names, &[])
    }

    /// The same, with `client_names` in the client's leaf, for workers that let in masters by name.
    ///
    /// # Errors
    ///
    /// As [`Self::init`].
    pub fn init_named(
        path: impl Into<PathBuf>,
        names: &[String],
        client_names: &[String],
    ) -> Result<Self, TlsConfigError> {
        let dir = Self::open(path);
        dir.refuse_existing()?;
        let ca = make_ca(CA_NAME, CA_VALID_DAYS)?;
        let server = make_server_leaf(&ca, names, LEAF_VALID_DAYS)?;
        let client = make_named_client_leaf(&ca, CLIENT_NAME, client_names, LEAF_VALID_DAYS)?;
        DirBuilder::new()
            .recursive(true)
            .mode(DIR_MODE)
            .create(&dir.path)
            .map_err(|error| TlsConfigError::write(&dir.path, error))?;
        let mut written = Vec::new();
        let outcome = dir.write_pair(CA_PEM, CA_KEY, &ca, &mut written).and_then(|()| {
            dir.write_pair(SERVER_PEM, SERVER_KEY, &server, &mut written)?;
            dir.write_pair(CLIENT_PEM, CLIENT_KEY, &client, &mut written)
        });
        if let Err(error) = outcome {
            // Half a set helps nobody, and would be in the way of the next attempt.
            for path in written {
                let _gone = fs::remove_file(path);
            }
            return Err(error);
        }
        Ok(dir)
    }

    fn refuse_existing(&self) -> Result<(), TlsConfigError> {
        for file in [CA_PEM, CA_KEY, SERVER_PEM, SERVER_KEY, CLIENT_PEM, CLIENT_KEY] {
            let path = self.path.join(file);
            // A dangling link counts: whatever has the name is not ours to replace.
            if path.symlink_metadata().is_ok() {
                return Err(TlsConfigError::Exists { path });
            }
        }
        Ok(())
    }

    fn write_pair(
        &self,
        cert_file: &str,
        key_file: &str,
        pair: &PemPair,
        written: &mut Vec<PathBuf>,
    ) -> Result<(), TlsConfigError> {
        write_new(self.path.join(key_file), &pair.key_pem, KEY_MODE, written)?;
        write_new(self.path.join(cert_file), &pair.cert_pem, CERT_MODE, written)
    }

    /// What masters and workers show.
    ///
    /// # Errors
    ///
    /// Where `server.pem` or `server.key` is missing or unusable.
    pub fn load_server(&self) -> Result<Identity, TlsConfigError> {
        Identity::load(&self.path.join(SERVER_PEM), &self.path.join(SERVER_KEY))
    }

    /// What a master shows to its workers.
    ///
    /// # Errors
    ///
    /// Where `client.pem` or `client.key` is missing or unusable.
    pub fn load_client(&self) -> Result<Identity, TlsConfigError> {
        Identity::load(&self.path.join(CLIENT_PEM), &self.path.join(CLIENT_KEY))
    }

    /// Whom everyone here trusts.
    ///
    /// # Errors
    ///
    /// Where `ca.pem` is missing or unusable.
    pub fn load_roots(&self) -> Result<Roots, TlsConfigError> {
        Roots::load(&self.path.join(CA_PEM))
    }

    /// Describes the certificates that are there. Keys are not opened.
    ///
    /// # Errors
    ///
    /// Where there is none, or one cannot be read.
    pub fn describe(&self) -> Result<Vec<CertInfo>, TlsConfigError> {
        let mut infos = Vec::new();
        for file in [CA_PEM, SERVER_PEM, CLIENT_PEM] {
            let path = self.path.join(file);
            match fs::read(&path) {
                Ok(pem) => infos.push(describe_pem(file, &path, &pem)?),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(TlsConfigError::read(&path, error)),
            }
        }
        if infos.is_empty() {
            let missing = std::io::ErrorKind::NotFound.into();
            return Err(TlsConfigError::read(&self.path.join(CA_PEM), missing));
        }
        Ok(infos)
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

pub(super) fn write_new(
    path: PathBuf,
    text: &str,
    mode: u32,
    written: &mut Vec<PathBuf>,
) -> Result<(), TlsConfigError> {
    let fail = |error| TlsConfigError::write(&path, error);
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(mode).open(&path).map_err(fail)?;
    let outcome = file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(fail);
    written.push(path);
    outcome
}

fn describe_pem(file: &'static str, path: &Path, pem: &[u8]) -> Result<CertInfo, TlsConfigError> {
    let origin = path.display().to_string();
    let unreadable = |error: String| TlsConfigError::pem(&origin, error);
    let (_, pem) = parse_x509_pem(pem).map_err(|error| unreadable(error.to_string()))?;
    let cert = pem.parse_x509().map_err(|error| unreadable(error.to_string()))?;
    let not_after = cert.validity().not_after;
    let seconds_left = not_after.timestamp() - ASN1Time::now().timestamp();
    Ok(CertInfo {
        file,
        subject: cert.subject().to_string(),
        names: names(&cert),
        not_after: not_after.to_datetime().date().to_string(),
        days_left: seconds_left.div_euclid(SECONDS_PER_DAY),
        seconds_left,
        kind: kind(&cert),
    })
}

/// DNS names and IP addresses that a certificate is for.
pub(in crate::tls) fn names(cert: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = cert.subject_alternative_name() else {
        return Vec::new();
    };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => <[u8; 4]>::try_from(*bytes)
            .map(std::net::IpAddr::from)
            .or_else(|_| <[u8; 16]>::try_from(*bytes).map(std::net::IpAddr::from))
            .ok()
            .map(|address| address.to_string()),
        _ => None,
    };
    extension.value.general_names.iter().filter_map(name).collect()
}

fn kind(cert: &X509Certificate<'_>) -> CertKind {
    if cert.is_ca() {
        return CertKind::Ca;
    }
    match cert.extended_key_usage() {
        Ok(Some(usage)) if usage.value.server_auth => CertKind::Server,
        Ok(Some(usage)) if usage.value.client_auth => CertKind::Client,
        _ => CertKind::Other,
    }
}
