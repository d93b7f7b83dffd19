//! Connected sockets and their verbs.

use std::io;
use std::mem::MaybeUninit;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::deadline;
use super::driver::Driver;
use super::fd;
use super::parting::Parting;
use super::stream::Stream;
use super::watch::Watched;
use super::window::{RecvWindow, SendWindow};
use crate::metrics;

/// A connected TCP socket. One read and one write may be in flight at a time, beside each other.
///
/// The futures of its verbs must be awaited to their end: a dropped one leaves its operation to the
/// ring. To end one early, [`Socket::shutdown`] and await it.
#[derive(Debug, Clone)]
pub struct Socket {
    watched: Rc<Watched>,
    peer: SocketAddr,
}

impl Socket {
    /// Connects within `timeout`.
    ///
    /// The connecting itself goes through epoll on both drivers, since a ring's connect cannot be
    /// taken back when the time is up.
    ///
    /// # Errors
    ///
    /// The peer cannot be reached, or not in time.
    pub async fn connect(
        driver: Driver,
        address: SocketAddr,
        timeout: Duration,
    ) -> io::Result<Self> {
        let connecting = tokio::net::TcpStream::connect(address);
        let stream = tokio::time::timeout(timeout, connecting)
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        match driver {
            Driver::Epoll => Self::from_epoll(stream, address),
            Driver::Uring => {
                let stream = stream.into_std()?;
                // A ring answers EAGAIN at once on a descriptor that does not block.
                stream.set_nonblocking(false)?;
                Self::from_uring(tokio_uring::net::TcpStream::from_std(stream), address)
            }
        }
    }

    pub(super) fn from_uring(
        stream: tokio_uring::net::TcpStream,
        peer: SocketAddr,
    ) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self::new(Stream::Uring(stream), peer))
    }

    pub(super) fn from_epoll(stream: tokio::net::TcpStream, peer: SocketAddr) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self::new(Stream::Epoll(stream), peer))
    }

    fn new(stream: Stream, peer: SocketAddr) -> Self {
        let watched = Rc::new(Watched::new(stream));
        deadline::watch(&watched);
        Self { watched, peer }
    }

    /// Reads once into the room of `window`; 0 is the end of the file.
    ///
    /// # Errors
    ///
    /// The kernel's, or `TimedOut` once a deadline has passed.
    pub async fn read_into(&self, window: &mut RecvWindow) -> io::Result<usize> {
        let (buffer, room) = window.lend();
        if room.is_empty() {
            window.filled(buffer, 0);
            return Err(io::Error::other("a read needs room in its window"));
        }
        self.watched.read.arm();
        let began = Instant::now();
        let (result, buffer) = self.watched.stream.read(buffer, room).await;
        self.watched.read.disarm();
        let bytes = *result.as_ref().unwrap_or(&0);
        self.watched.swift.set(is_swift(bytes, began.elapsed()));
        metrics::count(|here| {
            here.socket_reads.add(1);
            here.socket_bytes_in.add(bytes as u64);
        });
        window.filled(buffer, bytes);
        self.watched.judge_read(result)
    }

    /// Reads once what is here already into the room of `window`; 0 is the end of the file. Nothing is in
    /// flight: this is for a peer that has ended its sending.
    ///
    /// # Errors
    ///
    /// The kernel's, `WouldBlock` where nothing is here, or `TimedOut` once a deadline has passed.
    pub fn read_at_once(&self, window: &mut RecvWindow) -> io::Result<usize> {
        let (mut buffer, room) = window.lend();
        let result = self.watched.stream.read_at_once(&mut buffer.block_mut()[room]);
        let bytes = *result.as_ref().unwrap_or(&0);
        metrics::count(|here| {
            here.socket_reads.add(1);
            here.socket_bytes_in.add(bytes as u64);
        });
        window.filled(buffer, bytes);
        self.watched.judge_read(result)
    }

    /// Waits until the peer leaves, while nothing is read from it; with `ignores_end` an end of its
    /// sending does not count. One at a time may wait. Unlike an operation this may be dropped.
    pub fn parting(&self, ignores_end: bool) -> impl Future<Output = Parting> {
        self.watched.lookout.wait(ignores_end)
    }

    /// Writes all that is pending in `window`. The window is empty afterwards, also after an error:
    /// a connection that failed to write is over. A ring is spared what is small.
    ///
    /// # Errors
    ///
    /// The kernel's, or `TimedOut` once a deadline has passed.
    pub async fn write_all(&self, window: &mut SendWindow) -> io::Result<()> {
        self.write_window(window, true).await
    }

    /// The same, beside a read that is submitted at the same moment: a ring takes both in one call.
    ///
    /// # Errors
    ///
    /// See [`Self::write_all`].
    pub async fn write_all_beside_read(&self, window: &mut SendWindow) -> io::Result<()> {
        self.write_window(window, false).await
    }

    async fn write_window(&self, window: &mut SendWindow, at_once: bool) -> io::Result<()> {
        if window.is_empty() {
            return Ok(());
        }
        let (mut buffer, mut pending) = window.lend();
        let mut result = Ok(());
        while !pending.is_empty() && result.is_ok() {
            self.watched.write.arm();
            let (written, back) = self.watched.stream.write(buffer, pending.clone(), at_once).await;
            buffer = back;
            metrics::count(|here| {
                here.socket_writes.add(1);
                here.socket_bytes_out.add(*written.as_ref().unwrap_or(&0) as u64);
            });
            match written {
                Ok(0) => result = Err(io::ErrorKind::WriteZero.into()),
                Ok(bytes) => pending.start += bytes,
                Err(error) => result = Err(error),
            }
        }
        self.watched.write.disarm();
        window.sent(buffer);
        self.watched.judge_write(result)
    }

    /// Ends one or both directions at once; operations in flight there then end too.
    pub fn shutdown(&self, how: Shutdown) {
        self.watched.shutdown(how);
    }

    /// The instant by which what follows must be over, or `None` for no limit. Once it has passed,
    /// the socket is shut down and its operations fail with `TimedOut`.
    pub fn set_deadline(&self, deadline: Option<Instant>) {
        self.watched.deadline.set(deadline);
    }

    /// How long a single read and a single write may take from now on, `None` for no limit. A late
    /// write ends the socket; a late read ends only the receiving, so that the peer can be told.
    pub fn set_stall_limits(&self, read: Option<Duration>, write: Option<Duration>) {
        self.watched.read.limit.set(read);
        self.watched.write.limit.set(write);
    }

    /// How long a single read may take from now on.
    pub fn set_read_stall_limit(&self, limit: Option<Duration>) {
        self.watched.read.limit.set(limit);
    }

    /// By when all that is read from now on must be here. Unlike the deadline of the socket it ends
    /// only the receiving, so that the peer can be told.
    pub fn set_read_deadline(&self, deadline: Option<Instant>) {
        self.watched.read_deadline.set(deadline);
    }

    /// Whether the last read, waiting included, brought bytes as a fast network does.
    #[must_use]
    pub fn is_swift(&self) -> bool {
        self.watched.swift.get()
    }

    /// How many bytes have to be there before a read that waits goes on, or an end or an error. Never
    /// set it above what the peer sends for sure. The kernel makes room for so many.
    pub fn set_low_water(&self, bytes: usize) {
        if self.watched.low_water.replace(bytes) != bytes {
            // Without it reads return sooner, and no byte is lost.
            let bytes = bytes.try_into().unwrap_or(1);
            let _ = fd::set_low_water(fd::borrow(self), bytes);
        }
    }

    /// Marks a connection that waits for its next request: a drain may end it at once.
    pub fn set_idle(&self, idle: bool) {
        self.watched.idle.set(idle);
    }

    /// Whether a deadline has ended this socket, or its receiving.
    #[must_use]
    pub fn has_expired(&self) -> bool {
        self.watched.has_expired()
    }

    /// Whether something waits to be read: bytes, an end of the file, or an error. Between two
    /// requests that means that the peer has ended the connection. Takes nothing away.
    #[must_use]
    pub fn has_input(&self) -> bool {
        let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
        let descriptor = fd::borrow(self);
        let peeked = socket2::SockRef::from(&descriptor)
            .recv_with_flags(&mut [MaybeUninit::uninit()], flags);
        !matches!(peeked, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Address of the other side.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }
}

/// Bytes a second from which on a peer is swift. It fills half of the largest window in 16 ms: far less
/// than a stall, and than anybody notices.
const SWIFT_BYTES_PER_S: u128 = 8 << 20;

fn is_swift(bytes: usize, took: Duration) -> bool {
    bytes as u128 * 1_000_000 >= took.as_micros() * SWIFT_BYTES_PER_S && bytes > 0
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.watched.stream.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swift_is_what_fills_a_window_before_anybody_notices() {
        let kib = 1024;
        assert!(is_swift(128 * kib, Duration::from_millis(15)));
        assert!(!is_swift(128 * kib, Duration::from_millis(16)));
        assert!(is_swift(1, Duration::ZERO));
        assert!(!is_swift(0, Duration::ZERO), "an end is no pace");
    }
}
