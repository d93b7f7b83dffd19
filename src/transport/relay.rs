//! The tunnel: plaintext from one connection sealed straight into another.
//!
//! A received record is opened by the session, and its plaintext goes from there into the other
//! side's send window without a copy of ours between. While a window is written out, the next read
//! is in flight.

use std::cell::{Cell, RefCell};

use zeroize::Zeroizing;

use super::{RECORD_PLAIN_MAX, ReadHalf, StreamError, WriteHalf};
use crate::io::wipe;
use crate::metrics;
use crate::tls::{Progress, TlsSession};

/// Room that a full record takes in a send window.
const RECORD_ROOM_BYTES: usize = TlsSession::sealed_bytes(RECORD_PLAIN_MAX);

/// What becomes of the bytes that a relay reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelayMode {
    /// They are sent on.
    Forward,
    /// They are dropped: the other side wants no more of them, and the sender has yet to be heard
    /// out so that it hears its answer.
    Discard,
}

/// One direction of a tunnel, for a known number of bytes. It may be run again after an error, and
/// goes on where it stopped.
#[derive(Debug)]
pub struct Relay {
    left: Cell<u64>,
    mode: Cell<RelayMode>,
    /// What has been sent on, where it is to be sent again if need be.
    kept: Option<RefCell<Vec<u8>>>,
}

/// Which end failed.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The end that is read from.
    #[error("{0}")]
    From(StreamError),
    /// The end that is written to.
    #[error("{0}")]
    To(StreamError),
}

enum Step {
    /// All bytes are read, and sealed or dropped.
    Done,
    /// Everything that is here has been sealed, and more is to come.
    NeedRead,
    /// The send window has no room for another record.
    NeedWrite,
}

/// What is remembered is somebody's file.
impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(kept) = &self.kept {
            wipe(&mut kept.borrow_mut());
        }
    }
}

impl Relay {
    /// A relay of `bytes`.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        Self { left: Cell::new(bytes), mode: Cell::new(RelayMode::Forward), kept: None }
    }

    /// The same, which remembers what it sends on. For short bodies: this is a copy.
    #[must_use]
    pub fn keeping(bytes: u64) -> Self {
        // Of its whole size from the start: a vector that grows leaves copies behind.
        let room = Vec::with_capacity(usize::try_from(bytes).unwrap_or_default());
        let mut relay = Self::new(bytes);
        relay.kept = Some(RefCell::new(room));
        relay
    }

    /// Whether all has been sent on and is remembered.
    #[must_use]
    pub fn has_kept(&self) -> bool {
        self.kept.is_some() && self.left.get() == 0
    }

    /// What has been sent on, where it was to be remembered and is whole.
    #[must_use]
    pub fn into_kept(mut self) -> Option<Zeroizing<Vec<u8>>> {
        let is_whole = self.left.get() == 0;
        self.kept.take_if(|_| is_whole).map(|kept| Zeroizing::new(kept.into_inner()))
    }

    /// From now on, drops what is read.
    pub fn discard(&self) {
        self.mode.set(RelayMode::Discard);
    }

    /// How many bytes have yet to be read.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.left.get()
    }

    /// Relays until all bytes are through.
    ///
    /// # Errors
    ///
    /// One of the ends failed, or the one that is read from ended early.
    pub async fn run(
        &self,
        from: &mut ReadHalf<'_>,
        to: &mut WriteHalf<'_>,
    ) -> Result<(), RelayError> {
        loop {
            let step = self.seal_what_is_here(from, to)?;
            if self.mode.get() == RelayMode::Discard {
                to.send.clear();
            }
            match step {
                Step::Done => {
                    from.expect_anything();
                    return to.flush().await.map_err(RelayError::To);
                }
                Step::NeedWrite => to.flush().await.map_err(RelayError::To)?,
                Step::NeedRead if to.send.is_empty() => self.read(from).await?,
                Step::NeedRead => {
                    let (written, read) = tokio::join!(to.flush_beside_read(), self.read(from));
                    written.map_err(RelayError::To)?;
                    read?;
                }
            }
        }
    }

    async fn read(&self, from: &mut ReadHalf<'_>) -> Result<(), RelayError> {
        if from.fill_ahead(self.left.get()).await.map_err(RelayError::From)? == 0 {
            from.session.borrow_mut().eof().map_err(|error| RelayError::From(error.into()))?;
            return Err(self.ended_early());
        }
        Ok(())
    }

    /// Opens and seals record after record, without awaiting.
    fn seal_what_is_here(
        &self,
        from: &mut ReadHalf<'_>,
        to: &mut WriteHalf<'_>,
    ) -> Result<Step, RelayError> {
        while self.left.get() > 0 {
            if to.send.room_bytes() < RECORD_ROOM_BYTES && self.mode.get() == RelayMode::Forward {
                return Ok(Step::NeedWrite);
            }
            if from.spare.is_empty() {
                match self.open_record(from, to)? {
                    Progress::NeedRead => return Ok(Step::NeedRead),
                    Progress::PeerClosed | Progress::Closed => return Err(self.ended_early()),
                    Progress::Flush => return Err(RelayError::From(StreamError::ControlFlood)),
                    Progress::Plaintext(_) | Progress::Ready => {}
                }
            } else {
                let taken = self.forward(from.spare.unread(), to)?;
                from.spare.consume(taken);
                if taken == 0 {
                    return Ok(Step::NeedWrite);
                }
            }
        }
        Ok(Step::Done)
    }

    /// What the send window does not take waits as spare plaintext, behind which nothing is opened.
    fn open_record(
        &self,
        from: &mut ReadHalf<'_>,
        to: &mut WriteHalf<'_>,
    ) -> Result<Progress, RelayError> {
        let spare = &mut *from.spare;
        let mut forwarded = Ok(0);
        let progress = from.session.borrow_mut().advance(from.recv, &mut |plain| {
            forwarded = self.forward(plain, to);
            spare.push(&plain[*forwarded.as_ref().unwrap_or(&0)..]);
        });
        forwarded?;
        progress.map_err(|error| RelayError::From(error.into()))
    }

    /// Seals as much of `plain` as belongs to this relay and as there is room for.
    fn forward(&self, plain: &[u8], to: &mut WriteHalf<'_>) -> Result<usize, RelayError> {
        let ours = usize::try_from(self.left.get()).unwrap_or(usize::MAX).min(plain.len());
        let mut taken = 0;
        if self.mode.get() == RelayMode::Discard {
            taken = ours;
        }
        while taken < ours {
            let sealed = to.session.borrow_mut().seal(&plain[taken..ours], to.send);
            match sealed.map_err(|error| RelayError::To(error.into()))? {
                0 => break,
                more => taken += more,
            }
        }
        if let Some(kept) = &self.kept {
            metrics::count_copied(taken);
            kept.borrow_mut().extend_from_slice(&plain[..taken]);
        }
        self.left.set(self.left.get() - taken as u64);
        Ok(taken)
    }

    fn ended_early(&self) -> RelayError {
        RelayError::From(StreamError::Closed { missing: self.left.get() })
    }
}
