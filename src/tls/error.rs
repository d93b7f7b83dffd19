//! What can go wrong with a connection.

use rustls::{CertificateError, Error};

/// Why a session ended. Cloneable, since the first error is every later answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// The server's certificate does not prove that it is the server which was asked for.
    #[error("the server's certificate is refused: {detail}")]
    ServerCertificate {
        /// What kind of problem.
        problem: CertificateProblem,
        /// The problem in words.
        detail: String,
    },
    /// The client's certificate is refused by us, the server.
    #[error("the client's certificate is refused: {detail}")]
    ClientCertificate {
        /// What kind of problem.
        problem: CertificateProblem,
        /// The problem in words.
        detail: String,
    },
    /// We, the server, require a certificate of the client, and it sent none.
    #[error("the client presented no certificate, and one is required")]
    ClientCertificateMissing,
    /// The peer has ended the connection with an alert.
    #[error("the peer refused the connection: {meaning} (alert {code}, {name})")]
    PeerAlert {
        /// The code of RFC 8446, 6.
        code: u8,
        /// The name of that code.
        name: String,
        /// What it says, in words.
        meaning: &'static str,
    },
    /// Both sides speak TLS, and have no version or algorithm in common.
    #[error("no TLS parameters in common with the peer: {detail}")]
    Incompatible {
        /// What is missing.
        detail: String,
    },
    /// The peer breaks the rules of TLS, or does not speak it.
    #[error("the peer breaks the TLS protocol: {detail}")]
    Protocol {
        /// How.
        detail: String,
    },
    /// The peer sends a handshake message in pieces that fill the whole window.
    #[error("the peer's handshake message does not fit into {window_bytes} bytes")]
    MessageTooLarge {
        /// Size of the receive window.
        window_bytes: usize,
    },
    /// The connection ended without `close_notify`.
    #[error("the connection ended without close_notify: what came may be cut short")]
    Truncated,
    /// Data was to be sealed after `close_notify`. Not latched.
    #[error("data was to be sent after close_notify")]
    WriteAfterClose,
    /// The keys have sealed as many records as they may.
    #[error("the keys of this connection are used up")]
    KeysExhausted,
    /// A client was asked to connect to something that is no name.
    #[error("{name:?} is no server name: a DNS name or an IP address is needed")]
    ServerName {
        /// What was given.
        name: String,
    },
    /// A mistake of ours.
    #[error("internal TLS error: {0}")]
    Internal(String),
}

/// What is wrong with a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateProblem {
    /// It is signed by nobody who is trusted here.
    Untrusted,
    /// It is for another name.
    WrongName,
    /// It is no longer valid.
    Expired,
    /// It is not valid yet.
    NotYetValid,
    /// It is for another purpose: a client's shown by a server, say.
    WrongPurpose,
    /// It cannot be read, or its signature does not fit.
    Broken,
}

/// Which side of the connection we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Server,
}

impl TlsError {
    pub(super) fn from_rustls(error: Error, side: Side) -> Self {
        match error {
            Error::InvalidCertificate(error) => {
                let (problem, detail) = describe_certificate_error(&error);
                match side {
                    Side::Client => Self::ServerCertificate { problem, detail },
                    Side::Server => Self::ClientCertificate { problem, detail },
                }
            }
            Error::NoCertificatesPresented if side == Side::Server => {
                Self::ClientCertificateMissing
            }
            Error::AlertReceived(alert) => {
                let code = u8::from(alert);
                let name = alert.as_str().map_or_else(|| format!("{alert:?}"), str::to_owned);
                Self::PeerAlert { code, name, meaning: alert_meaning(code) }
            }
            Error::PeerIncompatible(why) => Self::Incompatible { detail: format!("{why:?}") },
            Error::InappropriateMessage { .. }
            | Error::InappropriateHandshakeMessage { .. }
            | Error::InvalidMessage(_)
            | Error::PeerMisbehaved(_)
            | Error::DecryptError
            | Error::PeerSentOversizedRecord
            | Error::NoCertificatesPresented
            | Error::UnsupportedNameType
            | Error::NoApplicationProtocol
            | Error::InvalidEncryptedClientHello(_) => Self::Protocol { detail: error.to_string() },
            other => Self::internal(other),
        }
    }

    #[allow(clippy::needless_pass_by_value)] // It is the argument of `map_err`.
    pub(super) fn internal(error: Error) -> Self {
        Self::Internal(error.to_string())
    }

    /// Whether the peer is to blame, or whoever is between.
    #[must_use]
    pub fn is_peer_fault(&self) -> bool {
        match self {
            Self::ServerCertificate { .. }
            | Self::ClientCertificate { .. }
            | Self::ClientCertificateMissing
            | Self::PeerAlert { .. }
            | Self::Incompatible { .. }
            | Self::Protocol { .. }
            | Self::MessageTooLarge { .. }
            | Self::Truncated => true,
            Self::WriteAfterClose
            | Self::KeysExhausted
            | Self::ServerName { .. }
            | Self::Internal(_) => false,
        }
    }

    /// The next step, where there is one.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::ServerCertificate { problem, .. } => match problem {
                CertificateProblem::Untrusted => {
                    "give the ca.pem of this server's certificate directory"
                }
                CertificateProblem::WrongName => {
                    "connect by a name that the certificate has, or make one with this name"
                }
                CertificateProblem::Expired => "make new certificates on the server",
                CertificateProblem::NotYetValid => "compare the clocks of both machines",
                CertificateProblem::WrongPurpose => "the server must use server.pem",
                CertificateProblem::Broken => "the server's certificate files need to be remade",
            },
            Self::ClientCertificate { .. } | Self::ClientCertificateMissing => {
                "the client needs client.pem and client.key of this server's certificate directory"
            }
            Self::PeerAlert { code: 42 | 43 | 44 | 45 | 46 | 48 | 116, .. } => {
                "the peer asks for a certificate that its ca.pem has signed"
            }
            Self::Incompatible { .. } | Self::PeerAlert { code: 40 | 70, .. } => {
                "compare the TLS versions that both sides allow"
            }
            Self::Protocol { .. } => "check that the address is that of a TLS port",
            _ => return None,
        })
    }
}

/// A problem in words that a person understands, with the facts that the error carries.
fn describe_certificate_error(error: &CertificateError) -> (CertificateProblem, String) {
    use CertificateError as E;
    let (problem, detail) = match error {
        E::Expired => (CertificateProblem::Expired, "it is no longer valid".to_owned()),
        E::ExpiredContext { time, not_after } => {
            let days = time.as_secs().saturating_sub(not_after.as_secs()) / SECONDS_PER_DAY;
            (CertificateProblem::Expired, format!("it is no longer valid, since {days} days"))
        }
        E::NotValidYet => (CertificateProblem::NotYetValid, "it is not valid yet".to_owned()),
        E::NotValidYetContext { time, not_before } => {
            let seconds = not_before.as_secs().saturating_sub(time.as_secs());
            (CertificateProblem::NotYetValid, format!("it is valid only in {seconds} seconds"))
        }
        E::UnknownIssuer => {
            (CertificateProblem::Untrusted, "its issuer is not trusted here".to_owned())
        }
        // Two CAs of the same name: the usual sight where somebody has made a second set.
        E::BadSignature => {
            let detail = "it is signed by another CA than the one that is trusted here";
            (CertificateProblem::Untrusted, detail.to_owned())
        }
        E::NotValidForName => (CertificateProblem::WrongName, "it is for another name".to_owned()),
        E::NotValidForNameContext { expected, presented } => {
            let expected = expected.to_str();
            let names = presented.join(", ");
            (CertificateProblem::WrongName, format!("it is not for {expected}, but for {names}"))
        }
        E::InvalidPurpose | E::InvalidPurposeContext { .. } => {
            (CertificateProblem::WrongPurpose, "it is made for another purpose".to_owned())
        }
        other => (CertificateProblem::Broken, other.to_string()),
    };
    (problem, detail)
}

const SECONDS_PER_DAY: u64 = 86_400;

/// The alerts that a user may meet (RFC 8446, 6.2).
fn alert_meaning(code: u8) -> &'static str {
    match code {
        10 => "it did not expect our message",
        20 => "it could not decrypt our data",
        22 => "our record was too large",
        40 => "it found no acceptable parameters",
        42 | 43 => "it cannot use our certificate",
        44 => "our certificate is revoked",
        45 => "our certificate is no longer valid",
        46 => "it does not accept our certificate",
        47 | 50 => "it could not read our message",
        48 => "it does not trust the issuer of our certificate",
        49 => "we are not allowed to connect",
        51 => "a signature of ours does not fit",
        70 => "it speaks no TLS version that we offer",
        71 => "our parameters are not secure enough for it",
        80 => "it has an internal error",
        90 => "the user cancelled",
        112 => "it does not know the name that we asked for",
        116 => "it requires a certificate from us",
        _ => "it gave no other reason",
    }
}
