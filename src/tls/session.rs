//! One TLS connection as a state machine over two windows.
//!
//! rustls drives the handshake ([`Unbuffered`]); the records of an established connection are opened
//! and sealed in place ([`Traffic`]), where its version and cipher are those of nearly all.

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;

use super::config::{ClientTls, ServerTls};
use super::conn::{Conn, Sealed};
use super::control::Control;
use super::error::{Side, TlsError};
use super::traffic::Traffic;
use super::unbuffered::Unbuffered;
use crate::io::{RecvWindow, SendWindow};

/// Plaintext that one record holds at most: 2^14 (RFC 8446, 5.1).
pub const RECORD_PLAIN_BYTES_MAX: usize = 16_384;

/// What a record adds in TLS 1.3: 5 header, 1 content type, 16 tag.
pub const RECORD_OVERHEAD_BYTES: usize = 22;

/// The same in TLS 1.2 at worst (AES-GCM): 5 header, 8 explicit nonce, 16 tag.
pub(super) const RECORD_OVERHEAD_BYTES_MAX: usize = 29;

/// The largest record that is accepted: 5 header, 2^14 payload, 2,048 for expansion (TLS 1.2). A
/// receive window must hold at least one.
pub const RECORD_WIRE_BYTES_MAX: usize = HEADER_BYTES + RECORD_PLAIN_BYTES_MAX + 2_048;

/// Content type, version, length.
pub(super) const HEADER_BYTES: usize = 5;

/// What [`TlsSession::advance`] came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Everything received is consumed as far as it goes: read more.
    NeedRead,
    /// Control output waits: flush it before advancing again. After the handshake only where a peer
    /// has made us gather too much of it; otherwise it leaves before whatever is sealed next.
    Flush,
    /// One record's plaintext, so many bytes, went to the sink.
    Plaintext(usize),
    /// The handshake has just ended; said once. Control output may wait, and may leave together
    /// with the first sealed bytes.
    Ready,
    /// The peer's `close_notify`; said once. Nothing more will come; writing is still allowed.
    PeerClosed,
    /// Both directions are closed.
    Closed,
}

/// What one of the two engines has come to.
#[derive(Debug)]
pub(super) enum Event {
    NeedRead,
    Flush,
    Plaintext(usize),
    Ready,
    PeerClosed,
}

enum Engine {
    /// rustls, until the handshake has ended, or for good.
    Rustls(Box<Unbuffered>),
    Traffic(Box<Traffic>),
    /// Neither: going from one to the other has failed, and the error is latched.
    Broken,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PeerClose {
    Open,
    /// It came, and the caller does not know yet.
    Unsaid,
    Said,
}

/// A TLS connection without its socket. After the first error every call returns that error, but
/// for [`Self::flush_control`]: the alert that tells the peer still has to leave.
pub struct TlsSession {
    engine: Engine,
    side: Side,
    control: Control,
    failure: Option<TlsError>,
    peer_close: PeerClose,
    close_queued: bool,
}

impl TlsSession {
    /// A session that waits for a `ClientHello`.
    ///
    /// # Errors
    ///
    /// [`TlsError::Internal`] where rustls refuses the configuration.
    pub fn server(config: &ServerTls) -> Result<Self, TlsError> {
        let conn = UnbufferedServerConnection::new(config.rustls()).map_err(TlsError::internal)?;
        Ok(Self::new(Conn::Server(conn), Side::Server))
    }

    /// A session that opens with a `ClientHello` for `server_name`, a DNS name or an IP address.
    /// The first [`Self::advance`] queues it.
    ///
    /// # Errors
    ///
    /// [`TlsError::ServerName`] where `server_name` is neither.
    pub fn client(config: &ClientTls, server_name: &str) -> Result<Self, TlsError> {
        let name = ServerName::try_from(server_name.to_owned())
            .map_err(|_| TlsError::ServerName { name: server_name.to_owned() })?;
        let conn =
            UnbufferedClientConnection::new(config.rustls(), name).map_err(TlsError::internal)?;
        Ok(Self::new(Conn::Client(conn), Side::Client))
    }

    fn new(conn: Conn, side: Side) -> Self {
        Self {
            engine: Engine::Rustls(Box::new(Unbuffered::new(conn))),
            side,
            control: Control::default(),
            failure: None,
            peer_close: PeerClose::Open,
            close_queued: false,
        }
    }

    /// Takes records from `recv` until there is something to say, and discards what it consumes.
    /// At most one record's plaintext (16 KiB) goes to `sink`, from where it was opened.
    ///
    /// `recv` must be the same window on every call, at least [`RECORD_WIRE_BYTES_MAX`] large.
    ///
    /// # Errors
    ///
    /// The first one is final. Its alert waits as control output where there is one.
    pub fn advance(
        &mut self,
        recv: &mut RecvWindow,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Result<Progress, TlsError> {
        self.check()?;
        if self.peer_close != PeerClose::Open {
            return Ok(self.after_peer_close(recv));
        }
        if self.has_control() && (self.is_handshaking() || self.control.is_full()) {
            return Ok(Progress::Flush);
        }
        let event = match &mut self.engine {
            Engine::Rustls(rustls) => rustls.advance(recv, &mut self.control, sink),
            Engine::Traffic(traffic) => traffic.advance(recv, &mut self.control, sink),
            Engine::Broken => return Err(self.broken()),
        };
        match event.map_err(|error| self.latch_of_rustls(error))? {
            Event::Plaintext(bytes) => Ok(Progress::Plaintext(bytes)),
            Event::Flush => Ok(Progress::Flush),
            Event::NeedRead => self.need_read(recv),
            Event::Ready => {
                self.take_over()?;
                Ok(Progress::Ready)
            }
            Event::PeerClosed => {
                self.peer_close = PeerClose::Unsaid;
                Ok(self.after_peer_close(recv))
            }
        }
    }

    /// Leaves rustls behind where that can be done.
    fn take_over(&mut self) -> Result<(), TlsError> {
        let Engine::Rustls(rustls) = std::mem::replace(&mut self.engine, Engine::Broken) else {
            return Err(self.broken());
        };
        self.engine = match rustls.into_traffic() {
            Ok(Ok(traffic)) => Engine::Traffic(Box::new(traffic)),
            Ok(Err(rustls)) => Engine::Rustls(Box::new(rustls)),
            Err(error) => return Err(self.latch_of_rustls(error)),
        };
        Ok(())
    }

    /// What comes behind `close_notify` must be ignored (RFC 8446, 6.1).
    fn after_peer_close(&mut self, recv: &mut RecvWindow) -> Progress {
        recv.discard(recv.unread_bytes());
        if let Engine::Rustls(rustls) = &mut self.engine {
            rustls.forget_shown();
        }
        if self.peer_close == PeerClose::Unsaid {
            self.peer_close = PeerClose::Said;
            Progress::PeerClosed
        } else if self.close_queued && !self.has_control() {
            Progress::Closed
        } else {
            Progress::NeedRead
        }
    }

    /// A full window in which no record can be completed cannot be helped by reading. Records fit,
    /// so it is a handshake message beyond all bounds, in pieces.
    fn need_read(&mut self, recv: &RecvWindow) -> Result<Progress, TlsError> {
        if !recv.is_full() {
            return Ok(Progress::NeedRead);
        }
        match &mut self.engine {
            Engine::Rustls(rustls) if recv.capacity() >= RECORD_WIRE_BYTES_MAX => {
                rustls.refuse_message(&mut self.control);
                Err(self.latch(TlsError::MessageTooLarge { window_bytes: recv.capacity() }))
            }
            _ => Err(self.latch(TlsError::Internal(format!(
                "the receive window has {} bytes, and a record may have {RECORD_WIRE_BYTES_MAX}",
                recv.capacity()
            )))),
        }
    }

    /// Seals as much of `plain` as fits into `send`, in records of at most 16 KiB, behind control
    /// output that waits. Returns how many bytes of `plain` were taken: 0 means flush first, or
    /// that the handshake has not ended.
    ///
    /// # Errors
    ///
    /// The latched error, or [`TlsError::WriteAfterClose`].
    pub fn seal(&mut self, plain: &[u8], send: &mut SendWindow) -> Result<usize, TlsError> {
        self.check()?;
        if self.close_queued {
            return Err(TlsError::WriteAfterClose);
        }
        // During the handshake rustls may skip records that it cannot decrypt (a client's early
        // data), and what it holds on to is not known: it is not used before the end.
        if self.is_handshaking() {
            self.flush_control(send);
            return Ok(0);
        }
        self.settle()?;
        if !self.flush_control(send) {
            return Ok(0);
        }
        let sealed = match &mut self.engine {
            Engine::Rustls(rustls) => rustls.seal(plain, send.room_mut()),
            Engine::Traffic(traffic) => traffic.seal(plain, send.room_mut()),
            Engine::Broken => return Err(self.broken()),
        };
        match sealed.map_err(|error| self.latch_of_rustls(error))? {
            Sealed::Done { taken, written } => {
                send.commit(written);
                Ok(taken)
            }
            Sealed::NoRoom => Ok(0),
            Sealed::Exhausted => {
                if let Engine::Rustls(rustls) = &mut self.engine {
                    rustls.fetch_alert(&mut self.control);
                }
                Err(self.latch(TlsError::KeysExhausted))
            }
        }
    }

    /// Queues `close_notify`, once. During the handshake there is nothing that it could say: then
    /// the connection just ends.
    ///
    /// # Errors
    ///
    /// The latched error.
    pub fn close(&mut self) -> Result<(), TlsError> {
        self.check()?;
        if std::mem::replace(&mut self.close_queued, true) || self.is_handshaking() {
            return Ok(());
        }
        self.settle()?;
        let closed = match &mut self.engine {
            Engine::Rustls(rustls) => rustls.close(&mut self.control),
            Engine::Traffic(traffic) => traffic.close(&mut self.control),
            Engine::Broken => return Err(self.broken()),
        };
        closed.map_err(|error| self.latch_of_rustls(error))
    }

    /// Moves control output (handshake, tickets, key updates, alerts) into `send`, as much as
    /// fits; true when none is left.
    pub fn flush_control(&mut self, send: &mut SendWindow) -> bool {
        self.control.flush(send)
    }

    /// The socket has ended: fine where the peer has closed before, truncation where not.
    ///
    /// # Errors
    ///
    /// The latched error, or [`TlsError::Truncated`].
    pub fn eof(&mut self) -> Result<(), TlsError> {
        self.check()?;
        match self.peer_close {
            PeerClose::Open => Err(TlsError::Truncated),
            PeerClose::Unsaid | PeerClose::Said => Ok(()),
        }
    }

    /// Lets rustls say what it has to, so that it is ready to write.
    fn settle(&mut self) -> Result<(), TlsError> {
        let Engine::Rustls(rustls) = &mut self.engine else { return Ok(()) };
        if self.peer_close != PeerClose::Open {
            rustls.forget_shown();
        }
        let peer_closed = rustls.settle(&mut self.control);
        if peer_closed.map_err(|error| self.latch_of_rustls(error))? {
            self.peer_close = PeerClose::Unsaid;
        }
        Ok(())
    }

    fn check(&self) -> Result<(), TlsError> {
        self.failure.clone().map_or(Ok(()), Err)
    }

    fn latch_of_rustls(&mut self, error: rustls::Error) -> TlsError {
        self.latch(TlsError::from_rustls(error, self.side))
    }

    fn latch(&mut self, error: TlsError) -> TlsError {
        self.failure.get_or_insert(error).clone()
    }

    fn broken(&mut self) -> TlsError {
        self.latch(TlsError::Internal("a session without an engine".to_owned()))
    }

    /// Whether control output waits.
    #[must_use]
    pub fn has_control(&self) -> bool {
        !self.control.is_empty()
    }

    /// Whether application data cannot flow yet.
    #[must_use]
    pub fn is_handshaking(&self) -> bool {
        matches!(&self.engine, Engine::Rustls(rustls) if rustls.common().is_handshaking())
    }

    /// The negotiated version, by the name that logs use.
    #[must_use]
    pub fn version(&self) -> Option<&'static str> {
        match &self.engine {
            Engine::Rustls(rustls) => rustls.version(),
            Engine::Traffic(_) => Some("TLSv1.3"),
            Engine::Broken => None,
        }
    }

    /// Whether the handshake resumed an earlier session.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        match &self.engine {
            Engine::Rustls(rustls) => rustls.is_resumed(),
            Engine::Traffic(traffic) => traffic.is_resumed(),
            Engine::Broken => false,
        }
    }

    /// The record layer of ours, where it is in charge.
    #[cfg(test)]
    pub(super) fn traffic(&mut self) -> Option<&mut Traffic> {
        match &mut self.engine {
            Engine::Traffic(traffic) => Some(traffic),
            Engine::Rustls(_) | Engine::Broken => None,
        }
    }

    /// Bytes that `plain` bytes become at most: each record of 16,384 adds 22 in TLS 1.3 and up to
    /// 29 in TLS 1.2. 65,536 bytes are four records: at most 65,652, and 65,624 in TLS 1.3.
    #[must_use]
    pub const fn sealed_bytes(plain: usize) -> usize {
        plain + plain.div_ceil(RECORD_PLAIN_BYTES_MAX) * RECORD_OVERHEAD_BYTES_MAX
    }
}
