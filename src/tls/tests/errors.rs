//! Connections that are refused or break off: who says what, and how often.

use super::*;
use crate::tls::certs::{make_ca, make_client_leaf, make_named_client_leaf, make_server_leaf};

/// Runs a handshake that must fail at `client`; returns what each side says.
fn refused(client: &ClientTls, name: &str, server: &ServerTls) -> (TlsError, TlsError) {
    let mut client = End::new(TlsSession::client(client, name).unwrap());
    let mut server = End::server(server);
    let error = pump(&mut client, &mut server, WINDOW_BYTES).unwrap_err();
    let alert = client.sent();
    let at_server = server.receive(&alert, WINDOW_BYTES).unwrap_err();
    (error, at_server)
}

fn problem(error: &TlsError) -> CertificateProblem {
    match error {
        TlsError::ServerCertificate { problem, .. } => *problem,
        other => panic!("{other}"),
    }
}

fn alert_code(error: &TlsError) -> u8 {
    match error {
        TlsError::PeerAlert { code, .. } => *code,
        other => panic!("{other}"),
    }
}

#[test]
fn a_server_of_another_ca_is_refused() {
    let other = make_ca("another CA", 1).unwrap();
    let roots = Roots::from_pem(&other.cert_pem).unwrap();
    let client = ClientTls::new(Trust::Roots(&roots), None, Versions::Tls12And13).unwrap();
    let (error, at_server) = refused(&client, "localhost", &server_tls(Versions::Tls12And13));
    assert_eq!(problem(&error), CertificateProblem::Untrusted);
    assert!(error.is_peer_fault() && error.hint().unwrap().contains("ca.pem"));
    assert_eq!(alert_code(&at_server), 48);
}

#[test]
fn a_server_of_another_name_is_refused_with_both_names() {
    let client = client_tls(Versions::Tls13);
    let (error, at_server) = refused(&client, "files.example", &server_tls(Versions::Tls13));
    assert_eq!(problem(&error), CertificateProblem::WrongName);
    let text = error.to_string();
    assert!(text.contains("files.example") && text.contains("localhost"), "{text}");
    assert_eq!(alert_code(&at_server), 42);
}

#[test]
fn a_certificate_past_its_day_or_of_another_purpose_is_refused() {
    let ca = make_ca("CA", 1).unwrap();
    let roots = Roots::from_pem(&ca.cert_pem).unwrap();
    let client = ClientTls::new(Trust::Roots(&roots), None, Versions::Tls13).unwrap();
    // Valid for 0 days: it ends in the second in which it was made.
    let expired = make_server_leaf(&ca, &["localhost".to_owned()], 0).unwrap();
    let purpose = make_client_leaf(&ca, "localhost", 1).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(2_100));
    for (pair, expected) in
        [(expired, CertificateProblem::Expired), (purpose, CertificateProblem::WrongPurpose)]
    {
        let identity = Identity::from_pem(&pair.cert_pem, &pair.key_pem).unwrap();
        let server = ServerTls::new(&identity, ClientAuth::None, Versions::Tls13).unwrap();
        let (error, _) = refused(&client, "localhost", &server);
        assert_eq!(problem(&error), expected, "{error}");
    }
}

#[test]
fn a_client_without_certificate_is_told_that_one_is_required() {
    let auth = ClientAuth::Required(&CERTS.roots);
    let server = ServerTls::new(&CERTS.server, auth, Versions::Tls13).unwrap();
    let mut client = End::client(&client_tls(Versions::Tls13));
    let mut server = End::server(&server);
    let error = pump(&mut client, &mut server, WINDOW_BYTES).unwrap_err();
    assert_eq!(error, TlsError::ClientCertificateMissing);
    assert!(error.hint().unwrap().contains("client.pem"));
    // In TLS 1.3 the client has finished before the server looks.
    assert_eq!(client.ready, 1);
    let error = client.receive(&server.sent(), WINDOW_BYTES).unwrap_err();
    assert_eq!(alert_code(&error), 116);
    assert!(error.to_string().contains("requires a certificate"), "{error}");
}

#[test]
fn a_client_of_another_ca_is_refused() {
    let ca = make_ca("another CA", 1).unwrap();
    let pair = make_client_leaf(&ca, "client", 1).unwrap();
    let identity = Identity::from_pem(&pair.cert_pem, &pair.key_pem).unwrap();
    let trust = Trust::Roots(&CERTS.roots);
    let client = ClientTls::new(trust, Some(&identity), Versions::Tls13).unwrap();
    let auth = ClientAuth::Required(&CERTS.roots);
    let server = ServerTls::new(&CERTS.server, auth, Versions::Tls13).unwrap();
    let (mut client, mut server) = (End::client(&client), End::server(&server));
    let error = pump(&mut client, &mut server, WINDOW_BYTES).unwrap_err();
    assert!(matches!(
        error,
        TlsError::ClientCertificate { problem: CertificateProblem::Untrusted, .. }
    ));
    let error = client.receive(&server.sent(), WINDOW_BYTES).unwrap_err();
    assert_eq!(alert_code(&error), 48);
}

#[test]
fn a_client_is_let_in_by_one_of_its_names_alone() {
    let ca = make_ca("a CA of masters", 1).unwrap();
    let roots = Roots::from_pem(&ca.cert_pem).unwrap();
    let listed = ["Master1.internal".to_owned(), "10.0.0.7".to_owned()];
    let auth = ClientAuth::Named(&roots, &listed);
    let server = ServerTls::new(&CERTS.server, auth, Versions::Tls13).unwrap();
    for (names, is_let_in) in [
        (&["master1.internal"][..], true),
        (&["other.internal", "10.0.0.7"], true),
        (&["master2.internal"], false),
        (&["a.master1.internal"], false),
        (&["*.internal"], false),
        (&[], false),
    ] {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let pair = make_named_client_leaf(&ca, "client", &names, 1).unwrap();
        let identity = Identity::from_pem(&pair.cert_pem, &pair.key_pem).unwrap();
        let trust = Trust::Roots(&CERTS.roots);
        let client = ClientTls::new(trust, Some(&identity), Versions::Tls13).unwrap();
        let (mut client, mut server) = (End::client(&client), End::server(&server));
        match pump(&mut client, &mut server, WINDOW_BYTES) {
            Ok(()) => assert!(is_let_in, "{names:?}"),
            Err(TlsError::ClientCertificate { problem, .. }) => {
                assert_eq!((problem, is_let_in), (CertificateProblem::WrongName, false));
            }
            Err(error) => panic!("{names:?}: {error}"),
        }
    }
}

#[test]
fn a_tls12_client_is_refused_by_a_tls13_server_with_an_alert() {
    let mut client = End::client(&client_tls12());
    let mut server = End::server(&server_tls(Versions::Tls13));
    let error = pump(&mut client, &mut server, WINDOW_BYTES).unwrap_err();
    assert!(matches!(error, TlsError::Incompatible { .. }), "{error}");
    let error = client.receive(&server.sent(), WINDOW_BYTES).unwrap_err();
    assert_eq!(alert_code(&error), 70);
    assert!(error.hint().unwrap().contains("versions"));
}

#[test]
fn the_first_error_is_every_later_answer_and_its_alert_leaves_once() {
    let mut server = End::server(&server_tls(Versions::Tls12And13));
    let error = server.receive(b"GET / HTTP/1.1\r\n\r\n", WINDOW_BYTES).unwrap_err();
    assert!(matches!(error, TlsError::Protocol { .. }), "{error}");
    assert!(server.tls.has_control());
    assert_eq!(server.sent(), [21, 3, 3, 0, 2, 2, 50], "decode_error, fatal");

    let hello = {
        let mut client = End::client(&client_tls(Versions::Tls13));
        client.run().unwrap();
        client.sent()
    };
    for _ in 0..3 {
        assert_eq!(server.receive(&hello, WINDOW_BYTES), Err(error.clone()));
        assert_eq!(server.tls.seal(b"data", &mut server.send), Err(error.clone()));
        assert_eq!(server.tls.close(), Err(error.clone()));
        assert_eq!(server.tls.eof(), Err(error.clone()));
        assert!(server.sent().is_empty());
    }
}

#[test]
fn damaged_data_breaks_the_connection_and_the_peer_is_told() {
    for (_, config) in clients() {
        let (mut client, mut server) = connected(&config);
        client.seal(b"before");
        client.seal(b"damaged");
        client.seal(b"after");
        let mut wire = client.sent();
        let second = records(&wire)[0].len();
        wire[second + 10] ^= 1;
        let error = server.receive(&wire, WINDOW_BYTES).unwrap_err();
        assert!(matches!(error, TlsError::Protocol { .. }), "{error}");
        assert_eq!(server.got, b"before");
        let error = client.receive(&server.sent(), WINDOW_BYTES).unwrap_err();
        assert_eq!(alert_code(&error), 20);
    }
}

#[test]
fn an_end_without_close_notify_is_truncation() {
    for (_, config) in clients() {
        let (mut client, mut server) = connected(&config);
        client.seal(b"half of it");
        server.receive(&client.sent(), WINDOW_BYTES).unwrap();
        assert_eq!(server.tls.eof(), Err(TlsError::Truncated));

        client.tls.close().unwrap();
        server.receive(&client.sent(), WINDOW_BYTES).unwrap();
        assert_eq!(server.tls.eof(), Ok(()));
    }
}

#[test]
fn damage_behind_our_own_close_notify_is_still_an_error() {
    let (mut client, mut server) = connected(&client_tls(Versions::Tls13));
    server.tls.close().unwrap();
    server.sent();
    client.seal(b"damaged");
    let mut wire = client.sent();
    wire[10] ^= 1;
    let error = server.receive(&wire, WINDOW_BYTES).unwrap_err();
    assert!(matches!(error, TlsError::Protocol { .. }), "{error}");
}
