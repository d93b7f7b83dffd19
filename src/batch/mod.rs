//! Batches: the files of a directory, a bucket or a manifest, converted one and all.
//!
//! Owns: what a batch consists of and what its results are called, reading and writing files where
//! they lie, the journal that a run resumes from, and the run itself. Must never print, convert by
//! another way than the worker's own, give a name to a result that is not whole, or hold more in
//! memory the more files there are.

mod address;
mod journal;
mod link;
mod local;
mod names;
mod outcome;
mod plan;
#[cfg(feature = "nats")]
pub mod queue;
mod reach;
mod run;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub use address::{Address, AddressError, Place};
pub use journal::{Journal, JournalError, Record};
pub use outcome::{Landed, Trouble};
pub(crate) use plan::fingerprint;
pub use plan::{Choice, Draft, Entries, Plan, PlanError};
pub use reach::{BucketAccess, Reach, ReachConfig};
pub use run::{Event, Job, Tally, run};
