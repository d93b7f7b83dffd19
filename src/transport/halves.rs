//! The two halves of a connection, to be used beside each other.

use std::cell::RefCell;
use std::io;
use std::net::Shutdown;
use std::time::{Duration, Instant};

use super::{HANDSHAKE_WINDOW_BYTES, IDLE_WINDOW_BYTES, RECORD_PLAIN_MAX, StreamError};
use crate::io::{Buffer, Parting, RecvWindow, SendWindow, Socket, wipe};
use crate::metrics;
use crate::tls::{Progress, RECORD_OVERHEAD_BYTES, TlsSession};

/// Type, version and length in front of every record.
const RECORD_HEADER_BYTES: usize = 5;

/// A record of 16 KiB in TLS 1.3, on the wire.
const FULL_RECORD_BYTES: usize = RECORD_PLAIN_MAX + RECORD_OVERHEAD_BYTES;

/// What is waited for at most before a window of a bulk body is looked at.
const LOW_WATER_BYTES_MAX: usize = 128 * 1024;

/// The receiving half of a stream.
pub struct ReadHalf<'a> {
    pub(super) socket: &'a Socket,
    pub(super) session: &'a RefCell<TlsSession>,
    pub(super) recv: &'a mut RecvWindow,
    pub(super) spare: &'a mut Spare,
}

/// The sending half of a stream.
pub struct WriteHalf<'a> {
    pub(super) socket: &'a Socket,
    pub(super) session: &'a RefCell<TlsSession>,
    pub(super) send: &'a mut SendWindow,
}

/// Plaintext of a record beyond what its reader asked for: at most one record.
#[derive(Debug, Default)]
pub(super) struct Spare {
    bytes: Vec<u8>,
    start: usize,
}

impl ReadHalf<'_> {
    /// See [`TlsStream::read_at_most`].
    ///
    /// # Errors
    ///
    /// The connection failed, or was cut without an orderly end.
    pub async fn read_at_most(
        &mut self,
        limit: u64,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Result<usize, StreamError> {
        if !self.spare.is_empty() {
            return Ok(self.spare.take(limit, sink));
        }
        let (spare, mut shown) = (&mut *self.spare, 0);
        next_record(self.socket, self.session, self.recv, &mut |plain| {
            let (wanted, rest) = split_at_most(plain, limit);
            sink(wanted);
            shown += wanted.len();
            spare.push(rest);
        })
        .await?;
        Ok(shown)
    }

    /// See [`TlsStream::read_exact`].
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

    /// Waits until the peer has left, and says how; meanwhile nothing is read from it. This may be
    /// dropped at any moment, since nothing is in flight.
    ///
    /// Whoever ends only its sending, in order, still waits for an answer: that is a close_notify. The
    /// end of the file without it is a cut. Where another request waits in front of its end, that is
    /// not known before it is read, and the peer counts as there.
    pub async fn departed(&mut self) -> StreamError {
        let mut is_half_closed = false;
        loop {
            let parting = self.socket.parting(is_half_closed).await;
            if self.socket.has_expired() {
                return StreamError::TimedOut;
            }
            if parting == Parting::Gone {
                return io::Error::from(io::ErrorKind::ConnectionReset).into();
            }
            if let Err(error) = self.take_what_is_here() {
                return error;
            }
            is_half_closed = true;
        }
    }

    /// Reads up to the next plaintext, or the end, of what a peer has sent that sends no more.
    fn take_what_is_here(&mut self) -> Result<(), StreamError> {
        if !self.spare.is_empty() {
            return Ok(());
        }
        let spare = &mut *self.spare;
        while open_next(self.session, self.recv, &mut |plain| spare.push(plain))?.is_none() {
            make_room(self.recv);
            let read = self.socket.read_at_once(self.recv).map_err(StreamError::from_io)?;
            grow(self.recv);
            if read == 0 {
                return Ok(self.session.borrow_mut().eof()?);
            }
        }
        Ok(())
    }

    /// Ends one or both directions of the connection; operations in flight there end too.
    pub fn shutdown(&self, how: Shutdown) {
        self.socket.shutdown(how);
    }

    /// Ends the time for what was to be read from here.
    pub fn clear_read_deadline(&self) {
        self.socket.set_read_deadline(None);
    }

    /// How long a single read may take from now on.
    pub fn set_stall_limit(&self, limit: Duration) {
        self.socket.set_read_stall_limit(Some(limit));
    }

    /// Puts a pooled buffer under the window, which is larger than what a handshake leaves unread.
    pub fn attach(&mut self, buffer: Buffer) {
        self.recv.replace_buffer(buffer);
    }

    /// Gives the pooled buffer back. What is unread stays, on the heap.
    pub fn detach(&mut self) {
        let unread = self.recv.unread_bytes();
        if unread == 0 {
            self.recv.replace_buffer(Buffer::default());
        } else if self.recv.capacity() != HANDSHAKE_WINDOW_BYTES {
            self.recv.replace_buffer(Buffer::heap(unread.max(HANDSHAKE_WINDOW_BYTES)));
        }
    }

    /// Makes sure that plaintext waits; `false` is the peer's orderly end.
    pub(super) async fn fill_spare(&mut self) -> Result<bool, StreamError> {
        if !self.spare.is_empty() {
            return Ok(true);
        }
        let spare = &mut *self.spare;
        next_record(self.socket, self.session, self.recv, &mut |plain| spare.push(plain)).await
    }

    /// From now on a read goes on with whatever comes.
    pub(super) fn expect_anything(&self) {
        self.socket.set_low_water(1);
    }

    /// One read from the socket, in front of at least `left` bytes that the peer has yet to send; 0 is
    /// the end of the file. From a peer that is swift, half a window is waited for where there is
    /// less: a reader that is quicker than its peer would otherwise wake for each of its packets.
    pub(super) async fn fill_ahead(&mut self, left: u64) -> Result<usize, StreamError> {
        let wanted = (self.recv.capacity() / 2).clamp(1, LOW_WATER_BYTES_MAX);
        // A part of a record that is here already is among what is left.
        let is_bulk = left >= (wanted + FULL_RECORD_BYTES) as u64;
        let is_swift = self.socket.is_swift();
        self.socket.set_low_water(if is_bulk && is_swift { wanted } else { 1 });
        fill(self.socket, self.recv).await
    }
}

/// Shows the plaintext of the next record to `sink`; `false` is the peer's orderly end.
async fn next_record(
    socket: &Socket,
    session: &RefCell<TlsSession>,
    recv: &mut RecvWindow,
    sink: &mut dyn FnMut(&[u8]),
) -> Result<bool, StreamError> {
    loop {
        if let Some(is_shown) = open_next(session, recv, sink)? {
            return Ok(is_shown);
        }
        if fill(socket, recv).await? == 0 {
            session.borrow_mut().eof()?;
            return Ok(false);
        }
    }
}

/// The same as far as it is here; `None` where more has to be read.
fn open_next(
    session: &RefCell<TlsSession>,
    recv: &mut RecvWindow,
    sink: &mut dyn FnMut(&[u8]),
) -> Result<Option<bool>, StreamError> {
    loop {
        let progress = session.borrow_mut().advance(recv, sink)?;
        match progress {
            Progress::Plaintext(bytes) if bytes > 0 => return Ok(Some(true)),
            Progress::PeerClosed | Progress::Closed => return Ok(Some(false)),
            Progress::NeedRead => return Ok(None),
            // Whoever reads here does not write, and to go round would spin.
            Progress::Flush => return Err(StreamError::ControlFlood),
            // An empty record says nothing.
            Progress::Plaintext(_) | Progress::Ready => {}
        }
    }
}

/// One read into the window. It grows on the heap as it must: from nothing to the idle size, and
/// once that is full to what a whole record needs, which the session wants to see room for.
pub(super) async fn fill(socket: &Socket, recv: &mut RecvWindow) -> Result<usize, StreamError> {
    make_room(recv);
    let read = socket.read_into(recv).await.map_err(StreamError::from_io)?;
    grow(recv);
    Ok(read)
}

fn make_room(recv: &mut RecvWindow) {
    if recv.capacity() == 0 {
        recv.replace_buffer(Buffer::heap(IDLE_WINDOW_BYTES));
    }
    align_to_records(recv);
}

fn grow(recv: &mut RecvWindow) {
    if recv.is_full() && recv.capacity() < HANDSHAKE_WINDOW_BYTES {
        recv.replace_buffer(Buffer::heap(HANDSHAKE_WINDOW_BYTES));
    }
}

/// Lets the next read end where a record ends, if the sender goes on with records as long as the
/// one that has begun, as one does in bulk. The part of a record that would be left otherwise, up to
/// a quarter of a 64 KiB window, would have to be moved on every round.
fn align_to_records(recv: &mut RecvWindow) {
    let unread = recv.unread();
    let record_bytes = match unread {
        [_, _, _, high, low, ..] => {
            RECORD_HEADER_BYTES + usize::from(u16::from_be_bytes([*high, *low]))
        }
        // The next one is not known: a full record of TLS 1.3, which bulk is made of.
        _ => FULL_RECORD_BYTES,
    };
    let after_this = recv.capacity().saturating_sub(record_bytes) / record_bytes;
    let wanted = record_bytes * (1 + after_this);
    if after_this > 0 && wanted > unread.len() {
        recv.limit_next_read(wanted - unread.len());
    }
}

impl WriteHalf<'_> {
    /// Seals and sends all of `plain`.
    ///
    /// # Errors
    ///
    /// The connection failed.
    pub async fn write_all(&mut self, plain: &[u8]) -> Result<(), StreamError> {
        self.queue(plain).await?;
        self.flush().await
    }

    /// Seals `plain` to be sent with what follows, and sends only what finds no room.
    ///
    /// # Errors
    ///
    /// The connection failed.
    pub async fn queue(&mut self, plain: &[u8]) -> Result<(), StreamError> {
        let mut rest = plain;
        while !rest.is_empty() {
            self.ensure_room();
            let taken = self.session.borrow_mut().seal(rest, self.send)?;
            rest = &rest[taken..];
            if taken == 0 {
                self.flush().await?;
            }
        }
        Ok(())
    }

    /// Sends what is sealed and what the session itself has to say.
    ///
    /// # Errors
    ///
    /// The connection failed.
    pub async fn flush(&mut self) -> Result<(), StreamError> {
        while !self.move_control() {
            self.socket.write_all(self.send).await.map_err(StreamError::from_io)?;
        }
        self.socket.write_all(self.send).await.map_err(StreamError::from_io)
    }

    /// The same, beside a read of the other connection.
    pub(super) async fn flush_beside_read(&mut self) -> Result<(), StreamError> {
        if self.move_control() {
            self.socket.write_all_beside_read(self.send).await.map_err(StreamError::from_io)
        } else {
            self.flush().await
        }
    }

    /// Puts what the session itself has to say behind what is sealed; true when all of it fits.
    fn move_control(&mut self) -> bool {
        self.ensure_room();
        self.session.borrow_mut().flush_control(self.send)
    }

    /// Sends close_notify, then FIN.
    ///
    /// # Errors
    ///
    /// The connection failed.
    pub async fn close(&mut self) -> Result<(), StreamError> {
        self.session.borrow_mut().close()?;
        self.flush().await?;
        self.socket.shutdown(Shutdown::Write);
        Ok(())
    }

    /// Ends one or both directions of the connection; operations in flight there end too.
    pub fn shutdown(&self, how: Shutdown) {
        self.socket.shutdown(how);
    }

    /// By when all that follows on the connection must be over.
    pub fn set_deadline(&self, deadline: Instant) {
        self.socket.set_deadline(Some(deadline));
    }

    /// Puts a pooled buffer under the window, in which nothing may wait.
    pub fn attach(&mut self, buffer: Buffer) {
        self.send.replace_buffer(buffer);
    }

    /// Gives the pooled buffer back, unless something waits in it.
    pub fn detach(&mut self) {
        if self.send.is_empty() {
            self.send.replace_buffer(Buffer::default());
        }
    }

    /// A handshake and a short answer need no pooled buffer.
    fn ensure_room(&mut self) {
        if self.send.capacity() == 0 {
            let record = TlsSession::sealed_bytes(RECORD_PLAIN_MAX);
            self.send.replace_buffer(Buffer::heap(record));
        }
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        wipe(&mut self.bytes);
    }
}

impl Spare {
    pub(super) fn push(&mut self, plain: &[u8]) {
        if self.is_empty() {
            self.bytes.clear();
            self.start = 0;
        }
        self.bytes.extend_from_slice(plain);
        metrics::count_copied(plain.len());
    }

    pub(super) fn take(&mut self, limit: u64, sink: &mut dyn FnMut(&[u8])) -> usize {
        let (wanted, _) = split_at_most(self.unread(), limit);
        sink(wanted);
        let taken = wanted.len();
        self.consume(taken);
        taken
    }

    pub(super) fn consume(&mut self, bytes: usize) {
        self.start += bytes;
        if self.is_empty() {
            // An idle connection keeps nothing, not even its capacity.
            *self = Self::default();
        }
    }

    pub(super) fn unread(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.start == self.bytes.len()
    }
}

fn split_at_most(plain: &[u8], limit: u64) -> (&[u8], &[u8]) {
    plain.split_at(usize::try_from(limit).map_or(plain.len(), |limit| limit.min(plain.len())))
}
