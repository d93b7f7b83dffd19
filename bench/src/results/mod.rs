//! What is kept of a run, and how it is shown.
//!
//! Owns: the files of a results directory. Must never leave one half-written behind that a later
//! run would take for whole.

pub mod hdr;
