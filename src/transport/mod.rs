//! Connections: a socket, a TLS session and two windows, driven together; or, where asked for, plain.
//!
//! Owns: reading and writing of plaintext over a connection, the tunnel between two of them, and
//! the closing that lets an answer arrive whole. Must never know what the bytes mean. The `tls` room
//! does the cryptography without awaiting, the `io` room moves bytes without knowing TLS; this is
//! where the two meet, for client, master, worker and store alike.

mod either;
mod error;
mod halves;
mod plain;
mod relay;
mod stream;

pub use either::Stream;
pub use error::StreamError;
pub use halves::{ReadHalf, WriteHalf};
pub use plain::PlainStream;
pub use relay::{Relay, RelayError, RelayMode};
pub use stream::TlsStream;

/// First read of a connection and of each further request. An idle connection holds this and no
/// pooled buffer; a ClientHello or a small request often fits.
const IDLE_WINDOW_BYTES: usize = 512;

/// Window of a handshake and of a request's header, outside of the pool, so that whoever connects
/// and stalls holds no buffer that a request needs. It must hold a whole record (16,384 + 5 + 256
/// bytes), and a ClientHello in one-byte records: 5,000 bytes of it at 6 bytes each.
const HANDSHAKE_WINDOW_BYTES: usize = 32 * 1024;

/// Longest plaintext of one TLS record.
pub const RECORD_PLAIN_MAX: usize = 16 * 1024;
