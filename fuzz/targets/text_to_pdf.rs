//! Decoding of text, line breaking, bidi, fonts; and the PDF that comes out is read again.
#![no_main]

use fxsrv::convert::{SourceType, Target, convert, detect};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((_, options, file)) = fxsrv_fuzz::split(data) else { return };
    if detect(file) != Some(SourceType::Text) {
        return;
    }
    let limits = fxsrv_fuzz::limits();
    if let Ok(pdf) = convert(file, Target::Pdf, &options, &limits) {
        assert_eq!(detect(&pdf), Some(SourceType::Pdf));
        let back = convert(&pdf, Target::Text, &options, &limits);
        assert!(back.is_ok(), "our own PDF is not read: {:?}", back.err());
    }
});
