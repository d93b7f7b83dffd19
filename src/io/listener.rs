//! Listening sockets.

use std::cell::Cell;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use super::driver::Driver;
use super::fd;
use super::socket::Socket;

/// Connections that the kernel completes before we accept them. The kernel caps it by
/// net.core.somaxconn, 4,096 by default.
const BACKLOG: i32 = 1024;

/// The first pause after the process ran out of descriptors, and the longest. Without a pause the
/// loop spins: the connection stays in the queue and accept fails again at once.
const BACKOFF_MIN: Duration = Duration::from_millis(10);
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// Binds and listens. Nobody else gets in on the port, whichever way he binds: not even on the
/// queues that [`join_queue`] puts beside this one.
///
/// # Errors
///
/// The address is taken or not ours.
pub fn listen(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = bound(address, false)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// One more queue on the port of `first`, for another thread; the kernel deals connections out among
/// the queues.
///
/// Several queues need SO_REUSEPORT, by which a second process would silently take a part of the
/// connections. So the first socket listens without it: that is the lock, which one of two processes
/// that start at the same moment gets. It is set once the port is ours, and the other sockets join.
/// SO_REUSEADDR allows a restart while old connections linger.
///
/// # Errors
///
/// The kernel knows no SO_REUSEPORT.
pub fn join_queue(first: &std::net::TcpListener) -> io::Result<std::net::TcpListener> {
    socket2::SockRef::from(first).set_reuse_port(true)?;
    let next = bound(first.local_addr()?, true)?;
    next.listen(BACKLOG)?;
    Ok(next.into())
}

fn bound(address: SocketAddr, reuse_port: bool) -> io::Result<socket2::Socket> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(reuse_port)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// A listening socket on one thread's event loop.
pub struct Listener {
    kind: Kind,
    driver: Driver,
    closed: Cell<bool>,
}

enum Kind {
    Uring(tokio_uring::net::TcpListener),
    Epoll(tokio::net::TcpListener),
}

impl Listener {
    /// Takes over a listening socket.
    ///
    /// # Errors
    ///
    /// The event loop does not take it.
    pub fn from_std(driver: Driver, listener: std::net::TcpListener) -> io::Result<Self> {
        let kind = match driver {
            Driver::Uring => {
                listener.set_nonblocking(false)?;
                Kind::Uring(tokio_uring::net::TcpListener::from_std(listener))
            }
            Driver::Epoll => {
                listener.set_nonblocking(true)?;
                Kind::Epoll(tokio::net::TcpListener::from_std(listener)?)
            }
        };
        Ok(Self { kind, driver, closed: Cell::new(false) })
    }

    /// Hands every connection to `on_socket` until `stop` is done; then no more are accepted.
    ///
    /// The accept that is in flight is pinned and awaited to its end, never dropped: a dropped one
    /// would eat a connection and leak its descriptor.
    pub async fn accept_until(
        &self,
        stop: impl Future<Output = ()>,
        mut on_socket: impl FnMut(Socket),
    ) {
        let mut stop = pin!(stop);
        loop {
            let mut accepting = pin!(self.accept());
            let accepted = tokio::select! {
                accepted = &mut accepting => accepted,
                () = &mut stop, if !self.closed.get() => {
                    self.close();
                    accepting.await
                }
            };
            match accepted {
                Some(socket) => on_socket(socket),
                None => return,
            }
        }
    }

    /// The next connection, or `None` once the listener is closed.
    async fn accept(&self) -> Option<Socket> {
        let mut backoff = BACKOFF_MIN;
        while !self.closed.get() {
            match self.accept_once().await {
                Ok(socket) => return Some(socket),
                Err(_) if self.closed.get() => break,
                Err(error) if is_exhausted(&error) => {
                    tracing::warn!(%error, pause_ms = backoff.as_millis(), "cannot accept");
                    tokio::time::sleep(backoff).await;
                    backoff = (backoff * 2).min(BACKOFF_MAX);
                }
                // The peer gave up while it was in the queue.
                Err(error) => tracing::debug!(%error, "accept failed"),
            }
        }
        None
    }

    async fn accept_once(&self) -> io::Result<Socket> {
        match &self.kind {
            Kind::Uring(listener) => {
                let (stream, peer) = listener.accept().await?;
                Socket::from_uring(stream, peer)
            }
            Kind::Epoll(listener) => {
                let (stream, peer) = listener.accept().await?;
                Socket::from_epoll(stream, peer)
            }
        }
    }

    /// Ends the accept in flight, on the ring with EINVAL.
    fn close(&self) {
        self.closed.set(true);
        let descriptor = match &self.kind {
            Kind::Uring(listener) => fd::borrow(listener),
            Kind::Epoll(listener) => fd::borrow(listener),
        };
        if let Err(error) = socket2::SockRef::from(&descriptor).shutdown(Shutdown::Both) {
            tracing::debug!(%error, "cannot shut the listener down");
        }
    }

    /// Which driver it runs on.
    #[must_use]
    pub fn driver(&self) -> Driver {
        self.driver
    }
}

fn is_exhausted(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}
