//! TLS for those who bring their own streams: the HTTP gateway, whose library reads and writes by
//! itself.

pub use tokio_rustls::TlsAcceptor;

use super::ServerTls;

impl ServerTls {
    /// What takes the server's side of a handshake over a stream of the caller's.
    #[must_use]
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.rustls())
    }
}
