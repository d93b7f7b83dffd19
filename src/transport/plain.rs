//! A connection without TLS, with the verbs of one that has it.

use std::net::Shutdown;
use std::time::{Duration, Instant};

use super::halves::fill;
use super::{HANDSHAKE_WINDOW_BYTES, RECORD_PLAIN_MAX, StreamError};
use crate::io::{Buffer, RecvWindow, SendWindow, Socket};

/// A bare TCP connection. Anyone on the way reads and changes what it carries: it is for loopback.
pub struct PlainStream {
    socket: Socket,
    recv: RecvWindow,
    send: SendWindow,
}

impl PlainStream {
    /// Takes over a connected socket.
    #[must_use]
    pub fn new(socket: Socket) -> Self {
        Self { socket, recv: RecvWindow::default(), send: SendWindow::default() }
    }

    /// See [`super::TlsStream::wait_for_request`].
    pub(super) async fn wait_for_request(
        &mut self,
        timeout: Duration,
    ) -> Result<bool, StreamError> {
        self.socket.set_idle(true);
        self.socket.set_read_stall_limit(Some(timeout));
        let waited = match self.recv.unread_bytes() {
            0 => fill(&self.socket, &mut self.recv).await.map(|bytes| bytes > 0),
            _ => Ok(true),
        };
        self.socket.set_read_stall_limit(None);
        self.socket.set_idle(false);
        match waited {
            Err(StreamError::TimedOut) => Ok(false),
            waited => waited,
        }
    }

    /// See [`super::TlsStream::read_at_most`].
    pub(super) async fn read_at_most(
        &mut self,
        limit: u64,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Result<usize, StreamError> {
        if self.recv.unread_bytes() == 0 && fill(&self.socket, &mut self.recv).await? == 0 {
            return Ok(0);
        }
        let unread = self.recv.unread();
        let shown = usize::try_from(limit).map_or(unread.len(), |limit| limit.min(unread.len()));
        sink(&unread[..shown]);
        self.recv.discard(shown);
        Ok(shown)
    }

    /// See [`super::TlsStream::queue`].
    pub(super) async fn queue(&mut self, plain: &[u8]) -> Result<(), StreamError> {
        if self.send.capacity() == 0 {
            self.send.replace_buffer(Buffer::heap(RECORD_PLAIN_MAX));
        }
        let mut rest = plain;
        while !rest.is_empty() {
            let taken = rest.len().min(self.send.room_bytes());
            self.send.room_mut()[..taken].copy_from_slice(&rest[..taken]);
            self.send.commit(taken);
            self.send.mark_plain();
            rest = &rest[taken..];
            if !rest.is_empty() {
                self.flush().await?;
            }
        }
        Ok(())
    }

    /// Sends what is queued.
    pub(super) async fn flush(&mut self) -> Result<(), StreamError> {
        self.socket.write_all(&mut self.send).await.map_err(StreamError::from_io)
    }

    pub(super) fn attach_recv(&mut self, buffer: Buffer) {
        if buffer.capacity() >= self.recv.unread_bytes() {
            self.recv.replace_buffer(buffer);
        }
    }

    pub(super) fn attach_send(&mut self, buffer: Buffer) {
        self.send.replace_buffer(buffer);
    }

    pub(super) fn detach(&mut self) {
        let unread = self.recv.unread_bytes();
        self.recv.replace_buffer(match unread {
            0 => Buffer::default(),
            _ => Buffer::heap(unread.max(HANDSHAKE_WINDOW_BYTES)),
        });
        if self.send.is_empty() {
            self.send.replace_buffer(Buffer::default());
        }
    }

    /// See [`super::TlsStream::finish`].
    pub(super) async fn finish(mut self, bytes_max: u64, timeout: Duration) {
        self.socket.set_deadline(Some(Instant::now() + timeout));
        if self.flush().await.is_err() {
            return;
        }
        self.socket.shutdown(Shutdown::Write);
        let mut discarded = 0;
        while discarded < bytes_max {
            self.recv.discard(self.recv.unread_bytes());
            match fill(&self.socket, &mut self.recv).await {
                Ok(0) | Err(_) => return,
                Ok(bytes) => discarded += bytes as u64,
            }
        }
    }

    pub(super) fn has_plaintext(&self) -> bool {
        self.recv.unread_bytes() > 0
    }

    pub(super) fn has_queued(&self) -> bool {
        !self.send.is_empty()
    }

    pub(super) fn socket(&self) -> &Socket {
        &self.socket
    }
}
