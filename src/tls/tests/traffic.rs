//! The record layer of ours, against rustls on the other side, and against forged records.

use rustls::{CipherSuite, ContentType};

use super::peer::{Forger, Peer};
use super::*;

/// `key_update` that asks for none in return.
const KEY_UPDATE: [u8; 5] = [24, 0, 0, 1, 0];

/// A client's configuration with one cipher of TLS 1.3.
fn client_with(suite: CipherSuite) -> ClientTls {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.cipher_suites.retain(|offered| offered.suite() == suite);
    let mut config = rustls::ClientConfig::builder_with_provider(provider.into())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(CERTS.roots.store())
        .with_no_client_auth();
    config.enable_secret_extraction = true;
    ClientTls::from_rustls(config)
}

/// A server of ours whose client forges, with the handshake behind it.
fn forged() -> (End, Forger) {
    let mut server = End::server(&server_tls(Versions::Tls13));
    let mut peer = Peer::client(&client_tls(Versions::Tls13));
    let rest = peer.shake_hands(&mut server);
    server.receive(&rest, WINDOW_BYTES).unwrap();
    server.sent();
    assert!(server.tls.traffic().is_some());
    (server, peer.into_forger())
}

/// The alert of a session that has failed, as its peer reads it.
fn alert_of(mut end: End, mut peer: Peer) -> u8 {
    let mut wire = &end.sent()[..];
    peer.0.read_tls(&mut wire).unwrap();
    match peer.0.process_new_packets().unwrap_err() {
        rustls::Error::AlertReceived(alert) => u8::from(alert),
        other => panic!("{other}"),
    }
}

#[test]
fn aes_gcm_of_tls13_is_taken_over_and_all_else_stays_with_rustls() {
    for (config, is_ours) in [
        (client_with(CipherSuite::TLS13_AES_128_GCM_SHA256), true),
        (client_with(CipherSuite::TLS13_AES_256_GCM_SHA384), true),
        (client_with(CipherSuite::TLS13_CHACHA20_POLY1305_SHA256), false),
        (client_tls12(), false),
    ] {
        let (mut client, mut server) = connected(&config);
        for end in [&mut client, &mut server] {
            assert_eq!(end.tls.traffic().is_some(), is_ours);
        }
        let plain: Vec<u8> = (0..=255).cycle().take(60_000).collect();
        assert_eq!((client.seal(&plain), server.seal(&plain)), (plain.len(), plain.len()));
        pump(&mut client, &mut server, 777).unwrap();
        assert!(client.got == plain && server.got == plain);
    }
}

#[test]
fn rustls_reads_what_we_seal_and_we_read_what_it_seals_under_both_keys() {
    for suite in [CipherSuite::TLS13_AES_128_GCM_SHA256, CipherSuite::TLS13_AES_256_GCM_SHA384] {
        let mut server = End::server(&server_tls(Versions::Tls13));
        let mut peer = Peer::client(&client_with(suite));
        let rest = peer.shake_hands(&mut server);
        server.receive(&rest, WINDOW_BYTES).unwrap();
        peer.receive(&server.sent());
        for turn in 0..10 {
            let plain = vec![turn; 40_000];
            assert_eq!(server.seal(&plain), plain.len());
            peer.receive_while_reading(&server.sent(), &plain);
            peer.write(&[turn; 1_000]);
            server.receive(&peer.sent(), 100).unwrap();
        }
        assert_eq!(server.got.len(), 10_000);
    }
}

/// The limit itself is 2^24 records, 256 GiB.
#[test]
fn a_key_is_renewed_before_it_has_sealed_too_much() {
    let mut server = End::server(&server_tls(Versions::Tls13));
    let mut peer = Peer::client(&client_tls(Versions::Tls13));
    let rest = peer.shake_hands(&mut server);
    server.receive(&rest, WINDOW_BYTES).unwrap();
    server.tls.traffic().unwrap().renew_after(3);
    let plain: Vec<u8> = (0..=255).cycle().take(50_000).collect();
    let mut renewals = 0;
    for room in [WINDOW_BYTES, 49, 48, 27, 26, 10_000, 16_433, 1, 0, WINDOW_BYTES, WINDOW_BYTES] {
        server.send = SendWindow::new(Buffer::heap(room));
        let taken = server.tls.seal(&plain, &mut server.send).unwrap();
        let wire = server.sent();
        assert!(wire.len() <= room);
        renewals += records(&wire).iter().filter(|record| record.len() == 27).count();
        peer.receive_while_reading(&wire, &plain[..taken]);
    }
    assert!(renewals >= 4, "{renewals}");
}

#[test]
fn padding_is_taken_off() {
    let (mut server, mut forger) = forged();
    // The last byte of the content is the type, and that of the record is padding.
    server.receive(&forger.record(ContentType::Unknown(0), b"data\x17\0\0\0"), 1).unwrap();
    server.receive(&forger.record(ContentType::Unknown(0), b"\0\0\x17\0"), 1).unwrap();
    assert_eq!(server.got, b"data\0\0");
}

#[test]
fn full_records_are_taken_and_longer_ones_are_not() {
    let (mut server, mut forger) = forged();
    server.receive(&forger.data(&vec![7; RECORD_PLAIN_BYTES_MAX]), WINDOW_BYTES).unwrap();
    assert_eq!(server.got.len(), RECORD_PLAIN_BYTES_MAX);
    let error = server
        .receive(&forger.data(&vec![7; RECORD_PLAIN_BYTES_MAX + 1]), WINDOW_BYTES)
        .unwrap_err();
    assert!(matches!(error, TlsError::Protocol { .. }), "{error}");
    assert_eq!(server.got.len(), RECORD_PLAIN_BYTES_MAX);
}

/// Each is the first that a peer says after the handshake, and ends the connection.
#[test]
fn what_has_no_place_behind_a_handshake_is_refused() {
    let ticket = [&[4, 0, 0, 13][..], &[0; 13]].concat();
    let key_update_and_more = [KEY_UPDATE, KEY_UPDATE].concat();
    let cases: [(ContentType, &[u8]); 12] = [
        (ContentType::Handshake, &[]),
        (ContentType::Alert, &[]),
        (ContentType::Alert, &[2]),
        (ContentType::Alert, &[2, 40, 0]),
        (ContentType::ChangeCipherSpec, &[1]),
        (ContentType::Unknown(99), b"data"),
        (ContentType::Unknown(0), b"\0\0\0"),
        (ContentType::Handshake, &[1, 0, 0, 0]),
        (ContentType::Handshake, &ticket),
        (ContentType::Handshake, &[24, 0, 0, 1, 2]),
        (ContentType::Handshake, &[24, 0, 0, 2, 0, 0]),
        (ContentType::Handshake, &key_update_and_more),
    ];
    for (typ, content) in cases {
        let (mut server, mut forger) = forged();
        let error = server.receive(&forger.record(typ, content), WINDOW_BYTES).unwrap_err();
        assert!(matches!(error, TlsError::Protocol { .. }), "{typ:?} {content:?}: {error}");
        assert_eq!(server.sent().len(), RECORD_OVERHEAD_BYTES + 2, "an alert");
        assert_eq!(server.tls.seal(b"data", &mut server.send), Err(error));
    }
}

#[test]
fn a_handshake_message_in_pieces_must_not_be_interleaved_or_endless() {
    let (mut server, mut forger) = forged();
    server.receive(&forger.record(ContentType::Handshake, &KEY_UPDATE[..3]), 1).unwrap();
    assert!(server.receive(&forger.data(b"data"), WINDOW_BYTES).is_err());

    // The first byte says that this is nothing for a server.
    let (mut server, mut forger) = forged();
    let begun = [&[11, 0, 255, 255][..], &[0; 1_000]].concat();
    assert!(server.receive(&forger.record(ContentType::Handshake, &begun), WINDOW_BYTES).is_err());

    let (mut server, mut forger) = forged();
    let begun = [24, 255, 255, 255];
    assert!(server.receive(&forger.record(ContentType::Handshake, &begun), WINDOW_BYTES).is_err());
}

#[test]
fn records_outside_of_the_encryption_are_refused_at_their_first_byte() {
    for typ in [20, 21, 22, 24, 0, 255] {
        let (mut server, _) = forged();
        let error = server.receive(&[typ], 1).unwrap_err();
        assert!(matches!(error, TlsError::Protocol { .. }), "{typ}: {error}");
    }
}

#[test]
fn records_too_short_to_be_sealed_are_damaged_ones() {
    for payload in [0, 1, 15, 16] {
        let (mut server, _) = forged();
        let wire = [&[23, 3, 3, 0, payload][..], &vec![0; usize::from(payload)]].concat();
        let error = server.receive(&wire, 1).unwrap_err();
        assert!(matches!(error, TlsError::Protocol { .. }), "{payload}: {error}");
    }
}

#[test]
fn a_record_twice_or_out_of_order_is_a_damaged_one() {
    let (mut server, mut forger) = forged();
    let (first, second) = (forger.data(b"first"), forger.data(b"second"));
    server.receive(&first, 1).unwrap();
    assert!(server.receive(&first, 1).is_err());

    let (mut server, mut forger) = forged();
    drop(forger.data(b"lost"));
    assert!(server.receive(&forger.data(b"next"), 1).is_err());
    assert_eq!((server.got.len(), second.len()), (0, 6 + RECORD_OVERHEAD_BYTES));
}

#[test]
fn key_updates_are_bounded_between_data() {
    let mut server = End::server(&server_tls(Versions::Tls13));
    let mut peer = Peer::client(&client_tls(Versions::Tls13));
    let rest = peer.shake_hands(&mut server);
    server.receive(&rest, WINDOW_BYTES).unwrap();
    peer.receive(&server.sent());
    for turn in 0..100 {
        for _ in 0..20 {
            peer.0.refresh_traffic_keys().unwrap();
        }
        peer.write(b"x");
        server.receive(&peer.sent(), 1_000).unwrap();
        assert_eq!(server.got.len(), turn + 1);
        assert_eq!(server.seal(b"y"), 1);
        peer.receive_while_reading(&server.sent(), b"y");
    }
    for _ in 0..40 {
        peer.0.refresh_traffic_keys().unwrap();
    }
    let error = server.receive(&peer.sent(), WINDOW_BYTES).unwrap_err();
    assert!(matches!(error, TlsError::Protocol { .. }), "{error}");
}

#[test]
fn a_peer_hears_which_alert_it_has_earned() {
    let cases: [(&[u8], u8); 3] = [
        (&[22, 3, 3, 0, 1, 0], 10),
        (&[23, 3, 3, 0x41, 0x01], 22),
        (&[23, 3, 3, 0, 17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 20),
    ];
    for (wire, alert) in cases {
        let mut server = End::server(&server_tls(Versions::Tls13));
        let mut peer = Peer::client(&client_tls(Versions::Tls13));
        let rest = peer.shake_hands(&mut server);
        server.receive(&rest, WINDOW_BYTES).unwrap();
        peer.receive(&server.sent());
        server.receive(wire, WINDOW_BYTES).unwrap_err();
        assert_eq!(alert_of(server, peer), alert);
    }
}
