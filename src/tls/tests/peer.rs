//! A peer that holds its own keys, and so can seal whichever record it likes.

use std::sync::Arc;

use rustls::crypto::cipher::{MessageEncrypter, OutboundPlainMessage};
use rustls::{
    Connection, ConnectionTrafficSecrets, ContentType, ProtocolVersion, SupportedCipherSuite,
};

use super::*;

/// rustls with its own buffers, in place of one of our sessions.
pub(super) struct Peer(pub(super) Connection);

impl Peer {
    pub(super) fn client(config: &ClientTls) -> Self {
        let mut config = Arc::unwrap_or_clone(config.rustls());
        config.enable_secret_extraction = true;
        // Else a ticket of another test may shorten the handshake.
        config.resumption = rustls::client::Resumption::disabled();
        let name = "localhost".try_into().unwrap();
        Self(rustls::ClientConnection::new(Arc::new(config), name).unwrap().into())
    }

    /// A server whose records hold at most `fragment_bytes`.
    pub(super) fn server(config: &ServerTls, fragment_bytes: Option<usize>) -> Self {
        let mut config = Arc::unwrap_or_clone(config.rustls());
        config.enable_secret_extraction = true;
        config.max_fragment_size = fragment_bytes;
        Self(rustls::ServerConnection::new(Arc::new(config)).unwrap().into())
    }

    pub(super) fn receive(&mut self, mut wire: &[u8]) {
        while !wire.is_empty() {
            self.0.read_tls(&mut wire).unwrap();
            self.0.process_new_packets().unwrap();
        }
    }

    pub(super) fn sent(&mut self) -> Vec<u8> {
        let mut wire = Vec::new();
        while self.0.wants_write() {
            self.0.write_tls(&mut wire).unwrap();
        }
        wire
    }

    /// Receives more than rustls' own buffers hold, and compares as it comes.
    pub(super) fn receive_while_reading(&mut self, wire: &[u8], expected: &[u8]) {
        let mut got = Vec::new();
        for record in records(wire) {
            self.receive(record);
            got.extend(self.read());
        }
        assert!(got == expected, "{} bytes of {}", got.len(), expected.len());
    }

    fn read(&mut self) -> Vec<u8> {
        let mut plain = Vec::new();
        // It ends with `WouldBlock` while the connection is open; what came before is kept.
        let _open = std::io::Read::read_to_end(&mut self.0.reader(), &mut plain);
        plain
    }

    pub(super) fn write(&mut self, plain: &[u8]) {
        std::io::Write::write_all(&mut self.0.writer(), plain).unwrap();
    }

    /// Shakes hands with `end`; what the peer says last is returned, not delivered.
    pub(super) fn shake_hands(&mut self, end: &mut End) -> Vec<u8> {
        end.run().unwrap();
        loop {
            let to_end = self.sent();
            if !self.0.is_handshaking() && !end.tls.is_handshaking() {
                return to_end;
            }
            end.receive(&to_end, WINDOW_BYTES).unwrap();
            let to_peer = end.sent();
            self.receive(&to_peer);
        }
    }

    /// Takes the keys away. From here on this side only forges.
    pub(super) fn into_forger(self) -> Forger {
        let suite = self.0.negotiated_cipher_suite().unwrap();
        let secrets = self.0.dangerous_extract_secrets().unwrap();
        let (seq, keys) = secrets.tx;
        let (ConnectionTrafficSecrets::Aes128Gcm { key, iv }
        | ConnectionTrafficSecrets::Aes256Gcm { key, iv }) = keys
        else {
            panic!("the default suites of both versions begin with AES-GCM");
        };
        let encrypter = match suite {
            SupportedCipherSuite::Tls13(suite) => suite.aead_alg.encrypter(key, iv),
            SupportedCipherSuite::Tls12(suite) => {
                let (salt, explicit) = iv.as_ref().split_at(4);
                suite.aead_alg.encrypter(key, salt, explicit)
            }
        };
        // aws-lc takes the first nonce that it sees for that of record 0, and refuses to go back.
        let mut forger = Forger { seq: 0, encrypter };
        if seq > 0 {
            forger.data(b"never sent");
            forger.seq = seq;
        }
        forger
    }
}

/// Seals records of any type and content with a connection's keys.
pub(super) struct Forger {
    seq: u64,
    encrypter: Box<dyn MessageEncrypter>,
}

impl Forger {
    pub(super) fn record(&mut self, typ: ContentType, payload: &[u8]) -> Vec<u8> {
        let version = ProtocolVersion::TLSv1_2;
        let message = OutboundPlainMessage { typ, version, payload: payload.into() };
        let record = self.encrypter.encrypt(message, self.seq).unwrap().encode();
        self.seq += 1;
        record
    }

    pub(super) fn data(&mut self, payload: &[u8]) -> Vec<u8> {
        self.record(ContentType::ApplicationData, payload)
    }
}
