//! The order in which a request's header is checked, for master and worker alike.

use super::{Code, Failure, Operation, RequestHeader, Version};
use crate::auth::Tokens;

/// What a header asks for, once everything that it alone can tell has been checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admitted {
    /// The version, which is also the answer's.
    pub version: Version,
    /// What is asked for.
    pub operation: Operation,
    /// Bytes of options between header and body.
    pub options_bytes: usize,
}

/// Checks version, token, operation and size, in this order; the first that fails is the answer.
/// The length of the options belongs to the operation's field and is checked with it.
///
/// # Errors
///
/// The failure, and the version to answer in. Where that is `None` the version is unknown, and the
/// answer is in v1.0, which every client can read.
pub fn admit(
    header: &RequestHeader,
    tokens: &Tokens,
    body_bytes_max: u64,
) -> Result<Admitted, (Option<Version>, Failure)> {
    let version = header.version().map_err(|failure| (None, failure))?;
    admit_version(header, version, tokens, body_bytes_max)
        .map_err(|failure| (Some(version), failure))
}

fn admit_version(
    header: &RequestHeader,
    version: Version,
    tokens: &Tokens,
    body_bytes_max: u64,
) -> Result<Admitted, Failure> {
    if !tokens.accepts(header.token()) {
        return Err(Failure::new(Code::Unauthorized, "the token is not accepted")
            .with_hint("check the token that the client was started with"));
    }
    let operation = header.operation(version)?;
    let options_bytes = header.options_bytes(version)?;
    check_size(operation, header.body_bytes(), body_bytes_max)?;
    Ok(Admitted { version, operation, options_bytes })
}

fn check_size(operation: Operation, body_bytes: u64, body_bytes_max: u64) -> Result<(), Failure> {
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
            format!("the body has {body_bytes} bytes, {over} over the limit of {body_bytes_max}"),
        ));
    }
    Ok(())
}
