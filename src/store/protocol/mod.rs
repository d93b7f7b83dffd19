//! The store's protocol as bytes: requests taken apart, answers put together, without I/O.
//!
//! A request is one byte, whose upper three bits are the operation and whose lower five the length
//! of a name, then the name, then by operation a size or a second name.

mod answer;
mod request;

pub use answer::{Answer, FileHead, HELP_TEXT};
pub use request::{Request, RequestHead};

/// The operations, as the upper three bits of a request's first byte.
pub mod op {
    /// Keep a file.
    pub const PUT: u8 = 0;
    /// Hand a file out.
    pub const GET: u8 = 1;
    /// Give a file another name.
    pub const CHANGE: u8 = 2;
    /// Greatest, least and mean of a file's numbers.
    pub const SUMMARY: u8 = 3;
    /// The list of operations.
    pub const HELP: u8 = 4;
}

/// The lower five bits of a byte.
const LENGTH_MASK: u8 = 0x1f;
const OP_SHIFT: u8 = 5;
const SIZE_BYTES: usize = 4;
