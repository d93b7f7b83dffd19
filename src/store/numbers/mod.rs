//! SUMMARY: greatest, least and mean of the numbers in a text, one on a line.
//!
//! Numbers are read as Python's `float` reads them and written as its `repr` writes them, since that
//! is what clients of this protocol compare with.

mod parse;
mod repr;
mod scan;
mod summary;

pub use parse::parse_line;
pub use repr::python_repr;
pub use summary::{Summariser, Summary, SummaryError};
