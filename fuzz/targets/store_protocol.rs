//! Requests of the store: the same however they are cut, and no name that leaves the directory.
#![no_main]

use fxsrv::store::protocol::{Request, RequestHead};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&step, wire)) = data.split_first() else { return };
    let whole = requests(wire, usize::MAX);
    assert_eq!(requests(wire, usize::from(step).max(1)), whole);
    for request in &whole {
        let (one, other) = match request {
            Request::Put { name, .. } | Request::Get { name } | Request::Summary { name } => {
                (Some(name), None)
            }
            Request::Change { from, to } => (Some(from), Some(to)),
            Request::Help | Request::Unknown => (None, None),
        };
        for name in [one, other].into_iter().flatten().flatten() {
            let name = name.as_str();
            assert!(!name.is_empty() && name != "." && name != ".." && name.len() <= 31);
            assert!(!name.contains(['/', '\0', '\n']));
        }
    }
});

/// All requests of `wire`, taken in pieces of `step` bytes; bodies are not skipped, which makes
/// their bytes requests too.
fn requests(mut wire: &[u8], step: usize) -> Vec<Request> {
    let (mut found, mut head) = (Vec::new(), RequestHead::default());
    while !wire.is_empty() {
        let (piece, rest) = wire.split_at(head.missing().min(step).min(wire.len()));
        head.push(piece);
        wire = rest;
        if let Some(request) = head.request() {
            found.push(request);
            head = RequestHead::default();
        }
    }
    found
}
