//! rustls' unbuffered connection, of either side, reduced to two verbs.
//!
//! rustls hands out a state that borrows the connection; here each state is dealt with on the spot
//! and what remains is one word ([`Step`]).

use rustls::CommonState;
use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncryptError, UnbufferedStatus, WriteTraffic,
};

/// One side of a connection.
pub(super) enum Conn {
    Client(UnbufferedClientConnection),
    Server(UnbufferedServerConnection),
}

/// What one call of rustls came to.
#[derive(Debug)]
pub(super) enum Step {
    /// So many bytes went to the sink.
    Plaintext(usize),
    /// Output was encoded, or is acknowledged: call again.
    Again,
    /// Nothing to do without more input.
    Idle,
    /// The peer's `close_notify`.
    PeerClosed,
    /// Both directions are closed.
    Closed,
}

impl Conn {
    /// Shows `input` to rustls once. Output goes behind `control`, plaintext to `sink`; the number
    /// says how many bytes of the front of `input` are done with, also where the step failed.
    pub(super) fn step(
        &mut self,
        input: &mut [u8],
        control: &mut Vec<u8>,
        sink: &mut dyn FnMut(&[u8]),
    ) -> (usize, Result<Step, rustls::Error>) {
        match self {
            Self::Client(conn) => settle(conn.process_tls_records(input), control, sink),
            Self::Server(conn) => settle(conn.process_tls_records(input), control, sink),
        }
    }

    /// Runs `write` where application data may be written; `None` where it may not.
    pub(super) fn write(&mut self, input: &mut [u8], write: Write<'_>) -> Option<Sealed> {
        match self {
            Self::Client(conn) => write.run(conn.process_tls_records(input)),
            Self::Server(conn) => write.run(conn.process_tls_records(input)),
        }
    }

    pub(super) fn common(&self) -> &CommonState {
        match self {
            Self::Client(conn) => conn,
            Self::Server(conn) => conn,
        }
    }
}

fn settle<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    control: &mut Vec<u8>,
    sink: &mut dyn FnMut(&[u8]),
) -> (usize, Result<Step, rustls::Error>) {
    let UnbufferedStatus { mut discard, state } = status;
    let step = match state {
        Ok(ConnectionState::ReadTraffic(mut traffic)) => {
            let mut bytes = 0;
            while let Some(record) = traffic.next_record() {
                match record {
                    Ok(record) => {
                        sink(record.payload);
                        bytes += record.payload.len();
                        discard += record.discard;
                    }
                    Err(error) => return (discard, Err(error)),
                }
            }
            Ok(Step::Plaintext(bytes))
        }
        Ok(ConnectionState::EncodeTlsData(mut record)) => {
            encode(control, |room| record.encode(room)).map(|()| Step::Again)
        }
        Ok(ConnectionState::TransmitTlsData(transmit)) => {
            // The bytes are in `control` and leave from there in order: as good as sent.
            transmit.done();
            Ok(Step::Again)
        }
        Ok(ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_)) => Ok(Step::Idle),
        Ok(ConnectionState::PeerClosed) => Ok(Step::PeerClosed),
        Ok(ConnectionState::Closed) => Ok(Step::Closed),
        // Early data is refused by our configuration, and `ConnectionState` may grow.
        Ok(other) => Err(rustls::Error::General(format!("unexpected state {other:?}"))),
        Err(error) => Err(error),
    };
    (discard, step)
}

/// Appends one encoded record to `control`. rustls says the size by refusing an empty slice.
fn encode(
    control: &mut Vec<u8>,
    mut encode: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>,
) -> Result<(), rustls::Error> {
    let start = control.len();
    let mut outcome = encode(&mut []);
    if let Err(EncodeError::InsufficientSize(size)) = outcome {
        control.resize(start + size.required_size, 0);
        outcome = encode(&mut control[start..]);
    }
    match outcome {
        Ok(bytes) => {
            control.truncate(start + bytes);
            Ok(())
        }
        Err(error) => {
            control.truncate(start);
            Err(rustls::Error::General(error.to_string()))
        }
    }
}

/// What is to be written once rustls allows it.
pub(super) enum Write<'a> {
    /// These bytes, sealed into `room`.
    Data { plain: &'a [u8], room: &'a mut [u8] },
    /// `close_notify`, sealed into `room`.
    CloseNotify { room: &'a mut [u8] },
}

/// What sealing came to.
pub(super) enum Sealed {
    /// So many plain bytes were taken, and so many bytes written.
    Done { taken: usize, written: usize },
    /// Nothing was taken: not even one byte fits.
    NoRoom,
    /// The keys have sealed as much as they may (2^24 records and more, without a key update).
    Exhausted,
}

impl Write<'_> {
    fn run<Data>(self, status: UnbufferedStatus<'_, '_, Data>) -> Option<Sealed> {
        let Ok(ConnectionState::WriteTraffic(mut traffic)) = status.state else {
            return None;
        };
        Some(match self {
            Self::Data { plain, room } => seal(&mut traffic, plain, room),
            Self::CloseNotify { room } => match traffic.queue_close_notify(room) {
                Ok(written) => Sealed::Done { taken: 0, written },
                Err(EncryptError::InsufficientSize(_)) => Sealed::NoRoom,
                Err(EncryptError::EncryptExhausted) => Sealed::Exhausted,
            },
        })
    }
}

/// `encrypt` takes all or nothing, and may put a key update (27 bytes) in front: where that was not
/// reckoned with, take so many bytes fewer.
fn seal<Data>(traffic: &mut WriteTraffic<'_, Data>, plain: &[u8], room: &mut [u8]) -> Sealed {
    let mut taken = plain.len();
    // The second turn is short by exactly what the first said; a third is for luck, not a loop.
    for _ in 0..3 {
        if taken == 0 {
            return Sealed::NoRoom;
        }
        match traffic.encrypt(&plain[..taken], room) {
            Ok(written) => return Sealed::Done { taken, written },
            Err(EncryptError::InsufficientSize(size)) => {
                taken = taken.saturating_sub(size.required_size.saturating_sub(room.len()));
            }
            Err(EncryptError::EncryptExhausted) => return Sealed::Exhausted,
        }
    }
    Sealed::NoRoom
}
