//! A connection of TLS 1.3 after its handshake: records of our own, on keys that rustls has agreed
//! on and renews (`rustls::kernel`).
//!
//! rustls hands out each opened record in memory of its own, and puts each one to be sealed
//! together in memory of its own. Here a record is opened where it was received and sealed from
//! there into the other connection's window: nothing is copied, and nothing allocated. What is left
//! of the protocol after a handshake is this file: data, alerts, key updates and tickets (RFC 8446,
//! 4.6, 5 and 6). All else ends the connection.

use rustls::client::ClientConnectionData;
use rustls::kernel::KernelConnection;
use rustls::server::ServerConnectionData;
use rustls::{
    AlertDescription, CommonState, ContentType, Error, HandshakeType, InvalidMessage,
    PeerMisbehaved, ProtocolVersion, SupportedCipherSuite,
};

use super::conn::{Conn, Sealed};
use super::control::Control;
use super::records::{OVERHEAD_BYTES, Opener, Sealer};
use super::session::{Event, HEADER_BYTES, RECORD_PLAIN_BYTES_MAX};
use crate::io::RecvWindow;

/// A record's payload at most: 2^14, and 256 for type, padding and tag (RFC 8446, 5.2).
const SEALED_BYTES_MAX: usize = RECORD_PLAIN_BYTES_MAX + 256;

/// Records under one key: at 2^24.5 the margin of AES-GCM is used up (RFC 8446, 5.5).
const RECORDS_PER_KEY_MAX: u64 = 1 << 24;

/// `KeyUpdate` that asks for none in return (RFC 8446, 4.6.3), and its record.
const KEY_UPDATE: [u8; 5] = [24, 0, 0, 1, 0];
const KEY_UPDATE_RECORD_BYTES: usize = KEY_UPDATE.len() + OVERHEAD_BYTES;

/// Of a handshake message: type and length.
const MESSAGE_HEADER_BYTES: usize = 4;

/// The longest message that is put together from pieces: a ticket and its extensions.
const MESSAGE_BYTES_MAX: usize = MESSAGE_HEADER_BYTES + (1 << 16);

/// What a peer may send in a row, between data, that says nothing and costs us work.
const EMPTY_RECORDS_MAX: u32 = 32;
const KEY_UPDATES_MAX: u32 = 32;
const WARNINGS_MAX: u32 = 4;

/// rustls, reduced to what is still asked of it.
enum Secrets {
    Client(KernelConnection<ClientConnectionData>),
    Server(KernelConnection<ServerConnectionData>),
}

pub(super) struct Traffic {
    secrets: Secrets,
    opener: Opener,
    sealer: Sealer,
    records_per_key_max: u64,
    /// The beginning of a handshake message whose rest has yet to come.
    message: Vec<u8>,
    is_resumed: bool,
    /// Our `close_notify` is said.
    is_closed: bool,
    empty_records: u32,
    key_updates: u32,
    warnings: u32,
}

/// Why a peer is refused, and what it is told.
struct Refused(Error, AlertDescription);

/// Whoever has sent an alert is not told anything more.
const NO_ALERT: AlertDescription = AlertDescription::CloseNotify;

/// What a record was.
enum Taken {
    Plaintext(usize),
    Control,
    PeerClosed,
}

impl Traffic {
    /// Whether the connection is one of those that this serves.
    pub(super) fn is_for(common: &CommonState) -> bool {
        let is_aes_gcm = |suite| {
            matches!(suite, SupportedCipherSuite::Tls13(suite)
                if matches!(suite.common.suite,
                    rustls::CipherSuite::TLS13_AES_128_GCM_SHA256
                    | rustls::CipherSuite::TLS13_AES_256_GCM_SHA384))
        };
        common.protocol_version() == Some(ProtocolVersion::TLSv1_3)
            && common.negotiated_cipher_suite().is_some_and(is_aes_gcm)
    }

    /// Takes a connection over whose handshake has ended.
    pub(super) fn take_over(conn: Conn) -> Result<Self, Error> {
        let is_resumed = conn.common().handshake_kind() == Some(rustls::HandshakeKind::Resumed);
        let (extracted, secrets) = match conn {
            Conn::Client(conn) => {
                let (extracted, secrets) = conn.dangerous_into_kernel_connection()?;
                (extracted, Secrets::Client(secrets))
            }
            Conn::Server(conn) => {
                let (extracted, secrets) = conn.dangerous_into_kernel_connection()?;
                (extracted, Secrets::Server(secrets))
            }
        };
        Ok(Self {
            secrets,
            opener: Opener::new(extracted.rx.0, &extracted.rx.1)?,
            sealer: Sealer::new(extracted.tx.0, &extracted.tx.1)?,
            records_per_key_max: RECORDS_PER_KEY_MAX,
            message: Vec::new(),
            is_resumed,
            is_closed: false,
            empty_records: 0,
            key_updates: 0,
            warnings: 0,
        })
    }

    /// Renews the key that seals after so many records.
    #[cfg(test)]
    pub(super) fn renew_after(&mut self, records: u64) {
        self.records_per_key_max = records;
    }

    pub(super) fn is_resumed(&self) -> bool {
        self.is_resumed
    }

    /// See [`super::TlsSession::advance`]. Where it fails, the alert is in `control`.
    pub(super) fn advance(
        &mut self,
        recv: &mut RecvWindow,
        control: &mut Control,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Result<Event, Error> {
        loop {
            let taken = match record_end(recv.unread()) {
                Ok(None) => return Ok(Event::NeedRead),
                Ok(Some(end)) => {
                    let taken = self.take(&mut recv.unread_mut()[..end], control, sink);
                    recv.discard(end);
                    taken
                }
                Err(refused) => Err(refused),
            };
            match taken {
                Ok(Taken::Plaintext(bytes)) => return Ok(Event::Plaintext(bytes)),
                Ok(Taken::PeerClosed) => return Ok(Event::PeerClosed),
                Ok(Taken::Control) if control.is_full() => return Ok(Event::Flush),
                Ok(Taken::Control) => {}
                Err(Refused(error, NO_ALERT)) => return Err(error),
                Err(Refused(error, alert)) => {
                    self.send_alert(alert, control)?;
                    return Err(error);
                }
            }
        }
    }

    fn take(
        &mut self,
        record: &mut [u8],
        control: &mut Control,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Result<Taken, Refused> {
        let (typ, content) = self.opener.open(record).map_err(of_record)?;
        if !self.message.is_empty() && typ != ContentType::Handshake {
            return Err(unexpected(ContentType::Handshake, typ));
        }
        match typ {
            ContentType::ApplicationData if content.is_empty() => {
                count(
                    &mut self.empty_records,
                    EMPTY_RECORDS_MAX,
                    InvalidMessage::InvalidEmptyPayload,
                )?;
                Ok(Taken::Plaintext(0))
            }
            ContentType::ApplicationData => {
                (self.empty_records, self.key_updates) = (0, 0);
                sink(content);
                Ok(Taken::Plaintext(content.len()))
            }
            ContentType::Handshake => {
                self.take_handshake(content, control).map(|()| Taken::Control)
            }
            ContentType::Alert => self.take_alert(content),
            other => Err(unexpected(ContentType::ApplicationData, other)),
        }
    }

    fn take_alert(&mut self, content: &[u8]) -> Result<Taken, Refused> {
        let [_level, description] = content else {
            let error = InvalidMessage::TrailingData("Alert");
            return Err(Refused(error.into(), AlertDescription::UnexpectedMessage));
        };
        match AlertDescription::from(*description) {
            AlertDescription::CloseNotify => Ok(Taken::PeerClosed),
            AlertDescription::UserCanceled => {
                let too_many = PeerMisbehaved::TooManyWarningAlertsReceived;
                count(&mut self.warnings, WARNINGS_MAX, too_many)?;
                Ok(Taken::Control)
            }
            other => Err(Refused(Error::AlertReceived(other), NO_ALERT)),
        }
    }

    /// Takes messages from `content`, of which the first and the last may be in pieces.
    fn take_handshake(&mut self, content: &[u8], control: &mut Control) -> Result<(), Refused> {
        if content.is_empty() {
            return Err(unexpected(ContentType::ApplicationData, ContentType::Handshake));
        }
        let mut message = std::mem::take(&mut self.message);
        message.extend_from_slice(content);
        let mut rest = &message[..];
        while let [typ, length @ ..] = rest {
            let Some(length) = length.first_chunk::<3>() else { break };
            let length = u32::from_be_bytes([0, length[0], length[1], length[2]]) as usize;
            if MESSAGE_HEADER_BYTES + length > MESSAGE_BYTES_MAX {
                let error = InvalidMessage::HandshakePayloadTooLarge;
                return Err(Refused(error.into(), AlertDescription::DecodeError));
            }
            let typ = HandshakeType::from(*typ);
            let Some(payload) = rest.get(MESSAGE_HEADER_BYTES..MESSAGE_HEADER_BYTES + length)
            else {
                // What is not going to be taken need not be put together first.
                self.check_message(typ)?;
                break;
            };
            rest = &rest[MESSAGE_HEADER_BYTES + length..];
            self.take_message(typ, payload, rest.is_empty(), control)?;
        }
        let taken = message.len() - rest.len();
        // An idle connection keeps nothing, not even a capacity; a message in pieces is not moved.
        if taken < message.len() {
            message.drain(..taken);
            self.message = message;
        }
        Ok(())
    }

    fn check_message(&self, typ: HandshakeType) -> Result<(), Refused> {
        match (typ, &self.secrets) {
            (HandshakeType::KeyUpdate, _)
            | (HandshakeType::NewSessionTicket, Secrets::Client(_)) => Ok(()),
            _ => {
                let expect_types = vec![HandshakeType::NewSessionTicket, HandshakeType::KeyUpdate];
                let error = Error::InappropriateHandshakeMessage { expect_types, got_type: typ };
                Err(Refused(error, AlertDescription::UnexpectedMessage))
            }
        }
    }

    fn take_message(
        &mut self,
        typ: HandshakeType,
        payload: &[u8],
        is_last: bool,
        control: &mut Control,
    ) -> Result<(), Refused> {
        self.check_message(typ)?;
        match &mut self.secrets {
            Secrets::Client(secrets) if typ == HandshakeType::NewSessionTicket => secrets
                .handle_new_session_ticket(payload)
                .map_err(|error| Refused(error, AlertDescription::DecodeError)),
            _ => self.take_key_update(payload, is_last, control),
        }
    }

    /// What follows a key update is under the new keys, so that nothing may follow in its record.
    fn take_key_update(
        &mut self,
        payload: &[u8],
        is_last: bool,
        control: &mut Control,
    ) -> Result<(), Refused> {
        let answers = match payload {
            [0] => false,
            [1] => true,
            _ => {
                let error = InvalidMessage::InvalidKeyUpdate;
                return Err(Refused(error.into(), AlertDescription::IllegalParameter));
            }
        };
        if !is_last {
            let error = PeerMisbehaved::KeyEpochWithPendingFragment;
            return Err(Refused(error.into(), AlertDescription::UnexpectedMessage));
        }
        count(&mut self.key_updates, KEY_UPDATES_MAX, PeerMisbehaved::TooManyKeyUpdateRequests)?;
        let renewed = match &mut self.secrets {
            Secrets::Client(secrets) => secrets.update_rx_secret(),
            Secrets::Server(secrets) => secrets.update_rx_secret(),
        };
        let opener = renewed.and_then(|(seq, secrets)| Opener::new(seq, &secrets));
        self.opener = opener.map_err(of_ours)?;
        // Nothing may follow our own close_notify.
        if answers && !self.is_closed {
            let mut record = [0; KEY_UPDATE_RECORD_BYTES];
            self.renew_sealer(&mut record).map_err(of_ours)?;
            control.tail().extend_from_slice(&record);
        }
        Ok(())
    }

    /// Seals a key update, of [`KEY_UPDATE_RECORD_BYTES`], into `room`; what is sealed from here on is
    /// under the new key.
    fn renew_sealer(&mut self, room: &mut [u8]) -> Result<usize, Error> {
        let written = self.sealer.seal(ContentType::Handshake, &KEY_UPDATE, room)?;
        let (seq, secrets) = match &mut self.secrets {
            Secrets::Client(secrets) => secrets.update_tx_secret(),
            Secrets::Server(secrets) => secrets.update_tx_secret(),
        }?;
        self.sealer = Sealer::new(seq, &secrets)?;
        Ok(written)
    }

    /// Seals as much of `plain` as fits into `room`, in records of at most 16 KiB.
    pub(super) fn seal(&mut self, plain: &[u8], room: &mut [u8]) -> Result<Sealed, Error> {
        let (mut taken, mut written) = (0, 0);
        while taken < plain.len() {
            let free = room.len() - written;
            if self.sealer.sealed_records() >= self.records_per_key_max {
                if free < KEY_UPDATE_RECORD_BYTES {
                    break;
                }
                written += self.renew_sealer(&mut room[written..])?;
                continue;
            }
            let left = plain.len() - taken;
            let fitting = left.min(RECORD_PLAIN_BYTES_MAX).min(free.saturating_sub(OVERHEAD_BYTES));
            if fitting == 0 {
                break;
            }
            let record = &plain[taken..taken + fitting];
            written +=
                self.sealer.seal(ContentType::ApplicationData, record, &mut room[written..])?;
            taken += fitting;
        }
        Ok(if written == 0 { Sealed::NoRoom } else { Sealed::Done { taken, written } })
    }

    pub(super) fn close(&mut self, control: &mut Control) -> Result<(), Error> {
        self.is_closed = true;
        self.send_alert(AlertDescription::CloseNotify, control)
    }

    fn send_alert(&mut self, alert: AlertDescription, control: &mut Control) -> Result<(), Error> {
        const WARNING: u8 = 1;
        const FATAL: u8 = 2;
        let level = if alert == AlertDescription::CloseNotify { WARNING } else { FATAL };
        let mut record = [0; 2 + OVERHEAD_BYTES];
        self.sealer.seal(ContentType::Alert, &[level, u8::from(alert)], &mut record)?;
        control.tail().extend_from_slice(&record);
        Ok(())
    }
}

/// Where the record at the front of `unread` ends, if it is complete. A header that cannot be is
/// refused before the rest has come.
fn record_end(unread: &[u8]) -> Result<Option<usize>, Refused> {
    let Some(typ) = unread.first() else { return Ok(None) };
    let typ = ContentType::from(*typ);
    if typ != ContentType::ApplicationData {
        return Err(unexpected(ContentType::ApplicationData, typ));
    }
    let Some([_, _, _, high, low]) = unread.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
    let sealed_bytes = usize::from(u16::from_be_bytes([*high, *low]));
    if sealed_bytes > SEALED_BYTES_MAX {
        return Err(of_record(Error::PeerSentOversizedRecord));
    }
    let end = HEADER_BYTES + sealed_bytes;
    Ok((end <= unread.len()).then_some(end))
}

fn count(counter: &mut u32, most: u32, too_many: impl Into<Error>) -> Result<(), Refused> {
    *counter += 1;
    if *counter > most {
        return Err(Refused(too_many.into(), AlertDescription::UnexpectedMessage));
    }
    Ok(())
}

fn unexpected(expected: ContentType, got_type: ContentType) -> Refused {
    let error = Error::InappropriateMessage { expect_types: vec![expected], got_type };
    Refused(error, AlertDescription::UnexpectedMessage)
}

fn of_record(error: Error) -> Refused {
    let alert = match error {
        Error::PeerSentOversizedRecord => AlertDescription::RecordOverflow,
        Error::PeerMisbehaved(_) => AlertDescription::UnexpectedMessage,
        _ => AlertDescription::BadRecordMac,
    };
    Refused(error, alert)
}

fn of_ours(error: Error) -> Refused {
    Refused(error, AlertDescription::InternalError)
}
