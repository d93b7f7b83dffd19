//! Page-aligned memory for registered buffers.
//!
//! Registration pins whole pages: a block that starts inside a page pins one more of them.
#![allow(unsafe_code)]

use std::io;
use std::ptr::{self, NonNull};

use tokio_uring::buf::{IoBuf, IoBufMut};

use super::memlock::PAGE_BYTES;

/// A zeroed, page-aligned block of fixed size, of small pages: the kernel charges a registered
/// buffer that lies in a huge page with the whole 2 MiB of it.
pub(super) struct AlignedBlock {
    start: NonNull<u8>,
    bytes: usize,
}

impl AlignedBlock {
    /// A block of `bytes`, rounded up to whole pages.
    pub(super) fn zeroed(bytes: usize) -> io::Result<Self> {
        let bytes = bytes.max(1).next_multiple_of(PAGE_BYTES);
        let (access, kind) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new anonymous mapping touches no memory that exists.
        let mapped = unsafe { libc::mmap(ptr::null_mut(), bytes, access, kind, -1, 0) };
        if mapped == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: advice on the mapping just made. A kernel without huge pages refuses it, which is
        // just as well.
        unsafe { libc::madvise(mapped, bytes, libc::MADV_NOHUGEPAGE) };
        let start = NonNull::new(mapped.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, bytes })
    }
}

impl Drop for AlignedBlock {
    fn drop(&mut self) {
        // SAFETY: mapped with this size in `zeroed`, and unmapped only here.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}

// SAFETY: the pointer is to a mapping that does not move with the value, all of it is zeroed by the
// kernel, and it lives until the value is dropped.
unsafe impl IoBuf for AlignedBlock {
    fn stable_ptr(&self) -> *const u8 {
        self.start.as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.bytes
    }

    fn bytes_total(&self) -> usize {
        self.bytes
    }
}

// SAFETY: as above; the value owns its memory alone, and all of it stays initialised.
unsafe impl IoBufMut for AlignedBlock {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.start.as_ptr()
    }

    unsafe fn set_init(&mut self, _pos: usize) {}
}
