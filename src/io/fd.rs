//! Borrowing the descriptor of a type that only shows its number.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, BorrowedFd};

/// The descriptor of `owner`, for as long as that is borrowed.
pub(super) fn borrow(owner: &impl AsRawFd) -> BorrowedFd<'_> {
    // SAFETY: tokio-uring's sockets own their descriptor and keep it open while they live, and the
    // borrow ends before `owner` does.
    unsafe { BorrowedFd::borrow_raw(owner.as_raw_fd()) }
}
