//! Connected sockets and their verbs.

use std::cell::Cell;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio_uring::buf::BoundedBuf;

use super::buffer::{Buffer, Storage};
use super::deadline;
use super::driver::Driver;
use super::fd;
use super::window::{RecvWindow, SendWindow};

/// A connected TCP socket. One read and one write may be in flight at a time, beside each other.
///
/// The futures of its verbs must be awaited to their end: a dropped one leaves its operation to the
/// ring. To end one early, [`Socket::shutdown`] and await it.
#[derive(Debug, Clone)]
pub struct Socket {
    state: Rc<SocketState>,
}

#[derive(Debug)]
pub(super) struct SocketState {
    stream: Stream,
    peer: SocketAddr,
    /// By when the present step must be over, whatever moves.
    deadline: Cell<Option<Instant>>,
    read: Stall,
    write: Stall,
    /// A read took too long: nothing comes in any more, and an answer can still go out.
    read_expired: Cell<bool>,
    /// A deadline or a write took too long: the socket is over.
    expired: Cell<bool>,
    idle: Cell<bool>,
}

/// How long one operation of a direction may take, and by when the one in flight must be over.
#[derive(Debug, Default)]
struct Stall {
    limit: Cell<Option<Duration>>,
    due: Cell<Option<Instant>>,
}

impl Stall {
    fn arm(&self) {
        self.due.set(self.limit.get().map(|limit| Instant::now() + limit));
    }

    fn disarm(&self) {
        self.due.set(None);
    }
}

enum Stream {
    Uring(tokio_uring::net::TcpStream),
    Epoll(tokio::net::TcpStream),
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
            Driver::Uring => Self::from_std(driver, stream.into_std()?, address),
        }
    }

    /// Takes over a connected socket.
    pub(super) fn from_std(
        driver: Driver,
        stream: std::net::TcpStream,
        peer: SocketAddr,
    ) -> io::Result<Self> {
        match driver {
            Driver::Uring => {
                // A ring answers EAGAIN at once on a descriptor that does not block.
                stream.set_nonblocking(false)?;
                stream.set_nodelay(true)?;
                Ok(Self::new(Stream::Uring(tokio_uring::net::TcpStream::from_std(stream)), peer))
            }
            Driver::Epoll => {
                stream.set_nonblocking(true)?;
                Self::from_epoll(tokio::net::TcpStream::from_std(stream)?, peer)
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
        let state = Rc::new(SocketState {
            stream,
            peer,
            deadline: Cell::new(None),
            read: Stall::default(),
            write: Stall::default(),
            read_expired: Cell::new(false),
            expired: Cell::new(false),
            idle: Cell::new(false),
        });
        deadline::watch(&state);
        Self { state }
    }

    /// Reads once into the room of `window`; 0 is the end of the file.
    ///
    /// # Errors
    ///
    /// The kernel's, or `TimedOut` once the deadline has passed.
    pub async fn read_into(&self, window: &mut RecvWindow) -> io::Result<usize> {
        let (mut buffer, room) = window.lend();
        if room.is_empty() {
            window.filled(buffer, 0);
            return Err(io::Error::other("a read needs room in its window"));
        }
        self.state.read.arm();
        let result = match &self.state.stream {
            Stream::Epoll(stream) => loop {
                if let Err(error) = stream.readable().await {
                    break Err(error);
                }
                match stream.try_read(&mut buffer.bytes_mut()[room.clone()]) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    done => break done,
                }
            },
            Stream::Uring(stream) => {
                let (result, back) = read_on_ring(stream, buffer, room).await;
                buffer = back;
                result
            }
        };
        self.state.read.disarm();
        window.filled(buffer, *result.as_ref().unwrap_or(&0));
        let expired = self.state.expired.get() || self.state.read_expired.get();
        SocketState::judge(result, |read| *read == 0, expired)
    }

    /// Writes all that is pending in `window`. The window is empty afterwards, also after an error:
    /// a connection that failed to write is over.
    ///
    /// # Errors
    ///
    /// The kernel's, or `TimedOut` once the deadline has passed.
    pub async fn write_all(&self, window: &mut SendWindow) -> io::Result<()> {
        if window.is_empty() {
            return Ok(());
        }
        let (mut buffer, mut pending) = window.lend();
        let mut result = Ok(());
        while !pending.is_empty() {
            self.state.write.arm();
            let written = match &self.state.stream {
                Stream::Epoll(stream) => {
                    write_on_epoll(stream, &buffer.bytes()[pending.clone()]).await
                }
                Stream::Uring(stream) => {
                    let (written, back) = write_on_ring(stream, buffer, pending.clone()).await;
                    buffer = back;
                    written
                }
            };
            match written {
                Ok(0) => {
                    result = Err(io::ErrorKind::WriteZero.into());
                    break;
                }
                Ok(bytes) => pending.start += bytes,
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
        }
        self.state.write.disarm();
        window.sent(buffer);
        SocketState::judge(result, |()| false, self.state.expired.get())
    }

    /// Ends one or both directions at once; operations in flight there then end too.
    pub fn shutdown(&self, how: Shutdown) {
        // A peer that is gone already makes this fail, which is just as well.
        let _ = self.state.shutdown(how);
    }

    /// The instant by which what follows must be over, or `None` for no limit. Once it has passed,
    /// the socket is shut down and its operations fail with `TimedOut`.
    pub fn set_deadline(&self, deadline: Option<Instant>) {
        self.state.deadline.set(deadline);
    }

    /// How long a single read and a single write may take from now on, `None` for no limit. A late
    /// write ends the socket; a late read ends only the receiving, so that the peer can be told.
    pub fn set_stall_limits(&self, read: Option<Duration>, write: Option<Duration>) {
        self.state.read.limit.set(read);
        self.state.write.limit.set(write);
    }

    /// How long a single read may take from now on.
    pub fn set_read_stall_limit(&self, limit: Option<Duration>) {
        self.state.read.limit.set(limit);
    }

    /// Marks a connection that waits for its next request: a drain may close it at once.
    pub fn set_idle(&self, idle: bool) {
        self.state.idle.set(idle);
    }

    /// Whether a deadline has ended this socket.
    #[must_use]
    pub fn has_expired(&self) -> bool {
        self.state.expired.get() || self.state.read_expired.get()
    }

    /// Address of the other side.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.state.peer
    }
}

impl SocketState {
    pub(super) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        socket2::SockRef::from(&self.stream).shutdown(how)
    }

    pub(super) fn is_idle(&self) -> bool {
        self.idle.get()
    }

    pub(super) fn expire(&self, now: Instant) {
        let is_late = |due: &Cell<Option<Instant>>| due.get().is_some_and(|due| due <= now);
        if !self.expired.get() && (is_late(&self.deadline) || is_late(&self.write.due)) {
            self.expired.set(true);
            let _ = self.shutdown(Shutdown::Both);
        } else if !self.read_expired.get() && is_late(&self.read.due) {
            self.read_expired.set(true);
            let _ = self.shutdown(Shutdown::Read);
        }
    }

    /// A shutdown by a deadline looks like an end of file or a broken pipe: say what it was.
    fn judge<T>(
        result: io::Result<T>,
        is_end: impl Fn(&T) -> bool,
        expired: bool,
    ) -> io::Result<T> {
        match result {
            Ok(value) if !(expired && is_end(&value)) => Ok(value),
            Err(error) if !expired => Err(error),
            _ => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

impl std::os::fd::AsFd for Stream {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        match self {
            Self::Epoll(stream) => stream.as_fd(),
            Self::Uring(stream) => fd::borrow(stream),
        }
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        match &self.state.stream {
            Stream::Uring(stream) => stream.as_raw_fd(),
            Stream::Epoll(stream) => stream.as_raw_fd(),
        }
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Uring(_) => "Uring",
            Self::Epoll(_) => "Epoll",
        })
    }
}

async fn write_on_epoll(stream: &tokio::net::TcpStream, bytes: &[u8]) -> io::Result<usize> {
    loop {
        stream.writable().await?;
        match stream.try_write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            done => return done,
        }
    }
}

async fn read_on_ring(
    stream: &tokio_uring::net::TcpStream,
    buffer: Buffer,
    room: std::ops::Range<usize>,
) -> (io::Result<usize>, Buffer) {
    match buffer.0 {
        Storage::Empty => (Ok(0), Buffer::default()),
        Storage::Heap(block) => {
            let (result, slice) = stream.read(block.slice(room)).await;
            (result, Buffer(Storage::Heap(slice.into_inner())))
        }
        Storage::Pooled { block, lease } => {
            let slice = block.slice(room);
            let (result, slice) = if lease.is_registered() {
                stream.read_fixed(slice).await
            } else {
                stream.read(slice).await
            };
            (result, Buffer(Storage::Pooled { block: slice.into_inner(), lease }))
        }
    }
}

async fn write_on_ring(
    stream: &tokio_uring::net::TcpStream,
    buffer: Buffer,
    pending: std::ops::Range<usize>,
) -> (io::Result<usize>, Buffer) {
    match buffer.0 {
        Storage::Empty => (Ok(0), Buffer::default()),
        Storage::Heap(block) => {
            // Without `submit` tokio-uring sends nothing at all.
            let (result, slice) = stream.write(block.slice(pending)).submit().await;
            (result, Buffer(Storage::Heap(slice.into_inner())))
        }
        Storage::Pooled { block, lease } => {
            let slice = block.slice(pending);
            let (result, slice) = if lease.is_registered() {
                stream.write_fixed(slice).await
            } else {
                stream.write(slice).submit().await
            };
            (result, Buffer(Storage::Pooled { block: slice.into_inner(), lease }))
        }
    }
}
