//! Handshakes that succeed, however they are cut.

use super::*;

#[test]
fn both_versions_shake_hands_and_say_ready_once() {
    for (version, config) in clients() {
        let (client, server) = connected(&config);
        for end in [&client, &server] {
            assert_eq!(end.tls.version(), Some(version));
            assert_eq!((end.ready, end.last), (1, Some(Progress::NeedRead)));
            assert!(!end.tls.has_control());
        }
    }
}

#[test]
fn a_handshake_arrives_byte_by_byte() {
    for (version, config) in clients() {
        let mut client = End::client(&config);
        let mut server = End::server(&server_tls(Versions::Tls12And13));
        pump(&mut client, &mut server, 1).unwrap();
        assert_eq!(client.tls.version(), Some(version));
        assert_eq!((client.ready, server.ready), (1, 1));
        client.seal(b"ping");
        server.seal(b"pong");
        pump(&mut client, &mut server, 1).unwrap();
        assert_eq!((&client.got[..], &server.got[..]), (&b"pong"[..], &b"ping"[..]));
    }
}

/// Rewrites plaintext handshake records so that each carries one byte of the message.
fn one_byte_records(wire: &[u8]) -> Vec<u8> {
    let mut split = Vec::new();
    for record in records(wire) {
        assert_eq!(record[0], 22, "only plaintext handshake records can be cut from outside");
        for byte in &record[5..] {
            split.extend_from_slice(&[22, record[1], record[2], 0, 1, *byte]);
        }
    }
    split
}

#[test]
fn a_client_hello_arrives_in_records_of_one_byte() {
    for (_, config) in clients() {
        for piece in [1, 7, WINDOW_BYTES] {
            let mut client = End::client(&config);
            let mut server = End::server(&server_tls(Versions::Tls12And13));
            client.run().unwrap();
            let hello = one_byte_records(&client.sent());
            server.receive(&hello, piece).unwrap();
            pump(&mut client, &mut server, WINDOW_BYTES).unwrap();
            assert_eq!((client.ready, server.ready), (1, 1));
        }
    }
}

#[test]
fn a_tls12_server_flight_arrives_in_records_of_one_byte() {
    let mut client = End::client(&client_tls12());
    let mut server = End::server(&server_tls(Versions::Tls12And13));
    client.run().unwrap();
    server.receive(&client.sent(), WINDOW_BYTES).unwrap();
    let flight = one_byte_records(&server.sent());
    client.receive(&flight, 1).unwrap();
    pump(&mut client, &mut server, WINDOW_BYTES).unwrap();
    assert_eq!((client.ready, server.ready), (1, 1));
}

#[test]
fn control_output_leaves_through_a_window_of_any_size() {
    let mut client = End::client(&client_tls(Versions::Tls13));
    let mut server = End::server(&server_tls(Versions::Tls13));
    client.send = SendWindow::new(Buffer::heap(7));
    server.send = SendWindow::new(Buffer::heap(1));
    pump(&mut client, &mut server, WINDOW_BYTES).unwrap();
    assert_eq!((client.ready, server.ready), (1, 1));
}

#[test]
fn nothing_is_sealed_before_the_handshake_ends() {
    let mut client = End::client(&client_tls(Versions::Tls13));
    assert_eq!(client.seal(b"early"), 0);
    client.run().unwrap();
    assert_eq!(client.seal(b"early"), 0);
    client.tls.close().unwrap();
    assert_eq!(client.tls.eof(), Err(TlsError::Truncated));
}

#[test]
fn the_last_flight_leaves_in_front_of_the_first_data() {
    let mut client = End::client(&client_tls(Versions::Tls13));
    let mut server = End::server(&server_tls(Versions::Tls13));
    client.run().unwrap();
    server.receive(&client.sent(), WINDOW_BYTES).unwrap();
    let flight = server.sent();
    client.recv.append(&flight);
    let progress = client.tls.advance(&mut client.recv, &mut |_| ()).unwrap();
    assert_eq!(progress, Progress::Ready);
    assert!(client.tls.has_control());
    // No flush in between: sealing moves the Finished message first.
    assert_eq!(client.seal(b"request"), 7);
    server.receive(&client.sent(), WINDOW_BYTES).unwrap();
    assert_eq!((server.ready, &server.got[..]), (1, &b"request"[..]));
}

#[test]
fn tickets_are_drained_and_the_next_handshake_resumes() {
    for (_, config) in clients() {
        let server_config = server_tls(Versions::Tls12And13);
        for resumed in [false, true] {
            let mut client = End::client(&config);
            let mut server = End::server(&server_config);
            pump(&mut client, &mut server, WINDOW_BYTES).unwrap();
            assert_eq!(client.tls.is_resumed(), resumed);
            // The tickets came behind the handshake: they are no plaintext, and nothing is left.
            assert_eq!((client.got.len(), client.recv.unread_bytes()), (0, 0));
            assert_eq!(client.last, Some(Progress::NeedRead));
        }
    }
}

#[test]
fn mutual_tls_knows_the_client() {
    let auth = ClientAuth::Required(&CERTS.roots);
    let server = ServerTls::new(&CERTS.server, auth, Versions::Tls13).unwrap();
    let trust = Trust::Roots(&CERTS.roots);
    let client = ClientTls::new(trust, Some(&CERTS.client), Versions::Tls13).unwrap();
    let (mut client, mut server) = (End::client(&client), End::server(&server));
    pump(&mut client, &mut server, 100).unwrap();
    assert_eq!((client.ready, server.ready), (1, 1));
}

#[test]
fn an_address_is_a_name_and_anyone_is_trusted_where_asked_for() {
    let server_config = server_tls(Versions::Tls13);
    let config = client_tls(Versions::Tls13);
    let mut client = End::new(TlsSession::client(&config, "127.0.0.1").unwrap());
    pump(&mut client, &mut End::server(&server_config), WINDOW_BYTES).unwrap();
    assert_eq!(client.ready, 1);

    let config = ClientTls::new(Trust::Insecure, None, Versions::Tls12And13).unwrap();
    let mut client = End::new(TlsSession::client(&config, "elsewhere.example").unwrap());
    pump(&mut client, &mut End::server(&server_config), WINDOW_BYTES).unwrap();
    assert_eq!(client.ready, 1);

    let error = TlsSession::client(&config, "no name").err().unwrap();
    assert_eq!(error, TlsError::ServerName { name: "no name".to_owned() });
}
