//! The vectors of the original protocol.
