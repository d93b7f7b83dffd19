//! A request's header and its options: checked in order, and read back as they are written.
#![no_main]

use fxsrv::auth::{Token, Tokens};
use fxsrv::wire::{REQUEST_HEADER_BYTES, RequestHeader, RequestOptions, admit};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((header, rest)) = data.split_first_chunk::<REQUEST_HEADER_BYTES>() else { return };
    let header = RequestHeader::parse(header);
    let Ok(token) = Token::parse("fuzz") else { return };
    for tokens in [Tokens::Open, Tokens::Only(vec![token])] {
        let Ok(admitted) = admit(&header, &|field: &[u8]| tokens.check(field), 1 << 20) else {
            continue;
        };
        assert!(header.body_bytes() <= 1 << 20);
        let block = &rest[..admitted.options_bytes.min(rest.len())];
        let Ok(options) = RequestOptions::parse(block, admitted.operation) else { continue };
        if let Ok(written) = options.encode() {
            assert_eq!(RequestOptions::parse(&written, admitted.operation), Ok(options));
        }
    }
});
