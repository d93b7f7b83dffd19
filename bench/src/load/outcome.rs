//! What came of a request.

use fxsrv::transport::StreamError;
use fxsrv::wire::Code;

/// A whole answer of the kind that was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answered {
    /// Bytes of the answer's body.
    pub body_bytes: u64,
    /// Time that the server spent converting; v1.0 does not tell.
    pub convert_us: Option<u32>,
}

/// Why there is none. Each kind is counted by itself, and none is part of a percentile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failed {
    /// No TCP connection.
    Connect,
    /// No TLS session.
    Handshake,
    /// The time of the request was over.
    Timeout,
    /// The connection ended before the end of the answer.
    Broken,
    /// The answer is in no version that was asked for.
    Protocol,
    /// The answer does not have its checksum.
    Damaged,
    /// The server took what it was expected to refuse.
    Unrefused,
    /// The server said no.
    Refused(Code),
    /// A store has no such file.
    NotFound,
    /// A store said no.
    Declined,
    /// A store does not accept the token.
    NotAdmitted,
    /// It was due, and the run was over before any connection was free.
    Unsent,
}

impl Failed {
    /// The name in results.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Handshake => "handshake",
            Self::Timeout => "timeout",
            Self::Broken => "broken",
            Self::Protocol => "protocol",
            Self::Damaged => "damaged",
            Self::Unrefused => "unrefused",
            Self::Refused(code) => code.name(),
            Self::NotFound => "not-found",
            Self::Declined => "declined",
            Self::NotAdmitted => "not-admitted",
            Self::Unsent => "unsent",
        }
    }

    /// How an exchange fails whose connection did.
    pub(super) fn of_stream(error: &StreamError) -> Self {
        match error {
            StreamError::TimedOut => Self::Timeout,
            _ => Self::Broken,
        }
    }
}
