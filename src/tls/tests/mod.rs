//! Sessions against each other, and against a plain rustls peer that can be made to misbehave.

mod data;
mod errors;
mod handshake;
mod hostile;
mod peer;
mod traffic;

use std::sync::LazyLock;

use super::certs::{Throwaway, throwaway};
use super::*;
use crate::io::{Buffer, RecvWindow, SendWindow};

const WINDOW_BYTES: usize = 65_536;

/// Making keys costs more than a whole test: one set serves all.
static CERTS: LazyLock<Throwaway> =
    LazyLock::new(|| throwaway(&["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap());

fn server_tls(versions: Versions) -> ServerTls {
    ServerTls::new(&CERTS.server, ClientAuth::None, versions).unwrap()
}

fn client_tls(versions: Versions) -> ClientTls {
    ClientTls::new(Trust::Roots(&CERTS.roots), None, versions).unwrap()
}

/// A client that speaks TLS 1.2 alone, which our own configuration does not offer.
fn client_tls12() -> ClientTls {
    let builder = rustls::ClientConfig::builder_with_provider(
        rustls::crypto::aws_lc_rs::default_provider().into(),
    );
    let config = builder
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(CERTS.roots.store())
        .with_no_client_auth();
    ClientTls::from_rustls(config)
}

/// The clients of both versions, towards a server that speaks both.
fn clients() -> [(&'static str, ClientTls); 2] {
    [("TLSv1.3", client_tls(Versions::Tls12And13)), ("TLSv1.2", client_tls12())]
}

/// A session, its windows, and what came out of it.
struct End {
    tls: TlsSession,
    recv: RecvWindow,
    send: SendWindow,
    got: Vec<u8>,
    ready: u32,
    peer_closed: u32,
    last: Option<Progress>,
}

impl End {
    fn new(tls: TlsSession) -> Self {
        Self {
            tls,
            recv: RecvWindow::new(Buffer::heap(WINDOW_BYTES)),
            send: SendWindow::new(Buffer::heap(WINDOW_BYTES)),
            got: Vec::new(),
            ready: 0,
            peer_closed: 0,
            last: None,
        }
    }

    fn client(config: &ClientTls) -> Self {
        Self::new(TlsSession::client(config, "localhost").unwrap())
    }

    fn server(config: &ServerTls) -> Self {
        Self::new(TlsSession::server(config).unwrap())
    }

    /// Advances until the session wants something that is not here.
    fn run(&mut self) -> Result<(), TlsError> {
        loop {
            let got = &mut self.got;
            let before = got.len();
            let progress =
                self.tls.advance(&mut self.recv, &mut |plain| got.extend_from_slice(plain))?;
            self.last = Some(progress);
            match progress {
                Progress::NeedRead | Progress::Closed => return Ok(()),
                Progress::Plaintext(bytes) => assert_eq!(self.got.len() - before, bytes),
                Progress::Ready => self.ready += 1,
                Progress::PeerClosed => self.peer_closed += 1,
                Progress::Flush => {
                    if !self.tls.flush_control(&mut self.send) {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Receives `wire` in pieces of `piece` bytes, and advances after each.
    fn receive(&mut self, wire: &[u8], piece: usize) -> Result<(), TlsError> {
        for mut bytes in wire.chunks(piece) {
            while !bytes.is_empty() {
                let taken = self.recv.append(bytes);
                assert!(taken > 0, "the window is full and the session wants more");
                bytes = &bytes[taken..];
                self.run()?;
            }
        }
        Ok(())
    }

    /// What has been sent since the last call.
    fn sent(&mut self) -> Vec<u8> {
        let mut wire = Vec::new();
        loop {
            let flushed = self.tls.flush_control(&mut self.send);
            wire.extend_from_slice(self.send.pending());
            self.send.clear();
            if flushed {
                return wire;
            }
        }
    }

    fn seal(&mut self, plain: &[u8]) -> usize {
        self.tls.seal(plain, &mut self.send).unwrap()
    }
}

/// Carries bytes to and fro in pieces until both sides are silent.
fn pump(a: &mut End, b: &mut End, piece: usize) -> Result<(), TlsError> {
    a.run()?;
    b.run()?;
    loop {
        let (to_b, to_a) = (a.sent(), b.sent());
        if to_a.is_empty() && to_b.is_empty() {
            return Ok(());
        }
        b.receive(&to_b, piece)?;
        a.receive(&to_a, piece)?;
    }
}

/// Two sides that have shaken hands.
fn connected(client: &ClientTls) -> (End, End) {
    let mut client = End::client(client);
    let mut server = End::server(&server_tls(Versions::Tls12And13));
    pump(&mut client, &mut server, WINDOW_BYTES).unwrap();
    assert!(!client.tls.is_handshaking() && !server.tls.is_handshaking());
    (client, server)
}

/// The records in `wire`.
fn records(mut wire: &[u8]) -> Vec<&[u8]> {
    let mut records = Vec::new();
    while !wire.is_empty() {
        let end = 5 + usize::from(u16::from_be_bytes([wire[3], wire[4]]));
        records.push(&wire[..end]);
        wire = &wire[end..];
    }
    records
}
