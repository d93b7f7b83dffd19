//! How a child ended, and what that means to the request that it had.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use crate::convert;

/// Why a child is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// It crashed: an abort, a bad access to memory, a stack that ran over. With its signal.
    Crash(i32),
    /// Somebody killed it: an operator, or the kernel where the machine's memory ran out.
    Killed,
    /// It ran past the deadline of its job, and was killed for it.
    Deadline,
    /// It needed more memory than it may have.
    Memory,
    /// It tried a system call that it has no right to.
    Forbidden,
    /// It said what no child of ours says, or ended by itself.
    Astray,
    /// It has done its share of jobs, and another takes its place.
    Retired,
    /// Nobody waited for its job any more, and it was killed for it.
    CalledOff,
}

impl Cause {
    /// Those that are meant to happen.
    pub(super) const MEANT: [Self; 2] = [Self::Retired, Self::CalledOff];

    /// All of them, by the names that they are counted under.
    pub(super) const NAMES: [(&'static str, &'static str); 8] = [
        ("child_ended_crash", "Children that crashed."),
        ("child_ended_killed", "Children that somebody else killed."),
        ("child_ended_deadline", "Children killed for a job past its deadline."),
        ("child_ended_memory", "Children that needed more memory than they may have."),
        ("child_ended_forbidden", "Children that tried a forbidden system call."),
        ("child_ended_astray", "Children that broke the protocol or ended by themselves."),
        ("child_ended_retired", "Children that had done their share of jobs."),
        ("child_ended_called_off", "Children killed for a job that nobody waited for any more."),
    ];

    /// The place in [`Self::NAMES`].
    pub(super) fn index(self) -> usize {
        match self {
            Self::Crash(_) => 0,
            Self::Killed => 1,
            Self::Deadline => 2,
            Self::Memory => 3,
            Self::Forbidden => 4,
            Self::Astray => 5,
            Self::Retired => 6,
            Self::CalledOff => 7,
        }
    }

    /// Whether the child was lost.
    pub(super) fn is_loss(self) -> bool {
        !Self::MEANT.contains(&self)
    }

    /// What a child's end tells by itself.
    pub(super) fn of(status: ExitStatus) -> Self {
        match status.signal() {
            Some(libc::SIGKILL) => Self::Killed,
            Some(libc::SIGSYS) => Self::Forbidden,
            Some(libc::SIGXCPU) => Self::Deadline,
            Some(signal) => Self::Crash(signal),
            None => Self::Astray,
        }
    }
}

/// Why there is no result.
#[derive(Debug)]
pub enum Fault {
    /// The converter refused the file.
    Refused(convert::Error),
    /// The converter panicked, at this place of its source. Its child lives on.
    Panicked(String),
    /// The child did not live to answer.
    Lost(Cause),
    /// The job was called off.
    CalledOff,
    /// There was no child for the job, or no memory to hand it over, for this reason.
    Unserved(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_has_a_name_of_its_own() {
        let causes = [
            Cause::Crash(11),
            Cause::Killed,
            Cause::Deadline,
            Cause::Memory,
            Cause::Forbidden,
            Cause::Astray,
            Cause::Retired,
            Cause::CalledOff,
        ];
        let indices: Vec<_> = causes.into_iter().map(Cause::index).collect();
        assert_eq!(indices, (0..Cause::NAMES.len()).collect::<Vec<_>>());
    }

    #[test]
    fn a_signal_tells_the_cause() {
        for (signal, cause) in [
            (libc::SIGSEGV, Cause::Crash(libc::SIGSEGV)),
            (libc::SIGABRT, Cause::Crash(libc::SIGABRT)),
            (libc::SIGKILL, Cause::Killed),
            (libc::SIGSYS, Cause::Forbidden),
            (libc::SIGXCPU, Cause::Deadline),
        ] {
            assert_eq!(Cause::of(ExitStatus::from_raw(signal)), cause);
        }
        assert_eq!(Cause::of(ExitStatus::from_raw(1 << 8)), Cause::Astray);
    }
}
