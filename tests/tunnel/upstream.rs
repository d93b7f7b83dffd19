//! What a master keeps and saves on the way to its workers: connections, sessions, copies.

use std::io::{Read as _, Write as _};

use fxsrv::limits::UpstreamLimits;

use super::support::*;
use super::{TO_JPG, TO_PDF, on_both};

/// The number behind `key=` in a status.
fn value(status: &str, key: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(&format!("{key}=")));
    line.unwrap_or_else(|| panic!("{key} in {status}")).parse().unwrap()
}

#[test]
fn connections_to_workers_are_kept_for_clients_of_both_versions() {
    on_both(|setup| {
        let cluster = Cluster::start(&setup);
        let body = b"hello\n";
        for _ in 0..5 {
            let mut client = cluster.connect();
            client.send(&[header(*b"v1.0", TOKEN, TO_PDF, body), body.to_vec()].concat());
            assert!(client.reply_v1_0().starts_with(b"%PDF-"));
            let mut client = cluster.connect();
            client.send(&[header(*b"v1.1", TOKEN, TO_PDF, body), body.to_vec()].concat());
            assert_eq!(client.reply_v1_1().status, 0);
        }
        let status = cluster.status();
        assert_eq!(value(&status, "upstream_opened"), 1, "{status}");
        assert_eq!(value(&status, "upstream_reused"), 9, "{status}");
    });
}

#[test]
fn no_connection_is_kept_where_none_is_to_be() {
    on_both(|mut setup| {
        setup.upstream = UpstreamLimits { kept_max: 0, ..UpstreamLimits::DEFAULT };
        let cluster = Cluster::start(&setup);
        for _ in 0..3 {
            let mut client = cluster.connect();
            client.send(&[header(*b"v1.1", TOKEN, TO_PDF, b"x"), b"x".to_vec()].concat());
            assert_eq!(client.reply_v1_1().status, 0);
        }
        assert_eq!(value(&cluster.status(), "upstream_opened"), 3);
    });
}

/// A stand-in for a worker that answers one request, then takes the next one and leaves; over its
/// second connection it answers.
#[test]
fn a_kept_connection_that_dies_costs_the_client_nothing() {
    on_both(|setup| {
        let pki = Pki::new();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let config = pki.outside_server();
        let stand_in = std::thread::spawn(move || {
            let mut served = Vec::new();
            while served.iter().sum::<u32>() < 3 {
                let (socket, _) = listener.accept().unwrap();
                let connection = rustls::ServerConnection::new(config.clone()).unwrap();
                let mut tls = rustls::StreamOwned::new(connection, socket);
                served.push(0);
                let mut head = [0; 94];
                while tls.read_exact(&mut head).is_ok() {
                    let is_status = head[92..] == [0, 0];
                    let nth = served.last_mut().unwrap();
                    *nth += u32::from(!is_status);
                    if !is_status {
                        tls.read_exact(&mut [0; 1]).unwrap();
                    }
                    if *served.last().unwrap() == 2 && !is_status {
                        break;
                    }
                    let mut answer = b"v1.1".to_vec();
                    answer.extend([0; 36]);
                    tls.write_all(&answer).unwrap();
                }
            }
        });
        let master = start_master(&setup, &pki, &[address]);
        let mut client = Client::connect(&pki, master.address);
        for _ in 0..2 {
            client.send(&[header(*b"v1.1", TOKEN, TO_PDF, b"x"), b"x".to_vec()].concat());
            assert_eq!(client.reply_v1_1().status, 0);
        }
        client.send(&header(*b"v1.1", TOKEN, 0, b""));
        let status = String::from_utf8(client.reply_v1_1().body).unwrap();
        assert_eq!(value(&status, "upstream_retries"), 1, "{status}");
        drop((client, master));
        drop(stand_in);
    });
}

/// What a body of 16 MiB costs a master: no byte is copied between socket and socket but at its ends,
/// and an operation moves a whole record at least.
#[test]
fn a_large_body_is_neither_copied_nor_moved_in_small_pieces() {
    on_both(|setup| {
        let cluster = Cluster::start(&setup);
        let mut client = cluster.connect();
        let body = vec![0; 16 << 20];
        client.send(&[header(*b"v1.1", TOKEN, TO_JPG, &body), body.clone()].concat());
        assert_ne!(client.reply_v1_1().status, 0, "zeros are no picture");
        let status = cluster.status();
        let bytes = body.len() as u64;
        assert!(value(&status, "socket_bytes_out") >= bytes);
        assert!(value(&status, "copied_bytes") <= bytes / 50, "{status}");
        let operations = value(&status, "socket_reads") + value(&status, "socket_writes");
        assert!(operations <= 2 * bytes / (16 << 10) + 200, "{status}");
    });
}

/// A ticket of one thread is good on all: they share the keys that seal it.
#[test]
fn sessions_are_resumed_on_every_thread() {
    on_both(|mut setup| {
        setup.threads = 4;
        let cluster = Cluster::start(&setup);
        let config = cluster.pki.outside_client();
        for number in 0..16 {
            let mut client = Client::connect_with(&config, cluster.master.address);
            client.send(&[header(*b"v1.1", TOKEN, TO_PDF, b"x"), b"x".to_vec()].concat());
            assert_eq!(client.reply_v1_1().status, 0);
            let expected = if number == 0 {
                rustls::HandshakeKind::Full
            } else {
                rustls::HandshakeKind::Resumed
            };
            assert_eq!(client.tls.conn.handshake_kind(), Some(expected), "connection {number}");
        }
        // All of 16 connections to one of four threads: once in a thousand million runs.
        assert_eq!(value(&cluster.status(), "handshakes_resumed"), 15);
    });
}
