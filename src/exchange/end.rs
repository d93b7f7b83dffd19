//! What became of a request: its name in the access line, and its place among the counters.

use std::time::Instant;

use crate::metrics::{self, Names, Registry};
use crate::wire::{Code, Operation};

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It was done.
    Done,
    /// It was refused, or failed.
    Failed(Code),
    /// The client left before its answer.
    ClientGone,
    /// A worker of v1.0 answered it, in a form that nobody here reads.
    Answered,
    /// A worker answered with a code that is not known here.
    Unknown,
}

/// What requests are counted by: the operations in order of their numbers, and one for a header
/// that was refused; the codes in order of theirs, 0 for success, and what has no number.
const NAMES: Names = Names {
    operations: &["status", "jpg", "png", "webp", "pdf", "text", "none"],
    codes: &[
        "OK",
        Code::BadVersion.name(),
        Code::Unauthorized.name(),
        Code::BadOperation.name(),
        Code::TooLarge.name(),
        Code::ChecksumMismatch.name(),
        Code::UnknownType.name(),
        Code::WrongType.name(),
        Code::MalformedInput.name(),
        Code::LimitExceeded.name(),
        Code::DeadlineExceeded.name(),
        Code::Busy.name(),
        Code::NoWorker.name(),
        Code::WorkerFailed.name(),
        Code::BadOption.name(),
        Code::Timeout.name(),
        Code::ShuttingDown.name(),
        Code::NoText.name(),
        CLIENT_GONE,
        ANSWERED,
        UNKNOWN,
    ],
};

const CLIENT_GONE: &str = "CLIENT_GONE";
const ANSWERED: &str = "ANSWERED";
const UNKNOWN: &str = "UNKNOWN";

/// Where the codes of the wire end: 0 and all of [`Code::ALL`].
const WIRE_CODES: usize = 1 + Code::ALL.len();

/// A registry for a server of this protocol.
#[must_use]
pub fn registry() -> Registry {
    Registry::new(NAMES)
}

impl End {
    /// What the number in an answer says.
    #[must_use]
    pub fn from_status(status: u32) -> Self {
        match status {
            0 => Self::Done,
            number => Code::from_number(number).map_or(Self::Unknown, Self::Failed),
        }
    }

    /// The name in log lines.
    #[must_use]
    pub fn name(self) -> &'static str {
        NAMES.codes[self.index()]
    }

    /// Counts it. `operation` is unknown where the header was refused.
    pub fn count(self, operation: Option<Operation>) {
        let none = NAMES.operations.len() - 1;
        let operation = operation.map_or(none, |operation| operation.id().into());
        metrics::count(|here| {
            here.ended(operation, self.index());
            here.auth_failures.add((self == Self::Failed(Code::Unauthorized)).into());
        });
    }

    /// Counts it, and how long it took since its head was there.
    pub fn count_since(self, operation: Operation, started: Instant, convert_us: u32) {
        self.count(Some(operation));
        metrics::count(|here| {
            here.total_us.record_since(started);
            if convert_us > 0 {
                here.convert_us.record(convert_us.into());
            }
        });
    }

    fn index(self) -> usize {
        match self {
            Self::Done => 0,
            Self::Failed(code) => code as usize,
            Self::ClientGone => WIRE_CODES,
            Self::Answered => WIRE_CODES + 1,
            Self::Unknown => WIRE_CODES + 2,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::wire::Version;

    #[test]
    fn every_end_and_every_operation_has_its_own_name() {
        assert_eq!(NAMES.codes.len(), WIRE_CODES + 3);
        for code in Code::ALL {
            assert_eq!(End::Failed(code).name(), code.name());
            assert_eq!(End::from_status(code.number()), End::Failed(code));
        }
        for (end, name) in [
            (End::Done, "OK"),
            (End::ClientGone, "CLIENT_GONE"),
            (End::Answered, "ANSWERED"),
            (End::from_status(999), "UNKNOWN"),
        ] {
            assert_eq!(end.name(), name);
        }
        for id in 0..=5 {
            let operation = Operation::from_id(id, Version::V1_1).unwrap();
            // Counters are in lower case; log lines and errors name a type as people write it.
            assert_eq!(NAMES.operations[usize::from(id)], operation.name().to_lowercase());
        }
    }
}
