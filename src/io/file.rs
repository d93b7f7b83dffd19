//! Files on either driver: on the ring, or on threads that may block.

use std::cell::OnceCell;
use std::io::{self, IoSliceMut};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use rustix::io::{Errno, ReadWriteFlags};
use tokio_uring::buf::BoundedBuf;

use super::blocking::blocking;
use super::buffer::{Buffer, Storage};
use super::driver::Driver;

/// An open file, read and written at given places.
///
/// As with a socket, the futures of its verbs must be awaited to their end.
#[derive(Debug, Clone)]
pub struct File {
    driver: Driver,
    inner: Arc<std::fs::File>,
    /// A descriptor of its own: the ring closes what it was given.
    ring: OnceCell<std::rc::Rc<Ring>>,
}

struct Ring(tokio_uring::fs::File);

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ring")
    }
}

impl File {
    /// Takes a file to the running event loop, which must be one of `driver`.
    #[must_use]
    pub fn new(driver: Driver, file: Arc<std::fs::File>) -> Self {
        Self { driver, inner: file, ring: OnceCell::new() }
    }

    /// Reads once from `offset` on into `room` of the buffer; 0 is the end of the file.
    pub async fn read_at(
        &self,
        mut buffer: Buffer,
        room: Range<usize>,
        offset: u64,
    ) -> (io::Result<usize>, Buffer) {
        if self.driver == Driver::Uring {
            return match self.ring() {
                Ok(ring) => {
                    let start = room.start;
                    let (read, mut buffer) = read_on_ring(&ring.0, buffer, room, offset).await;
                    buffer.mark(start + *read.as_ref().unwrap_or(&0));
                    (read, buffer)
                }
                Err(error) => (Err(error), buffer),
            };
        }
        match read_cached(&self.inner, &mut buffer.block_mut()[room.clone()], offset) {
            Ok(None) => {}
            Ok(Some(bytes)) => {
                buffer.mark(room.start + bytes);
                return (Ok(bytes), buffer);
            }
            Err(error) => return (Err(error), buffer),
        }
        // A pooled block cannot leave its thread. The copy is small beside the disk's time.
        let (file, bytes) = (Arc::clone(&self.inner), room.len());
        let read = move || {
            let mut block = vec![0; bytes];
            let read = file.read_at(&mut block, offset)?;
            block.truncate(read);
            Ok(block)
        };
        match blocking(read).await.and_then(|block: io::Result<Vec<u8>>| block) {
            Ok(block) => {
                buffer.mark(room.start + block.len());
                buffer.block_mut()[room][..block.len()].copy_from_slice(&block);
                (Ok(block.len()), buffer)
            }
            Err(error) => (Err(error), buffer),
        }
    }

    /// Writes all of `pending` of the buffer from `offset` on.
    pub async fn write_all_at(
        &self,
        mut buffer: Buffer,
        mut pending: Range<usize>,
        mut offset: u64,
    ) -> (io::Result<()>, Buffer) {
        if self.driver == Driver::Epoll {
            let (file, block) = (Arc::clone(&self.inner), buffer.bytes()[pending].to_vec());
            let written = blocking(move || file.write_all_at(&block, offset)).await;
            return (written.and_then(|written| written), buffer);
        }
        let ring = match self.ring() {
            Ok(ring) => ring,
            Err(error) => return (Err(error), buffer),
        };
        while !pending.is_empty() {
            let (written, back) = write_on_ring(&ring.0, buffer, pending.clone(), offset).await;
            buffer = back;
            match written {
                Ok(0) => return (Err(io::ErrorKind::WriteZero.into()), buffer),
                Ok(bytes) => {
                    pending.start += bytes;
                    offset += bytes as u64;
                }
                Err(error) => return (Err(error), buffer),
            }
        }
        (Ok(()), buffer)
    }

    fn ring(&self) -> io::Result<std::rc::Rc<Ring>> {
        if let Some(ring) = self.ring.get() {
            return Ok(ring.clone());
        }
        let own = tokio_uring::fs::File::from_std(self.inner.try_clone()?);
        Ok(self.ring.get_or_init(|| std::rc::Rc::new(Ring(own))).clone())
    }
}

/// Reads from the page cache alone, without waiting: `None` where the disk must be asked.
///
/// # Errors
///
/// The kernel's.
pub fn read_cached(
    file: &std::fs::File,
    room: &mut [u8],
    offset: u64,
) -> io::Result<Option<usize>> {
    let mut slices = [IoSliceMut::new(room)];
    match rustix::io::preadv2(file, &mut slices, offset, ReadWriteFlags::NOWAIT) {
        Ok(bytes) => Ok(Some(bytes)),
        // Not in memory, or a file system that cannot say whether it is.
        Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn read_on_ring(
    file: &tokio_uring::fs::File,
    buffer: Buffer,
    room: Range<usize>,
    offset: u64,
) -> (io::Result<usize>, Buffer) {
    let (storage, written) = buffer.into_parts();
    match storage {
        Storage::Empty => (Ok(0), Buffer::default()),
        Storage::Heap(block) => {
            let (result, slice) = file.read_at(block.slice(room), offset).await;
            (result, Buffer::of(Storage::Heap(slice.into_inner()), written))
        }
        Storage::Pooled { block, lease } => {
            let slice = block.slice(room);
            let (result, slice) = if lease.is_registered() {
                file.read_fixed_at(slice, offset).await
            } else {
                file.read_at(slice, offset).await
            };
            (result, Buffer::of(Storage::Pooled { block: slice.into_inner(), lease }, written))
        }
    }
}

async fn write_on_ring(
    file: &tokio_uring::fs::File,
    buffer: Buffer,
    pending: Range<usize>,
    offset: u64,
) -> (io::Result<usize>, Buffer) {
    let (storage, written) = buffer.into_parts();
    match storage {
        Storage::Empty => (Ok(0), Buffer::default()),
        Storage::Heap(block) => {
            // Without `submit` tokio-uring writes nothing at all.
            let (result, slice) = file.write_at(block.slice(pending), offset).submit().await;
            (result, Buffer::of(Storage::Heap(slice.into_inner()), written))
        }
        Storage::Pooled { block, lease } => {
            let slice = block.slice(pending);
            let (result, slice) = if lease.is_registered() {
                file.write_fixed_at(slice, offset).await
            } else {
                file.write_at(slice, offset).submit().await
            };
            (result, Buffer::of(Storage::Pooled { block: slice.into_inner(), lease }, written))
        }
    }
}
