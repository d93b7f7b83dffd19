//! Page-aligned memory for registered buffers.
//!
//! Registration pins whole pages: 64 KiB that start inside a page pin 17 of them, and the default
//! limit of 8 MiB then holds 120 buffers; aligned, it holds 128.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;

use tokio_uring::buf::{IoBuf, IoBufMut};

const PAGE_BYTES: usize = 4096;

/// A zeroed, page-aligned block of fixed size.
pub(super) struct AlignedBlock {
    start: NonNull<u8>,
    layout: Layout,
}

impl AlignedBlock {
    /// A block of `bytes`, rounded up to whole pages.
    pub(super) fn zeroed(bytes: usize) -> Self {
        let bytes = bytes.max(1).next_multiple_of(PAGE_BYTES);
        // The only failure is a size over isize::MAX, which no configuration reaches.
        let layout = Layout::from_size_align(bytes, PAGE_BYTES)
            .unwrap_or_else(|_| Layout::new::<[u8; PAGE_BYTES]>());
        // SAFETY: the layout is not empty, since its size is at least one page.
        let start = unsafe { alloc_zeroed(layout) };
        let Some(start) = NonNull::new(start) else { handle_alloc_error(layout) };
        Self { start, layout }
    }
}

impl Drop for AlignedBlock {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout in `zeroed`, and freed only here.
        unsafe { dealloc(self.start.as_ptr(), self.layout) };
    }
}

// SAFETY: the pointer is to heap memory that does not move with the value, all of it is
// initialised by `alloc_zeroed`, and it lives until the value is dropped.
unsafe impl IoBuf for AlignedBlock {
    fn stable_ptr(&self) -> *const u8 {
        self.start.as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.layout.size()
    }

    fn bytes_total(&self) -> usize {
        self.layout.size()
    }
}

// SAFETY: as above; the value owns its memory alone, and all of it stays initialised.
unsafe impl IoBufMut for AlignedBlock {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.start.as_ptr()
    }

    unsafe fn set_init(&mut self, _pos: usize) {}
}
