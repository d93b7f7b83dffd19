//! Whether a request names this machine. A page of another site may have pointed a name of its own at
//! our address (DNS rebinding), and the browser then takes our answers for that site's own.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use hyper::Uri;
use hyper::header::{self, HeaderMap};
use hyper::http::uri::Authority;

/// Why a host is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// None is named, or more than one.
    NotOne,
    /// It is no name of ours.
    NotOurs,
}

/// The host that a request is for, which must be an address, localhost, or one of `names`.
pub(crate) fn check(
    uri: &Uri,
    headers: &HeaderMap,
    names: &[String],
) -> Result<Authority, Refusal> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (first, second) = (hosts.next(), hosts.next());
    // A request in absolute form names its host itself, and HTTP/1.0 may name none.
    let parsed = first.and_then(|value| value.to_str().ok()).and_then(|host| host.parse().ok());
    let authority: Option<Authority> = uri.authority().cloned().or(parsed);
    let authority = authority.filter(|_| second.is_none()).ok_or(Refusal::NotOne)?;
    if is_ours(authority.host(), names) { Ok(authority) } else { Err(Refusal::NotOurs) }
}

/// An address cannot be rebound: whoever has it in his browser means this machine.
fn is_ours(host: &str, names: &[String]) -> bool {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    if bare.map_or_else(|| host.parse::<IpAddr>().is_ok(), |six| six.parse::<Ipv6Addr>().is_ok()) {
        return true;
    }
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    host == "localhost"
        || host.ends_with(".localhost")
        || names.iter().any(|name| name.eq_ignore_ascii_case(&host))
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotOne => "the request does not name one host",
            Self::NotOurs => "this server does not go by the name that the request has for it",
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn host(hosts: &[&'static str]) -> Result<Authority, Refusal> {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(header::HOST, HeaderValue::from_static(host));
        }
        check(&Uri::from_static("/"), &headers, &["files.example".to_owned()])
    }

    #[test]
    fn a_name_that_is_not_ours_may_have_been_rebound() {
        for ours in [
            "localhost",
            "localhost:8080",
            "LOCALHOST.:1",
            "a.localhost",
            "127.0.0.1:8080",
            "[::1]:8080",
            "192.0.2.1",
            "files.example:443",
        ] {
            assert!(host(&[ours]).is_ok(), "{ours}");
        }
        for other in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example"] {
            assert_eq!(host(&[other]), Err(Refusal::NotOurs), "{other}");
        }
        for unclear in [&[][..], &[""], &["a b"], &["localhost", "localhost"]] {
            assert_eq!(host(unclear), Err(Refusal::NotOne), "{unclear:?}");
        }
    }
}
