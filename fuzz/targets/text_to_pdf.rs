//! Decoding of text, line breaking, bidi, fonts; and the PDF that comes out is read again.
#![no_main]

use fxsrv::convert::{ErrorKind, SourceType, Target, convert, detect};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((_, options, file)) = fxsrv_fuzz::split(data) else { return };
    if detect(file) != Some(SourceType::Text) {
        return;
    }
    let limits = fxsrv_fuzz::limits();
    if let Ok(pdf) = convert(file, Target::Pdf, &options, &limits) {
        assert_eq!(detect(&pdf), Some(SourceType::Pdf));
        if let Err(error) = convert(&pdf, Target::Text, &options, &limits) {
            let may_be_blank = error.kind == ErrorKind::NoText && !has_letters(file);
            assert!(may_be_blank, "our own PDF is not read: {error:?}");
        }
    }
});

/// Whether there is something that every font has.
fn has_letters(file: &[u8]) -> bool {
    std::str::from_utf8(file)
        .is_ok_and(|text| text.contains(|letter: char| letter.is_ascii_alphanumeric()))
}
