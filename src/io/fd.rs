//! Borrowing the descriptor of a type that only shows its number.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// The descriptor of `owner`, for as long as that is borrowed.
pub(super) fn borrow(owner: &impl AsRawFd) -> BorrowedFd<'_> {
    // SAFETY: tokio-uring's sockets own their descriptor and keep it open while they live, and the
    // borrow ends before `owner` does.
    unsafe { BorrowedFd::borrow_raw(owner.as_raw_fd()) }
}

/// What a length option of a socket takes.
const INT_BYTES: libc::socklen_t = 4;

/// Sets how many bytes make a socket readable (`SO_RCVLOWAT`).
pub(super) fn set_low_water(socket: BorrowedFd<'_>, bytes: c_int) -> io::Result<()> {
    const { assert!(size_of::<c_int>() == INT_BYTES as usize) };
    // SAFETY: the value is there for the length of the call, and its size is told.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVLOWAT,
            (&raw const bytes).cast(),
            INT_BYTES,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
