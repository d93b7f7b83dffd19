//! The client against a server that answers by a script.

mod streamed;

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use super::*;
use crate::io::Socket;
use crate::server::{Lifecycle, Phase, Plan, Service, run};
use crate::tls::certs::{Throwaway, throwaway};
use crate::tls::{ClientAuth, ServerTls, Trust, Versions};
use crate::transport::TlsStream;
use crate::wire::{ChecksumKind, Code, Failure, ReplyHeader, RequestHeader, Version};

const TIMEOUT: Duration = Duration::from_secs(10);
const DRIVERS: [Driver; 2] = [Driver::Uring, Driver::Epoll];

/// What the server does with one request.
#[derive(Clone)]
enum Step {
    /// Reads all of it, then answers.
    Answer(Vec<u8>),
    /// Answers to the header alone.
    AnswerEarly(Vec<u8>),
}

/// One script for each connection. After its last step a connection is closed in order, and heard
/// out; a further connection is closed at once.
type Scripts = Arc<Mutex<VecDeque<Vec<Step>>>>;

struct Scripted {
    tls: ServerTls,
    scripts: Scripts,
    seen: mpsc::Sender<Version>,
}

impl Service for Scripted {
    async fn serve(self: Rc<Self>, socket: Socket) {
        let Ok(mut stream) = TlsStream::accept(socket, &self.tls, TIMEOUT).await else { return };
        let script = self.scripts.lock().unwrap().pop_front().unwrap_or_default();
        for step in script {
            let mut head = [0; 94];
            if stream.read_exact(&mut head).await.is_err() {
                return;
            }
            let header = RequestHeader::parse(&head);
            let version = header.version().unwrap();
            self.seen.send(version).unwrap();
            let answer = match step {
                Step::Answer(answer) => {
                    let rest = header.options_bytes(version).unwrap() as u64 + header.body_bytes();
                    stream.read_exact(&mut vec![0; usize::try_from(rest).unwrap()]).await.unwrap();
                    answer
                }
                Step::AnswerEarly(answer) => answer,
            };
            stream.write_all(&answer).await.unwrap();
        }
        stream.finish(u64::MAX, TIMEOUT).await;
    }
}

struct Fake {
    config: ClientConfig,
    seen: mpsc::Receiver<Version>,
    made: Throwaway,
    life: Lifecycle,
    thread: JoinHandle<std::io::Result<()>>,
}

impl Fake {
    fn start(driver: Driver, scripts: Vec<Vec<Step>>) -> Self {
        let made = throwaway(&["127.0.0.1".to_owned()]).unwrap();
        let tls = ServerTls::new(&made.server, ClientAuth::None, Versions::Tls12And13).unwrap();
        let plan = Plan {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            driver,
            may_change_driver: false,
            threads: 1,
            loops: 1,
            buffers: crate::io::PoolPlan::small(8),
            connections_max: 16,
            grace: Duration::ZERO,
            notice: Duration::ZERO,
        };
        let (life, scripts) = (Lifecycle::default(), Arc::new(Mutex::new(scripts.into())));
        let (tell_address, address) = mpsc::channel::<SocketAddr>();
        let (tell_seen, seen) = mpsc::channel();
        let stop = life.stop();
        let thread = std::thread::spawn(move || {
            let seen = Mutex::new(tell_seen);
            let service = |_| Scripted {
                tls: tls.clone(),
                scripts: Arc::clone(&scripts),
                seen: seen.lock().unwrap().clone(),
            };
            run(&plan, &stop, &crate::exchange::registry(), service, |address| {
                tell_address.send(address).unwrap();
            })
        });
        let trust = Trust::Roots(&made.roots);
        let config = ClientConfig {
            server: address.recv().unwrap().into(),
            tls: ClientTls::new(trust, None, Versions::Tls12And13).unwrap(),
            token: Token::parse("token").unwrap(),
            wire: Wire::Auto,
            limits: ClientLimits { request_timeout: TIMEOUT, ..ClientLimits::default() },
            driver,
        };
        Self { config, seen, made, life, thread }
    }

    /// Converts `body` once for each of `count`, over one connection.
    fn convert(&self, target: Target, body: &[u8], count: usize) -> Vec<Outcome> {
        let options = RequestOptions::default();
        let request = Request { target, name: "a", body, options: &options };
        let all = blocking(self.config.driver, async {
            let mut connection = Connection::connect(&self.config).await?;
            let mut outcomes = Vec::new();
            for _ in 0..count {
                outcomes.push(connection.convert(&request, &mut |_| {}).await);
            }
            Ok(outcomes)
        });
        all.unwrap_or_else(|error| vec![Err(error)])
    }

    fn convert_once(&self, target: Target, body: &[u8]) -> Outcome {
        self.convert(target, body, 1).remove(0)
    }

    /// The versions of all requests that have come.
    fn end(self) -> Vec<Version> {
        self.life.request(Phase::Stopped);
        self.thread.join().unwrap().unwrap();
        self.seen.try_iter().collect()
    }
}

type Outcome = Result<Answer, ClientError>;

fn result(body: &[u8]) -> Vec<u8> {
    let header = ReplyHeader {
        status: 0,
        checksum: ChecksumKind::Md5.of(body),
        body_bytes: body.len() as u64,
        retry_after_ms: 0,
        convert_us: 7,
    };
    [&header.encode()[..], body].concat()
}

fn refusal(code: Code) -> Vec<u8> {
    Failure::new(code, "no").reply_v1_1(ChecksumKind::Md5)
}

fn old_result(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u64).to_be_bytes()[..], body].concat()
}

#[track_caller]
fn code(outcome: &Outcome) -> Code {
    match outcome {
        Err(ClientError::Refused(failure)) => failure.code,
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_connection_carries_many_files() {
    for driver in DRIVERS {
        let script = vec![
            Step::Answer(result(b"one")),
            Step::Answer(refusal(Code::UnknownType)),
            Step::Answer(result(b"three")),
        ];
        let fake = Fake::start(driver, vec![script]);
        let outcomes = fake.convert(Target::Jpg, b"body", 3);
        assert_eq!(
            *outcomes[0].as_ref().unwrap(),
            Answer { bytes: b"one".to_vec(), convert_us: Some(7) }
        );
        assert_eq!(code(&outcomes[1]), Code::UnknownType);
        assert_eq!(outcomes[2].as_ref().unwrap().bytes, b"three");
        assert_eq!(fake.end(), [Version::V1_1; 3]);
    }
}

#[test]
fn an_error_arrives_while_the_body_is_still_being_sent() {
    for driver in DRIVERS {
        let body = vec![b'x'; 32 << 20];
        let scripts = vec![
            vec![Step::AnswerEarly(refusal(Code::TooLarge))],
            vec![Step::Answer(result(b"1"))],
        ];
        let fake = Fake::start(driver, scripts);
        let outcomes = fake.convert(Target::Pdf, &body, 2);
        assert_eq!(code(&outcomes[0]), Code::TooLarge);
        assert_eq!(outcomes[1].as_ref().unwrap().bytes, b"1");
        fake.end();
    }
}

#[test]
fn a_kept_connection_that_has_ended_is_opened_again() {
    let scripts = vec![vec![Step::Answer(result(b"1"))], vec![Step::Answer(result(b"2"))]];
    let fake = Fake::start(Driver::Epoll, scripts);
    let outcomes = fake.convert(Target::Jpg, b"body", 2);
    assert_eq!(outcomes[1].as_ref().unwrap().bytes, b"2");
    fake.end();
}

#[test]
fn an_old_server_is_asked_again_in_v1_0() {
    let old = old_result(b"ERROR: unsupported version");
    let new = refusal(Code::BadVersion);
    for first in [Step::AnswerEarly(old), Step::Answer(new)] {
        let scripts = vec![
            vec![first],
            vec![Step::Answer(old_result(b"1"))],
            vec![Step::Answer(old_result(b"2"))],
        ];
        let fake = Fake::start(Driver::Epoll, scripts);
        let outcomes = fake.convert(Target::Jpg, b"body", 2);
        assert_eq!(
            *outcomes[0].as_ref().unwrap(),
            Answer { bytes: b"1".to_vec(), convert_us: None }
        );
        assert_eq!(outcomes[1].as_ref().unwrap().bytes, b"2");
        assert_eq!(fake.end(), [Version::V1_1, Version::V1_0, Version::V1_0]);
    }
}

#[test]
fn a_server_that_closes_without_an_answer_is_asked_once_in_v1_0() {
    let fake = Fake::start(Driver::Epoll, vec![vec![], vec![]]);
    let outcome = fake.convert_once(Target::Jpg, b"body");
    assert!(matches!(outcome, Err(ClientError::NoAnswer { .. })), "{outcome:?}");
    fake.end();
}

#[test]
fn v1_0_says_errors_and_no_text_in_the_body() {
    let mut fake = Fake::start(
        Driver::Epoll,
        vec![
            vec![Step::Answer(old_result(b"ERROR: WRONG_TYPE: no"))],
            vec![Step::Answer(old_result(b""))],
            vec![Step::Answer(old_result(b""))],
        ],
    );
    fake.config.wire = Wire::V1_0;
    assert_eq!(code(&fake.convert_once(Target::Text, b"body")), Code::WrongType);
    assert_eq!(code(&fake.convert_once(Target::Text, b"body")), Code::NoText);
    let empty = fake.convert_once(Target::Jpg, b"body");
    assert!(matches!(empty, Err(ClientError::EmptyAnswer)), "{empty:?}");

    let mut options = RequestOptions::default();
    options.convert.lossless = true;
    let request = Request { target: Target::Webp, name: "", body: b"", options: &options };
    let refused = blocking(Driver::Epoll, async {
        Connection::connect(&fake.config).await?.convert(&request, &mut |_| {}).await
    });
    assert!(matches!(refused, Err(ClientError::NeedsV1_1)), "{refused:?}");
    fake.end();
}

#[test]
fn an_answer_that_is_not_whole_is_no_answer() {
    let mut cut = result(b"12345");
    cut.truncate(43);
    let mut damaged = result(b"12345");
    damaged[44] = b'x';
    let mut huge = result(b"");
    huge[24..32].copy_from_slice(&u64::MAX.to_be_bytes());
    let steps = [cut, result(b"1")[..20].to_vec(), damaged, huge, b"HTTP/1.1 400".to_vec()];
    let fake = Fake::start(
        Driver::Epoll,
        steps.into_iter().map(|answer| vec![Step::Answer(answer)]).collect(),
    );
    let next = || fake.convert_once(Target::Jpg, b"body").unwrap_err();
    assert!(matches!(next(), ClientError::BrokenOff { got: 3, expected: 5 }));
    assert!(matches!(next(), ClientError::BrokenOff { got: 20, expected: 40 }));
    assert!(matches!(next(), ClientError::Damaged { .. }));
    assert!(matches!(next(), ClientError::AnswerTooLarge { bytes: u64::MAX, .. }));
    assert!(matches!(next(), ClientError::Protocol { .. }));
    fake.end();
}

#[test]
fn a_busy_server_is_asked_again_and_not_for_ever() {
    let busy = || Step::Answer(refusal(Code::Busy));
    let mut fake = Fake::start(
        Driver::Epoll,
        vec![vec![busy(), busy(), Step::Answer(result(b"1"))], vec![busy(), busy()]],
    );
    fake.config.limits.busy_retries_max = 2;
    assert_eq!(fake.convert_once(Target::Jpg, b"body").unwrap().bytes, b"1");
    fake.config.limits.busy_retries_max = 1;
    assert_eq!(code(&fake.convert_once(Target::Jpg, b"body")), Code::Busy);
    assert_eq!(fake.end().len(), 5);
}

#[test]
fn a_server_that_does_not_answer_is_given_up() {
    // The script's second step waits for a request that never comes.
    let script = vec![Step::Answer(Vec::new()), Step::Answer(Vec::new())];
    for driver in DRIVERS {
        let mut fake = Fake::start(driver, vec![script.clone()]);
        fake.config.limits.request_timeout = Duration::from_millis(200);
        let outcome = fake.convert_once(Target::Jpg, b"body");
        assert!(matches!(outcome, Err(ClientError::TimedOut { .. })), "{outcome:?}");
        fake.end();
    }
}

#[test]
fn who_is_not_there_and_who_is_not_trusted_are_told_apart() {
    let mut fake = Fake::start(Driver::Epoll, vec![]);
    let other = throwaway(&["127.0.0.1".to_owned()]).unwrap();
    fake.config.tls =
        ClientTls::new(Trust::Roots(&other.roots), None, Versions::Tls12And13).unwrap();
    let outcome = fake.convert_once(Target::Jpg, b"body");
    assert!(matches!(outcome, Err(ClientError::Untrusted { .. })), "{outcome:?}");

    fake.config.tls =
        ClientTls::new(Trust::Roots(&fake.made.roots), None, Versions::Tls12And13).unwrap();
    let free = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    fake.config.server = free.local_addr().unwrap().into();
    drop(free);
    let outcome = fake.convert_once(Target::Jpg, b"body");
    assert!(matches!(outcome, Err(ClientError::Unreachable { .. })), "{outcome:?}");
    fake.end();
}

#[test]
fn progress_goes_forward_through_all_steps() {
    let fake = Fake::start(Driver::Epoll, vec![vec![Step::Answer(result(&vec![1; 100_000]))]]);
    let (body, options) = (vec![2; 1_000_000], RequestOptions::default());
    let request = Request { target: Target::Jpg, name: "a", body: &body, options: &options };
    let mut steps = Vec::new();
    let answer = blocking(Driver::Epoll, async {
        let mut connection = Connection::connect(&fake.config).await?;
        connection.convert(&request, &mut |step| steps.push(step)).await
    });
    assert_eq!(answer.unwrap().bytes, vec![1; 100_000]);
    let total = body.len() as u64;
    assert_eq!(steps[0], Progress::Uploading { sent: 0, total });
    assert!(steps.contains(&Progress::Uploading { sent: total, total }));
    assert!(steps.contains(&Progress::Converting));
    assert_eq!(steps.last(), Some(&Progress::Downloading { got: 100_000, total: 100_000 }));
    fake.end();
}
