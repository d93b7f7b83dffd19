//! A connection that rustls drives: each until its handshake has ended, and those of TLS 1.2, and of
//! other ciphers than AES-GCM, to their end.
//!
//! rustls' unbuffered API must see the unread bytes from the same place on, as long as it holds on
//! to some: a shorter slice makes it panic, and the peer decides when it holds on. But sealing also
//! goes through that call, while the read of the other direction owns the receive buffer. So rustls
//! is shown one record at a time, and we know at each moment how many bytes it has seen and not
//! given back (`shown`). Sealing then shows a blank slice of exactly that length: no byte of it is
//! looked at, since rustls continues behind it.

use rustls::{CommonState, Error, ProtocolVersion};

use super::conn::{Conn, Sealed, Step, Write};
use super::control::Control;
use super::session::{
    Event, HEADER_BYTES, RECORD_OVERHEAD_BYTES, RECORD_OVERHEAD_BYTES_MAX, RECORD_PLAIN_BYTES_MAX,
};
use super::traffic::Traffic;
use crate::io::RecvWindow;

/// Room for a `close_notify` (31 bytes at most) behind a key update that waits (27).
const CLOSE_NOTIFY_BYTES_MAX: usize = 64;

pub(super) struct Unbuffered {
    conn: Conn,
    /// Bytes at the front of the unread range that rustls has seen and holds on to.
    shown: usize,
    ready_said: bool,
}

impl Unbuffered {
    pub(super) fn new(conn: Conn) -> Self {
        Self { conn, shown: 0, ready_said: false }
    }

    pub(super) fn common(&self) -> &CommonState {
        self.conn.common()
    }

    pub(super) fn version(&self) -> Option<&'static str> {
        match self.common().protocol_version()? {
            ProtocolVersion::TLSv1_2 => Some("TLSv1.2"),
            ProtocolVersion::TLSv1_3 => Some("TLSv1.3"),
            _ => None,
        }
    }

    pub(super) fn is_resumed(&self) -> bool {
        self.common().handshake_kind() == Some(rustls::HandshakeKind::Resumed)
    }

    /// See [`super::TlsSession::advance`]. Where it fails, the alert is in `control`.
    pub(super) fn advance(
        &mut self,
        recv: &mut RecvWindow,
        control: &mut Control,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Result<Event, Error> {
        // rustls puts its own output before a new record. While it does that, show it none, or
        // `shown` would count a record that was not looked at.
        let mut show_next = !self.common().wants_write();
        loop {
            let record_end = next_record_end(recv.unread(), self.shown).filter(|_| show_next);
            let visible = match record_end {
                Some(end) => end,
                // An incomplete record is shown too: its header may already be wrong.
                None if show_next => recv.unread_bytes(),
                None => self.shown,
            };
            let input = &mut recv.unread_mut()[..visible];
            let (discard, step) = self.conn.step(input, control.tail(), sink);
            recv.discard(discard);
            self.shown = record_end.unwrap_or(self.shown).saturating_sub(discard);
            match step {
                Ok(Step::Plaintext(bytes)) => return Ok(Event::Plaintext(bytes)),
                Ok(Step::Again) => show_next = false,
                Ok(Step::Idle) => {
                    let is_handshaking = self.common().is_handshaking();
                    if !self.ready_said && !is_handshaking {
                        self.ready_said = true;
                        return Ok(Event::Ready);
                    }
                    let at_end = show_next && record_end.is_none();
                    if control.is_full() || (at_end && is_handshaking && !control.is_empty()) {
                        return Ok(Event::Flush);
                    }
                    if at_end {
                        return Ok(Event::NeedRead);
                    }
                    show_next = true;
                }
                Ok(Step::PeerClosed | Step::Closed) => return Ok(Event::PeerClosed),
                Err(error) => {
                    self.fetch_alert(control);
                    return Err(error);
                }
            }
        }
    }

    /// The same connection with a record layer of ours, or itself where that is not for it: the
    /// handshake has ended and nothing of rustls' waits, in either direction.
    pub(super) fn into_traffic(self) -> Result<Result<Traffic, Self>, Error> {
        let is_between = self.shown == 0 && !self.common().wants_write();
        if !is_between || !Traffic::is_for(self.common()) {
            return Ok(Err(self));
        }
        Traffic::take_over(self.conn).map(Ok)
    }

    /// Seals as much of `plain` as fits into `room`.
    pub(super) fn seal(&mut self, plain: &[u8], room: &mut [u8]) -> Result<Sealed, Error> {
        match plain.len().min(self.fitting_bytes(room.len())) {
            0 => Ok(Sealed::NoRoom),
            fitting => self.write(Write::Data { plain: &plain[..fitting], room }),
        }
    }

    pub(super) fn close(&mut self, control: &mut Control) -> Result<(), Error> {
        let mut room = [0; CLOSE_NOTIFY_BYTES_MAX];
        match self.write(Write::CloseNotify { room: &mut room })? {
            Sealed::Done { written, .. } => control.tail().extend_from_slice(&room[..written]),
            // The keys may be spent; the alert then waits inside rustls, or cannot be sealed.
            Sealed::NoRoom | Sealed::Exhausted => {
                self.settle(control)?;
            }
        }
        Ok(())
    }

    /// Lets rustls say what it has to without input, so that it is ready to write. Whether it has
    /// heard that the peer closed.
    pub(super) fn settle(&mut self, control: &mut Control) -> Result<bool, Error> {
        let mut plain_bytes = 0;
        let mut peer_closed = false;
        loop {
            let mut seen = vec![0; self.shown];
            let (discard, step) =
                self.conn.step(&mut seen, control.tail(), &mut |plain| plain_bytes += plain.len());
            if discard > 0 || plain_bytes > 0 {
                // `advance` hands out every message before it returns, so none is left to find.
                self.fetch_alert(control);
                return Err(Error::General("data surfaced while sealing".to_owned()));
            }
            match step {
                Ok(Step::Again) => {}
                Ok(Step::PeerClosed) => peer_closed = true,
                Ok(Step::Idle | Step::Closed | Step::Plaintext(_)) => return Ok(peer_closed),
                Err(error) => {
                    self.fetch_alert(control);
                    return Err(error);
                }
            }
        }
    }

    /// Forgets what was shown: the peer has closed, and the window has been emptied.
    pub(super) fn forget_shown(&mut self) {
        self.shown = 0;
    }

    /// Refuses a handshake message that fills the window. rustls would wait for more. A header that
    /// cannot be makes it say `decode_error` to the peer, which is the alert for a message of wrong
    /// length.
    pub(super) fn refuse_message(&mut self, control: &mut Control) {
        let mut impossible = vec![0; self.shown + HEADER_BYTES];
        let _refused = self.conn.step(&mut impossible, control.tail(), &mut |_| ());
        self.fetch_alert(control);
    }

    /// rustls puts its output before it looks at any input, so that an empty slice will do; after
    /// this it is never called again.
    pub(super) fn fetch_alert(&mut self, control: &mut Control) {
        while self.common().wants_write() {
            let (_, step) = self.conn.step(&mut [], control.tail(), &mut |_| ());
            if !matches!(step, Ok(Step::Again)) {
                break;
            }
        }
    }

    fn write(&mut self, write: Write<'_>) -> Result<Sealed, Error> {
        let mut seen = vec![0; self.shown];
        self.conn
            .write(&mut seen, write)
            .ok_or_else(|| Error::General("writing is refused after the handshake".to_owned()))
    }

    /// How many plain bytes fit into `room`: full records, and one more of what is left.
    fn fitting_bytes(&self, room: usize) -> usize {
        let overhead = match self.common().protocol_version() {
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
