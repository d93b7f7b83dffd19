//! One type for a connection with TLS and one without.

use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use super::{PlainStream, StreamError, TlsStream};
use crate::io::{Buffer, Socket};

/// A connection, for services that may be told to do without TLS. The verbs are those of
/// [`TlsStream`], where they are described.
pub enum Stream {
    /// With TLS.
    Tls(Box<TlsStream>),
    /// Without.
    Plain(Box<PlainStream>),
}

/// Hands a verb on to whichever stream it is.
macro_rules! either {
    ($self:ident, $stream:ident => $verb:expr) => {
        match $self {
            Stream::Tls($stream) => $verb,
            Stream::Plain($stream) => $verb,
        }
    };
}

impl Stream {
    /// Waits for the first byte of a next request; `false` is the peer's orderly end.
    ///
    /// # Errors
    ///
    /// The connection failed, or `timeout` passed.
    pub async fn wait_for_request(&mut self, timeout: Duration) -> Result<bool, StreamError> {
        either!(self, stream => stream.wait_for_request(timeout).await)
    }

    /// Whether the next read finds something without asking the network.
    #[must_use]
    pub fn has_plaintext(&self) -> bool {
        either!(self, stream => stream.has_plaintext())
    }

    /// Sends what is queued, unless nothing is.
    ///
    /// # Errors
    ///
    /// The connection failed.
    pub async fn flush_queued(&mut self) -> Result<(), StreamError> {
        if either!(self, stream => stream.has_queued()) {
            self.flush().await?;
        }
        Ok(())
    }

    /// Reads 1 to `limit` bytes of what comes next and shows them to `sink`; 0 is the peer's end.
    ///
    /// # Errors
    ///
    /// The connection failed.
    pub async fn read_at_most(
        &mut self,
        limit: u64,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Result<usize, StreamError> {
        either!(self, stream => stream.read_at_most(limit, sink).await)
    }

    /// Reads exactly `out.len()` bytes.
    ///
    /// # Errors
    ///
    /// The connection failed or ended before `out` was full.
    pub async fn read_exact(&mut self, out: &mut [u8]) -> Result<(), StreamError> {
        let mut got = 0;
        while got < out.len() {
            let missing = (out.len() - got) as u64;
            let read = self
                .read_at_most(missing, &mut |plain| {
                    out[got..got + plain.len()].copy_from_slice(plain);
                    got += plain.len();
                })
                .await?;
            if read == 0 {
                return Err(StreamError::Closed { missing });
            }
        }
        Ok(())
    }

    /// Puts `plain` behind what waits to be sent, and sends only what finds no room.
    ///
    /// # Errors
    ///
    /// The connection failed.
    pub async fn queue(&mut self, plain: &[u8]) -> Result<(), StreamError> {
        either!(self, stream => stream.queue(plain).await)
    }

    /// Sends what is queued.
    ///
    /// # Errors
    ///
    /// The connection failed.
    pub async fn flush(&mut self) -> Result<(), StreamError> {
        either!(self, stream => stream.flush().await)
    }

    /// Sends all of `plain`.
    ///
    /// # Errors
    ///
    /// The connection failed.
    pub async fn write_all(&mut self, plain: &[u8]) -> Result<(), StreamError> {
        self.queue(plain).await?;
        self.flush().await
    }

    /// Puts a pooled buffer under the receiving window.
    pub fn attach_recv(&mut self, buffer: Buffer) {
        either!(self, stream => stream.attach_recv(buffer));
    }

    /// Puts a pooled buffer under the sending window, which must be flushed.
    pub fn attach_send(&mut self, buffer: Buffer) {
        either!(self, stream => stream.attach_send(buffer));
    }

    /// Gives the pooled buffers back. What is unread stays, on the heap.
    pub fn detach(&mut self) {
        either!(self, stream => stream.detach());
    }

    /// Closes so that the answer before it arrives whole.
    pub async fn finish(self, bytes_max: u64, timeout: Duration) {
        either!(self, stream => stream.finish(bytes_max, timeout).await);
    }

    /// Ends the connection so that no peer can take it for an orderly end: without close_notify, and
    /// in the middle of what was announced.
    pub fn cut(&self) {
        self.socket().shutdown(Shutdown::Both);
    }

    /// The socket below, for its deadline and its address.
    #[must_use]
    pub fn socket(&self) -> &Socket {
        either!(self, stream => stream.socket())
    }

    /// Address of the other side.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.socket().peer()
    }
}

impl From<TlsStream> for Stream {
    fn from(stream: TlsStream) -> Self {
        Self::Tls(Box::new(stream))
    }
}

impl From<PlainStream> for Stream {
    fn from(stream: PlainStream) -> Self {
        Self::Plain(Box::new(stream))
    }
}
