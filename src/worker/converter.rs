//! The worker's conversions without its connections, for files that come another way.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::body::Body;
use super::engine::Engine;
use super::slots::{Slots, Work};
use crate::convert::{Options, Target};
use crate::exchange::spans::Turn;
use crate::isolation::{Font, Isolation};
use crate::limits::ConvertLimits;
use crate::wire::{ChecksumKind, Failure};

/// Whoever gives way looks so often whether there is a free slot: less than a conversion takes.
const LOOK_PERIOD: Duration = Duration::from_millis(2);

/// Which conversions go first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rank {
    /// In the order in which they come.
    Equal,
    /// Behind those that somebody waits for: only where a slot is free.
    Behind,
}

/// Slots that convert, for whoever has files in memory. Clones share them.
#[derive(Clone)]
pub struct Converter {
    slots: Arc<Slots>,
    timeout: Duration,
    /// So many may look for a free slot at a time.
    turns: Arc<Semaphore>,
}

impl Converter {
    /// Starts `slots`, each for one conversion at a time.
    ///
    /// # Errors
    ///
    /// Their threads or processes cannot be started.
    pub fn start(
        slots: usize,
        limits: ConvertLimits,
        fonts: &[Font],
        isolation: &Isolation,
        timeout: Duration,
    ) -> io::Result<Self> {
        let engine = Engine::start(slots, limits, fonts, isolation)?;
        Ok(Self::over(Arc::new(Slots::start(slots, engine)?), timeout))
    }

    /// The same over the slots that a worker has.
    pub(super) fn over(slots: Arc<Slots>, timeout: Duration) -> Self {
        let turns = Arc::new(Semaphore::new(slots.load().slots));
        Self { slots, timeout, turns }
    }

    /// Converts `bytes`.
    ///
    /// # Errors
    ///
    /// What a worker would answer: the code, a line, and what to do about it.
    pub async fn convert(
        &self,
        bytes: Vec<u8>,
        target: Target,
        options: &Options,
        rank: Rank,
    ) -> Result<Vec<u8>, Failure> {
        let _turn = match rank {
            Rank::Equal => None,
            Rank::Behind => Some(self.give_way().await),
        };
        let work = Work {
            body: Body::in_hand(bytes),
            target,
            options: options.clone(),
            checksum: ChecksumKind::None,
            waiting: Turn::default(),
        };
        let done = self.slots.convert(work, self.timeout).await;
        done.result.map(|converted| converted.bytes)
    }

    /// Waits while there are conversions that wait themselves.
    pub async fn idle(&self) {
        while self.slots.load().queued > 0 {
            tokio::time::sleep(LOOK_PERIOD).await;
        }
    }

    /// Waits for a slot that nobody wants. Two may find the same one free, and one of them then waits
    /// for the other as it would have for a conversion that had begun.
    async fn give_way(&self) -> Option<tokio::sync::SemaphorePermit<'_>> {
        // It is never closed.
        let turn = self.turns.acquire().await.ok();
        loop {
            let load = self.slots.load();
            if load.busy + load.queued < load.slots {
                return turn;
            }
            tokio::time::sleep(LOOK_PERIOD).await;
        }
    }
}
