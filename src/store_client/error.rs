//! Why a store's client has not got what it asked for.

use std::io;

use crate::client::{Address, ClientError};
use crate::transport::StreamError;

/// Why a request to a store is not done.
#[derive(Debug, thiserror::Error)]
pub enum StoreClientError {
    /// The store cannot be reached, or not be trusted.
    #[error("{0}")]
    Connect(#[from] ClientError),
    /// The store does not let this client in.
    #[error("{0} does not accept the token")]
    NotAdmitted(Address),
    /// There is no such file.
    #[error("the store has no file of that name")]
    NotFound,
    /// The store does not do it.
    #[error("the store refuses it")]
    Refused,
    /// The store does not know the operation.
    #[error("the store does not know this operation")]
    Unknown,
    /// The connection ended before the answer did.
    #[error("the connection broke off: {0}")]
    Lost(StreamError),
    /// The answer does not follow the protocol.
    #[error("{server} does not speak this protocol: {what}")]
    Protocol {
        /// The store.
        server: Address,
        /// What came.
        what: String,
    },
    /// The file that is sent could not be read, or the one that is received not be written.
    #[error("{0}")]
    Local(io::Error),
}

impl StoreClientError {
    /// Whether the same request may succeed over a new connection.
    #[must_use]
    pub fn may_be_retried(&self) -> bool {
        matches!(self, Self::Lost(error) if error.is_peer_gone())
    }

    /// Whether the answer to this request came whole, so that the one to the next may follow.
    #[must_use]
    pub fn is_whole_answer(&self) -> bool {
        matches!(self, Self::NotFound | Self::Refused | Self::Unknown)
    }

    /// The next step, where there is one.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Connect(error) => return error.hint(),
            Self::NotAdmitted(_) => "give the store's token with --token-file FILE",
            Self::Refused => {
                "the name may be taken or not allowed, the file too large, or not one of numbers; \
                 the store's log says which"
            }
            Self::Lost(_) => "what was on its way is not kept; try again",
            Self::Protocol { .. } => "check that the address is that of a store",
            _ => return None,
        };
        Some(hint.to_owned())
    }
}
