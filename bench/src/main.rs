//! The `fxsrv-bench` binary.

fn main() {}
