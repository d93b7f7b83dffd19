//! What a connection asks for, in either of the two protocols.

use fxsrv::transport::Stream;

use super::exchange::Conversion;
use super::store::{StoreScript, Turn};
use super::{Answered, Failed};

/// A request that is sent again and again.
#[derive(Debug, Clone)]
pub enum Script {
    /// To a master, or to another server of its protocol.
    Conversion(Conversion),
    /// To a file store.
    Store(StoreScript),
}

impl Script {
    /// Bytes that are sent of a body.
    #[must_use]
    pub fn body_bytes(&self) -> u64 {
        match self {
            Self::Conversion(script) => script.body_bytes(),
            Self::Store(script) => script.body_bytes(),
        }
    }

    /// Windows under a new connection, and what is said on it before the first request.
    pub(super) async fn open(&self, stream: &mut Stream) -> Result<(), Failed> {
        match self {
            Self::Conversion(script) => {
                if let Stream::Tls(stream) = stream {
                    script.attach(stream);
                }
                Ok(())
            }
            Self::Store(script) => {
                script.attach(stream);
                script.greet(stream).await
            }
        }
    }

    /// Sends the request and reads its answer; with `verify`, down to its checksum. Says also
    /// whether the connection takes another.
    pub(super) async fn exchange(
        &self,
        stream: &mut Stream,
        turn: Turn,
        verify: bool,
    ) -> (Result<Answered, Failed>, bool) {
        let (outcome, reusable) = match (self, &mut *stream) {
            (Self::Conversion(script), Stream::Tls(stream)) => {
                script.exchange(stream, verify).await
            }
            // There are none without TLS.
            (Self::Conversion(_), Stream::Plain(_)) => (Err(Failed::Handshake), false),
            (Self::Store(script), stream) => {
                let outcome = script.exchange(stream, turn, verify).await;
                (outcome, outcome.is_ok())
            }
        };
        let is_late = outcome.is_err() && stream.socket().has_expired();
        (if is_late { Err(Failed::Timeout) } else { outcome }, reusable)
    }
}
