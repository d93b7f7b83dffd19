//! Why a command ends without being done, and what a person reads about it.

use std::process::ExitCode;

use crate::auth::{ListError, TokenError};
use crate::client::ClientError;
use crate::config::ConfigError;
use crate::store::NameError;
use crate::store_client::StoreClientError;
use crate::tls::TlsConfigError;
use crate::wire::Failure;

/// How a command ends. The numbers are the exit codes, and the larger one wins where several files
/// ended differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Exit {
    /// All is done.
    Done = 0,
    /// The server refused, or a file failed.
    Failed = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// The server could not be reached, or not be trusted.
    Unreachable = 3,
}

/// What went wrong, and the next step.
#[derive(Debug)]
pub(super) struct Fail {
    pub(super) exit: Exit,
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

impl Fail {
    pub(super) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hint: None }
    }

    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    pub(super) fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    #[must_use]
    pub(super) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same failure, said of `what`.
    #[must_use]
    pub(super) fn of(mut self, what: &str) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl From<ClientError> for Fail {
    fn from(error: ClientError) -> Self {
        let exit = match &error {
            ClientError::Refused(_)
            | ClientError::NeedsV1_1
            | ClientError::EmptyAnswer
            | ClientError::OutOfMemory { .. }
            | ClientError::AnswerTooLarge { .. } => Exit::Failed,
            _ => Exit::Unreachable,
        };
        let message = match &error {
            ClientError::Refused(failure) => format!("{failure} ({})", failure.code),
            other => other.to_string(),
        };
        Self { exit, message, hint: error.hint() }
    }
}

impl From<Failure> for Fail {
    fn from(failure: Failure) -> Self {
        Self { exit: Exit::Usage, message: failure.message, hint: failure.hint }
    }
}

impl From<TlsConfigError> for Fail {
    fn from(error: TlsConfigError) -> Self {
        let hint = error.hint().map(str::to_owned);
        Self { exit: Exit::Usage, message: error.to_string(), hint }
    }
}

impl From<TokenError> for Fail {
    fn from(error: TokenError) -> Self {
        let hint = match &error {
            TokenError::Unreadable { path, .. } => format!(
                "make one with `fxsrv token new > {}`, readable by its owner alone",
                super::term::quote(&path.to_string_lossy())
            ),
            _ => "a token is one line of 1 to 32 bytes; `fxsrv token new` makes one".to_owned(),
        };
        Self::usage(error.to_string()).with_hint(hint)
    }
}

impl From<ListError> for Fail {
    fn from(error: ListError) -> Self {
        let message = error.to_string();
        let hint = match error {
            ListError::File(error) => return error.into(),
            ListError::Wrong { .. } => "docs/tokens.md has an example of a list",
            ListError::NoList { .. } => {
                "name another file for a list; a server reads one file, and a list replaces the token"
            }
            ListError::Exists { .. } => "revoke that one, or give another --name",
            ListError::Missing { .. } => {
                "`fxsrv token list --file FILE` shows those that are there"
            }
            ListError::Name(_) => "give a short name, such as scanner-2",
            ListError::Unwritable { .. } => "the list is as it was",
        };
        Self::usage(message).with_hint(hint)
    }
}

impl From<ConfigError> for Fail {
    fn from(error: ConfigError) -> Self {
        Self::usage(error.to_string())
    }
}

impl From<NameError> for Fail {
    fn from(error: NameError) -> Self {
        Self::failed(error.to_string()).with_hint(
            "a name in a store has 1 to 31 bytes, without slashes; give another with --as",
        )
    }
}

impl From<StoreClientError> for Fail {
    fn from(error: StoreClientError) -> Self {
        let hint = error.hint();
        let exit = match error {
            StoreClientError::Connect(error) => return error.into(),
            StoreClientError::NotFound
            | StoreClientError::Refused
            | StoreClientError::Unknown
            | StoreClientError::NotAdmitted(_)
            | StoreClientError::Local(_) => Exit::Failed,
            StoreClientError::Lost(_) | StoreClientError::Protocol { .. } => Exit::Unreachable,
        };
        Self { exit, message: error.to_string(), hint }
    }
}
