//! Where a server is: a host and a port.

use std::fmt;
use std::net::{Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// A host, as a name or an IP address, and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Without the brackets that an IPv6 address has in text.
    host: String,
    port: u16,
}

/// Why a text is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// No port.
    #[error("'{0}' has no port; an address is HOST:PORT, such as localhost:5000")]
    NoPort(String),
    /// The port is no number from 0 to 65535.
    #[error("'{0}' is no port; a port is a number from 0 to 65535")]
    Port(String),
    /// No host.
    #[error("'{0}' has no host; an address is HOST:PORT, such as localhost:5000")]
    NoHost(String),
    /// An IPv6 address whose last group could be a port.
    #[error("'{0}' is ambiguous; an IPv6 address goes in brackets, such as [::1]:5000")]
    Brackets(String),
}

impl Address {
    /// The host: what is resolved, and whose name the certificate must have.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (host, port) =
            text.rsplit_once(':').ok_or_else(|| AddressError::NoPort(text.to_owned()))?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        if bare.is_none() && host.contains(':') || text.parse::<Ipv6Addr>().is_ok() {
            return Err(AddressError::Brackets(text.to_owned()));
        }
        let host = bare.unwrap_or(host);
        if host.is_empty() {
            return Err(AddressError::NoHost(text.to_owned()));
        }
        let port = port.parse().map_err(|_| AddressError::Port(port.to_owned()))?;
        Ok(Self { host: host.to_owned(), port })
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self { host: address.ip().to_string(), port: address.port() }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_back_as_they_are_written() {
        for text in ["localhost:5000", "127.0.0.1:0", "[::1]:65535", "a.example:1"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        let six: Address = "[::1]:5000".parse().unwrap();
        assert_eq!((six.host(), six.port()), ("::1", 5000));
        let socket: SocketAddr = "[::1]:5000".parse().unwrap();
        assert_eq!(Address::from(socket), six);
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = |text: &str| text.parse::<Address>().unwrap_err();
        assert_eq!(error("localhost"), AddressError::NoPort("localhost".into()));
        assert_eq!(error(":5000"), AddressError::NoHost(":5000".into()));
        assert_eq!(error("localhost:"), AddressError::Port(String::new()));
        assert_eq!(error("localhost:65536"), AddressError::Port("65536".into()));
        assert_eq!(error("::1"), AddressError::Brackets("::1".into()));
        assert_eq!(error("::1:5000"), AddressError::Brackets("::1:5000".into()));
    }
}
