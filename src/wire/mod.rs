//! The conversion protocol's bytes: headers, options, codes, failures, checksums.
//!
//! Owns: reading and writing every byte that is not the body of a file, and the order in which a
//! request is checked. Must never: do I/O, know of sockets or TLS, trust a length before it is held
//! against a limit. A header is parsed and admitted without an allocation; only refusals allocate.

mod admit;
mod checksum;
mod code;
mod failure;
mod operation;
mod options;
mod reply;
mod request;
mod text;
#[cfg(test)]
mod vectors;

pub use admit::{Admitted, admit};
pub use checksum::{ChecksumKind, Hasher};
pub use code::{Code, Side};
pub use failure::Failure;
pub use operation::{Operation, Version};
pub use options::{OPTIONS, OptionInfo, OptionKind, RequestOptions};
pub use reply::{ReplyError, ReplyHeader, encode_reply_v1_0_header, parse_reply_v1_0_header};
pub use request::RequestHeader;

/// 4 version, 32 token, 16 checksum, 30 file name, 8 size, 4 operation; the same in every version.
pub const REQUEST_HEADER_BYTES: usize = 94;

/// v1.1: 4 version, 4 status, 16 checksum, 8 size, 4 retry after, 4 convert time.
pub const REPLY_HEADER_BYTES: usize = 40;

/// v1.0: the size and nothing else.
pub const REPLY_V1_0_HEADER_BYTES: usize = 8;

/// A name of 255 bytes, an id of 64 and every other key at its longest come to under 600 bytes;
/// the rest is room for keys to come.
pub const OPTIONS_BYTES_MAX: usize = 4096;
