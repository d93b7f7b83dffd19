//! Counting what became of requests.

use std::time::Instant;

use super::protocol::Answer;
use crate::metrics::{self, Names, Registry};

/// What requests are counted by, as log lines name it.
const NAMES: Names = Names {
    operations: &["PUT", "GET", "CHANGE", "SUMMARY", "HELP", "UNKNOWN"],
    codes: &["DONE", "NOT_FOUND", "UNKNOWN", "REFUSED"],
};

/// A registry for a store.
#[must_use]
pub fn registry() -> Registry {
    Registry::new(NAMES)
}

/// Counts a request by what it was and how it was answered.
pub(super) fn count(op: &str, answer: Answer) {
    // A name that is not found counts as the last of its kind.
    let index = |names: &[&str], name: &str| {
        names.iter().position(|own| *own == name).unwrap_or(names.len() - 1)
    };
    let (operation, code) = (index(NAMES.operations, op), index(NAMES.codes, answer.name()));
    metrics::count(|here| here.ended(operation, code));
}

/// Counts the time of a request that was done.
pub(super) fn took(started: Instant) {
    metrics::count(|here| here.total_us.record_since(started));
}
