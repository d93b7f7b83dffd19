//! Why a file could not be converted, as the client sees it.

use std::io;
use std::time::Duration;

use super::Address;
use crate::tls::TlsError;
use crate::transport::StreamError;
use crate::wire::{Failure, ReplyError};

/// Why there is no converted file.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server answered, and said no.
    #[error("{0}")]
    Refused(Failure),
    /// Nobody answers there.
    #[error("cannot reach {server}: {source}")]
    Unreachable {
        /// The server.
        server: Address,
        /// Why.
        source: io::Error,
    },
    /// Somebody answers there, and the connection is not to be trusted.
    #[error("cannot trust {server}: {source}")]
    Untrusted {
        /// The server.
        server: Address,
        /// Why.
        source: TlsError,
    },
    /// The connection ended without an answer.
    #[error("{server} closed the connection without an answer: {source}")]
    NoAnswer {
        /// The server.
        server: Address,
        /// How.
        source: StreamError,
    },
    /// The answer ended early.
    #[error("the answer broke off: {got} of {expected} bytes arrived")]
    BrokenOff {
        /// Bytes that arrived.
        got: u64,
        /// Bytes that were announced.
        expected: u64,
    },
    /// The answer is not what its checksum says.
    #[error(
        "the answer is damaged: its checksum is {computed:032x}, and {announced:032x} was announced"
    )]
    Damaged {
        /// Of what arrived.
        computed: u128,
        /// By the server.
        announced: u128,
    },
    /// The answer is larger than this client takes.
    #[error("the answer has {bytes} bytes, {} over the limit of {max}", .bytes - max)]
    AnswerTooLarge {
        /// Bytes that were announced.
        bytes: u64,
        /// The limit.
        max: u64,
    },
    /// A result without a byte, which no conversion but that to text has.
    #[error("the server answered with an empty file")]
    EmptyAnswer,
    /// The answer does not follow the protocol.
    #[error("{server} does not speak this protocol: {source}")]
    Protocol {
        /// The server.
        server: Address,
        /// How it answered.
        source: ReplyError,
    },
    /// The request says what v1.0 has no words for.
    #[error("conversion options, status and streaming need v1.1, and this is v1.0")]
    NeedsV1_1,
    /// The time is over.
    #[error("{server} did not answer within {} seconds", .after.as_secs())]
    TimedOut {
        /// The server.
        server: Address,
        /// How long was waited.
        after: Duration,
    },
    /// The memory for an answer is not to be had.
    #[error("no memory for an answer of {bytes} bytes")]
    OutOfMemory {
        /// Bytes that were announced.
        bytes: u64,
    },
    /// What a streamed body comes from has failed.
    #[error("the file cannot be sent: {0}")]
    Source(io::Error),
    /// What a streamed answer goes to has failed.
    #[error("the answer cannot be passed on: {0}")]
    Sink(io::Error),
    /// A streamed request was given up by its caller.
    #[error("the request was cancelled")]
    Cancelled,
    /// The event loop of the client cannot be set up.
    #[error("cannot start an event loop: {0}")]
    EventLoop(io::Error),
}

impl ClientError {
    /// The next step, where there is one.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Refused(failure) => return failure.hint.clone(),
            Self::Untrusted { source, .. } => source.hint()?,
            Self::Unreachable { source, .. } => match source.kind() {
                io::ErrorKind::ConnectionRefused => {
                    "check that the server runs and listens on this address and port"
                }
                io::ErrorKind::TimedOut => "check the address, and that no firewall is between",
                io::ErrorKind::InvalidInput | io::ErrorKind::NotFound => {
                    "check the name of the server"
                }
                _ => return None,
            },
            Self::NoAnswer { .. } => "see the server's log; a second attempt is safe",
            Self::BrokenOff { .. } | Self::Damaged { .. } => "nothing was saved; try again",
            Self::TimedOut { .. } => "raise it with --request-timeout",
            Self::AnswerTooLarge { .. } => "raise it with --max-answer",
            Self::NeedsV1_1 => "leave out the options, or ask a server of v1.1",
            Self::Protocol { .. } => "check that the address is that of a master",
            Self::EmptyAnswer
            | Self::OutOfMemory { .. }
            | Self::Source(_)
            | Self::Sink(_)
            | Self::Cancelled
            | Self::EventLoop(_) => return None,
        };
        Some(hint.to_owned())
    }
}
