//! `fxsrv`, the same in all but its allocator, which counts: each line on its stdin is answered on its
//! stdout by the number of allocations so far. The bench runs it beside `fxsrv`, which stays as it is.

use std::alloc::System;
use std::io::{BufRead as _, Write as _};
use std::process::ExitCode;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() -> ExitCode {
    std::thread::spawn(|| {
        for _ in std::io::stdin().lock().lines() {
            let now = INSTRUMENTED_SYSTEM.stats();
            let count = now.allocations + now.reallocations;
            // Where the bench is gone, nobody wants to know.
            let _ = writeln!(std::io::stdout().lock(), "allocations={count}");
        }
    });
    fxsrv::cli::run()
}
