//! fxsrv-bench: how fast a server of file conversions is, measured so that others can trust it.
//!
//! `docs/bench.md` says what is measured and how; each module says what it owns.

pub mod cli;
pub mod compare;
pub mod content;
pub mod count;
pub mod gate;
pub mod job;
pub mod load;
pub mod measure;
pub mod plan;
mod probe;
pub mod report;
pub mod results;
pub mod rng;
pub mod simulate;
pub mod sweep;
pub mod warning;
