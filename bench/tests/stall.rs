//! A server that stalls for a second, measured in both kinds of loop.
#![allow(clippy::unwrap_used, missing_docs)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use fxsrv::auth::Token;
use fxsrv::io::{Driver, Listener, listen, spawn};
use fxsrv::tls::certs::throwaway;
use fxsrv::tls::{ClientAuth, Roots, ServerTls, Versions};
use fxsrv::transport::TlsStream;
use fxsrv::wire::{
    ChecksumKind, Operation, REQUEST_HEADER_BYTES, ReplyHeader, Version, encode_reply_v1_0_header,
};
use fxsrv_bench::load::{
    Arrivals, Conversion, Drive, Expect, Load, Recorder, Reuse, Script, Target, run,
};

const STALL: Duration = Duration::from_secs(1);
const WARM_UP: Duration = Duration::from_millis(300);
const MEASURED: Duration = Duration::from_secs(4);

/// Answers at once with no bytes, but for one second in the middle of the run, when nobody is
/// answered.
fn stalling_server(driver: Driver, stall_from: Instant) -> (SocketAddr, Roots) {
    let made = throwaway(&["localhost".to_owned()]).unwrap();
    let tls = ServerTls::new(&made.server, ClientAuth::None, Versions::Tls13).unwrap();
    let socket = listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    let (ready, is_ready) = mpsc::channel();
    std::thread::spawn(move || {
        driver
            .run(async {
                let listener = Listener::from_std(driver, socket).unwrap();
                ready.send(()).unwrap();
                let serve = |socket| {
                    spawn(answer(socket, tls.clone(), stall_from));
                };
                listener.accept_until(std::future::pending(), serve).await;
            })
            .unwrap();
    });
    is_ready.recv().unwrap();
    (address, made.roots)
}

async fn answer(socket: fxsrv::io::Socket, tls: ServerTls, stall_from: Instant) {
    let Ok(mut stream) = TlsStream::accept(socket, &tls, STALL * 10).await else { return };
    stream.socket().set_deadline(None);
    let mut header = [0; REQUEST_HEADER_BYTES];
    while stream.read_exact(&mut header).await.is_ok() {
        let now = Instant::now();
        if (stall_from..stall_from + STALL).contains(&now) {
            tokio::time::sleep_until((stall_from + STALL).into()).await;
        }
        let sent = if header.starts_with(b"v1.0") {
            stream.write_all(&encode_reply_v1_0_header(0)).await
        } else {
            let checksum = ChecksumKind::Md5.of(b"");
            let reply = ReplyHeader {
                status: 0,
                checksum,
                body_bytes: 0,
                retry_after_ms: 0,
                convert_us: 0,
            };
            stream.write_all(&reply.encode()).await
        };
        if sent.is_err() {
            return;
        }
    }
}

fn measure(driver: Driver, drive: Drive, request_timeout: Duration) -> Recorder {
    let stall_from = Instant::now() + WARM_UP + Duration::from_secs(1);
    let (address, roots) = stalling_server(driver, stall_from);
    let load = Load {
        drive,
        connections: 4,
        threads: 2,
        driver,
        reuse: Reuse::Kept,
        warm_up: WARM_UP,
        measured: MEASURED,
        request_timeout,
        drain: Duration::from_secs(2),
        seed: 1,
    };
    let target =
        Target { address, name: "localhost".to_owned(), roots: Some(roots), is_plain: false };
    let token = Token::parse("token").unwrap();
    let script = Conversion::new(
        Version::V1_1,
        &token,
        Operation::Status,
        ChecksumKind::Md5,
        Arc::default(),
        4096,
        Expect::Result,
    )
    .unwrap();
    run(&load, &target, &Script::Conversion(script), || ()).unwrap().counts
}

fn p99_ms(counts: &Recorder) -> f64 {
    counts.latency.value_at_quantile(0.99) as f64 / 1e6
}

const OPEN: Drive = Drive::Open { rate: 200.0, arrivals: Arrivals::Constant };

/// 800 requests are due in 4 s, 200 of them within the stall. They wait from 1 s down to nothing, so
/// the 8th longest, which is p99, waits about 960 ms.
#[test]
fn an_open_loop_charges_a_stall_to_all_who_would_have_come() {
    for driver in [Driver::Epoll, Driver::Uring] {
        let counts = measure(driver, OPEN, STALL * 10);
        assert_eq!((counts.answered(), counts.failures()), (800, 0), "{:?}", counts.failed);
        let p99 = p99_ms(&counts);
        assert!((900.0..1_100.0).contains(&p99), "{driver}: p99 is {p99} ms");
        let service = counts.service.value_at_quantile(0.5) as f64 / 1e6;
        assert!(service < 100.0, "{driver}: the median is {service} ms");
        // Hidden again, were it counted from the sending.
        let late = counts.latency.count_between(100_000_000, u64::MAX);
        let late_service = counts.service.count_between(100_000_000, u64::MAX);
        assert!(late >= 150 && late_service <= 8, "{driver}: {late} and {late_service}");
    }
}

/// Four connections stall once each, among thousands of requests.
#[test]
fn a_closed_loop_hides_the_same_stall() {
    let counts = measure(Driver::Epoll, Drive::Closed, STALL * 10);
    assert!(counts.answered() > 1_000, "{}", counts.answered());
    assert_eq!(counts.failures(), 0, "{:?}", counts.failed);
    let p99 = p99_ms(&counts);
    assert!(p99 < 300.0, "p99 is {p99} ms");
    assert!(counts.latency.max() > 900_000_000, "the stall itself happened");
}

/// Timeouts are counted and are part of no percentile.
#[test]
fn requests_that_time_out_are_counted_apart() {
    let counts = measure(Driver::Epoll, OPEN, Duration::from_millis(300));
    assert!(counts.failed["timeout"] >= 4, "{:?}", counts.failed);
    assert_eq!(counts.answered() + counts.failures(), 800, "{:?}", counts.failed);
}
