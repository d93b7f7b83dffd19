//! What becomes of a file of a batch.

use crate::store::StoreError;
use crate::wire::Failure;

/// How a result came to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Landed {
    /// It was written.
    New,
    /// The same bytes were there already.
    Same,
}

/// Why a file has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Trouble {
    /// The stable code: one of the wire's, or one of [`Self::OWN_CODES`].
    pub code: &'static str,
    /// One line that says what is wrong.
    pub message: String,
    /// The next step, where there is one.
    pub hint: Option<String>,
    /// Whether the same may go well later.
    pub is_passing: bool,
}

impl Trouble {
    /// There is no such file.
    pub const NOT_FOUND: &str = "NOT_FOUND";
    /// The result's name is taken by something else.
    pub const EXISTS: &str = "EXISTS";
    /// The address is none that may be used.
    pub const NOT_ALLOWED: &str = "NOT_ALLOWED";
    /// Reading or writing failed.
    pub const STORAGE_FAILED: &str = "STORAGE_FAILED";

    /// Codes that the wire does not have.
    pub const OWN_CODES: [&str; 4] =
        [Self::NOT_FOUND, Self::EXISTS, Self::NOT_ALLOWED, Self::STORAGE_FAILED];

    /// The code of a name, as a journal or another process has it.
    #[must_use]
    pub fn known_code(name: &str) -> Option<&'static str> {
        let own = Self::OWN_CODES.into_iter().find(|code| *code == name);
        own.or_else(|| crate::wire::Code::from_name(name).map(crate::wire::Code::name))
    }

    /// A trouble that stays.
    pub fn lasting(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None, is_passing: false }
    }

    /// Storage that failed, and may be back soon.
    pub fn storage(message: impl Into<String>) -> Self {
        Self { code: Self::STORAGE_FAILED, message: message.into(), hint: None, is_passing: true }
    }

    /// An address that may not be used.
    pub fn not_allowed(message: impl Into<String>) -> Self {
        Self::lasting(Self::NOT_ALLOWED, message)
    }

    /// The name is taken.
    #[must_use]
    pub fn exists() -> Self {
        let message = "another file has the name of the result already";
        Self::lasting(Self::EXISTS, message).with_hint("replace it with --force, or move it away")
    }

    /// A file over the limit.
    #[must_use]
    pub fn too_large(bytes: u64, max: u64) -> Self {
        let over = bytes.saturating_sub(max);
        let message = format!("the file has {bytes} bytes, {over} over the limit of {max}");
        Self::lasting(crate::wire::Code::TooLarge.name(), message)
            .with_hint("raise --max-body, of a worker --queue-memory too, or leave it out")
    }

    /// The same with a next step.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self {
            code: failure.code.name(),
            is_passing: failure.code.may_retry(),
            message: failure.message,
            hint: failure.hint,
        }
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Missing => Self::lasting(Self::NOT_FOUND, "there is no such object"),
            StoreError::Exists => Self::exists(),
            other => Self::storage(other.to_string()),
        }
    }
}

impl From<std::io::Error> for Trouble {
    fn from(error: std::io::Error) -> Self {
        use std::io::ErrorKind;
        match error.kind() {
            ErrorKind::NotFound => Self::lasting(Self::NOT_FOUND, "there is no such file"),
            ErrorKind::PermissionDenied
            | ErrorKind::ReadOnlyFilesystem
            | ErrorKind::IsADirectory
            | ErrorKind::NotADirectory
            | ErrorKind::InvalidFilename => Self::not_allowed(error.to_string()),
            _ => Self::storage(error.to_string()),
        }
    }
}
