//! The conversion client, for the command line and for whatever else has a file to convert.
//!
//! Owns: reaching a server, asking in the version that it speaks, sending and receiving at once, and
//! judging the answer. Must never print, read or write files, or call an answer done that is not
//! whole.

mod address;
mod connection;
mod error;
mod exchange;
mod reach;
mod streamed;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;

use std::fmt;
use std::future::Future;
use std::str::FromStr;

pub use address::{Address, AddressError};
pub use connection::Connection;
pub use error::ClientError;
pub(crate) use reach::{reach, secure};
pub use streamed::{AnswerHead, Sink, Source, StreamedRequest};

use crate::auth::Token;
use crate::convert::Target;
use crate::io::Driver;
use crate::limits::ClientLimits;
use crate::tls::ClientTls;
use crate::wire::RequestOptions;

/// What a client needs to know.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// The server.
    pub server: Address,
    /// Whom it trusts.
    pub tls: ClientTls,
    /// What it shows to be served.
    pub token: Token,
    /// Which version it speaks.
    pub wire: Wire,
    /// What it bears.
    pub limits: ClientLimits,
    /// What carries its input and output; it must be that of the running event loop.
    pub driver: Driver,
}

/// Which version of the protocol is spoken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Wire {
    /// v1.1, and v1.0 to a server that does not know v1.1.
    #[default]
    Auto,
    /// v1.1 alone.
    V1_1,
    /// v1.0 alone, without options: one connection a request, and no checksum of the answer.
    V1_0,
}

/// One file to convert.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// What it becomes.
    pub target: Target,
    /// Its name, for log lines of the server; the content alone decides its type.
    pub name: &'a str,
    /// Its content.
    pub body: &'a [u8],
    /// What v1.1 may say beyond that. v1.0 takes the defaults and no others.
    pub options: &'a RequestOptions,
}

/// How far a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// The body is on its way.
    Uploading {
        /// Bytes that are sent.
        sent: u64,
        /// Bytes of the body.
        total: u64,
    },
    /// All of it is sent, and no answer is here yet.
    Converting,
    /// The answer arrives.
    Downloading {
        /// Bytes that are here.
        got: u64,
        /// Bytes that are announced.
        total: u64,
    },
}

/// A converted file, whole and checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The file.
    pub bytes: Vec<u8>,
    /// Microseconds that the conversion itself took; v1.0 does not tell.
    pub convert_us: Option<u32>,
}

/// Runs a client's work on the calling thread until it ends, for callers without an event loop.
///
/// # Errors
///
/// The event loop cannot be set up.
pub fn blocking<T>(
    driver: Driver,
    work: impl Future<Output = Result<T, ClientError>>,
) -> Result<T, ClientError> {
    driver.run(work).map_err(ClientError::EventLoop)?
}

impl FromStr for Wire {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "auto" => Ok(Self::Auto),
            "v1.1" => Ok(Self::V1_1),
            "v1.0" => Ok(Self::V1_0),
            other => Err(format!("'{other}' is no version; there are auto, v1.1 and v1.0")),
        }
    }
}

impl fmt::Display for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::V1_1 => "v1.1",
            Self::V1_0 => "v1.0",
        })
    }
}
