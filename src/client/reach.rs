//! The way to a server, of whichever protocol: its addresses, a socket, and proof of who it is.

use std::io;
use std::net::SocketAddr;

use super::{Address, ClientError};
use crate::io::{Driver, Socket};
use crate::limits::ClientLimits;
use crate::tls::ClientTls;
use crate::transport::{StreamError, TlsStream};

/// Connects to the first address of a server that answers.
///
/// # Errors
///
/// Its name is not known, or none of its addresses answers in time.
pub(crate) async fn reach(
    server: &Address,
    driver: Driver,
    limits: &ClientLimits,
) -> Result<Socket, ClientError> {
    let unreachable = |source| ClientError::Unreachable { server: server.clone(), source };
    let unknown = |error: io::Error| {
        let reason = format!("its name is not known ({error})");
        unreachable(io::Error::new(io::ErrorKind::NotFound, reason))
    };
    let looking_up = tokio::net::lookup_host((server.host(), server.port()));
    let addresses: Vec<SocketAddr> = tokio::time::timeout(limits.connect_timeout, looking_up)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        .map_err(unknown)?
        .collect();
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "its name has no address");
    for address in addresses {
        match Socket::connect(driver, address, limits.connect_timeout).await {
            Ok(socket) => return Ok(socket),
            // A name may have several addresses: say which of them failed.
            Err(error) if server.host() != address.ip().to_string() => {
                failed = named(&error, &address.to_string());
            }
            Err(error) => failed = error,
        }
    }
    Err(unreachable(failed))
}

/// Makes sure that who answers is the server that was meant.
///
/// # Errors
///
/// It is not, or it does not take the handshake to its end.
pub(crate) async fn secure(
    socket: Socket,
    server: &Address,
    tls: &ClientTls,
    limits: &ClientLimits,
) -> Result<TlsStream, ClientError> {
    let secured = TlsStream::connect(socket, tls, server.host(), limits.handshake_timeout).await;
    secured.map_err(|error| match error {
        StreamError::Tls(source) => ClientError::Untrusted { server: server.clone(), source },
        error => ClientError::Unreachable {
            server: server.clone(),
            source: match error {
                StreamError::Io(error) => error,
                error => io::Error::other(format!("during the TLS handshake, {error}")),
            },
        },
    })
}

fn named(error: &io::Error, what: &str) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}
