//! Windows: a buffer with a cursor at each end.
//!
//! A [`RecvWindow`] holds what came from a socket and has not been consumed; a [`SendWindow`] what
//! has been sealed and not been sent. Consuming advances a cursor. The rest is moved to the front
//! only when the room behind it is short, since moving it after every record is quadratic.

use std::ops::Range;

use super::buffer::Buffer;
use crate::metrics;

/// Bytes that came from a socket, filled at the end and consumed from the front.
#[derive(Debug, Default)]
pub struct RecvWindow {
    buffer: Buffer,
    start: usize,
    end: usize,
    /// Most that the next read may bring, where that is less than there is room for.
    read_limit: Option<usize>,
    copied_bytes: u64,
}

impl RecvWindow {
    /// An empty window over the whole of `buffer`.
    #[must_use]
    pub fn new(buffer: Buffer) -> Self {
        Self { buffer, ..Self::default() }
    }

    /// The unread bytes, whole: what TLS wants to see on every call.
    pub fn unread_mut(&mut self) -> &mut [u8] {
        &mut self.buffer.block_mut()[self.start..self.end]
    }

    /// Drops `bytes` from the front.
    ///
    /// # Panics
    ///
    /// Panics where fewer are unread: that would be our own mistake.
    pub fn discard(&mut self, bytes: usize) {
        assert!(bytes <= self.unread_bytes(), "discard of more than is unread");
        self.start += bytes;
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
    }

    /// Lets the next read bring at most `bytes`: whoever knows where records end avoids to be left
    /// with a part of one, which would have to be moved.
    pub fn limit_next_read(&mut self, bytes: usize) {
        self.read_limit = Some(bytes);
    }

    /// Appends as much of `bytes` as fits, and says how much that was. Sockets fill a window
    /// without this copy; tests and the first bytes of an idle connection come this way.
    pub fn append(&mut self, bytes: &[u8]) -> usize {
        if self.end == self.buffer.capacity() {
            self.move_to_front();
        }
        let taken = bytes.len().min(self.buffer.capacity() - self.end);
        self.buffer.block_mut()[self.end..self.end + taken].copy_from_slice(&bytes[..taken]);
        self.end += taken;
        self.buffer.mark(self.end);
        self.count_copied(taken);
        taken
    }

    /// Puts `buffer` under the window, carries the unread bytes over, and hands back the old one.
    ///
    /// # Panics
    ///
    /// Panics where the unread bytes do not fit; callers look at [`Self::unread_bytes`] first.
    pub fn replace_buffer(&mut self, buffer: Buffer) -> Buffer {
        let old = std::mem::replace(&mut self.buffer, buffer);
        let unread = &old.bytes()[self.start..self.end];
        self.buffer.block_mut()[..unread.len()].copy_from_slice(unread);
        let unread_bytes = unread.len();
        self.buffer.mark(unread_bytes);
        self.count_copied(unread_bytes);
        (self.start, self.end) = (0, unread_bytes);
        old
    }

    /// Takes the buffer away for an operation that owns it, with the range that may be filled.
    /// The window is unusable until [`Self::filled`] brings the buffer back.
    pub(super) fn lend(&mut self) -> (Buffer, Range<usize>) {
        let limit = self.read_limit.take().unwrap_or(usize::MAX);
        // A quarter of the buffer: less room makes small reads, each with its system calls.
        if self.buffer.capacity() - self.end < limit.min(self.buffer.capacity() / 4) {
            self.move_to_front();
        }
        let end = self.buffer.capacity().min(self.end.saturating_add(limit));
        (std::mem::take(&mut self.buffer), self.end..end)
    }

    /// Brings a lent buffer back with `bytes` more at the end of its range.
    pub(super) fn filled(&mut self, buffer: Buffer, bytes: usize) {
        self.buffer = buffer;
        self.end += bytes;
        // Records are opened where they stand.
        self.buffer.mark(self.end);
    }

    fn count_copied(&mut self, bytes: usize) {
        self.copied_bytes += bytes as u64;
        metrics::count_copied(bytes);
    }

    fn move_to_front(&mut self) {
        if self.start > 0 {
            self.buffer.block_mut().copy_within(self.start..self.end, 0);
            self.count_copied(self.end - self.start);
            self.end -= self.start;
            self.start = 0;
        }
    }

    /// The unread bytes.
    #[must_use]
    pub fn unread(&self) -> &[u8] {
        &self.buffer.bytes()[self.start..self.end]
    }

    /// How many bytes are unread.
    #[must_use]
    pub fn unread_bytes(&self) -> usize {
        self.end - self.start
    }

    /// Whether no byte more can come in before some are discarded. A window without a buffer is
    /// empty and not full.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.unread_bytes() > 0 && self.unread_bytes() == self.buffer.capacity()
    }

    /// Size of the buffer below.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    /// Bytes that this window has copied between places of ours since it was made.
    #[must_use]
    pub fn copied_bytes(&self) -> u64 {
        self.copied_bytes
    }
}

/// Bytes on their way to a socket, filled at the end and sent from the front. Those of TLS are sealed
/// where they stand, and are nobody's secret.
#[derive(Debug, Default)]
pub struct SendWindow {
    buffer: Buffer,
    end: usize,
}

impl SendWindow {
    /// An empty window over the whole of `buffer`.
    #[must_use]
    pub fn new(buffer: Buffer) -> Self {
        Self { buffer, end: 0 }
    }

    /// The room behind what is pending.
    pub fn room_mut(&mut self) -> &mut [u8] {
        &mut self.buffer.block_mut()[self.end..]
    }

    /// Declares the first `bytes` of the room written.
    ///
    /// # Panics
    ///
    /// Panics where the room is smaller: that would be our own mistake.
    pub fn commit(&mut self, bytes: usize) {
        assert!(bytes <= self.room_bytes(), "commit of more than there is room for");
        self.end += bytes;
    }

    /// Says that what is pending is somebody's as it stands, and not sealed.
    pub fn mark_plain(&mut self) {
        self.buffer.mark(self.end);
    }

    /// Forgets what is pending.
    pub fn clear(&mut self) {
        self.end = 0;
    }

    /// Puts `buffer` under an empty window and hands back the old one.
    ///
    /// # Panics
    ///
    /// Panics where bytes are pending: they would be lost.
    pub fn replace_buffer(&mut self, buffer: Buffer) -> Buffer {
        assert!(self.is_empty(), "a send window changes its buffer only when it is empty");
        std::mem::replace(&mut self.buffer, buffer)
    }

    /// Takes the buffer away for an operation that owns it, with the range to be sent.
    pub(super) fn lend(&mut self) -> (Buffer, Range<usize>) {
        let pending = 0..self.end;
        (std::mem::take(&mut self.buffer), pending)
    }

    /// Brings a lent buffer back; everything in it is sent, or never will be.
    pub(super) fn sent(&mut self, buffer: Buffer) {
        self.buffer = buffer;
        self.end = 0;
    }

    /// The bytes that wait to be sent.
    #[must_use]
    pub fn pending(&self) -> &[u8] {
        &self.buffer.bytes()[..self.end]
    }

    /// Whether nothing waits to be sent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.end == 0
    }

    /// How many bytes more fit.
    #[must_use]
    pub fn room_bytes(&self) -> usize {
        self.buffer.capacity() - self.end
    }

    /// Size of the buffer below.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.buffer.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_window_makes_room_by_moving_the_rest_once() {
        let mut window = RecvWindow::new(Buffer::heap(8));
        assert_eq!(window.append(b"abcdefghij"), 8);
        assert!(window.is_full());
        window.discard(5);
        assert_eq!(window.unread(), b"fgh");
        assert_eq!(window.append(b"klmnopq"), 5);
        assert_eq!(window.unread(), b"fghklmno");
        assert_eq!(window.copied_bytes(), 8 + 3 + 5);
    }

    #[test]
    fn a_limited_read_ends_where_it_is_told_and_moves_nothing() {
        let mut window = RecvWindow::new(Buffer::heap(64));
        window.append(&[0; 10]);
        window.limit_next_read(20);
        let (buffer, room) = window.lend();
        assert_eq!(room, 10..30);
        window.filled(buffer, 20);
        window.discard(25);
        let (buffer, room) = window.lend();
        assert_eq!(room, 30..64, "the limit was for one read");
        window.filled(buffer, 24);
        assert_eq!(window.copied_bytes(), 10);
        let (buffer, room) = window.lend();
        assert_eq!(room, 29..64, "10 bytes of room are too few: the 29 unread ones are moved");
        window.filled(buffer, 0);
        assert_eq!(window.copied_bytes(), 10 + 29);
    }

    #[test]
    fn an_emptied_window_starts_over_without_a_copy() {
        let mut window = RecvWindow::new(Buffer::heap(4));
        window.append(b"abcd");
        window.discard(4);
        assert_eq!(window.append(b"efgh"), 4);
        assert_eq!(window.copied_bytes(), 8);
    }

    #[test]
    fn a_new_buffer_keeps_the_unread_bytes() {
        let mut window = RecvWindow::new(Buffer::heap(4));
        window.append(b"abcd");
        window.discard(1);
        let old = window.replace_buffer(Buffer::heap(16));
        assert_eq!(old.capacity(), 4);
        assert_eq!((window.unread(), window.capacity()), (&b"bcd"[..], 16));
    }

    #[test]
    fn a_send_window_holds_what_is_committed() {
        let mut window = SendWindow::new(Buffer::heap(4));
        window.room_mut()[..2].copy_from_slice(b"ab");
        window.commit(2);
        assert_eq!((window.pending(), window.room_bytes()), (&b"ab"[..], 2));
        window.clear();
        assert!(window.is_empty());
    }
}
