//! Telling a type by its content.
#![no_main]

use fxsrv::convert::{Options, SourceType, Target, convert, detect};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let source = detect(data);
    // A pair without a conversion is refused from the type alone, whatever follows it.
    let wrong = match source {
        Some(SourceType::Jpg | SourceType::Png | SourceType::Webp) => Target::Pdf,
        Some(SourceType::Text) => Target::Text,
        _ => Target::Jpg,
    };
    assert!(convert(data, wrong, &Options::default(), &fxsrv_fuzz::limits()).is_err());
});
