//! How a connection fails.

use std::io;

use crate::tls::TlsError;

/// Why a connection could not go on.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The socket failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The time for this step is over.
    #[error("the time for this step is over")]
    TimedOut,
    /// The TLS session failed.
    #[error("{0}")]
    Tls(#[from] TlsError),
    /// The peer has asked for too much that nobody needs, such as key updates or renegotiations.
    #[error("the peer asks for answers of the TLS layer and reads none")]
    ControlFlood,
    /// The peer closed in order, where more was needed.
    #[error("the peer closed the connection with {missing} bytes still to come")]
    Closed {
        /// How many bytes were still expected.
        missing: u64,
    },
}

impl StreamError {
    /// Whether this is an ordinary end of a peer: a reset, a broken pipe, an end of file.
    #[must_use]
    pub fn is_peer_gone(&self) -> bool {
        match self {
            Self::Closed { .. } | Self::Tls(TlsError::Truncated) => true,
            Self::Io(error) => matches!(
                error.kind(),
                io::ErrorKind::ConnectionReset
                    | io::ErrorKind::ConnectionAborted
                    | io::ErrorKind::BrokenPipe
                    | io::ErrorKind::NotConnected
                    | io::ErrorKind::UnexpectedEof
                    | io::ErrorKind::TimedOut
            ),
            _ => false,
        }
    }

    pub(super) fn from_io(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::TimedOut { Self::TimedOut } else { Self::Io(error) }
    }
}
