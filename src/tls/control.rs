//! Output of a session other than application data.

use crate::io::SendWindow;

/// Control output that a peer can make us gather from one window of input before we insist on
/// sending it. A handshake flight of ours is smaller, so that it leaves in one piece.
const CONTROL_BYTES_MAX: usize = 16_384;

/// Handshake messages, tickets, key updates and alerts that wait to be sent, in order.
#[derive(Default)]
pub(super) struct Control {
    bytes: Vec<u8>,
    sent: usize,
}

impl Control {
    /// Where output is put, at the end.
    pub(super) fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sent == self.bytes.len()
    }

    /// Whether so much waits that it must leave before more input is looked at.
    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() >= CONTROL_BYTES_MAX
    }

    /// Moves as much as fits into `send`; true when none is left.
    pub(super) fn flush(&mut self, send: &mut SendWindow) -> bool {
        let waiting = &self.bytes[self.sent..];
        let moved = waiting.len().min(send.room_bytes());
        send.room_mut()[..moved].copy_from_slice(&waiting[..moved]);
        send.commit(moved);
        self.sent += moved;
        if !self.is_empty() {
            return false;
        }
        // Handshakes are rare beside requests: an idle connection keeps no memory for them.
        *self = Self::default();
        true
    }
}
