//! Sockets, buffers and deadlines, over two drivers.
//!
//! Owns: the ring, the registered buffers, every socket. Offers one small set of verbs over owned
//! buffers (listen, accept, connect, `read_into`, `write_all`, shutdown, deadline), so that all
//! above it is blind to the driver. Must never know of TLS, of requests or of files' contents, and
//! is the only room that names `tokio_uring`.

mod buffer;
mod window;

pub use buffer::Buffer;
pub use window::{RecvWindow, SendWindow};
