//! The order in which a request's header is checked, for master and worker alike.

use super::{Code, Failure, Operation, RequestHeader, Version};
use crate::auth::{Denied, Grant};

/// What a header asks for, once everything that it alone can tell has been checked.
#[derive(Debug, Clone)]
pub struct Admitted {
    /// The version, which is also the answer's.
    pub version: Version,
    /// What is asked for.
    pub operation: Operation,
    /// Bytes of options between header and body.
    pub options_bytes: usize,
    /// What the token lets its holder do.
    pub grant: Grant,
}

/// Checks version, token, operation and size, in this order; the first that fails is the answer.
/// The length of the options belongs to the operation's field and is checked with it. `check` says
/// what a token lets its holder do: an operation that it is not for is refused where one that does not
/// exist is, and so is a size.
///
/// # Errors
///
/// The failure, and the version to answer in. Where that is `None` the version is unknown, and the
/// answer is in v1.0, which every client can read.
pub fn admit(
    header: &RequestHeader,
    check: &dyn Fn(&[u8]) -> Result<Grant, Denied>,
    body_bytes_max: u64,
) -> Result<Admitted, (Option<Version>, Failure)> {
    let version = header.version().map_err(|failure| (None, failure))?;
    admit_version(header, version, check, body_bytes_max)
        .map_err(|failure| (Some(version), failure))
}

fn admit_version(
    header: &RequestHeader,
    version: Version,
    check: &dyn Fn(&[u8]) -> Result<Grant, Denied>,
    body_bytes_max: u64,
) -> Result<Admitted, Failure> {
    let grant = check(header.token()).map_err(unauthorized)?;
    let operation = header.operation(version)?;
    if !grant.uses().has_operation(operation.id()) {
        let (name, uses) = (operation.name(), grant.uses());
        let message = format!("the token is not for {name}, but for {uses}");
        return Err(Failure::new(Code::BadOperation, message)
            .with_hint("the operator may give it more operations, or another token"));
    }
    let options_bytes = header.options_bytes(version)?;
    check_size(operation, header.body_bytes(), body_bytes_max, "")?;
    if let Some(own_max) = grant.body_bytes_max() {
        check_size(operation, header.body_bytes(), own_max, " of the token")?;
    }
    Ok(Admitted { version, operation, options_bytes, grant })
}

fn unauthorized(denied: Denied) -> Failure {
    let hint = match denied {
        Denied::Unknown => "check the token that the client was started with".to_owned(),
        Denied::Expired { .. } => "ask the operator for a new one".to_owned(),
        Denied::Limited { wait } => {
            format!("try again in {} s, with a token that is accepted", wait.as_secs().max(1))
        }
    };
    Failure::new(Code::Unauthorized, denied.to_string()).with_hint(hint)
}

fn check_size(
    operation: Operation,
    body_bytes: u64,
    body_bytes_max: u64,
    whose: &str,
) -> Result<(), Failure> {
    if operation == Operation::Status && body_bytes > 0 {
        return Err(Failure::new(
            Code::TooLarge,
            format!("a status request has no body, and {body_bytes} bytes are announced"),
        ));
    }
    if body_bytes > body_bytes_max {
        let over = body_bytes - body_bytes_max;
        return Err(Failure::new(
            Code::TooLarge,
            format!(
                "the body has {body_bytes} bytes, {over} over the limit{whose} of {body_bytes_max}"
            ),
        ));
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::auth::{Token, TokenList, Tokens};

    const LIMIT: u64 = 100;

    fn accepts(token: &[u8]) -> Result<Grant, Denied> {
        Tokens::Only(vec![Token::parse("right").unwrap()]).check(token)
    }

    /// A header of raw parts, any of which may be wrong.
    fn header(version: [u8; 4], token: &[u8], body_bytes: u64, operation: u32) -> RequestHeader {
        let mut bytes = [0; 94];
        bytes[..4].copy_from_slice(&version);
        bytes[4..4 + token.len()].copy_from_slice(token);
        bytes[82..90].copy_from_slice(&body_bytes.to_be_bytes());
        bytes[90..].copy_from_slice(&operation.to_be_bytes());
        RequestHeader::parse(&bytes)
    }

    fn refusal(header: &RequestHeader) -> (Option<Version>, Code) {
        let (version, failure) = admit(header, &accepts, LIMIT).unwrap_err();
        (version, failure.code)
    }

    #[test]
    fn the_first_failure_answers_in_the_version_that_was_asked_in() {
        let too_large = LIMIT + 1;
        let (old, new) = (Some(Version::V1_0), Some(Version::V1_1));
        for (header, expected) in [
            (header(*b"v9.9", b"wrong", too_large, 77), (None, Code::BadVersion)),
            (header(*b"v1.0", b"wrong", too_large, 77), (old, Code::Unauthorized)),
            (header(*b"v1.0", b"right", too_large, 77), (old, Code::BadOperation)),
            (header(*b"v1.0", b"right", too_large, 4), (old, Code::TooLarge)),
            (header(*b"v1.1", b"wrong", too_large, 0x1001_0006), (new, Code::Unauthorized)),
            (header(*b"v1.1", b"right", too_large, 0x1001_0006), (new, Code::BadOperation)),
            (header(*b"v1.1", b"right", too_large, 0x1001_0004), (new, Code::BadOption)),
            (header(*b"v1.1", b"right", too_large, 0x1000_0004), (new, Code::TooLarge)),
        ] {
            assert_eq!(refusal(&header), expected, "{header:?}");
        }
    }

    #[test]
    fn a_body_may_have_the_limit_and_not_one_byte_more() {
        let at_limit = header(*b"v1.0", b"right", LIMIT, 4);
        assert!(admit(&at_limit, &accepts, LIMIT).is_ok());
        let over = header(*b"v1.0", b"right", u64::MAX, 4);
        let (_, failure) = admit(&over, &accepts, LIMIT).unwrap_err();
        assert_eq!(
            failure.message,
            "the body has 18446744073709551615 bytes, 18446744073709551515 over the limit of 100"
        );
    }

    #[test]
    fn a_status_request_has_no_body() {
        let status = admit(&header(*b"v1.1", b"right", 0, 0), &accepts, LIMIT).unwrap();
        assert_eq!((status.version, status.operation), (Version::V1_1, Operation::Status));
        let with_body = header(*b"v1.1", b"right", 1, 0);
        assert_eq!(refusal(&with_body), (Some(Version::V1_1), Code::TooLarge));
        let old = header(*b"v1.0", b"right", 0, 0);
        assert_eq!(refusal(&old), (Some(Version::V1_0), Code::BadOperation));
    }

    #[test]
    fn an_open_worker_asks_for_no_token() {
        let header = header(*b"v1.1", b"", 5, 0x0007_0001);
        assert_eq!(
            admit(&header, &|token| Tokens::Open.check(token), LIMIT).unwrap().options_bytes,
            7
        );
        assert_eq!(refusal(&header), (Some(Version::V1_1), Code::Unauthorized));
    }

    #[test]
    fn a_token_is_held_to_what_it_is_for() {
        // SHA-256 of `right`.
        let hash = "27042f4e6eca7d0b2a7ee4026df2ecfa51d3339e6d122aa099118ecd8563bad9";
        let list = |rules: &str| {
            let text = format!("[[token]]\nname = 'a'\nhash = 'sha256:{hash}'\n{rules}");
            Tokens::Listed(TokenList::parse(&text).unwrap())
        };
        let refusal = |rules: &str, header: &RequestHeader| {
            let tokens = list(rules);
            admit(header, &|token| tokens.check(token), LIMIT).unwrap_err().1
        };
        let to_pdf = |bytes| header(*b"v1.1", b"right", bytes, 4);
        let failure = refusal("operations = ['jpg', 'png']", &to_pdf(LIMIT + 1));
        assert_eq!(failure.code, Code::BadOperation);
        assert_eq!(failure.message, "the token is not for PDF, but for jpg, png");
        let failure = refusal("max-body = '10'", &to_pdf(11));
        assert_eq!(failure.code, Code::TooLarge);
        assert_eq!(failure.message, "the body has 11 bytes, 1 over the limit of the token of 10");
        let failure = refusal("expires = 2001-01-01", &to_pdf(1));
        assert_eq!(failure.code, Code::Unauthorized);
        assert_eq!(failure.message, "the token expired at 2001-01-01T00:00:00Z");
        let tokens = list("operations = ['pdf']\nmax-body = '10'");
        let admitted = admit(&to_pdf(10), &|token| tokens.check(token), LIMIT).unwrap();
        assert_eq!(admitted.grant.name(), Some("a"));
    }
}
