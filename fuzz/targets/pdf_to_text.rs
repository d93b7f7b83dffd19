//! The PDF loader, its filters and fonts, the content interpreter and the text layer.
#![no_main]

use fxsrv::convert::{SourceType, Target, convert, detect};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((_, options, file)) = fxsrv_fuzz::split(data) else { return };
    if detect(file) != Some(SourceType::Pdf) {
        return;
    }
    if let Ok(text) = convert(file, Target::Text, &options, &fxsrv_fuzz::limits()) {
        assert!(std::str::from_utf8(&text).is_ok());
    }
});
