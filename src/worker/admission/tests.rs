//! Turns in a running event loop.

use super::*;
use crate::worker::slots::Converted;

fn admission(slots: usize, queue_timeout_ms: u64) -> Admission {
    let queue_timeout = Duration::from_millis(queue_timeout_ms);
    Admission::new(slots, ServerLimits { queue_timeout, ..ServerLimits::default() })
}

fn wish(line: Line) -> Wish {
    let deadline = Instant::now() + Duration::from_secs(60);
    Wish { line, target: Target::Pdf, body_bytes: 100, deadline }
}

fn done(convert_us: u32, result_bytes: usize) -> Done {
    let converted = Converted { bytes: vec![0; result_bytes], checksum: [0; 16] };
    Done { result: Ok(converted), convert_us }
}

/// The header of a picture of so many pixels on each side.
fn png(side: u32) -> Vec<u8> {
    let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
    png.extend([side.to_be_bytes(), side.to_be_bytes()].concat());
    png.extend([8, 6, 0, 0, 0]);
    png
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

#[test]
fn a_turn_that_ends_is_the_next_ones() {
    block_on(async {
        let admission = admission(1, 10_000);
        let first = admission.enter(wish(1), b"").await.unwrap();
        let second = admission.enter(wish(1), b"").await.unwrap();
        let there = admission.clone();
        let third = async move { there.enter(wish(1), b"").await.map(drop).is_ok() };
        let ends = async {
            assert_eq!(admission.lock().turns.waiting(), 1);
            drop(first.converted(&done(1000, 10)));
        };
        assert!(tokio::join!(biased; third, ends).0);
        drop(second);
        let state = admission.lock();
        assert!(state.waiting.is_empty());
        assert_eq!(state.turns.bytes_left(), ServerLimits::default().working_bytes_max);
    });
}

#[test]
fn whoever_cannot_be_done_in_time_is_refused_at_once_and_told_when() {
    block_on(async {
        let admission = admission(1, 500);
        drop(admission.enter(wish(1), b"").await.unwrap().converted(&done(400_000, 0)));
        let _running = admission.enter(wish(1), b"").await.unwrap();
        admission.look(&wish(1)).unwrap();
        let _next = admission.enter(wish(1), b"").await.unwrap();
        let refused = admission.look(&wish(1)).unwrap_err();
        assert_eq!(refused.code, Code::Busy);
        assert!((400..=500).contains(&refused.retry_after_ms), "{}", refused.retry_after_ms);
        let late = Wish { deadline: Instant::now() + Duration::from_millis(10), ..wish(2) };
        assert!(admission.look(&late).is_err());
    });
}

#[test]
fn a_turn_that_does_not_come_is_given_up() {
    block_on(async {
        let admission = admission(1, 20);
        let _running = [
            admission.enter(wish(1), b"").await.unwrap(),
            admission.enter(wish(1), b"").await.unwrap(),
        ];
        assert_eq!(admission.enter(wish(1), b"").await.err().unwrap().code, Code::Busy);
        assert_eq!(admission.lock().turns.waiting(), 0);
    });
}

#[test]
fn memory_is_told_from_the_header_and_never_passed() {
    block_on(async {
        let limits = ServerLimits { working_bytes_max: 64 << 20, ..ServerLimits::default() };
        let admission = Admission::new(4, limits);
        let small = png(2048);
        let picture = Wish { target: Target::Jpg, ..wish(1) };
        let first = admission.enter(picture, &small).await.unwrap();
        assert!(admission.lock().turns.bytes_left() < 32 << 20);
        let there = admission.clone();
        let second = async { there.enter(picture, &small).await.is_ok() };
        let ends = async {
            assert_eq!(admission.lock().turns.waiting(), 1);
            drop(first);
        };
        assert!(tokio::join!(biased; second, ends).0);
        let large = png(8192);
        let failure = admission.enter(picture, &large).await.err().unwrap();
        assert_eq!(failure.code, Code::LimitExceeded);
    });
}

#[test]
fn files_of_batches_wait_until_no_request_does() {
    block_on(async {
        let admission = admission(1, 10_000);
        let file = admission.enter_behind(Target::Pdf, b"text").await.unwrap();
        let (here, there) = (admission.clone(), admission.clone());
        let order = Mutex::new(Vec::new());
        let next_file = async {
            let turn = there.enter_behind(Target::Pdf, b"text").await.unwrap();
            order.lock().unwrap().push("file");
            drop(turn);
        };
        let requests = async {
            // The first is next at the slot, and the second after it.
            for turn in [here.enter(wish(1), b"").await, here.enter(wish(1), b"").await] {
                order.lock().unwrap().push("request");
                drop(turn.unwrap());
            }
        };
        let ends = async {
            assert_eq!((admission.slots_behind(), admission.lock().waiting.len()), (0, 2));
            drop(file.converted(&done(1000, 10)));
        };
        tokio::join!(biased; next_file, requests, ends);
        assert_eq!(*order.lock().unwrap(), ["request", "request", "file"]);
        assert_eq!(admission.slots_behind(), 1);
    });
}

#[test]
fn files_of_batches_take_from_the_memory_of_requests() {
    block_on(async {
        let limits = ServerLimits { working_bytes_max: 64 << 20, ..ServerLimits::default() };
        let admission = Admission::new(4, limits);
        let file = admission.enter_behind(Target::Jpg, &png(2048)).await.unwrap();
        assert!(admission.lock().turns.bytes_left() < 32 << 20);
        // One that gives up its place leaves it to others.
        let large = png(2048);
        let entering = admission.enter_behind(Target::Jpg, &large);
        assert!(tokio::time::timeout(Duration::from_millis(5), entering).await.is_err());
        assert!(admission.lock().waiting.is_empty());
        let kept = file.converted(&done(1000, 40 << 20));
        let there = admission.clone();
        let next = async { there.enter_behind(Target::Jpg, &png(2048)).await.is_ok() };
        let ends = async {
            assert_eq!(admission.lock().waiting.len(), 1, "the result is still there");
            drop(kept);
        };
        assert!(tokio::join!(biased; next, ends).0);
        let refused = admission.enter_behind(Target::Jpg, &png(8192)).await.err().unwrap();
        assert_eq!(refused.code, Code::LimitExceeded);
    });
}
