//! What can go wrong with certificates, keys, and a configuration made from them.

use std::path::{Path, PathBuf};

/// Why certificates, keys or a configuration made from them cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsConfigError {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}", path = .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file or directory cannot be written.
    #[error("cannot write {path}: {source}", path = .path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file that would be written is there already.
    #[error("{path} exists already, and is not overwritten", path = .path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A PEM text has not what it should have.
    #[error("{origin}: {problem}")]
    Pem {
        /// The file, or what the text is for.
        origin: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A certificate and a key are of different pairs.
    #[error("{origin}: the key does not belong to the certificate")]
    KeyMismatch {
        /// The files, or what they are for.
        origin: String,
    },
    /// A certificate cannot be made.
    #[error("cannot make the certificate of {subject}: {problem}")]
    Make {
        /// Whose.
        subject: String,
        /// Why.
        problem: String,
    },
    /// rustls refuses the configuration.
    #[error("the TLS configuration is refused: {0}")]
    Refused(String),
}

impl TlsConfigError {
    pub(super) fn pem(origin: &str, problem: impl Into<String>) -> Self {
        Self::Pem { origin: origin.to_owned(), problem: problem.into() }
    }

    pub(super) fn read(path: &Path, source: std::io::Error) -> Self {
        Self::Read { path: path.to_owned(), source }
    }

    pub(super) fn write(path: &Path, source: std::io::Error) -> Self {
        if source.kind() == std::io::ErrorKind::AlreadyExists {
            Self::Exists { path: path.to_owned() }
        } else {
            Self::Write { path: path.to_owned(), source }
        }
    }

    #[allow(clippy::needless_pass_by_value)] // It is the argument of `map_err`.
    pub(super) fn refused(error: impl ToString) -> Self {
        Self::Refused(error.to_string())
    }

    /// The next step, where there is one.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Read { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                Some("make certificates with `fxsrv certs init`, or name another directory")
            }
            Self::Read { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
                Some("run as the user who owns the file; a key is readable by its owner alone")
            }
            Self::Exists { .. } => Some("name another directory, or remove the old files first"),
            Self::Pem { .. } | Self::KeyMismatch { .. } => {
                Some("make a new set with `fxsrv certs init` in an empty directory")
            }
            _ => None,
        }
    }
}
