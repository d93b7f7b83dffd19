//! `Repr-Digest` and `Content-Digest` (RFC 9530), and the `Digest` that they replace (RFC 3230): checked
//! on the way in, given on the way out.

use aws_lc_rs::digest::{Context, SHA256};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::problem::{BAD_REQUEST, Problem};
use crate::wire::{ChecksumKind, Code};

pub(super) const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");
/// `MD5=BASE64`, where the new ones say `md5=:BASE64:`.
pub(super) const DIGEST: HeaderName = HeaderName::from_static("digest");
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");
const WANT_REPR_DIGEST: HeaderName = HeaderName::from_static("want-repr-digest");

/// What a request says of its body. The headers mean the same of a body that is not encoded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Announced {
    /// Checked here, as the body passes.
    pub(super) sha256: Option<[u8; 32]>,
    /// Checked by the worker, which answers with one of the result.
    pub(super) md5: Option<[u8; 16]>,
    /// Whether the earlier header was among them, so that the answer has it too.
    pub(super) is_by_digest: bool,
}

/// SHA-256 of what passes.
pub(super) struct Sha256(Context);

impl Announced {
    /// Reads the digests of a request. Algorithms that are unknown here are passed over, as the
    /// standard wants it.
    pub(super) fn from_headers(headers: &HeaderMap) -> Result<Self, Problem> {
        let mut announced = Self::default();
        for name in [REPR_DIGEST, CONTENT_DIGEST, DIGEST] {
            announced.is_by_digest = name == DIGEST && headers.contains_key(&name);
            for value in headers.get_all(&name) {
                let value = value.to_str().map_err(|_| malformed(&name))?;
                for member in value.split(',').map(str::trim).filter(|member| !member.is_empty()) {
                    announced.take(member, &name)?;
                }
            }
        }
        Ok(announced)
    }

    fn take(&mut self, member: &str, name: &HeaderName) -> Result<(), Problem> {
        let (algorithm, value) = member.split_once('=').ok_or_else(|| malformed(name))?;
        let bytes = || {
            let inner = if *name == DIGEST {
                Some(value)
            } else {
                value.strip_prefix(':').and_then(|value| value.strip_suffix(':'))
            };
            inner.and_then(|inner| STANDARD.decode(inner).ok()).ok_or_else(|| malformed(name))
        };
        match algorithm.to_ascii_lowercase().as_str() {
            "sha-256" => self.sha256 = Some(bytes()?.try_into().map_err(|_| malformed(name))?),
            "md5" => self.md5 = Some(bytes()?.try_into().map_err(|_| malformed(name))?),
            _ => {}
        }
        Ok(())
    }

    /// What the master is told: the MD5 that was announced, or nothing.
    pub(super) fn checksum(&self) -> (ChecksumKind, [u8; 16]) {
        self.md5.map_or((ChecksumKind::None, [0; 16]), |md5| (ChecksumKind::Md5, md5))
    }
}

impl Sha256 {
    pub(super) fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn bytes(self) -> Vec<u8> {
        self.0.finish().as_ref().to_vec()
    }

    /// Holds what passed against what was announced.
    pub(super) fn verify(self, announced: [u8; 32]) -> Result<(), Problem> {
        let computed = self.bytes();
        if computed == announced {
            return Ok(());
        }
        let detail = format!(
            "the sha-256 of the body is {}, and the digest says {}",
            STANDARD.encode(computed),
            STANDARD.encode(announced)
        );
        Err(Problem::of(Code::ChecksumMismatch, detail)
            .with_hint("the file changed on its way, or the digest is of another one"))
    }

    /// The value of a `Repr-Digest`.
    pub(super) fn header(self) -> HeaderValue {
        member("sha-256", &self.bytes())
    }
}

/// A digest as a header says it.
pub(super) fn member(algorithm: &str, bytes: &[u8]) -> HeaderValue {
    let text = format!("{algorithm}=:{}:", STANDARD.encode(bytes));
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""))
}

/// A digest as the earlier header says it.
pub(super) fn earlier_member(algorithm: &str, bytes: &[u8]) -> HeaderValue {
    let text = format!("{algorithm}={}", STANDARD.encode(bytes));
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""))
}

/// Whether the result's SHA-256 is wanted, and the client takes it behind the body. It is not known
/// before.
pub(super) fn wants_trailer(headers: &HeaderMap) -> bool {
    let tokens = |name| {
        headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .collect::<Vec<_>>()
    };
    let takes = tokens(HeaderName::from_static("te"))
        .iter()
        .any(|token| token.split(';').next().is_some_and(|name| name.trim() == "trailers"));
    let wants = tokens(WANT_REPR_DIGEST)
        .iter()
        .any(|token| token.strip_prefix("sha-256=").is_some_and(|weight| weight != "0"));
    takes && wants
}

fn malformed(name: &HeaderName) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, BAD_REQUEST, format!("the header {name} cannot be read"))
        .with_hint(if *name == DIGEST {
            "a digest is `SHA-256=BASE64` or `MD5=BASE64` here (RFC 3230)"
        } else {
            "a digest is `sha-256=:BASE64:` or `md5=:BASE64:` (RFC 9530)"
        })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const ABC: &str = "sha-256=:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=:";

    fn headers(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn a_digest_is_read_written_and_checked() {
        let several = format!("sha-512=:AA==:, {ABC}, md5=:kAFQmDzST7DWlj99KOF/cg==:");
        let announced = Announced::from_headers(&headers(REPR_DIGEST, &several)).unwrap();
        let hash = |text: &str| {
            let mut hash = Sha256::new();
            hash.update(text.as_bytes());
            hash
        };
        assert_eq!(hash("abc").header(), ABC);
        hash("abc").verify(announced.sha256.unwrap()).unwrap();
        let problem = hash("abd").verify(announced.sha256.unwrap()).unwrap_err();
        assert_eq!((problem.code, problem.status.as_u16()), ("CHECKSUM_MISMATCH", 422));
        assert_eq!(announced.checksum(), (ChecksumKind::Md5, ChecksumKind::Md5.of(b"abc")));
        let same = Announced::from_headers(&headers(CONTENT_DIGEST, ABC)).unwrap();
        assert_eq!(same.sha256, announced.sha256);
        let earlier = "UNIXsum=3, SHA-256=ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=";
        let earlier = Announced::from_headers(&headers(DIGEST, earlier)).unwrap();
        assert!(earlier.is_by_digest && !announced.is_by_digest);
        assert_eq!(earlier.sha256, announced.sha256);
        assert_eq!(earlier_member("MD5", &[0; 3]), "MD5=AAAA");
    }

    #[test]
    fn what_is_no_digest_is_refused() {
        for bad in ["sha-256", "sha-256=abc", "sha-256=:!:", "sha-256=:AA==:", "md5=:AA==:"] {
            assert!(Announced::from_headers(&headers(REPR_DIGEST, bad)).is_err(), "{bad}");
        }
        for bad in ["SHA-256=:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=:", "md5=AA=="] {
            assert!(Announced::from_headers(&headers(DIGEST, bad)).is_err(), "{bad}");
        }
        let unknown = Announced::from_headers(&headers(REPR_DIGEST, "crc32c=:AA==:")).unwrap();
        assert_eq!(unknown, Announced::default());
    }

    #[test]
    fn a_trailer_needs_the_wish_and_the_room() {
        let mut both = headers(WANT_REPR_DIGEST, "sha-512=1, sha-256=5");
        assert!(!wants_trailer(&both));
        both.insert("te", HeaderValue::from_static("gzip, trailers"));
        assert!(wants_trailer(&both));
        both.insert(WANT_REPR_DIGEST, HeaderValue::from_static("sha-256=0"));
        assert!(!wants_trailer(&both));
    }
}
