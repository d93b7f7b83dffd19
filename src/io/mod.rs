//! Sockets, files, buffers and deadlines, over two drivers.
//!
//! Owns: the ring, the registered buffers, every socket, every file of a store. Offers one small set
//! of verbs over owned buffers (listen, accept, connect, `read_into`, `write_all`, shutdown, deadline;
//! `read_at`, `write_all_at`), so that all above it is blind to the driver. Must never know of
//! TLS, of requests or of files' contents, and is the only room that names `tokio_uring`.

mod aligned;
mod blocking;
mod buffer;
mod deadline;
mod dir;
mod driver;
mod dumps;
mod event_loop;
mod fd;
mod file;
mod listener;
mod memlock;
mod memory;
mod open_files;
mod pages;
mod parting;
mod pool;
mod socket;
mod stream;
mod watch;
mod window;

#[cfg(test)]
mod tests;

pub use blocking::{blocking, durably};
pub use buffer::{Buffer, wipe};
pub use deadline::{Which, open_sockets, shutdown_sockets};
pub use dir::{Dir, Rename, Stat};
pub use driver::{Choice, Driver, explain_refusal};
pub use dumps::forbid_dumps;
pub use event_loop::spawn;
pub use file::{File, read_cached};
pub use listener::{Listener, join_queue, listen};
pub use memory::memory_bytes;
pub use open_files::connections_within;
pub use pages::{forget_start, use_huge_pages};
pub use parting::Parting;
pub use pool::{BUFFERS_MAX, BUFFERS_MIN, BufferPool, Class, PoolPlan};
pub use socket::Socket;
pub use window::{RecvWindow, SendWindow};

/// What a buffer of a pool carries where nobody says otherwise: four TLS records of 16 KiB. Half of
/// it costs 74 % more CPU per byte, since a read then rarely holds two whole records.
pub const BUFFER_BYTES: usize = 64 * 1024;

/// The same for large bodies.
pub const BULK_BUFFER_BYTES: usize = 256 * 1024;
