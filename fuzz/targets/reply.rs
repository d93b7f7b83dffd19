//! The header and the failure of an answer, as a client reads them from a server that it need not trust.
#![no_main]

use fxsrv::wire::{
    Failure, REPLY_HEADER_BYTES, REPLY_V1_0_HEADER_BYTES, ReplyHeader, parse_reply_v1_0_header,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Some((start, body)) = data.split_first_chunk::<REPLY_V1_0_HEADER_BYTES>() {
        let _ = (ReplyHeader::check_start(start), parse_reply_v1_0_header(start));
        if let Some(failure) = Failure::from_v1_0_text(body) {
            assert_one_line(&failure);
        }
    }
    let Some((header, body)) = data.split_first_chunk::<REPLY_HEADER_BYTES>() else { return };
    if let Ok(reply) = ReplyHeader::parse(header) {
        assert_eq!(&reply.encode(), header);
        assert_one_line(&Failure::from_v1_1(reply.status, body));
    }
});

/// A terminal and a log are told one line, and nothing that would steer them.
fn assert_one_line(failure: &Failure) {
    let lines = [Some(&failure.message), failure.hint.as_ref()];
    assert!(lines.into_iter().flatten().all(|line| !line.contains(char::is_control)));
}
