//! One TLS connection.

use std::cell::RefCell;
use std::net::{Shutdown, SocketAddr};
use std::time::{Duration, Instant};

use super::halves::{Spare, fill};
use super::{HANDSHAKE_WINDOW_BYTES, ReadHalf, StreamError, WriteHalf};
use crate::io::{Buffer, RecvWindow, SendWindow, Socket};
use crate::metrics;
use crate::tls::{ClientTls, Progress, ServerTls, TlsError, TlsSession};

/// A TLS connection whose handshake is done.
///
/// Its windows stand on small heap blocks until [`TlsStream::attach`] puts pooled buffers under
/// them for a request; [`TlsStream::detach`] takes those away again.
pub struct TlsStream {
    socket: Socket,
    session: RefCell<TlsSession>,
    recv: RecvWindow,
    send: SendWindow,
    spare: Spare,
}

impl TlsStream {
    /// Takes the server's side of the handshake, within `timeout`.
    ///
    /// # Errors
    ///
    /// The peer is silent, speaks no TLS, or is not let in. It is told by an alert.
    pub async fn accept(
        socket: Socket,
        tls: &ServerTls,
        timeout: Duration,
    ) -> Result<Self, StreamError> {
        let session = TlsSession::server(tls)?;
        // Until the peer says something, a drain owes it nothing.
        socket.set_idle(true);
        let accepted = Self::handshake(socket, session, timeout).await;
        metrics::count(|here| match &accepted {
            Ok(stream) => {
                here.handshakes_done.add(1);
                here.handshakes_resumed.add(stream.session.borrow().is_resumed().into());
            }
            Err(_) => here.handshakes_failed.add(1),
        });
        accepted
    }

    /// Takes the client's side of the handshake, within `timeout`.
    ///
    /// # Errors
    ///
    /// The peer is silent, speaks no TLS, or is not who `server_name` says.
    pub async fn connect(
        socket: Socket,
        tls: &ClientTls,
        server_name: &str,
        timeout: Duration,
    ) -> Result<Self, StreamError> {
        let session = TlsSession::client(tls, server_name)?;
        Self::handshake(socket, session, timeout).await
    }

    async fn handshake(
        socket: Socket,
        session: TlsSession,
        timeout: Duration,
    ) -> Result<Self, StreamError> {
        socket.set_deadline(Some(Instant::now() + timeout));
        let mut stream = Self {
            socket,
            session: RefCell::new(session),
            recv: RecvWindow::default(),
            send: SendWindow::default(),
            spare: Spare::default(),
        };
        let done = stream.complete_handshake().await;
        stream.socket.set_idle(false);
        if done.is_err() {
            stream.abort().await;
        }
        done.map(|()| stream)
    }

    async fn complete_handshake(&mut self) -> Result<(), StreamError> {
        loop {
            let spare = &mut self.spare;
            let progress =
                self.session.get_mut().advance(&mut self.recv, &mut |plain| spare.push(plain))?;
            match progress {
                Progress::Flush => self.write_half().flush().await?,
                Progress::NeedRead => {
                    if fill(&self.socket, &mut self.recv).await? == 0 {
                        return Err(StreamError::Closed { missing: 0 });
                    }
                    self.socket.set_idle(false);
                }
                Progress::Ready => {
                    self.write_half().flush().await?;
                    return Ok(());
                }
                Progress::Plaintext(_) => {}
                Progress::PeerClosed | Progress::Closed => {
                    return Err(StreamError::Closed { missing: 0 });
                }
            }
        }
    }

    /// Waits for the first bytes of a next request; `false` is an end between two requests: the
    /// peer closed, was silent for `timeout`, or a drain has ended the receiving. The sending side
    /// is still open then, for a close_notify. The connection holds no pooled buffer meanwhile.
    ///
    /// # Errors
    ///
    /// The connection failed.
    pub async fn wait_for_request(&mut self, timeout: Duration) -> Result<bool, StreamError> {
        self.detach();
        self.socket.set_idle(true);
        self.socket.set_read_stall_limit(Some(timeout));
        // Bytes that make no record must not keep a connection for ever.
        self.socket.set_deadline(Some(Instant::now() + 2 * timeout));
        let waited = self.read_half().fill_spare().await;
        self.socket.set_read_stall_limit(None);
        self.socket.set_idle(false);
        match waited {
            Err(StreamError::TimedOut | StreamError::Tls(TlsError::Truncated)) => Ok(false),
            waited => waited,
        }
    }

    /// See [`ReadHalf::departed`].
    pub async fn departed(&mut self) -> StreamError {
        self.read_half().departed().await
    }

    /// Reads exactly `out.len()` bytes.
    ///
    /// # Errors
    ///
    /// The connection failed or ended before them.
    pub async fn read_exact(&mut self, out: &mut [u8]) -> Result<(), StreamError> {
        self.read_half().read_exact(out).await
    }

    /// Reads 1 to `limit` bytes of what comes next and shows them to `sink`, without a copy where
    /// they come from the network; 0 is the peer's orderly end.
    ///
    /// # Errors
    ///
    /// The connection failed, or was cut without an orderly end.
    pub async fn read_at_most(
        &mut self,
        limit: u64,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Result<usize, StreamError> {
        self.read_half().read_at_most(limit, sink).await
    }

    /// Seals and sends all of `plain`.
    ///
    /// # Errors
    ///
    /// The connection failed.
    pub async fn write_all(&mut self, plain: &[u8]) -> Result<(), StreamError> {
        self.write_half().write_all(plain).await
    }

    /// Seals `plain` to be sent with what follows, in one write.
    ///
    /// # Errors
    ///
    /// The connection failed.
    pub async fn queue(&mut self, plain: &[u8]) -> Result<(), StreamError> {
        self.write_half().queue(plain).await
    }

    /// Sends what is queued, and what the session itself has to say.
    ///
    /// # Errors
    ///
    /// The connection failed.
    pub async fn flush(&mut self) -> Result<(), StreamError> {
        self.write_half().flush().await
    }

    /// Puts pooled buffers under both windows.
    pub fn attach(&mut self, [recv, send]: [Buffer; 2]) {
        self.attach_recv(recv);
        self.attach_send(send);
    }

    /// Puts a pooled buffer under the receiving window only.
    pub fn attach_recv(&mut self, buffer: Buffer) {
        self.read_half().attach(buffer);
    }

    /// Puts a pooled buffer under the sending window only, which must be flushed.
    pub fn attach_send(&mut self, buffer: Buffer) {
        self.write_half().attach(buffer);
    }

    /// Gives all buffers back. What is unread stays, on the heap.
    pub fn detach(&mut self) {
        let (mut read, mut write) = self.split();
        read.detach();
        write.detach();
    }

    /// Ends the sending side in order: close_notify, then FIN. The peer may go on sending.
    ///
    /// # Errors
    ///
    /// The connection failed.
    pub async fn close_write(&mut self) -> Result<(), StreamError> {
        self.write_half().close().await
    }

    /// Closes so that the answer before it arrives whole: ends the sending side, then reads and
    /// discards until the peer closes too, within `bytes_max` and `timeout`. Closing with unread
    /// bytes would make the kernel send RST, and the peer would lose the answer.
    pub async fn finish(mut self, bytes_max: u64, timeout: Duration) {
        self.socket.set_deadline(Some(Instant::now() + timeout));
        self.take_leave(bytes_max).await;
    }

    /// Closes as [`Self::finish`] does, for as long as the deadline of the socket allows.
    pub async fn take_leave(&mut self, bytes_max: u64) {
        if self.close_write().await.is_ok() {
            self.discard_until_end(bytes_max).await;
        }
    }

    /// Whether nothing waits to be sent or read, and the peer has neither said anything nor left.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.recv.unread_bytes() == 0
            && self.spare.is_empty()
            && self.send.is_empty()
            && !self.socket.has_input()
    }

    /// Reads and discards what the peer still sends, undecrypted.
    async fn discard_until_end(&mut self, bytes_max: u64) {
        if self.recv.capacity() < HANDSHAKE_WINDOW_BYTES {
            self.recv = RecvWindow::new(Buffer::heap(HANDSHAKE_WINDOW_BYTES));
        }
        let mut discarded = 0;
        while discarded < bytes_max {
            self.recv.discard(self.recv.unread_bytes());
            match self.socket.read_into(&mut self.recv).await {
                Ok(0) | Err(_) => return,
                Ok(bytes) => discarded += bytes as u64,
            }
        }
    }

    /// Ends a connection that failed by `error`. Where the session itself failed, the alert that says
    /// why goes out first.
    pub async fn abort_after(&mut self, error: &StreamError) {
        if matches!(error, StreamError::Tls(_)) {
            self.abort().await;
        }
    }

    /// Sends an alert that waits, if it goes out at once, and ends both directions.
    async fn abort(&mut self) {
        self.socket.set_deadline(Some(Instant::now() + ALERT_TIMEOUT));
        let _ = self.write_half().flush().await;
        self.socket.shutdown(Shutdown::Write);
        // The alert must not be lost to a reset: what the peer has sent is taken off the queue.
        self.discard_until_end(HANDSHAKE_WINDOW_BYTES as u64).await;
        self.socket.shutdown(Shutdown::Both);
    }

    /// Both halves, to be used beside each other.
    pub fn split(&mut self) -> (ReadHalf<'_>, WriteHalf<'_>) {
        let Self { socket, session, recv, send, spare } = self;
        (ReadHalf { socket, session, recv, spare }, WriteHalf { socket, session, send })
    }

    fn read_half(&mut self) -> ReadHalf<'_> {
        self.split().0
    }

    fn write_half(&mut self) -> WriteHalf<'_> {
        self.split().1
    }

    /// Whether the next read finds something without asking the network.
    #[must_use]
    pub fn has_plaintext(&self) -> bool {
        !self.spare.is_empty()
    }

    /// Whether something sealed waits to be sent.
    #[must_use]
    pub fn has_queued(&self) -> bool {
        !self.send.is_empty()
    }

    /// The socket below, for its deadline and its address.
    #[must_use]
    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Address of the other side.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.socket.peer()
    }
}

/// An alert is a courtesy: a peer that does not take it within a second goes without.
const ALERT_TIMEOUT: Duration = Duration::from_secs(1);
