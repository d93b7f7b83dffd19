//! Two TLS sessions of ours, with a stranger between them who cuts, corrupts and injects.
//!
//! The input is a script: which side sends how much, and what happens to the bytes on their way. As
//! long as nothing was tampered with, each side receives just what the other sent.
#![no_main]

use std::sync::LazyLock;

use fxsrv::io::{Buffer, RecvWindow, SendWindow};
use fxsrv::tls::certs::{Throwaway, throwaway};
use fxsrv::tls::{
    ClientAuth, ClientTls, Progress, ServerTls, TlsError, TlsSession, Trust, Versions,
};
use libfuzzer_sys::fuzz_target;

const WINDOW_BYTES: usize = 65_536;

static CERTS: LazyLock<Throwaway> =
    LazyLock::new(|| throwaway(&["localhost".to_owned()]).expect("keys can be made"));
static SERVER: LazyLock<ServerTls> = LazyLock::new(|| {
    ServerTls::new(&CERTS.server, ClientAuth::None, Versions::Tls12And13).expect("a configuration")
});
static CLIENT: LazyLock<ClientTls> = LazyLock::new(|| {
    ClientTls::new(Trust::Roots(&CERTS.roots), None, Versions::Tls12And13).expect("a configuration")
});

struct End {
    tls: TlsSession,
    recv: RecvWindow,
    send: SendWindow,
    /// What is on its way to it.
    wire: Vec<u8>,
    sealed: Vec<u8>,
    got: Vec<u8>,
    failed: Option<TlsError>,
}

impl End {
    fn new(tls: TlsSession) -> Self {
        Self {
            tls,
            recv: RecvWindow::new(Buffer::heap(WINDOW_BYTES)),
            send: SendWindow::new(Buffer::heap(WINDOW_BYTES)),
            wire: Vec::new(),
            sealed: Vec::new(),
            got: Vec::new(),
            failed: None,
        }
    }

    /// Advances until more input is needed. The first error must be the last.
    fn advance(&mut self) {
        loop {
            let got = &mut self.got;
            let step = self.tls.advance(&mut self.recv, &mut |plain| got.extend_from_slice(plain));
            if let Some(first) = &self.failed {
                assert_eq!(step.as_ref(), Err(first), "the first error is final");
            }
            match step {
                Ok(Progress::Flush) => {
                    self.tls.flush_control(&mut self.send);
                    if !self.send.is_empty() {
                        return;
                    }
                }
                Ok(Progress::NeedRead | Progress::Closed) => return,
                Ok(_) => {}
                Err(error) => {
                    self.failed = Some(error);
                    return;
                }
            }
        }
    }

    /// Takes `bytes` of what is on its way.
    fn receive(&mut self, bytes: usize) {
        let bytes = bytes.min(self.wire.len());
        let taken = self.recv.append(&self.wire[..bytes]);
        self.wire.drain(..taken);
        self.advance();
    }

    fn seal(&mut self, plain: &[u8]) {
        if let Ok(taken) = self.tls.seal(plain, &mut self.send) {
            self.sealed.extend_from_slice(&plain[..taken]);
        }
    }

    /// Everything that waits to be sent.
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
}

fuzz_target!(|script: &[u8]| {
    let mut client = End::new(TlsSession::client(&CLIENT, "localhost").expect("a session"));
    let mut server = End::new(TlsSession::server(&SERVER).expect("a session"));
    let mut honest = true;
    client.advance();
    for action in script.chunks(3).take(400) {
        let [what, which, much] = [0, 1, 2].map(|at| action.get(at).copied().unwrap_or(0));
        let (one, other) =
            if what & 1 == 0 { (&mut client, &mut server) } else { (&mut server, &mut client) };
        match what >> 1 & 7 {
            0..=2 => one.receive(usize::from(which) << (much & 7)),
            3 => one.seal(&vec![which; usize::from(much) << (which & 7)]),
            4 => {
                let at = usize::from(which) * (1 + usize::from(much) / 16);
                if let Some(byte) = one.wire.get_mut(at) {
                    *byte ^= much | 1;
                    honest = false;
                }
            }
            5 => {
                // A record of the stranger's own, in the clear.
                let record = [which, 3, 3, 0, 2, much, much];
                one.wire.splice(0..0, record);
                honest = false;
            }
            6 if which > 250 => {
                let _ = one.tls.close();
            }
            _ => one.advance(),
        }
        let flight = one.sent();
        other.wire.extend_from_slice(&flight);
    }
    if honest {
        assert!(client.failed.is_none() && server.failed.is_none());
        assert!(server.sealed.starts_with(&client.got) && client.sealed.starts_with(&server.got));
    }
});
