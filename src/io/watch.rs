//! What the sweep looks at: a stream, and by when its steps must be over.

use std::cell::Cell;
use std::io;
use std::net::Shutdown;
use std::time::{Duration, Instant};

use super::parting::Lookout;
use super::stream::Stream;

/// A stream under its deadlines.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) stream: Stream,
    /// By when the present step must be over, whatever moves.
    pub(super) deadline: Cell<Option<Instant>>,
    /// By when all that is read must be here.
    pub(super) read_deadline: Cell<Option<Instant>>,
    pub(super) read: Stall,
    pub(super) write: Stall,
    /// The connection waits for its next request.
    pub(super) idle: Cell<bool>,
    /// How many bytes make the stream readable.
    pub(super) low_water: Cell<usize>,
    /// Whether the last read brought bytes as a fast network does.
    pub(super) swift: Cell<bool>,
    pub(super) lookout: Lookout,
    /// The receiving was ended by this side, which the kernel shows as if the peer had.
    pub(super) is_deaf: Cell<bool>,
    /// A read took too long: nothing comes in any more, and an answer can still go out.
    read_expired: Cell<bool>,
    /// A deadline passed or a write took too long: the socket is over.
    expired: Cell<bool>,
}

/// How long one operation of a direction may take, and by when the one in flight must be over.
#[derive(Debug, Default)]
pub(super) struct Stall {
    pub(super) limit: Cell<Option<Duration>>,
    due: Cell<Option<Instant>>,
}

impl Stall {
    pub(super) fn arm(&self) {
        self.due.set(self.limit.get().map(|limit| Instant::now() + limit));
    }

    pub(super) fn disarm(&self) {
        self.due.set(None);
    }
}

impl Watched {
    pub(super) fn new(stream: Stream) -> Self {
        Self {
            stream,
            deadline: Cell::new(None),
            read_deadline: Cell::new(None),
            read: Stall::default(),
            write: Stall::default(),
            idle: Cell::new(false),
            low_water: Cell::new(1),
            swift: Cell::new(false),
            lookout: Lookout::default(),
            is_deaf: Cell::new(false),
            read_expired: Cell::new(false),
            expired: Cell::new(false),
        }
    }

    pub(super) fn shutdown(&self, how: Shutdown) {
        self.is_deaf.set(self.is_deaf.get() || how != Shutdown::Write);
        // A peer that is gone already makes this fail, which is just as well.
        let _ = socket2::SockRef::from(&self.stream).shutdown(how);
    }

    /// Shuts down what is late at `now`. A late read goes first: where this thread had no time for so
    /// long that the deadline has passed too, the peer can still be told.
    pub(super) fn expire(&self, now: Instant) {
        let is_late = |due: &Cell<Option<Instant>>| due.get().is_some_and(|due| due <= now);
        let is_read_late = is_late(&self.read.due) || is_late(&self.read_deadline);
        if is_read_late && !self.has_expired() {
            self.read_expired.set(true);
            self.shutdown(Shutdown::Read);
        } else if !self.expired.get() && (is_late(&self.deadline) || is_late(&self.write.due)) {
            self.expired.set(true);
            self.shutdown(Shutdown::Both);
        }
    }

    /// Says of a read what it was: a shutdown by a deadline looks like an end of file.
    pub(super) fn judge_read(&self, result: io::Result<usize>) -> io::Result<usize> {
        let expired = self.has_expired();
        match result {
            Ok(bytes) if bytes > 0 || !expired => Ok(bytes),
            Err(error) if !expired => Err(error),
            _ => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// Says of a failed write what it was: a shutdown by a deadline looks like a broken pipe.
    pub(super) fn judge_write(&self, result: io::Result<()>) -> io::Result<()> {
        result.map_err(
            |error| {
                if self.expired.get() { io::ErrorKind::TimedOut.into() } else { error }
            },
        )
    }

    pub(super) fn has_expired(&self) -> bool {
        self.expired.get() || self.read_expired.get()
    }
}
