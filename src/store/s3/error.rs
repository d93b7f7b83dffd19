//! What goes wrong with a bucket.

use std::future::Future;
use std::time::Duration;

use object_store::Error;

use crate::store::StoreError;

/// Why a bucket cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BucketError {
    /// The address is none.
    #[error("{0}")]
    Address(String),
    /// Credentials, endpoint or certificates are missing or wrong.
    #[error("{0}")]
    Settings(String),
    /// It does not answer, or not as a bucket does.
    #[error("{0}")]
    Unreachable(String),
    /// The threads for it cannot be started.
    #[error("cannot start threads: {0}")]
    Threads(std::io::Error),
}

impl BucketError {
    pub(super) fn settings(error: Error) -> Self {
        Self::Settings(reason(error))
    }

    /// The next step, where there is one.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Unreachable(_) => Some(
                "check the bucket's name, --s3-endpoint, AWS_ACCESS_KEY_ID and \
                 AWS_SECRET_ACCESS_KEY",
            ),
            Self::Settings(_) => Some("see Buckets in docs/store.md"),
            _ => None,
        }
    }
}

/// What a failure of the library means for a request.
pub(super) fn store_error(error: Error) -> StoreError {
    match error {
        Error::NotFound { .. } => StoreError::Missing,
        Error::AlreadyExists { .. } | Error::Precondition { .. } => StoreError::Exists,
        other => StoreError::Bucket(reason(other)),
    }
}

/// A failure in a line. Servers answer in XML, of which its code says enough.
pub(super) fn reason(error: Error) -> String {
    match error {
        Error::PermissionDenied { .. } => "access is denied to these credentials".to_owned(),
        Error::Unauthenticated { .. } => "the credentials are not accepted".to_owned(),
        Error::NotFound { .. } => NO_BUCKET.to_owned(),
        other => in_a_line(&other.to_string()),
    }
}

pub(super) const NO_BUCKET: &str = "there is no such bucket";

fn in_a_line(text: &str) -> String {
    let (before, xml) = text.split_once('<').unwrap_or((text, ""));
    let code = xml.split_once("<Code>").and_then(|(_, rest)| rest.split_once('<'));
    match code {
        Some(("NoSuchBucket", _)) => NO_BUCKET.to_owned(),
        Some((code, _)) => short(&format!("{before}{code}")),
        None => short(before.trim_end_matches([' ', ':'])),
    }
}

/// A server's own words are anybody's.
fn short(text: &str) -> String {
    text.chars().filter(|char| !char.is_control()).take(REASON_CHARS_MAX).collect()
}

const REASON_CHARS_MAX: usize = 300;

pub(super) fn late(what: &str, after: Duration) -> StoreError {
    StoreError::Bucket(format!("{what} took longer than {} s", after.as_secs()))
}

/// What a request to a bucket brings, where it brings it in time.
pub(super) async fn within<T>(
    after: Duration,
    what: &str,
    work: impl Future<Output = object_store::Result<T>>,
) -> Result<T, StoreError> {
    match tokio::time::timeout(after, work).await {
        Ok(done) => done.map_err(store_error),
        Err(_) => Err(late(what, after)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_a_line() {
        let xml = "Server returned 400: <?xml?>\n<Error><Code>BadDigest</Code></Error>";
        assert_eq!(in_a_line(xml), "Server returned 400: BadDigest");
        assert_eq!(in_a_line("a: <Error><Code>NoSuchBucket</Code>"), NO_BUCKET);
        assert_eq!(in_a_line("cut off: <html"), "cut off");
        assert_eq!(in_a_line(&"x\n".repeat(1000)).len(), REASON_CHARS_MAX);
    }
}
