//! What converts: threads of this process, or processes of their own.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use super::slots::{Converted, Work};
use crate::convert::{self, FontData};
use crate::isolation::{Cause, Fault, Font, Isolation, Job, Lease, Leash, Pool};
use crate::limits::{CONVERT_STACK_BYTES, ConvertLimits};
use crate::metrics::Registry;
use crate::wire::{Code, Failure};

/// Stack of a thread that only hands on to a process.
const HANDING_STACK_BYTES: usize = 256 * 1024;

/// Why a process could not be had is the operator's to see to; trying again is all that a client can.
const RETRY_AFTER_MS: u32 = 1_000;

/// Where the slots have their work done.
pub(super) enum Engine {
    /// On the slot's own thread.
    Thread(ConvertLimits, Vec<(Vec<u8>, u32)>),
    /// In a process, while the slot's thread waits for it.
    Process(Pool),
}

impl Engine {
    /// What is needed for `slots` conversions at once.
    pub(super) fn start(
        slots: usize,
        limits: ConvertLimits,
        fonts: &[Font],
        isolation: &Isolation,
    ) -> io::Result<Self> {
        let Isolation::Process(confines) = isolation else {
            let read = |font: &Font| Ok((font.read()?, font.index()));
            let fonts = fonts.iter().map(read).collect::<io::Result<_>>()?;
            return Ok(Self::Thread(limits, fonts));
        };
        let pool = Pool::start(slots, *confines, limits, fonts).map_err(|error| {
            let hint = "`--isolation thread` converts without";
            io::Error::new(error.kind(), format!("{error}; {hint}"))
        })?;
        Ok(Self::Process(pool))
    }

    /// Shows what there is in `metrics`.
    pub(super) fn show_in(&self, metrics: &Registry) {
        if let Self::Process(pool) = self {
            pool.show_in(metrics);
        }
    }

    /// Stack that a thread needs for it.
    pub(super) fn stack_bytes(&self) -> usize {
        match self {
            Self::Thread(..) => usize::try_from(CONVERT_STACK_BYTES).unwrap_or(usize::MAX),
            Self::Process(_) => HANDING_STACK_BYTES,
        }
    }

    /// Whether a conversion ends at its deadline whatever it does.
    pub(super) fn ends_in_time(&self) -> bool {
        matches!(self, Self::Process(_))
    }

    /// Does `work`, unless it is called off by `held`, which a thread does not hear. What comes with the
    /// outcome is best dropped after the answer.
    pub(super) fn convert(
        &self,
        work: &mut Work,
        deadline: Instant,
        held: &Leash,
    ) -> (Result<Converted, Failure>, Option<Lease<'_>>) {
        match self {
            Self::Thread(limits, fonts) => (guarded(work, limits, fonts), None),
            Self::Process(pool) => {
                let facts = Facts { target: work.target.name(), bytes: work.body.bytes.len() };
                let mut job = Job {
                    body: std::mem::take(&mut work.body.bytes),
                    target: work.target,
                    options: &work.options,
                    checksum: work.checksum,
                };
                let (result, lease) = pool.convert(&mut job, deadline, held);
                let result = result
                    .map(|output| Converted { bytes: output.bytes, checksum: output.checksum })
                    .map_err(|fault| failure(fault, facts));
                (result, lease)
            }
        }
    }
}

/// What the log tells of a file.
struct Facts {
    target: &'static str,
    bytes: usize,
}

/// Converts behind a wall: a panic is an answer and not the end of the thread.
fn guarded(
    work: &Work,
    limits: &ConvertLimits,
    fonts: &[(Vec<u8>, u32)],
) -> Result<Converted, Failure> {
    let convert = || {
        let fonts: Vec<_> =
            fonts.iter().map(|(bytes, index)| FontData { bytes, index: *index }).collect();
        convert::convert_with(&work.body.bytes, work.target, &work.options, limits, &fonts)
    };
    let Ok(result) = catch_unwind(AssertUnwindSafe(convert)) else {
        // The payload may quote the file: only the place, which the panic hook prints, is told.
        let (target, bytes) = (work.target.name(), work.body.bytes.len());
        tracing::error!(target, bytes, "a converter panicked");
        return Err(unharmed("the converter failed on this file"));
    };
    let bytes = result?;
    let checksum = work.checksum.of(&bytes);
    Ok(Converted { bytes, checksum })
}

/// What the client hears of `fault`, and the operator.
fn failure(fault: Fault, Facts { target, bytes }: Facts) -> Failure {
    let cause = match fault {
        Fault::Refused(error) => return error.into(),
        Fault::Panicked(place) => {
            tracing::error!(target, bytes, place, "a converter panicked");
            return unharmed("the converter failed on this file");
        }
        Fault::Unserved(problem) => {
            tracing::error!(problem, "a conversion found no process");
            return Failure::new(Code::Busy, "there is no process for the conversion now")
                .with_retry_after_ms(RETRY_AFTER_MS)
                .with_hint("try again after the given time");
        }
        Fault::CalledOff => {
            tracing::debug!(target, bytes, "a conversion was called off");
            return Failure::new(Code::WorkerFailed, "nobody waits for the conversion any more");
        }
        Fault::Lost(cause) => cause,
    };
    tracing::error!(target, bytes, ?cause, "a conversion ended its process; there is another");
    match cause {
        Cause::Deadline => Failure::new(Code::DeadlineExceeded, "the conversion took too long")
            .with_hint("send a smaller file, or raise the time limit of the worker"),
        Cause::Memory => {
            Failure::new(Code::LimitExceeded, "the conversion needs more memory than it may have")
                .with_hint("send a smaller file, or raise --isolation-memory of the worker")
        }
        Cause::Killed => Failure::new(Code::WorkerFailed, "the conversion was killed")
            .with_hint("the service is unharmed; try again, or send a smaller file"),
        Cause::Crash(_) | Cause::Forbidden | Cause::Astray | Cause::Retired | Cause::CalledOff => {
            unharmed("the converter crashed on this file")
        }
    }
}

fn unharmed(message: &str) -> Failure {
    Failure::new(Code::WorkerFailed, message)
        .with_hint("the service is unharmed; please report what made the file")
}

/// What a client hears of a conversion past its time.
pub(super) fn too_late(timeout: Duration) -> Failure {
    Failure::new(
        Code::DeadlineExceeded,
        format!("the conversion took longer than {} s", timeout.as_secs()),
    )
    .with_hint("send a smaller file, or raise the time limit of the worker")
}
