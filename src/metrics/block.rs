//! What one thread counts.

use super::counter::Counter;
use super::histogram::Histogram;
use super::{Names, count};

/// Declares the counters once: as fields of a block, as numbers of their sum, and by name and help.
macro_rules! counters {
    ($($(#[doc = $help:literal])+ $name:ident,)*) => {
        /// The counters of one thread.
        ///
        /// Of what begins and ends there are two, so that each only rises; the end stands before
        /// the beginning and is read first, or a sum could show more ends than beginnings.
        pub struct Block {
            $($(#[doc = $help])+ pub $name: Counter,)*
            requests: Box<[Counter]>,
            names: Names,
            /// Requests as a whole, from their head to the end of their answer.
            pub total_us: Histogram,
            /// Arrivals of bodies.
            pub receive_us: Histogram,
            /// Waits for a worker, buffers, or a slot.
            pub queue_us: Histogram,
            /// Conversions.
            pub convert_us: Histogram,
            /// Answers on their way out.
            pub send_us: Histogram,
        }

        /// The sum of the counters of several threads.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct Counts {
            $($(#[doc = $help])+ pub $name: u64,)*
        }

        impl Block {
            pub(super) fn new(names: Names) -> Self {
                let pairs = names.operations.len() * names.codes.len();
                Self {
                    $($name: Counter::default(),)*
                    requests: (0..pairs).map(|_| Counter::default()).collect(),
                    names,
                    total_us: Histogram::default(),
                    receive_us: Histogram::default(),
                    queue_us: Histogram::default(),
                    convert_us: Histogram::default(),
                    send_us: Histogram::default(),
                }
            }
        }

        impl Counts {
            pub(super) fn add(&mut self, block: &Block) {
                $(self.$name += block.$name.read();)*
            }

            /// Every counter: its name, what it counts, and its value.
            pub fn each(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
                [$((stringify!($name), concat!($($help),+), self.$name),)*].into_iter()
            }
        }
    };
}

counters! {
    /// Connections that have ended.
    connections_closed,
    /// Connections that were taken.
    connections_accepted,
    /// Connections that were closed at once, since the thread had its most.
    connections_refused,
    /// TLS handshakes with clients that failed.
    handshakes_failed,
    /// TLS handshakes with clients that were done.
    handshakes_done,
    /// TLS handshakes with clients that took up an earlier session.
    handshakes_resumed,
    /// Requests that are over, of those begun.
    requests_ended,
    /// Requests that have what they need and are on their way.
    requests_begun,
    /// Announced bytes of the bodies of requests that are over.
    body_bytes_ended,
    /// Announced bytes of the bodies of requests that have begun.
    body_bytes_begun,
    /// Bytes of bodies that were received.
    body_bytes_in,
    /// Bytes of answers that were sent.
    body_bytes_out,
    /// Requests with a wrong token, or none.
    auth_failures,
    /// Requests that were refused unlooked at, since their address had shown too many wrong tokens.
    auth_limited,
    /// Lines that the access log had no room for.
    access_lines_lost,
    /// Bytes that came in over sockets, of clients and workers alike.
    socket_bytes_in,
    /// Bytes that went out over sockets, of clients and workers alike.
    socket_bytes_out,
    /// Reads of sockets.
    socket_reads,
    /// Writes to sockets.
    socket_writes,
    /// Bytes that our own code copied between buffers on the way from socket to socket.
    copied_bytes,
    /// Pooled buffers that were given back.
    buffers_returned,
    /// Pooled buffers that were taken.
    buffers_taken,
    /// Buffers of the pools.
    buffers_pooled,
    /// Requests that had to wait for buffers.
    admission_waits,
    /// Time that requests waited for buffers, in microseconds.
    admission_wait_us,
    /// Requests that waited for buffers in vain.
    admission_timeouts,
    /// Connections to workers that were opened.
    upstream_opened,
    /// Requests that went over a connection to a worker that was there.
    upstream_reused,
    /// Connections to workers that were closed.
    upstream_retired,
    /// Attempts to reach a worker that failed.
    upstream_failed,
    /// Requests that were sent again, after a kept connection or a worker had failed them.
    upstream_retries,
}

impl Block {
    /// Counts a request that has been answered, by what was asked for and what became of it, as
    /// numbers of the names that the registry was made with. One that is beyond counts as the last.
    pub fn ended(&self, operation: usize, code: usize) {
        let Names { operations, codes } = self.names;
        let row = operation.min(operations.len().saturating_sub(1));
        let column = code.min(codes.len().saturating_sub(1));
        if let Some(counter) = self.requests.get(row * codes.len() + column) {
            counter.add(1);
        }
    }

    /// How many requests came to each pair of names, in order of operations.
    pub(super) fn requests(&self) -> impl Iterator<Item = u64> {
        self.requests.iter().map(Counter::read)
    }
}

/// Counts a request as in flight, with the bytes that it announced, until it is dropped.
#[derive(Debug)]
pub struct InFlight {
    body_bytes: u64,
}

impl InFlight {
    /// A request with a body of `body_bytes` begins.
    #[must_use]
    pub fn begin(body_bytes: u64) -> Self {
        count(|here| {
            here.requests_begun.add(1);
            here.body_bytes_begun.add(body_bytes);
        });
        Self { body_bytes }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        count(|here| {
            here.body_bytes_ended.add(self.body_bytes);
            here.requests_ended.add(1);
        });
    }
}
