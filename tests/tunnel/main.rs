//! The whole path, client, master and worker, on both drivers, with text to PDF as the conversion.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../support/mod.rs"]
mod support;
mod upstream;

use std::io::{Read as _, Write as _};
use std::time::Duration;

use md5::Digest as _;
use support::*;

const TO_PDF: u32 = 4;
const TO_JPG: u32 = 1;

fn on_both(test: impl Fn(Setup)) {
    for driver in DRIVERS {
        test(Setup::new(driver));
    }
}

#[test]
fn a_v1_0_request_is_answered_and_closed() {
    on_both(|setup| {
        let cluster = Cluster::start(&setup);
        let mut client = cluster.connect();
        let body = b"hello world\n";
        client.send(&[header(*b"v1.0", TOKEN, TO_PDF, body), body.to_vec()].concat());
        assert!(client.reply_v1_0().starts_with(b"%PDF-"));
    });
}

#[test]
fn a_v1_1_connection_serves_many_requests_in_order() {
    on_both(|setup| {
        let cluster = Cluster::start(&setup);
        let mut client = cluster.connect();
        // Pipelined: three requests before the first answer is read.
        let good = b"hello\n";
        let png_from_text = [header(*b"v1.1", TOKEN, TO_JPG, good), good.to_vec()].concat();
        let pdf = [header(*b"v1.1", TOKEN, TO_PDF, good), good.to_vec()].concat();
        client.send(&[pdf.clone(), png_from_text, pdf].concat());
        for expected in [0, 7, 0] {
            let reply = client.reply_v1_1();
            assert_eq!(reply.status, expected, "{}", String::from_utf8_lossy(&reply.body));

            assert_eq!(reply.checksum[..], md5::Md5::digest(&reply.body)[..]);
        }
    });
}

#[test]
fn a_large_body_goes_through_in_one_byte_writes_of_its_head() {
    on_both(|setup| {
        let cluster = Cluster::start(&setup);
        let mut client = cluster.connect();
        let body = "A line of text that is long enough.\n".repeat(60_000).into_bytes();
        for byte in header(*b"v1.1", TOKEN, TO_PDF, &body) {
            client.send(&[byte]);
        }
        client.send(&body);
        let reply = client.reply_v1_1();
        assert_eq!(reply.status, 0);
        assert!(reply.body.starts_with(b"%PDF-"));
        assert!(reply.convert_us > 0);
    });
}

#[test]
fn every_error_answer_arrives_whole_while_the_client_still_sends() {
    on_both(|setup| {
        let cluster = Cluster::start(&setup);
        let small = [7; 68];
        let large = vec![7; 1 << 20];
        for (head, body, code) in [
            (header(*b"v1.0", "wrong", TO_PDF, &small), &small[..], "UNAUTHORIZED"),
            (header(*b"v9.9", TOKEN, TO_PDF, &small), &small[..], "BAD_VERSION"),
            (header(*b"v1.0", TOKEN, 77, &small), &small[..], "BAD_OPERATION"),
            (header(*b"v1.0", "wrong", TO_PDF, &large), &large[..], "UNAUTHORIZED"),
            (header_announcing(*b"v1.0", TOKEN, TO_PDF, b"x", 0), &small[..], "CHECKSUM_MISMATCH"),
        ] {
            for _ in 0..8 {
                let mut client = cluster.connect();
                client.send(&head);
                client.send(body);
                let reply = String::from_utf8(client.reply_v1_0()).unwrap();
                assert!(reply.starts_with(&format!("ERROR: {code}: ")), "{reply}");
            }
        }
    });
}

#[test]
fn a_body_over_the_limit_is_refused_before_it_is_sent() {
    on_both(|mut setup| {
        setup.limits.body_bytes_max = 1000;
        let cluster = Cluster::start(&setup);
        let mut client = cluster.connect();
        client.send(&header_announcing(*b"v1.1", TOKEN, TO_PDF, b"", 1 << 40));
        let reply = client.reply_v1_1();
        assert_eq!(reply.status, 4);
        let text = String::from_utf8(reply.body).unwrap();
        assert!(text.contains("1000"), "{text}");
        assert_eq!(client.tls.read(&mut [0]).unwrap(), 0, "too much to discard: closed");
    });
}

#[test]
fn a_refused_request_with_a_small_body_keeps_the_connection() {
    on_both(|setup| {
        let cluster = Cluster::start(&setup);
        let mut client = cluster.connect();
        client.send(&[header(*b"v1.1", "wrong", TO_PDF, b"x"), b"x".to_vec()].concat());
        assert_eq!(client.reply_v1_1().status, 2);
        client.send(&[header(*b"v1.1", TOKEN, TO_PDF, b"x"), b"x".to_vec()].concat());
        assert_eq!(client.reply_v1_1().status, 0);
    });
}

#[test]
fn a_master_without_a_worker_says_so() {
    on_both(|mut setup| {
        // A port that was free a moment ago, and that nobody listens on.
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        setup.workers = Some(vec![closed.to_string()]);
        let cluster = Cluster::start(&setup);
        let mut client = cluster.connect();
        client.send(&[header(*b"v1.0", TOKEN, TO_PDF, b"x"), b"x".to_vec()].concat());
        let reply = String::from_utf8(client.reply_v1_0()).unwrap();
        assert!(reply.starts_with("ERROR: NO_WORKER: "), "{reply}");
        let mut client = cluster.connect();
        let large = vec![b'x'; 3 << 20];
        client.send(&header(*b"v1.1", TOKEN, TO_PDF, &large));
        client.send(&large);
        assert_eq!(client.reply_v1_1().status, 12);
    });
}

#[test]
fn the_next_worker_is_tried_where_one_cannot_be_reached() {
    on_both(|setup| {
        let pki = Pki::new();
        let worker = start_worker(&setup, &pki);
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let workers = vec![closed.to_string(), worker.address.to_string()];
        let master = start_master(&setup, &pki, &workers);
        for _ in 0..4 {
            let mut client = Client::connect(&pki, master.address);
            client.send(&[header(*b"v1.1", TOKEN, TO_PDF, b"x"), b"x".to_vec()].concat());
            assert_eq!(client.reply_v1_1().status, 0);
        }
    });
}

type Stranger = rustls::StreamOwned<rustls::ServerConnection, std::net::TcpStream>;

/// A worker's place taken by somebody else, for as long as the process lives. The master's checks
/// come to it as well as the request.
fn stand_in(pki: &Pki, serve: fn(&mut Stranger)) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let config = pki.outside_server();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let connection = rustls::ServerConnection::new(config.clone()).unwrap();
            let mut tls = rustls::StreamOwned::new(connection, socket.unwrap());
            std::thread::spawn(move || serve(&mut tls));
        }
    });
    address
}

/// Somebody who takes the handshake and the request, and then leaves.
#[test]
fn a_worker_that_dies_is_answered_for() {
    on_both(|setup| {
        let pki = Pki::new();
        let address = stand_in(&pki, |tls| {
            let _ = tls.read_exact(&mut [0; 95]);
        });
        let master = start_master(&setup, &pki, &[address]);
        let mut client = Client::connect(&pki, master.address);
        client.send(&[header(*b"v1.1", TOKEN, TO_PDF, b"x"), b"x".to_vec()].concat());
        let reply = client.reply_v1_1();
        assert_eq!(reply.status, 13, "{reply:?}");
    });
}

/// The same, but it never answers.
#[test]
fn a_worker_that_hangs_is_answered_for_at_the_deadline() {
    on_both(|mut setup| {
        setup.limits.request_timeout = Duration::from_millis(300);
        let pki = Pki::new();
        // Until the master gives up.
        let address = stand_in(&pki, |tls| {
            let _ = tls.read_to_end(&mut Vec::new());
        });
        let master = start_master(&setup, &pki, &[address]);
        let mut client = Client::connect(&pki, master.address);
        client.send(&[header(*b"v1.1", TOKEN, TO_PDF, b"x"), b"x".to_vec()].concat());
        assert_eq!(client.reply_v1_1().status, 10);
    });
}

#[test]
fn a_refused_stranger_that_sends_no_body_is_left_in_order() {
    on_both(|mut setup| {
        setup.limits.stall_timeout = Duration::from_millis(200);
        let cluster = Cluster::start(&setup);
        let mut client = cluster.connect();
        client.send(&header_announcing(*b"v1.1", "wrong", TO_PDF, b"", 1000));
        assert_eq!(client.reply_v1_1().status, 2);
        assert_eq!(client.tls.read(&mut [0]).unwrap(), 0, "close_notify, and soon");
    });
}

#[test]
fn a_connection_is_no_way_to_try_token_after_token() {
    on_both(|setup| {
        let cluster = Cluster::start(&setup);
        let mut client = cluster.connect();
        for _ in 0..setup.limits.strangers_requests_max {
            client.send(&header(*b"v1.1", "wrong", TO_PDF, b""));
            assert_eq!(client.reply_v1_1().status, 2);
        }
        assert_eq!(client.tls.read(&mut [0]).unwrap(), 0);
    });
}

#[test]
fn a_client_that_leaves_in_its_body_harms_nobody() {
    on_both(|setup| {
        let cluster = Cluster::start(&setup);
        for _ in 0..40 {
            let mut client = cluster.connect();
            client.send(&header_announcing(*b"v1.1", TOKEN, TO_PDF, b"", 1 << 20));
            client.send(&[b'x'; 1000]);
        }
        eventually("all of them are off the books", || {
            let mut asking = cluster.connect();
            asking.send(&header(*b"v1.1", TOKEN, 0, b""));
            String::from_utf8_lossy(&asking.reply_v1_1().body).contains("in_flight=0\n")
        });
        let mut client = cluster.connect();
        client.send(&[header(*b"v1.1", TOKEN, TO_PDF, b"x"), b"x".to_vec()].concat());
        assert_eq!(client.reply_v1_1().status, 0);
    });
}

#[test]
fn a_body_that_stalls_is_told_so() {
    on_both(|mut setup| {
        setup.limits.stall_timeout = Duration::from_millis(200);
        let cluster = Cluster::start(&setup);
        let mut client = cluster.connect();
        client.send(&header_announcing(*b"v1.1", TOKEN, TO_PDF, b"", 1000));
        client.send(b"some of it");
        let reply = client.reply_v1_1();
        assert_eq!(reply.status, 15, "{}", String::from_utf8_lossy(&reply.body));
        assert!(String::from_utf8_lossy(&reply.body).contains("990"));
    });
}

#[test]
fn silent_and_slow_connections_are_ended() {
    on_both(|mut setup| {
        setup.limits.handshake_timeout = Duration::from_millis(150);
        setup.limits.header_timeout = Duration::from_millis(150);
        let cluster = Cluster::start(&setup);
        let mut silent = std::net::TcpStream::connect(cluster.master.address).unwrap();
        silent.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(silent.read(&mut [0]).unwrap(), 0);
        let mut slow = cluster.connect();
        slow.send(b"v1.0");
        let mut rest = Vec::new();
        let ended = slow.tls.read_to_end(&mut rest).map_err(|error| error.kind());
        assert!(rest.is_empty() && ended != Err(std::io::ErrorKind::WouldBlock), "{ended:?}");
    });
}

#[test]
fn an_idle_connection_is_closed_with_close_notify() {
    on_both(|mut setup| {
        setup.limits.idle_timeout = Duration::from_millis(150);
        let cluster = Cluster::start(&setup);
        let mut client = cluster.connect();
        client.send(&[header(*b"v1.1", TOKEN, TO_PDF, b"x"), b"x".to_vec()].concat());
        assert_eq!(client.reply_v1_1().status, 0);
        assert_eq!(client.tls.read(&mut [0]).unwrap(), 0);
    });
}

#[test]
fn more_requests_than_buffers_wait_their_turn() {
    on_both(|mut setup| {
        setup.buffers = 8;
        let cluster = Cluster::start(&setup);
        let body = "text\n".repeat(20_000).into_bytes();
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    let mut client = cluster.connect();
                    for _ in 0..3 {
                        client.send(&header(*b"v1.1", TOKEN, TO_PDF, &body));
                        client.send(&body);
                        assert_eq!(client.reply_v1_1().status, 0);
                    }
                });
            }
        });
    });
}

#[test]
fn a_drain_lets_requests_finish_and_closes_idle_connections() {
    on_both(|setup| {
        let mut cluster = Cluster::start(&setup);
        let mut idle = cluster.connect();
        idle.send(&[header(*b"v1.1", TOKEN, TO_PDF, b"x"), b"x".to_vec()].concat());
        assert_eq!(idle.reply_v1_1().status, 0);
        let mut busy = cluster.connect();
        let body = vec![b'x'; 100_000];
        busy.send(&header(*b"v1.1", TOKEN, TO_PDF, &body));
        busy.send(&body[..50_000]);
        // The master has the head once a status on another connection counts the request.
        eventually("the request begins", || {
            let mut asking = cluster.connect();
            asking.send(&header(*b"v1.1", TOKEN, 0, b""));
            let text = String::from_utf8(asking.reply_v1_1().body).unwrap();
            text.contains("in_flight=1\n")
        });
        cluster.master.drain();
        assert_eq!(idle.tls.read(&mut [0]).unwrap(), 0, "an orderly end, with close_notify");
        busy.send(&body[50_000..]);
        assert_eq!(busy.reply_v1_1().status, 0);
        cluster.master.join();
        let refused = std::net::TcpStream::connect(cluster.master.address);
        assert!(refused.is_err(), "nobody listens any more");
    });
}

#[test]
fn a_body_that_trickles_is_given_up() {
    on_both(|mut setup| {
        setup.limits.stall_timeout = Duration::from_millis(600);
        let cluster = Cluster::start(&setup);
        let mut client = cluster.connect();
        client.send(&header_announcing(*b"v1.1", TOKEN, TO_PDF, b"", 1000));
        let writer = client.tls.sock.try_clone().unwrap();
        writer.set_nodelay(true).unwrap();
        // A byte every 20 ms never stalls, and never gets anywhere.
        let started = std::time::Instant::now();
        while started.elapsed() < PATIENCE {
            if client.tls.write_all(b"x").and_then(|()| client.tls.flush()).is_err() {
                break;
            }
            client.tls.sock.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
            if client.tls.sock.peek(&mut [0]).is_ok() {
                break;
            }
        }
        client.tls.sock.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(client.reply_v1_1().status, 15);
        assert!(started.elapsed() >= Duration::from_millis(600));
    });
}

#[test]
fn plain_http_and_garbage_get_no_answer_and_harm_nobody() {
    on_both(|setup| {
        let cluster = Cluster::start(&setup);
        for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 5000], &[0x16, 3, 1, 0x48, 1]] {
            let mut socket = std::net::TcpStream::connect(cluster.master.address).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket.write_all(garbage).unwrap();
            let _ = socket.shutdown(std::net::Shutdown::Write);
            let mut answer = Vec::new();
            let _ = socket.read_to_end(&mut answer);
            assert!(answer.len() < 32, "an alert at most: {answer:?}");
        }
        let mut client = cluster.connect();
        client.send(&[header(*b"v1.1", TOKEN, TO_PDF, b"x"), b"x".to_vec()].concat());
        assert_eq!(client.reply_v1_1().status, 0);
    });
}

#[test]
fn the_status_of_master_counts_its_workers() {
    on_both(|setup| {
        let cluster = Cluster::start(&setup);
        let mut client = cluster.connect();
        client.send(&header(*b"v1.1", TOKEN, 0, b""));
        let reply = client.reply_v1_1();
        let text = String::from_utf8(reply.body).unwrap();
        assert!(text.starts_with("role=master\n") && text.contains("workers=1\n"), "{text}");
    });
}

#[test]
fn the_status_is_of_all_threads_and_tells_what_became_of_requests() {
    on_both(|mut setup| {
        setup.threads = 2;
        let cluster = Cluster::start(&setup);
        // The kernel gives connections to either thread.
        for _ in 0..8 {
            let mut client = cluster.connect();
            client.send(&[header(*b"v1.1", TOKEN, TO_PDF, b"x"), b"x".to_vec()].concat());
            assert_eq!(client.reply_v1_1().status, 0);
        }
        let mut client = cluster.connect();
        client.send(&header(*b"v1.1", "wrong", TO_PDF, b""));
        assert_eq!(client.reply_v1_1().status, 2);
        let status = cluster.status();
        for line in [
            "threads=2",
            "requests_pdf_OK=8",
            "requests_none_UNAUTHORIZED=1",
            "auth_failures=1",
            "total_us_count=8",
            "convert_us_count=8",
            "in_flight=0",
        ] {
            assert!(status.lines().any(|own| own == line), "{line} in {status}");
        }
    });
}
