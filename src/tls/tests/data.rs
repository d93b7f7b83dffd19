//! Application data: packing, order, key updates, closing.

use proptest::prelude::*;

use super::peer::Peer;
use super::*;

/// Bytes that differ along a file, so that a lost or doubled record shows.
fn pattern(start: usize, bytes: usize) -> Vec<u8> {
    #[allow(clippy::cast_possible_truncation)] // The low byte is what is wanted.
    (start..start + bytes).map(|i| (i % 251) as u8).collect()
}

#[test]
fn a_window_of_64_kib_takes_65448_bytes() {
    let plain = pattern(0, 65_536);
    let (mut client, mut server) = connected(&client_tls(Versions::Tls13));
    for offered in [65_448, 65_449, 65_536] {
        assert_eq!(client.seal(&plain[..offered]), 65_448);
        assert_eq!((client.send.pending().len(), client.send.room_bytes()), (65_536, 0));
        assert_eq!(client.seal(&plain), 0, "full: flush first");
        server.got.clear();
        server.receive(&client.sent(), WINDOW_BYTES).unwrap();
        assert_eq!(server.got, &plain[..65_448]);
    }
}

#[test]
fn what_64_kib_become_is_what_the_bound_says() {
    let plain = pattern(0, 65_536);
    for ((_, config), sealed) in clients().into_iter().zip([65_624, 65_652]) {
        let (mut client, mut server) = connected(&config);
        client.send = SendWindow::new(Buffer::heap(TlsSession::sealed_bytes(plain.len())));
        assert_eq!(client.seal(&plain), plain.len());
        assert_eq!(client.send.pending().len(), sealed);
        assert!(sealed <= TlsSession::sealed_bytes(plain.len()));
        server.receive(&client.sent(), 1_000).unwrap();
        assert_eq!(server.got, plain);
    }
}

#[test]
fn sealing_takes_what_fits_into_any_room() {
    for (_, config) in clients() {
        let (mut client, mut server) = connected(&config);
        let plain = pattern(0, 40_000);
        for room in [0, 1, 22, 23, 29, 30, 100, 16_405, 16_406, 16_407, 16_429, 16_440, 33_000] {
            client.send = SendWindow::new(Buffer::heap(room));
            server.got.clear();
            let taken = client.seal(&plain);
            // The overhead is 22 or 29 for each record, and there are at most three.
            assert!(taken >= room.saturating_sub(3 * 29) && taken <= room, "{taken} of {room}");
            server.receive(&client.sent(), WINDOW_BYTES).unwrap();
            assert_eq!(server.got, &plain[..taken]);
        }
    }
}

#[test]
fn control_output_goes_first_and_data_waits_for_it() {
    let mut client = End::client(&client_tls(Versions::Tls13));
    let mut server = End::server(&server_tls(Versions::Tls13));
    client.run().unwrap();
    server.receive(&client.sent(), WINDOW_BYTES).unwrap();
    client.receive(&server.sent(), WINDOW_BYTES).unwrap();
    // The client's Finished makes the server queue tickets, which exceed this window.
    server.send = SendWindow::new(Buffer::heap(64));
    server.recv.append(&client.sent());
    assert_eq!(server.tls.advance(&mut server.recv, &mut |_| ()), Ok(Progress::Ready));
    let mut wire = Vec::new();
    while server.seal(b"data") == 0 {
        assert!(!server.send.is_empty());
        wire.extend_from_slice(server.send.pending());
        server.send.clear();
    }
    wire.extend_from_slice(server.send.pending());
    server.send.clear();
    client.receive(&wire, WINDOW_BYTES).unwrap();
    assert_eq!(client.got, b"data");
    assert_eq!(records(&wire).last().unwrap().len(), 4 + RECORD_OVERHEAD_BYTES);
}

#[test]
fn the_peers_close_is_said_once_and_writing_goes_on() {
    for (_, config) in clients() {
        let (mut client, mut server) = connected(&config);
        client.seal(b"request");
        client.tls.close().unwrap();
        client.tls.close().unwrap();
        assert_eq!(client.tls.seal(b"late", &mut client.send), Err(TlsError::WriteAfterClose));
        let wire = client.sent();
        assert_eq!(records(&wire).len(), 2, "one record of data, one close_notify");

        // Whatever follows close_notify is ignored, be it TLS or not.
        server.receive(&[&wire[..], b"garbage"].concat(), WINDOW_BYTES).unwrap();
        server.receive(b"more garbage", 1).unwrap();
        assert_eq!((&server.got[..], server.peer_closed), (&b"request"[..], 1));
        assert_eq!((server.recv.unread_bytes(), server.last), (0, Some(Progress::NeedRead)));

        assert_eq!(server.seal(b"response"), 8);
        server.tls.close().unwrap();
        client.receive(&server.sent(), WINDOW_BYTES).unwrap();
        server.run().unwrap();
        assert_eq!((&client.got[..], client.peer_closed), (&b"response"[..], 1));
        assert_eq!((client.last, server.last), (Some(Progress::Closed), Some(Progress::Closed)));
        assert_eq!((client.tls.eof(), server.tls.eof()), (Ok(()), Ok(())));
    }
}

#[test]
fn a_key_update_of_the_peer_is_answered_in_front_of_the_next_data() {
    for session_is_server in [true, false] {
        let (mut end, mut peer) = if session_is_server {
            let end = End::server(&server_tls(Versions::Tls13));
            (end, Peer::client(&client_tls(Versions::Tls13)))
        } else {
            let end = End::client(&client_tls(Versions::Tls13));
            (end, Peer::server(&server_tls(Versions::Tls13), None))
        };
        let rest = peer.shake_hands(&mut end);
        end.receive(&rest, WINDOW_BYTES).unwrap();
        for turn in 0..5 {
            peer.write(b"old keys ");
            peer.0.refresh_traffic_keys().unwrap();
            peer.write(b"new keys ");
            end.receive(&peer.sent(), 3).unwrap();
            assert_eq!(end.got, b"old keys new keys ".repeat(turn + 1));

            // A full window is not overfilled by the 27 bytes of the answer.
            let plain = pattern(turn, WINDOW_BYTES);
            let taken = end.seal(&plain);
            let wire = end.sent();
            assert_eq!(records(&wire)[0].len(), RECORD_OVERHEAD_BYTES + 5);
            assert_eq!((taken, wire.len()), (65_448 - 27, WINDOW_BYTES));
            peer.receive_while_reading(&wire, &plain[..taken]);
        }
    }
}

#[derive(Debug, Clone)]
enum Op {
    Seal { client: bool, bytes: usize },
    Deliver { to_client: bool, bytes: usize },
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let bytes = || prop_oneof![0..64_usize, 0..2_000_usize, 16_300..16_500_usize, 0..70_000_usize];
    let seal = (any::<bool>(), bytes()).prop_map(|(client, bytes)| Op::Seal { client, bytes });
    let deliver =
        (any::<bool>(), bytes()).prop_map(|(to_client, bytes)| Op::Deliver { to_client, bytes });
    prop::collection::vec(prop_oneof![seal, deliver], 1..60)
}

/// One side, what it was given to send, and its bytes that are on their way.
struct Sender {
    end: End,
    given: Vec<u8>,
    wire: Vec<u8>,
}

impl Sender {
    fn new(mut end: End, recv_bytes: usize, send_bytes: usize) -> Self {
        end.recv = RecvWindow::new(Buffer::heap(recv_bytes));
        end.send = SendWindow::new(Buffer::heap(send_bytes));
        Self { end, given: Vec::new(), wire: Vec::new() }
    }

    fn seal(&mut self, bytes: usize) {
        let plain = pattern(self.given.len(), bytes);
        let taken = self.end.seal(&plain);
        self.given.extend_from_slice(&plain[..taken]);
        self.flush();
    }

    fn flush(&mut self) {
        self.wire.extend(self.end.sent());
    }

    fn deliver(&mut self, to: &mut Self, bytes: usize) {
        let rest = self.wire.split_off(bytes.min(self.wire.len()));
        to.end.receive(&self.wire, WINDOW_BYTES).unwrap();
        self.wire = rest;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

    #[test]
    fn both_directions_carry_their_bytes_however_they_are_cut(
        ops in ops(),
        tls12: bool,
        recv_bytes in RECORD_WIRE_BYTES_MAX..WINDOW_BYTES,
        send_bytes in 100..WINDOW_BYTES,
    ) {
        let (client, server) = connected(&clients()[usize::from(tls12)].1);
        let mut client = Sender::new(client, recv_bytes, send_bytes);
        let mut server = Sender::new(server, recv_bytes, send_bytes);
        for op in ops {
            match op {
                Op::Seal { client: true, bytes } => client.seal(bytes),
                Op::Seal { client: false, bytes } => server.seal(bytes),
                Op::Deliver { to_client: true, bytes } => server.deliver(&mut client, bytes),
                Op::Deliver { to_client: false, bytes } => client.deliver(&mut server, bytes),
            }
        }
        client.end.tls.close().unwrap();
        server.end.tls.close().unwrap();
        client.flush();
        server.flush();
        client.deliver(&mut server, usize::MAX);
        server.deliver(&mut client, usize::MAX);
        prop_assert!(server.end.got == client.given);
        prop_assert!(client.end.got == server.given);
        prop_assert_eq!((client.end.peer_closed, server.end.peer_closed), (1, 1));
        prop_assert_eq!(client.end.last, Some(Progress::Closed));
    }
}
