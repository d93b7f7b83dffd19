//! Configuration: flag, then environment, then file.
//!
//! Owns: the keys of every subcommand, each in all three places, and the parsing of raw keys into
//! what the rooms take. Must never read a certificate or a token, or decide what a subcommand does.

mod batch;
mod convert;
mod keys;
mod memory;
mod server;
mod store;
mod values;
mod web;
mod worker;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::path::{Path, PathBuf};
use std::str::FromStr;

pub(crate) use batch::BatchKeys;
pub(crate) use convert::ConvertKeys;
pub(crate) use memory::{with_memory, with_queue};
pub(crate) use server::{
    ClientAuthMode, Common, IsolationMode, MasterKeys, NOTICE_DEFAULT, Running, SLOTS_MAX, SPARES,
    UpKeys, WorkerWire, cores, isolation, within,
};
pub(crate) use store::{FilesKeys, StoreKeys};
pub(crate) use values::{ByteSize, Collector, Period};
pub(crate) use web::{PageAt, WebKeys};
pub(crate) use worker::WorkerKeys;

/// A whole file. Every table belongs to a subcommand, and has its keys.
#[derive(Debug, Clone, Default, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct File {
    pub(crate) convert: ConvertKeys,
    pub(crate) master: MasterKeys,
    pub(crate) worker: WorkerKeys,
    pub(crate) up: UpKeys,
    pub(crate) store: StoreKeys,
    pub(crate) files: FilesKeys,
    pub(crate) web: WebKeys,
    pub(crate) batch: BatchKeys,
}

/// Says what is wrong with the text of a configuration file, as far as the text alone tells it.
///
/// # Errors
///
/// The problem, with the line where it is.
pub fn check(text: &str) -> Result<(), String> {
    File::parse(text).map(drop)
}

/// More than any configuration; what is larger is another file.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("cannot read {}: {source}", .path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{} has {bytes} bytes, over the limit of {FILE_BYTES_MAX} for a configuration", .path.display())]
    TooLarge { path: PathBuf, bytes: u64 },
    #[error("{} is wrong:\n{problem}", .path.display())]
    Wrong { path: PathBuf, problem: String },
    #[error("{key} is {value}, and must be from {min} to {max}")]
    Range { key: &'static str, value: usize, min: usize, max: usize },
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogLevel(pub(crate) tracing::Level);

impl FromStr for LogLevel {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Ok(Self(match name {
            "error" => tracing::Level::ERROR,
            "warn" => tracing::Level::WARN,
            "info" => tracing::Level::INFO,
            "debug" => tracing::Level::DEBUG,
            "trace" => tracing::Level::TRACE,
            other => {
                return Err(format!(
                    "'{other}' is no level; there are error, warn, info, debug and trace"
                ));
            }
        }))
    }
}

impl File {
    /// Reads the file that is named, or nothing.
    pub(crate) fn load(named: Option<&Path>) -> Result<Self, ConfigError> {
        named.map_or_else(|| Ok(Self::default()), Self::read)
    }

    /// The same, and without a name the user's own file where there is one.
    pub(crate) fn load_for_user(named: Option<&Path>) -> Result<Self, ConfigError> {
        match (named, user_file()) {
            (None, Some(own)) if own.exists() => Self::read(&own),
            _ => Self::load(named),
        }
    }

    fn read(path: &Path) -> Result<Self, ConfigError> {
        let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
        let bytes = std::fs::metadata(path).map_err(unreadable)?.len();
        if bytes > FILE_BYTES_MAX {
            return Err(ConfigError::TooLarge { path: path.to_owned(), bytes });
        }
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        Self::parse(&text).map_err(|problem| ConfigError::Wrong { path: path.to_owned(), problem })
    }

    fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())
    }
}

/// `$XDG_CONFIG_HOME/fxsrv/config.toml`, else `~/.config/fxsrv/config.toml`.
fn user_file() -> Option<PathBuf> {
    Some(user_dir("XDG_CONFIG_HOME", ".config")?.join("config.toml"))
}

/// This program's directory under a base directory of the user (XDG Base Directory Specification:
/// a variable that is empty or relative counts as unset).
pub(crate) fn user_dir(variable: &str, below_home: &str) -> Option<PathBuf> {
    let absolute =
        |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute(variable).or_else(|| Some(absolute("HOME")?.join(below_home)))?;
    Some(base.join("fxsrv"))
}
