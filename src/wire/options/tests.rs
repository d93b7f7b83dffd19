//! Tests of the options block.
