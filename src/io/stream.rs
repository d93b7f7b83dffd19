//! A TCP stream on either driver: one read, one write.

use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use rustix::net::RecvFlags;
use tokio_uring::buf::BoundedBuf;

use super::buffer::{Buffer, Storage};
use super::fd;

/// The two kinds of stream. Both take the buffer and give it back, as a ring must.
pub(super) enum Stream {
    Uring(tokio_uring::net::TcpStream),
    Epoll(tokio::net::TcpStream),
}

impl Stream {
    /// Reads once into `room`.
    pub(super) async fn read(
        &self,
        buffer: Buffer,
        room: Range<usize>,
    ) -> (io::Result<usize>, Buffer) {
        match self {
            Self::Uring(stream) => read_on_ring(stream, buffer, room).await,
            Self::Epoll(stream) => {
                let mut buffer = buffer;
                let result = read_on_epoll(stream, &mut buffer.block_mut()[room]).await;
                (result, buffer)
            }
        }
    }

    /// Reads once what is here, beside the ring.
    pub(super) fn read_at_once(&self, room: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::net::recv(self, room, RecvFlags::DONTWAIT)?.0)
    }

    /// Writes once from `pending`. With `at_once` a small write is tried without the ring.
    pub(super) async fn write(
        &self,
        buffer: Buffer,
        pending: Range<usize>,
        at_once: bool,
    ) -> (io::Result<usize>, Buffer) {
        match self {
            Self::Uring(stream) => {
                if at_once && pending.len() <= AT_ONCE_BYTES_MAX {
                    match write_at_once(stream, &buffer.bytes()[pending.clone()]) {
                        // The peer is slow. Or the call was not made at all, which the ring repeats.
                        Err(error) if is_temporary(&error) => {}
                        written => return (written, buffer),
                    }
                }
                write_on_ring(stream, buffer, pending).await
            }
            Self::Epoll(stream) => {
                let result = write_on_epoll(stream, &buffer.bytes()[pending]).await;
                (result, buffer)
            }
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Epoll(stream) => stream.as_fd(),
            Self::Uring(stream) => fd::borrow(stream),
        }
    }
}

impl AsRawFd for Stream {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
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

/// What a socket takes at once unless its peer is slow: less than a send buffer has when it is made.
const AT_ONCE_BYTES_MAX: usize = 32 * 1024;

/// One system call. Through the ring a write that is complete at once takes three: one that submits
/// it, one that finds it complete, and one more before the loop waits again.
fn write_at_once(stream: &tokio_uring::net::TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    let descriptor = fd::borrow(stream);
    socket2::SockRef::from(&descriptor).send_with_flags(bytes, flags)
}

fn is_temporary(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

async fn read_on_epoll(stream: &tokio::net::TcpStream, room: &mut [u8]) -> io::Result<usize> {
    loop {
        stream.readable().await?;
        match stream.try_read(room) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Ok(bytes) if 0 < bytes && bytes < room.len() => {
                // The socket is empty, as epoll(7) has it. Saying so saves the next read a call that
                // would find that out; what arrives from here on wakes it.
                let empty = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
                let _ = stream.try_io(tokio::io::Interest::READABLE, empty);
                return Ok(bytes);
            }
            done => return done,
        }
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
    room: Range<usize>,
) -> (io::Result<usize>, Buffer) {
    let (storage, written) = buffer.into_parts();
    match storage {
        Storage::Empty => (Ok(0), Buffer::default()),
        Storage::Heap(block) => {
            let (result, slice) = stream.read(block.slice(room)).await;
            (result, Buffer::of(Storage::Heap(slice.into_inner()), written))
        }
        Storage::Pooled { block, lease } => {
            let slice = block.slice(room);
            let (result, slice) = if lease.is_registered() {
                stream.read_fixed(slice).await
            } else {
                stream.read(slice).await
            };
            (result, Buffer::of(Storage::Pooled { block: slice.into_inner(), lease }, written))
        }
    }
}

async fn write_on_ring(
    stream: &tokio_uring::net::TcpStream,
    buffer: Buffer,
    pending: Range<usize>,
) -> (io::Result<usize>, Buffer) {
    let (storage, written) = buffer.into_parts();
    match storage {
        Storage::Empty => (Ok(0), Buffer::default()),
        Storage::Heap(block) => {
            // Without `submit` tokio-uring sends nothing at all.
            let (result, slice) = stream.write(block.slice(pending)).submit().await;
            (result, Buffer::of(Storage::Heap(slice.into_inner()), written))
        }
        Storage::Pooled { block, lease } => {
            let slice = block.slice(pending);
            let (result, slice) = if lease.is_registered() {
                stream.write_fixed(slice).await
            } else {
                stream.write(slice).submit().await
            };
            (result, Buffer::of(Storage::Pooled { block: slice.into_inner(), lease }, written))
        }
    }
}
