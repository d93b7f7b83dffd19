//! One TLS connection as a state machine over two windows.
//!
//! rustls' unbuffered API must see the unread bytes from the same place on, as long as it holds on
//! to some: a shorter slice makes it panic, and the peer decides when it holds on. But sealing also
//! goes through that call, while the read of the other direction owns the receive buffer. So the
//! session shows rustls one record at a time and knows at each moment how many bytes rustls has
//! seen and not given back ([`TlsSession::shown`]). Sealing then shows a blank slice of exactly
//! that length: no byte of it is looked at, since rustls continues behind it.

use rustls::ProtocolVersion;
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::UnbufferedServerConnection;

use super::config::{ClientTls, ServerTls};
use super::conn::{Conn, Sealed, Step, Write};
use super::error::{Side, TlsError};
use crate::io::{RecvWindow, SendWindow};

/// Plaintext that one record holds at most: 2^14 (RFC 8446, 5.1).
pub const RECORD_PLAIN_BYTES_MAX: usize = 16_384;

/// What a record adds in TLS 1.3: 5 header, 1 content type, 16 tag.
pub const RECORD_OVERHEAD_BYTES: usize = 22;

/// The same in TLS 1.2 at worst (AES-GCM): 5 header, 8 explicit nonce, 16 tag.
const RECORD_OVERHEAD_BYTES_MAX: usize = 29;

/// The largest record that is accepted: 5 header, 2^14 payload, 2,048 for expansion (TLS 1.2). A
/// receive window must hold at least one.
pub const RECORD_WIRE_BYTES_MAX: usize = HEADER_BYTES + RECORD_PLAIN_BYTES_MAX + 2_048;

/// Content type, version, length.
const HEADER_BYTES: usize = 5;

/// Room for a `close_notify` (31 bytes at most) behind a key update that waits (27).
const CLOSE_NOTIFY_BYTES_MAX: usize = 64;

/// Control output that a peer can make us gather from one window of input before we insist on
/// sending it. A handshake flight of ours is smaller, so that it leaves in one piece.
const CONTROL_BYTES_MAX: usize = 16_384;

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
    conn: Conn,
    /// Bytes at the front of the unread range that rustls has seen and holds on to.
    shown: usize,
    /// Output of rustls other than application data, in order, from `control_sent` on.
    control: Vec<u8>,
    control_sent: usize,
    failure: Option<TlsError>,
    ready_said: bool,
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
        Ok(Self::new(Conn::Server(Box::new(conn))))
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
        Ok(Self::new(Conn::Client(Box::new(conn))))
    }

    fn new(conn: Conn) -> Self {
        Self {
            conn,
            shown: 0,
            control: Vec::new(),
            control_sent: 0,
            failure: None,
            ready_said: false,
            peer_close: PeerClose::Open,
            close_queued: false,
        }
    }

    /// Takes records from `recv` until there is something to say, and discards what it consumes.
    /// At most one record's plaintext (16 KiB) goes to `sink`, straight from rustls.
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
        if self.must_flush() {
            return Ok(Progress::Flush);
        }
        self.take_records(recv, sink)
    }

    fn take_records(
        &mut self,
        recv: &mut RecvWindow,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Result<Progress, TlsError> {
        // rustls puts its own output before a new record. While it does that, show it none, or
        // `shown` would count a record that was not looked at.
        let mut show_next = !self.conn.common().wants_write();
        loop {
            let record_end = next_record_end(recv.unread(), self.shown).filter(|_| show_next);
            let visible = match record_end {
                Some(end) => end,
                // An incomplete record is shown too: its header may already be wrong.
                None if show_next => recv.unread_bytes(),
                None => self.shown,
            };
            let input = &mut recv.unread_mut()[..visible];
            let (discard, step) = self.conn.step(input, &mut self.control, sink);
            recv.discard(discard);
            self.shown = record_end.unwrap_or(self.shown).saturating_sub(discard);
            match step {
                Ok(Step::Plaintext(bytes)) => return Ok(Progress::Plaintext(bytes)),
                Ok(Step::Again) => show_next = false,
                Ok(Step::Idle) => {
                    if !self.ready_said && !self.is_handshaking() {
                        self.ready_said = true;
                        return Ok(Progress::Ready);
                    }
                    let at_end = show_next && record_end.is_none();
                    if self.must_flush() && (at_end || self.control.len() >= CONTROL_BYTES_MAX) {
                        return Ok(Progress::Flush);
                    }
                    if at_end {
                        return self.need_read(recv);
                    }
                    show_next = true;
                }
                Ok(Step::PeerClosed | Step::Closed) => {
                    self.peer_close = PeerClose::Unsaid;
                    return Ok(self.after_peer_close(recv));
                }
                Err(error) => return Err(self.fail(error)),
            }
        }
    }

    /// What comes behind `close_notify` must be ignored (RFC 8446, 6.1).
    fn after_peer_close(&mut self, recv: &mut RecvWindow) -> Progress {
        recv.discard(recv.unread_bytes());
        self.shown = 0;
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
        if recv.capacity() < RECORD_WIRE_BYTES_MAX {
            let error = TlsError::Internal(format!(
                "the receive window has {} bytes, and a record may have {RECORD_WIRE_BYTES_MAX}",
                recv.capacity()
            ));
            self.failure = Some(error.clone());
            return Err(error);
        }
        // rustls would wait for more. A header that cannot be makes it say `decode_error` to the
        // peer, which is the alert for a message of wrong length.
        let mut impossible = vec![0; self.shown + HEADER_BYTES];
        let _refused = self.conn.step(&mut impossible, &mut self.control, &mut |_| ());
        let error = TlsError::MessageTooLarge { window_bytes: recv.capacity() };
        Err(self.fail_with(error))
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
        // data), and `shown` then says too much: it is not used before the end.
        if self.is_handshaking() {
            self.flush_control(send);
            return Ok(0);
        }
        self.settle()?;
        if !self.flush_control(send) {
            return Ok(0);
        }
        let fitting = plain.len().min(self.fitting_bytes(send.room_bytes()));
        if fitting == 0 {
            return Ok(0);
        }
        let write = Write::Data { plain: &plain[..fitting], room: send.room_mut() };
        match self.write(write)? {
            Sealed::Done { taken, written } => {
                send.commit(written);
                Ok(taken)
            }
            Sealed::NoRoom => Ok(0),
            Sealed::Exhausted => Err(self.fail_with(TlsError::KeysExhausted)),
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
        let mut room = [0; CLOSE_NOTIFY_BYTES_MAX];
        match self.write(Write::CloseNotify { room: &mut room })? {
            Sealed::Done { written, .. } => self.control.extend_from_slice(&room[..written]),
            // The keys may be spent; the alert then waits inside rustls, or cannot be sealed.
            Sealed::NoRoom | Sealed::Exhausted => self.settle()?,
        }
        Ok(())
    }

    /// Moves control output (handshake, tickets, key updates, alerts) into `send`, as much as
    /// fits; true when none is left.
    pub fn flush_control(&mut self, send: &mut SendWindow) -> bool {
        let waiting = &self.control[self.control_sent..];
        let moved = waiting.len().min(send.room_bytes());
        send.room_mut()[..moved].copy_from_slice(&waiting[..moved]);
        send.commit(moved);
        self.control_sent += moved;
        if self.has_control() {
            return false;
        }
        // Handshakes are rare beside requests: an idle connection keeps no memory for them.
        self.control = Vec::new();
        self.control_sent = 0;
        true
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

    /// Lets rustls say what it has to without input, so that it is ready to write.
    fn settle(&mut self) -> Result<(), TlsError> {
        if self.peer_close != PeerClose::Open {
            self.shown = 0;
        }
        let mut plain_bytes = 0;
        loop {
            let mut seen = vec![0; self.shown];
            let (discard, step) = self
                .conn
                .step(&mut seen, &mut self.control, &mut |plain| plain_bytes += plain.len());
            if discard > 0 || plain_bytes > 0 {
                // `advance` hands out every message before it returns, so none is left to find.
                let error = TlsError::Internal("data surfaced while sealing".to_owned());
                return Err(self.fail_with(error));
            }
            match step {
                Ok(Step::Again) => {}
                Ok(Step::PeerClosed) => self.peer_close = PeerClose::Unsaid,
                Ok(Step::Idle | Step::Closed | Step::Plaintext(_)) => return Ok(()),
                Err(error) => return Err(self.fail(error)),
            }
        }
    }

    fn write(&mut self, write: Write<'_>) -> Result<Sealed, TlsError> {
        let mut seen = vec![0; self.shown];
        if let Some(sealed) = self.conn.write(&mut seen, write) {
            return Ok(sealed);
        }
        Err(self.fail_with(TlsError::Internal("writing is refused after the handshake".to_owned())))
    }

    fn check(&self) -> Result<(), TlsError> {
        self.failure.clone().map_or(Ok(()), Err)
    }

    fn fail(&mut self, error: rustls::Error) -> TlsError {
        let side = match self.conn {
            Conn::Client(_) => Side::Client,
            Conn::Server(_) => Side::Server,
        };
        self.fail_with(TlsError::from_rustls(error, side))
    }

    /// Latches `error` and fetches the alert. rustls puts its output before it looks at any input,
    /// so that an empty slice will do; after this it is never called again.
    fn fail_with(&mut self, error: TlsError) -> TlsError {
        while self.conn.common().wants_write() {
            let (_, step) = self.conn.step(&mut [], &mut self.control, &mut |_| ());
            if !matches!(step, Ok(Step::Again)) {
                break;
            }
        }
        self.failure.get_or_insert(error).clone()
    }

    fn must_flush(&self) -> bool {
        self.has_control() && (self.is_handshaking() || self.control.len() >= CONTROL_BYTES_MAX)
    }

    /// Whether control output waits.
    #[must_use]
    pub fn has_control(&self) -> bool {
        self.control_sent < self.control.len()
    }

    /// Whether application data cannot flow yet.
    #[must_use]
    pub fn is_handshaking(&self) -> bool {
        self.conn.common().is_handshaking()
    }

    /// The peer's certificate chain, its own first, in DER; empty where it sent none.
    pub fn peer_certificates(&self) -> impl Iterator<Item = &[u8]> {
        self.conn
            .common()
            .peer_certificates()
            .unwrap_or_default()
            .iter()
            .map(CertificateDer::as_ref)
    }

    /// The negotiated version, by the name that logs use.
    #[must_use]
    pub fn version(&self) -> Option<&'static str> {
        match self.conn.common().protocol_version()? {
            ProtocolVersion::TLSv1_2 => Some("TLSv1.2"),
            ProtocolVersion::TLSv1_3 => Some("TLSv1.3"),
            _ => None,
        }
    }

    /// Whether the handshake resumed an earlier session.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        self.conn.common().handshake_kind() == Some(rustls::HandshakeKind::Resumed)
    }

    /// Bytes that `plain` bytes become at most: each record of 16,384 adds 22 in TLS 1.3 and up to
    /// 29 in TLS 1.2. 65,536 bytes are four records: at most 65,652, and 65,624 in TLS 1.3.
    #[must_use]
    pub const fn sealed_bytes(plain: usize) -> usize {
        plain + plain.div_ceil(RECORD_PLAIN_BYTES_MAX) * RECORD_OVERHEAD_BYTES_MAX
    }

    /// How many plain bytes fit into `room`: full records, and one more of what is left.
    fn fitting_bytes(&self, room: usize) -> usize {
        let overhead = match self.conn.common().protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => RECORD_OVERHEAD_BYTES,
            _ => RECORD_OVERHEAD_BYTES_MAX,
        };
        let record = RECORD_PLAIN_BYTES_MAX + overhead;
        room / record * RECORD_PLAIN_BYTES_MAX + (room % record).saturating_sub(overhead)
    }
}

/// Where the record that begins at `start` ends, if it is complete.
fn next_record_end(unread: &[u8], start: usize) -> Option<usize> {
    let header = unread.get(start..start + HEADER_BYTES)?;
    let end = start + HEADER_BYTES + usize::from(u16::from_be_bytes([header[3], header[4]]));
    (end <= unread.len()).then_some(end)
}
