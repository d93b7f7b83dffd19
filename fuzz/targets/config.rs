//! A configuration file: refused with a reason, or taken.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Err(problem) = fxsrv::config::check(text) {
        assert!(!problem.is_empty());
    }
});
