//! fxsrv-bench: how fast a server of file conversions is, measured so that others can trust it.
//!
//! `docs/bench.md` says what is measured and how; each module says what it owns.

pub mod content;
pub mod load;
pub mod results;
pub mod rng;
