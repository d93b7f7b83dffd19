//! The stable error codes: the same in every client, log line and HTTP answer.

/// Where the cause of a failure lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The request: nothing changes until the client changes it.
    Client,
    /// A worker, seen from the master.
    Upstream,
    /// The server that answers.
    Internal,
}

/// An error code of the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// The first four bytes are no version that is known here.
    BadVersion = 1,
    /// The token is not accepted.
    Unauthorized = 2,
    /// The operation does not exist.
    BadOperation = 3,
    /// The body is larger than the server takes.
    TooLarge = 4,
    /// The body is not what its checksum says.
    ChecksumMismatch = 5,
    /// The content is of no known type.
    UnknownType = 6,
    /// The type is known, but the operation does not take it.
    WrongType = 7,
    /// The content breaks the rules of its type.
    MalformedInput = 8,
    /// A limit of the conversion is passed.
    LimitExceeded = 9,
    /// The conversion took too long.
    DeadlineExceeded = 10,
    /// The server has no room; the answer says when to come back.
    Busy = 11,
    /// No worker is healthy.
    NoWorker = 12,
    /// A worker broke off.
    WorkerFailed = 13,
    /// An option is unknown, doubled, out of range or not the operation's.
    BadOption = 14,
    /// The client was silent for too long.
    Timeout = 15,
    /// The server is about to stop.
    ShuttingDown = 16,
    /// A PDF without extractable text.
    NoText = 17,
}

impl Code {
    /// Every code, in order of its number.
    pub const ALL: [Self; 17] = [
        Self::BadVersion,
        Self::Unauthorized,
        Self::BadOperation,
        Self::TooLarge,
        Self::ChecksumMismatch,
        Self::UnknownType,
        Self::WrongType,
        Self::MalformedInput,
        Self::LimitExceeded,
        Self::DeadlineExceeded,
        Self::Busy,
        Self::NoWorker,
        Self::WorkerFailed,
        Self::BadOption,
        Self::Timeout,
        Self::ShuttingDown,
        Self::NoText,
    ];

    /// The code of a number; 0 is success and so no code.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        let index = usize::try_from(number.checked_sub(1)?).ok()?;
        Self::ALL.get(index).copied()
    }

    /// The code of a name such as `BAD_VERSION`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.name() == name)
    }

    /// The number on the wire.
    #[must_use]
    pub fn number(self) -> u32 {
        self as u32
    }

    /// The name on the wire and in log lines.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::BadVersion => "BAD_VERSION",
            Self::Unauthorized => "UNAUTHORIZED",
            Self::BadOperation => "BAD_OPERATION",
            Self::TooLarge => "TOO_LARGE",
            Self::ChecksumMismatch => "CHECKSUM_MISMATCH",
            Self::UnknownType => "UNKNOWN_TYPE",
            Self::WrongType => "WRONG_TYPE",
            Self::MalformedInput => "MALFORMED_INPUT",
            Self::LimitExceeded => "LIMIT_EXCEEDED",
            Self::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Self::Busy => "BUSY",
            Self::NoWorker => "NO_WORKER",
            Self::WorkerFailed => "WORKER_FAILED",
            Self::BadOption => "BAD_OPTION",
            Self::Timeout => "TIMEOUT",
            Self::ShuttingDown => "SHUTTING_DOWN",
            Self::NoText => "NO_TEXT",
        }
    }

    /// The status of an HTTP answer.
    #[must_use]
    pub fn http_status(self) -> u16 {
        match self {
            Self::BadVersion | Self::BadOperation | Self::BadOption => 400,
            Self::Unauthorized => 401,
            Self::Timeout => 408,
            Self::TooLarge => 413,
            Self::UnknownType | Self::WrongType => 415,
            Self::ChecksumMismatch | Self::MalformedInput | Self::LimitExceeded | Self::NoText => {
                422
            }
            Self::WorkerFailed => 502,
            Self::Busy | Self::NoWorker | Self::ShuttingDown => 503,
            Self::DeadlineExceeded => 504,
        }
    }

    /// Whose side the cause is on, as the answering server sees it.
    #[must_use]
    pub fn side(self) -> Side {
        match self {
            Self::NoWorker | Self::WorkerFailed | Self::DeadlineExceeded => Side::Upstream,
            Self::Busy | Self::ShuttingDown => Side::Internal,
            _ => Side::Client,
        }
    }

    /// Whether the same request, sent again later, may succeed.
    ///
    /// A conversion changes nothing, so a repeat is always safe; the question is whether it is
    /// worth it. `DEADLINE_EXCEEDED` is not: the same file takes the same time. `CHECKSUM_MISMATCH`
    /// is not: TLS rules out damage on the way. `WORKER_FAILED` is, a few times: mostly a worker was
    /// stopped, but it may be the file that stops it.
    #[must_use]
    pub fn may_retry(self) -> bool {
        matches!(
            self,
            Self::Busy | Self::NoWorker | Self::WorkerFailed | Self::Timeout | Self::ShuttingDown
        )
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_that_of_the_specification() {
        let table: [(u32, &str, u16); 17] = [
            (1, "BAD_VERSION", 400),
            (2, "UNAUTHORIZED", 401),
            (3, "BAD_OPERATION", 400),
            (4, "TOO_LARGE", 413),
            (5, "CHECKSUM_MISMATCH", 422),
            (6, "UNKNOWN_TYPE", 415),
            (7, "WRONG_TYPE", 415),
            (8, "MALFORMED_INPUT", 422),
            (9, "LIMIT_EXCEEDED", 422),
            (10, "DEADLINE_EXCEEDED", 504),
            (11, "BUSY", 503),
            (12, "NO_WORKER", 503),
            (13, "WORKER_FAILED", 502),
            (14, "BAD_OPTION", 400),
            (15, "TIMEOUT", 408),
            (16, "SHUTTING_DOWN", 503),
            (17, "NO_TEXT", 422),
        ];
        for (number, name, http_status) in table {
            let code = Code::from_number(number).unwrap();
            assert_eq!((code.number(), code.name()), (number, name));
            assert_eq!(code.http_status(), http_status, "{name}");
            assert_eq!(Code::from_name(name), Some(code));
        }
        for number in [0, 18, u32::MAX] {
            assert_eq!(Code::from_number(number), None);
        }
        assert_eq!(Code::from_name("busy"), None);
    }

    #[test]
    fn what_the_client_must_change_is_not_worth_a_retry_except_its_silence() {
        for code in Code::ALL {
            if code.side() == Side::Client {
                assert_eq!(code.may_retry(), code == Code::Timeout, "{code}");
            }
        }
        assert_eq!(Code::Busy.side(), Side::Internal);
        assert_eq!(Code::NoWorker.side(), Side::Upstream);
        assert!(!Code::DeadlineExceeded.may_retry());
        assert!(Code::WorkerFailed.may_retry());
    }
}
