//! Why a file could not be converted.

use super::{SourceType, Target};

/// The kind of a failure; the worker maps it to a code of the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The content is of no type that is known here.
    UnknownType,
    /// The type is known, but the operation does not take it.
    WrongType,
    /// The content begins like its type and then breaks its rules.
    Malformed,
    /// A limit is passed.
    LimitExceeded,
    /// A PDF without text that could be extracted.
    NoText,
    /// An option that the conversion cannot honour.
    BadOption,
    /// A mistake of ours.
    Internal,
}

/// A failure, with one line that says what is wrong and by how much, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// What kind of failure.
    pub kind: ErrorKind,
    /// One line, lower case, no final period.
    pub message: String,
    /// The next step, where there is one.
    pub hint: Option<String>,
}

impl Error {
    /// An error of `kind` without a hint.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None }
    }

    /// Shorthand for the most common kind.
    pub fn malformed(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Malformed, message)
    }

    /// A limit is passed: what, how much there is, how much may be.
    pub fn limit(what: &str, got: impl std::fmt::Display, max: impl std::fmt::Display) -> Self {
        Self::new(ErrorKind::LimitExceeded, format!("{what}: {got}, and the limit is {max}"))
    }

    /// The same error with a next step.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(super) fn unknown_type(input: &[u8]) -> Self {
        let start: Vec<String> = input.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Self::new(
            ErrorKind::UnknownType,
            format!(
                "the content is no JPG, PNG, WEBP, PDF or text ({} bytes, starting {})",
                input.len(),
                start.join(" ")
            ),
        )
        .with_hint("send one of the supported types; the name of the file does not count")
    }

    pub(super) fn wrong_type(source: SourceType, target: Target) -> Self {
        let hint = match source {
            SourceType::Text => "text converts to pdf",
            SourceType::Pdf => "PDF converts to txt",
            _ => "pictures convert to jpg, png and webp",
        };
        Self::new(
            ErrorKind::WrongType,
            format!("{} cannot be converted to {}", source.name(), target.name()),
        )
        .with_hint(hint)
    }
}

impl Target {
    /// The name that people use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Jpg => "JPG",
            Self::Png => "PNG",
            Self::Webp => "WEBP",
            Self::Pdf => "PDF",
            Self::Text => "text",
        }
    }
}
