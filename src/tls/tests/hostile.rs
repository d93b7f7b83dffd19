//! Peers that keep to the letter of TLS, or not even that, to hurt us.

use proptest::prelude::*;
use rustls::ContentType;

use super::peer::{Forger, Peer};
use super::*;

/// `key_update`, `update_requested` (RFC 8446, 4.6.3).
const KEY_UPDATE: [u8; 5] = [24, 0, 0, 1, 1];

/// A session as the server of a connection whose client forges.
fn forged(client: &ClientTls) -> (End, Forger) {
    let mut server = End::server(&server_tls(Versions::Tls12And13));
    let mut peer = Peer::client(client);
    let rest = peer.shake_hands(&mut server);
    server.receive(&rest, WINDOW_BYTES).unwrap();
    server.sent();
    (server, peer.into_forger())
}

/// rustls panics (`range start index 64 out of range`) where it is called with less input than it
/// holds on to, which it must be when sealing: the receive buffer is away.
#[test]
fn sealing_in_the_middle_of_a_fragmented_ticket_does_not_panic() {
    let mut client = End::client(&client_tls(Versions::Tls13));
    let mut peer = Peer::server(&server_tls(Versions::Tls13), Some(64));
    let tickets = peer.shake_hands(&mut client);
    assert!(records(&tickets).len() > 4, "the tickets are in pieces");
    let mut sealed = Vec::new();
    for byte in tickets.chunks(1) {
        client.receive(byte, 1).unwrap();
        assert_eq!(client.seal(b"x"), 1);
        sealed.extend(client.sent());
    }
    assert_eq!((client.got.len(), client.recv.unread_bytes()), (0, 0));
    peer.receive_while_reading(&sealed, &vec![b'x'; tickets.len()]);
    peer.write(b"still in step");
    client.receive(&peer.sent(), 1).unwrap();
    assert_eq!(client.got, b"still in step");
}

#[test]
fn a_key_update_in_records_of_one_byte_is_taken_between_seals() {
    for piece in [1, 5, 1_000] {
        let (mut server, mut forger) = forged(&client_tls(Versions::Tls13));
        for (i, byte) in KEY_UPDATE.iter().enumerate() {
            server.receive(&forger.record(ContentType::Handshake, &[*byte]), piece).unwrap();
            assert_eq!(server.seal(b"data"), 4);
            let answered = records(&server.sent()).len() == 2;
            assert_eq!(answered, i == KEY_UPDATE.len() - 1, "answered when complete");
        }
        assert_eq!(server.recv.unread_bytes(), 0);
    }
}

#[test]
fn closing_in_the_middle_of_a_handshake_message_works() {
    let (mut server, mut forger) = forged(&client_tls(Versions::Tls13));
    server.receive(&forger.record(ContentType::Handshake, &KEY_UPDATE[..2]), 1).unwrap();
    server.tls.close().unwrap();
    assert_eq!(server.sent().len(), RECORD_OVERHEAD_BYTES + 2);
}

/// An empty handshake record is processed by rustls, but not given back; behind it the front of the
/// window is no longer the start of a record. Whoever looks for record headers there is led astray.
#[test]
fn empty_handshake_records_do_not_shift_what_sealing_shows() {
    let (mut server, mut forger) = forged(&client_tls12());
    let mut expected = Vec::new();
    for turn in 0..20_u8 {
        let empty = forger.record(ContentType::Handshake, &[]);
        let data = forger.data(&[turn; 100]);
        expected.extend_from_slice(&[turn; 100]);
        server.receive(&empty, 1).unwrap();
        assert_eq!(server.seal(b"a"), 1);
        server.receive(&data, WINDOW_BYTES).unwrap();
        assert_eq!(server.seal(b"b"), 1);
        assert_eq!(records(&server.sent()).len(), 2);
    }
    assert_eq!(server.got, expected);
}

/// The plaintext comes with the next record still unread: sealing then must not show that one.
#[test]
fn sealing_between_records_that_are_here_already_changes_nothing() {
    for (version, config) in clients() {
        let (mut server, mut forger) = forged(&config);
        // In TLS 1.3 it is an error, before which there is nothing to be led astray by.
        let is_kept = version == "TLSv1.2";
        let mut wire =
            if is_kept { forger.record(ContentType::Handshake, &[]) } else { Vec::new() };
        for byte in 0..50_u8 {
            wire.extend(forger.data(&[byte]));
        }
        server.recv.append(&wire);
        let mut got = Vec::new();
        while got.len() < 50 {
            let progress =
                server.tls.advance(&mut server.recv, &mut |plain| got.extend_from_slice(plain));
            assert_eq!(progress, Ok(Progress::Plaintext(1)));
            assert_eq!(server.seal(b"echo"), 4);
        }
        assert_eq!(got, (0..50).collect::<Vec<u8>>());
    }
}

#[test]
fn a_tls12_renegotiation_in_pieces_is_declined_between_seals() {
    let (mut server, mut forger) = forged(&client_tls12());
    let hello = {
        let mut client = End::client(&client_tls12());
        client.run().unwrap();
        client.sent()[5..].to_vec()
    };
    for piece in hello.chunks(10) {
        assert_eq!(server.seal(b"data"), 4);
        server.receive(&forger.record(ContentType::Handshake, piece), 1).unwrap();
    }
    // Four bytes more than empty data: an alert, and it is not an end.
    let alert = server.sent();
    assert_eq!(records(&alert).last().unwrap()[0], 21);
    server.receive(&forger.data(b"goes on"), 1).unwrap();
    assert_eq!(server.got, b"goes on");
    assert_eq!(server.seal(b"data"), 4);
}

#[test]
fn data_in_records_of_one_byte_arrives() {
    for (_, config) in clients() {
        let (mut server, mut forger) = forged(&config);
        let plain: Vec<u8> = (0..=255).cycle().take(5_000).collect();
        let wire: Vec<u8> = plain.iter().flat_map(|byte| forger.data(&[*byte])).collect();
        server.receive(&wire, WINDOW_BYTES).unwrap();
        assert_eq!(server.got, plain);
    }
}

#[test]
fn a_flood_of_empty_records_ends_the_connection() {
    let (mut server, mut forger) = forged(&client_tls(Versions::Tls13));
    let wire: Vec<u8> = (0..1_000).flat_map(|_| forger.data(&[])).collect();
    let error = server.receive(&wire, WINDOW_BYTES).unwrap_err();
    assert!(matches!(error, TlsError::Protocol { .. }), "{error}");
}

#[test]
fn a_record_longer_than_tls_allows_is_refused_at_its_header() {
    let mut server = End::server(&server_tls(Versions::Tls13));
    let error = server.receive(&[22, 3, 1, 0x48, 0x01], 1).unwrap_err();
    assert!(matches!(error, TlsError::Protocol { .. }), "{error}");
    assert_eq!(server.sent(), [21, 3, 3, 0, 2, 2, 50]);

    let (mut server, _) = forged(&client_tls(Versions::Tls13));
    let error = server.receive(&[23, 3, 3, 0x48, 0x01], 1).unwrap_err();
    assert!(error.is_peer_fault(), "{error}");
    assert!(server.tls.has_control());
}

#[test]
fn a_handshake_message_that_fills_the_window_is_an_error_with_an_alert() {
    let mut server = End::server(&server_tls(Versions::Tls13));
    // A ClientHello of 60,000 bytes, of which each costs 6: the window is full at a sixth.
    let mut wire = vec![22, 3, 1, 0, 4, 1, 0, 0xea, 0x60];
    while wire.len() < 2 * WINDOW_BYTES {
        wire.extend_from_slice(&[22, 3, 1, 0, 1, 0]);
    }
    let error = server.receive(&wire, 1_000).unwrap_err();
    assert_eq!(error, TlsError::MessageTooLarge { window_bytes: WINDOW_BYTES });
    assert!(error.is_peer_fault());
    assert_eq!(server.sent(), [21, 3, 3, 0, 2, 2, 50], "decode_error, fatal");
    assert_eq!(server.run(), Err(error));
}

#[test]
fn a_window_too_small_for_a_record_is_our_own_mistake() {
    let mut server = End::server(&server_tls(Versions::Tls13));
    server.recv = RecvWindow::new(Buffer::heap(16));
    let error = server.receive(&[22, 3, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 16).unwrap_err();
    assert!(matches!(error, TlsError::Internal(_)) && !error.is_peer_fault(), "{error}");
}

#[test]
fn an_alert_in_front_of_the_handshake_is_reported_as_one() {
    let mut client = End::client(&client_tls(Versions::Tls13));
    client.run().unwrap();
    let error = client.receive(&[21, 3, 3, 0, 2, 2, 40], 1).unwrap_err();
    assert!(matches!(error, TlsError::PeerAlert { code: 40, .. }), "{error}");
    assert!(error.to_string().contains("found no acceptable parameters"), "{error}");
}

fn forgeries() -> impl Strategy<Value = Vec<(ContentType, Vec<u8>)>> {
    let typ = prop_oneof![
        4 => Just(ContentType::Handshake),
        3 => Just(ContentType::ApplicationData),
        1 => Just(ContentType::Alert),
        1 => Just(ContentType::ChangeCipherSpec),
    ];
    // Small bytes: lengths that a short message can have, and types that exist.
    let payload = prop::collection::vec(prop_oneof![3 => 0..3_u8, 1 => any::<u8>()], 0..12);
    prop::collection::vec((typ, payload), 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..Default::default() })]

    /// Whichever records come, in whichever pieces: no panic, and the first error stays.
    #[test]
    fn forged_records_between_seals_do_no_harm(
        forgeries in forgeries(), tls12: bool, piece in 1..100_usize, close_at in 0..80_usize,
    ) {
        let (mut server, mut forger) = forged(&clients()[usize::from(tls12)].1);
        let mut first_error = None;
        for (turn, (typ, payload)) in forgeries.iter().enumerate() {
            if turn == close_at {
                let _outcome = server.tls.close();
            }
            let wire = forger.record(*typ, payload);
            for piece in wire.chunks(piece) {
                let outcome = server.receive(piece, piece.len());
                let sealed = server.tls.seal(b"data", &mut server.send);
                server.sent();
                if let Some(error) = &first_error {
                    prop_assert_eq!(&outcome, &Err(TlsError::clone(error)));
                    prop_assert_eq!(&sealed, &Err(TlsError::clone(error)));
                }
                first_error = first_error.or(outcome.err());
            }
            if first_error.is_some() && server.recv.unread_bytes() > 1_000 {
                break;
            }
        }
    }
}
