//! Conversions in processes of their own, each closed off from everything but its work.
//!
//! Owns: the children that convert, their beginning and end, what passes between them and this
//! process, and the walls around them. This process (the parent) never looks into a file; a child
//! does nothing else. Must never let a child reach more than the job that it was given, believe what
//! a child says beyond its bounds, or fork without exec: the parent has threads.
//!
//! `pool` keeps as many children as conversions may run at once, and one more that waits. `process`
//! is one child seen from the parent, and `child` the same from the inside. `arena` is the memory
//! that the two share, `leash` how a job is called off, `font` the memory that all share, `message` what they say, and `sandbox` with `syscalls` what a child may do.

mod allocator;
mod arena;
mod child;
mod ended;
mod font;
mod leash;
mod message;
mod pool;
mod probe;
mod process;
mod sandbox;
mod syscalls;
mod user;

use std::fmt;

pub use allocator::Allocator;
pub use child::run_if_asked;
pub use ended::{Cause, Fault};
pub use font::Font;
pub use leash::Leash;
pub use pool::{Job, Lease, Output, Pool};
pub use user::{User, UserError};

/// Where conversions run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Isolation {
    /// On threads of this process: a crash of a converter is the end of all requests.
    Thread,
    /// In processes of their own.
    Process(Confines),
}

impl fmt::Display for Isolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Thread => "thread",
            Self::Process(_) => "process",
        })
    }
}

/// What a child is held to, beside the limits of a conversion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Confines {
    /// Who it becomes where this process is root's.
    pub user: User,
    /// Memory that it may take.
    pub memory_bytes_max: u64,
    /// The largest body that it is given.
    pub body_bytes_max: u64,
    /// Children that wait beside those that may all be at work, so that none has to be waited for
    /// where one is lost.
    pub spares: usize,
}
