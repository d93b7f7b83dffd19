//! Streamed requests.

use std::future::pending;
use std::io;

use bytes::Bytes;

use super::*;
use crate::client::{AnswerHead, Sink, Source, StreamedRequest};

/// Gives its pieces, then ends, fails or waits for ever.
struct Pieces(VecDeque<Bytes>, Then);

#[derive(Clone, Copy)]
enum Then {
    End,
    Fail,
    Wait,
}

impl Source for Pieces {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        match (self.0.pop_front(), self.1) {
            (Some(piece), _) => Ok(Some(piece)),
            (None, Then::End) => Ok(None),
            (None, Then::Fail) => Err(io::Error::other("unplugged")),
            (None, Then::Wait) => pending().await,
        }
    }
}

/// Keeps what it is given, or fails after so many bytes.
struct Kept {
    head: Option<AnswerHead>,
    bytes: Vec<u8>,
    full_at: usize,
}

impl Sink for Kept {
    async fn begin(&mut self, head: &AnswerHead) -> io::Result<()> {
        self.head = Some(*head);
        Ok(())
    }

    async fn write(&mut self, bytes: Bytes) -> io::Result<()> {
        self.bytes.extend_from_slice(&bytes);
        if self.bytes.len() > self.full_at { Err(io::Error::other("full")) } else { Ok(()) }
    }
}

/// A body of so many bytes in pieces of so many, for requests that announce `announced`.
struct Case {
    pieces: VecDeque<Bytes>,
    then: Then,
    announced: u64,
    full_at: usize,
}

impl Case {
    fn of(bytes: usize, piece: usize, then: Then) -> Self {
        let body = Bytes::from(vec![b'x'; bytes]);
        let pieces = (0..bytes).step_by(piece);
        let pieces = pieces.map(|at| body.slice(at..bytes.min(at + piece))).collect();
        Self { pieces, then, announced: bytes as u64, full_at: usize::MAX }
    }

    /// Converts over a connection of its own; then, where that is kept, once more.
    fn run(
        self,
        fake: &Fake,
        cancelled: impl Future<Output = ()>,
    ) -> (Result<AnswerHead, ClientError>, Vec<u8>, bool) {
        let options = RequestOptions { checksum: ChecksumKind::None, ..RequestOptions::default() };
        let request = StreamedRequest {
            target: Target::Jpg,
            name: "a",
            body_bytes: self.announced,
            checksum: [0; 16],
            options: &options,
        };
        let (mut source, full_at) = (Pieces(self.pieces, self.then), self.full_at);
        let mut sink = Kept { head: None, bytes: Vec::new(), full_at };
        let (outcome, is_open) = blocking(fake.config.driver, async {
            let mut connection = Connection::connect(&fake.config).await?;
            let outcome =
                connection.convert_streamed(&request, &mut source, &mut sink, cancelled).await;
            Ok((outcome, connection.is_open()))
        })
        .unwrap();
        if let Ok(head) = &outcome {
            assert_eq!(sink.head, Some(*head));
        }
        (outcome, sink.bytes, is_open)
    }
}

fn unchecked(body: &[u8]) -> Vec<u8> {
    let mut answer = result(body);
    answer[8..24].fill(0);
    answer
}

#[test]
fn a_body_goes_and_an_answer_comes_in_pieces() {
    for driver in DRIVERS {
        for (bytes, piece) in [(0, 1), (1, 1), (1000, 7), (3 << 20, 100_000)] {
            let answer: Vec<u8> = (0..200_000_u32).map(|at| at.to_le_bytes()[0]).collect();
            let script = vec![Step::Answer(unchecked(&answer)), Step::Answer(unchecked(b"2"))];
            let fake = Fake::start(driver, vec![script]);
            let (outcome, got, is_open) = Case::of(bytes, piece, Then::End).run(&fake, pending());
            let head = AnswerHead { body_bytes: 200_000, checksum: [0; 16], convert_us: 7 };
            assert_eq!(outcome.unwrap(), head, "{driver} {bytes} {piece}");
            assert!(got == answer && is_open);
            fake.end();
        }
    }
}

#[test]
fn a_refusal_arrives_while_the_source_has_nothing_more() {
    for driver in DRIVERS {
        let fake = Fake::start(driver, vec![vec![Step::AnswerEarly(refusal(Code::TooLarge))]]);
        let mut case = Case::of(100, 10, Then::Wait);
        case.announced = 1 << 30;
        let (outcome, _, is_open) = case.run(&fake, pending());
        assert!(
            matches!(&outcome, Err(ClientError::Refused(failure))
            if failure.code == Code::TooLarge),
            "{outcome:?}"
        );
        assert!(!is_open);
        fake.end();
    }
}

#[test]
fn a_source_that_does_not_keep_its_word_ends_the_request() {
    for (then, announced) in [(Then::End, 2000), (Then::End, 999), (Then::Fail, 2000)] {
        let fake = Fake::start(Driver::Epoll, vec![]);
        let mut case = Case::of(1000, 100, then);
        case.announced = announced;
        let (outcome, ..) = case.run(&fake, pending());
        assert!(matches!(outcome, Err(ClientError::Source(_))), "{outcome:?}");
        fake.end();
    }
}

#[test]
fn a_sink_that_fails_ends_the_request() {
    for driver in DRIVERS {
        let answer = unchecked(&vec![1; 32 << 20]);
        let fake = Fake::start(driver, vec![vec![Step::Answer(answer)]]);
        let mut case = Case::of(10, 10, Then::End);
        case.full_at = 100_000;
        let (outcome, got, _) = case.run(&fake, pending());
        assert!(matches!(outcome, Err(ClientError::Sink(_))), "{outcome:?}");
        assert!(got.len() < 1 << 20, "{}", got.len());
        fake.end();
    }
}

#[test]
fn a_request_is_cancelled_while_it_waits() {
    // For the rest of the body; for an answer that does not come.
    for (then, announced) in [(Then::Wait, 2000), (Then::End, 1000)] {
        for driver in DRIVERS {
            let script = vec![Step::Answer(Vec::new()), Step::Answer(Vec::new())];
            let fake = Fake::start(driver, vec![script]);
            let mut case = Case::of(1000, 100, then);
            case.announced = announced;
            // A timer belongs to the event loop, which runs by the time this is polled.
            let cancelled = async {
                let soon = tokio::time::sleep(Duration::from_millis(50));
                soon.await;
            };
            let (outcome, _, is_open) = case.run(&fake, cancelled);
            assert!(matches!(outcome, Err(ClientError::Cancelled)), "{outcome:?}");
            assert!(!is_open);
            fake.life.request(Phase::Stopped);
            assert!(fake.thread.join().is_ok());
        }
    }
}

#[test]
fn a_damaged_answer_is_an_error_after_all() {
    let fake = Fake::start(Driver::Epoll, vec![vec![Step::Answer(result(b"12345"))]]);
    let (outcome, ..) = Case::of(10, 10, Then::End).run(&fake, pending());
    assert!(matches!(outcome, Err(ClientError::Damaged { .. })), "{outcome:?}");
    fake.end();
}

#[test]
fn streaming_needs_v1_1() {
    let fake = Fake::start(Driver::Epoll, vec![vec![Step::AnswerEarly(old_result(b"ERROR: no"))]]);
    let (outcome, ..) = Case::of(10, 10, Then::End).run(&fake, pending());
    assert!(matches!(outcome, Err(ClientError::NeedsV1_1)), "{outcome:?}");
    fake.end();
}
