//! Whose requests are let in: those for this host, and those that no other site has made.
//!
//! Another site can make a browser send requests here, and point a name of its own at this address
//! (DNS rebinding). The first is told by `Sec-Fetch-Site` and `Origin`, the second by `Host`. There
//! are no cookies, so that nobody's right rides along; but a gateway that holds a token serves
//! whoever reaches it.

use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode, Uri, header};

use super::problem::{BAD_HOST, CROSS_SITE, Problem};
use crate::admin::hosts;

/// The host that a request is for.
///
/// # Errors
///
/// There is none, or one that is not ours.
pub(super) fn check_host(
    uri: &Uri,
    headers: &HeaderMap,
    names: &[String],
) -> Result<Authority, Problem> {
    hosts::check(uri, headers, names).map_err(|refusal| {
        Problem::new(StatusCode::MISDIRECTED_REQUEST, BAD_HOST, refusal.to_string())
            .with_hint("the operator names further hosts with --name")
    })
}

/// Refuses what a browser sends on behalf of another site. What is no browser says nothing of both.
///
/// # Errors
///
/// It came from another site.
pub(super) fn check_origin(headers: &HeaderMap, host: &Authority) -> Result<(), Problem> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let foreign = || {
        Problem::new(StatusCode::FORBIDDEN, CROSS_SITE, "the request was made by another site")
            .with_hint("use the page of this server, or a program that is no browser")
    };
    match text("sec-fetch-site") {
        Some("same-origin" | "none") | None => {}
        Some(_) => return Err(foreign()),
    }
    match headers.get(header::ORIGIN) {
        None => Ok(()),
        Some(origin) => {
            let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
            let is_own = origin.is_some_and(|(_, of)| of.eq_ignore_ascii_case(host.as_str()));
            if is_own { Ok(()) } else { Err(foreign()) }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn what_another_site_makes_a_browser_send_is_refused() {
        let own: Authority = "localhost:8080".parse().unwrap();
        let check = |pairs: &[(&'static str, &'static str)]| check_origin(&headers(pairs), &own);
        for good in [
            &[][..],
            &[("sec-fetch-site", "same-origin"), ("origin", "http://localhost:8080")],
            &[("sec-fetch-site", "none")],
            &[("origin", "https://localhost:8080")],
        ] {
            assert!(check(good).is_ok(), "{good:?}");
        }
        for bad in [
            &[("sec-fetch-site", "cross-site")][..],
            &[("sec-fetch-site", "same-site")],
            &[("origin", "http://evil.example")],
            &[("origin", "null")],
            &[("origin", "http://localhost:9090")],
            &[("sec-fetch-site", "none"), ("origin", "http://localhost")],
        ] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
    }
}
