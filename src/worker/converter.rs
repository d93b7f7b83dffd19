//! The worker's conversions without its connections, for files that come another way.

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::admission::{Admission, Kept};
use super::body::Body;
use super::engine::Engine;
use super::slots::{Slots, Work};
use crate::convert::{Options, Target};
use crate::exchange::spans::Turn;
use crate::isolation::{Font, Isolation};
use crate::limits::ConvertLimits;
use crate::wire::{ChecksumKind, Failure};

/// Whoever has no place looks so often whether requests have left one: less than most of them take.
const LOOK_PERIOD: Duration = Duration::from_millis(5);

/// Slots that convert, for whoever has files in memory. Clones share them.
#[derive(Clone)]
pub struct Converter {
    slots: Arc<Slots>,
    timeout: Duration,
    /// The worker's, where the slots are a worker's: its requests go first.
    admission: Option<Admission>,
}

/// A result, whose memory counts as the worker's until this is dropped.
pub struct Made {
    /// The bytes, which may be taken out.
    pub bytes: Vec<u8>,
    _kept: Option<Kept>,
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
        Ok(Self { slots: Arc::new(Slots::start(slots, engine)?), timeout, admission: None })
    }

    /// The same over the slots that a worker has, and behind all of its requests.
    pub(super) fn over(slots: Arc<Slots>, admission: Admission, timeout: Duration) -> Self {
        Self { slots, timeout, admission: Some(admission) }
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
    ) -> Result<Made, Failure> {
        let turn = match &self.admission {
            Some(admission) => Some(admission.enter_behind(target, &bytes).await?),
            None => None,
        };
        let work = Work {
            body: Body::in_hand(bytes),
            target,
            options: options.clone(),
            checksum: ChecksumKind::None,
            waiting: Turn::default(),
        };
        let done = match self.slots.convert(work, self.timeout, pending::<Infallible>()).await {
            Ok(done) => done,
            Err(never) => match never {},
        };
        let kept = turn.map(|turn| turn.converted(&done));
        done.result.map(|converted| Made { bytes: converted.bytes, _kept: kept })
    }

    /// How many of `max` files may be on their way: as large a part of them as requests leave of the
    /// slots. Waits while that is none.
    pub async fn places(&self, max: usize) -> usize {
        let Some(admission) = &self.admission else { return max };
        let slots = self.slots.load().slots.max(1);
        loop {
            let left = admission.slots_behind();
            if left > 0 {
                return (max * left / slots).max(1);
            }
            tokio::time::sleep(LOOK_PERIOD).await;
        }
    }
}
