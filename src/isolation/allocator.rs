//! The global allocator: the one that the build chose, and a word to the parent where it fails.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicBool, Ordering};

#[cfg(not(feature = "mimalloc"))]
use std::alloc::System as Inner;

#[cfg(feature = "mimalloc")]
use mimalloc::MiMalloc as Inner;

use super::message;

/// Set in a child, once its socket is the one to tell.
static TELLS: AtomicBool = AtomicBool::new(false);

/// mimalloc, or the system's allocator. In a child that is denied memory it tells the parent of it:
/// what follows is an abort, which alone would look like any other crash.
#[derive(Debug, Clone, Copy, Default)]
pub struct Allocator;

/// Has this process tell its parent from now on.
pub(super) fn tell_parent() {
    TELLS.store(true, Ordering::Relaxed);
}

#[cold]
fn denied() {
    if TELLS.load(Ordering::Relaxed) {
        // Nothing here may allocate. Where the parent is gone, so is this process.
        let _ = rustix::io::write(std::io::stdin(), &message::SHORT_OF_MEMORY);
    }
}

/// Gives memory that is free, and kept for what may come, back to the kernel: the allocator's, and what
/// libraries in C have of the C library. It takes some milliseconds, and the next job takes fresh pages: it
/// is for times in which nothing is done.
pub(super) fn give_back() {
    #[cfg(feature = "mimalloc")]
    {
        unsafe extern "C" {
            // Of the library that is linked anyway; its crate declares it beside a hundred others, for the price of
            // a further crate.
            fn mi_collect(force: bool);
        }
        // SAFETY: any thread may call it at any time.
        unsafe { mi_collect(true) };
    }
    #[cfg(target_env = "gnu")]
    // SAFETY: as above.
    unsafe {
        libc::malloc_trim(0)
    };
}

fn told(block: *mut u8) -> *mut u8 {
    if block.is_null() {
        denied();
    }
    block
}

// SAFETY: every call goes to the allocator behind it, unchanged.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is the one that is asked for.
        told(unsafe { Inner.alloc(layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        told(unsafe { Inner.alloc_zeroed(layout) })
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as above.
        told(unsafe { Inner.realloc(block, layout, size) })
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { Inner.dealloc(block, layout) }
    }
}
