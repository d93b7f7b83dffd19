//! A PNG from a stranger, to each of the three picture types.
#![no_main]

use fxsrv::convert::SourceType;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| fxsrv_fuzz::picture(SourceType::Png, data));
