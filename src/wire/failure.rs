//! A failure on its way to a client, in both versions, and back from a server's answer.

use std::borrow::Cow;

use super::text::{cut, visible};
use super::{ChecksumKind, Code, REPLY_HEADER_BYTES, ReplyHeader, encode_reply_v1_0_header};
use crate::convert;

/// What is read of a message that came from a server. Ours are under 300 bytes.
const LINE_BYTES_MAX: usize = 1024;

/// How every error text of v1.0 starts.
const ERROR_PREFIX: &str = "ERROR: ";

/// Why a request is not served: a code, one line, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The stable code.
    pub code: Code,
    /// One line that says what is wrong and by how much.
    pub message: String,
    /// The next step, where there is one.
    pub hint: Option<String>,
    /// When to come back; sent with `BUSY` alone.
    pub retry_after_ms: u32,
}

impl Failure {
    /// A failure without a hint. Whatever would break the line in `message` is escaped.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: one_line(message.into()), hint: None, retry_after_ms: 0 }
    }

    /// The failure that a v1.1 answer carries. `retry_after_ms` stands in the answer's header and is
    /// the caller's to set.
    ///
    /// The bytes may be hostile: they are bounded, and what is not visible is escaped. A number that
    /// is unknown here reads as `WORKER_FAILED`, the code for an upstream that misbehaves.
    #[must_use]
    pub fn from_v1_1(number: u32, body: &[u8]) -> Self {
        let text = bounded(body, 2 * LINE_BYTES_MAX);
        let (first, rest) = text.split_once('\n').unwrap_or((&text, ""));
        let mut failure = match Code::from_number(number) {
            Some(code) if first.trim().is_empty() => Self::new(code, "the server gave no reason"),
            Some(code) => Self::new(code, cut(first, LINE_BYTES_MAX)),
            None => Self::new(
                Code::WorkerFailed,
                format!("unknown status {number}: {}", cut(first, LINE_BYTES_MAX)),
            ),
        };
        if let Some(hint) = rest.lines().next().and_then(|line| line.strip_prefix("hint: ")) {
            failure = failure.with_hint(cut(hint, LINE_BYTES_MAX));
        }
        failure
    }

    /// The failure that a v1.0 answer carries, or `None` where it does not start with `ERROR: `.
    ///
    /// The version cannot tell a failure from a text that happens to start so; the caller knows
    /// which targets are text. An `ERROR: ` without a known name, as other servers of v1.0 send
    /// it, is `WORKER_FAILED` with the whole text: it says that the server failed and nothing of
    /// why.
    #[must_use]
    pub fn from_v1_0_text(body: &[u8]) -> Option<Self> {
        let body = body.strip_prefix(ERROR_PREFIX.as_bytes())?;
        let text = bounded(body, LINE_BYTES_MAX);
        let text = text.trim_end();
        let named = text
            .split_once(": ")
            .and_then(|(name, message)| Some((Code::from_name(name)?, message)));
        let (code, message) = named.unwrap_or((Code::WorkerFailed, text));
        let message = if message.is_empty() { "the server gave no reason" } else { message };
        Some(Self::new(code, message))
    }

    /// The same failure with a next step.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(one_line(hint.into()));
        self
    }

    /// The same failure with a time to come back at.
    #[must_use]
    pub fn with_retry_after_ms(mut self, retry_after_ms: u32) -> Self {
        self.retry_after_ms = retry_after_ms;
        self
    }

    /// The text of a v1.0 answer.
    #[must_use]
    pub fn text_v1_0(&self) -> String {
        format!("{ERROR_PREFIX}{}: {}", self.code, self.message)
    }

    /// The body of a v1.1 answer.
    #[must_use]
    pub fn body_v1_1(&self) -> String {
        match &self.hint {
            Some(hint) => format!("{}\nhint: {hint}", self.message),
            None => self.message.clone(),
        }
    }

    /// The whole v1.0 answer. `NO_TEXT` exists in v1.1 only and is an empty result here.
    #[must_use]
    pub fn reply_v1_0(&self) -> Vec<u8> {
        let text = if self.code == Code::NoText { String::new() } else { self.text_v1_0() };
        let mut reply = encode_reply_v1_0_header(text.len() as u64).to_vec();
        reply.extend_from_slice(text.as_bytes());
        reply
    }

    /// The whole v1.1 answer. `checksum` is the request's kind, or the default where the request
    /// failed before its options were read.
    #[must_use]
    pub fn reply_v1_1(&self, checksum: ChecksumKind) -> Vec<u8> {
        self.reply_v1_1_after(checksum, 0)
    }

    /// The same for a failure that came after so many microseconds of converting.
    #[must_use]
    pub fn reply_v1_1_after(&self, checksum: ChecksumKind, convert_us: u32) -> Vec<u8> {
        let body = self.body_v1_1();
        let header = ReplyHeader {
            status: self.code.number(),
            checksum: checksum.of(body.as_bytes()),
            body_bytes: body.len() as u64,
            retry_after_ms: if self.code == Code::Busy { self.retry_after_ms } else { 0 },
            convert_us,
        };
        let mut reply = Vec::with_capacity(REPLY_HEADER_BYTES + body.len());
        reply.extend_from_slice(&header.encode());
        reply.extend_from_slice(body.as_bytes());
        reply
    }
}

impl From<convert::Error> for Failure {
    fn from(error: convert::Error) -> Self {
        use convert::ErrorKind;

        let code = match error.kind {
            ErrorKind::UnknownType => Code::UnknownType,
            ErrorKind::WrongType => Code::WrongType,
            ErrorKind::Malformed => Code::MalformedInput,
            ErrorKind::LimitExceeded => Code::LimitExceeded,
            ErrorKind::NoText => Code::NoText,
            ErrorKind::BadOption => Code::BadOption,
            ErrorKind::Internal => Code::WorkerFailed,
        };
        let failure = Self::new(code, error.message);
        match error.hint {
            Some(hint) => failure.with_hint(hint),
            None => failure,
        }
    }
}

/// The start of a peer's text, decoded as far as it is text.
fn bounded(bytes: &[u8], bytes_max: usize) -> Cow<'_, str> {
    String::from_utf8_lossy(&bytes[..bytes.len().min(bytes_max)])
}

fn one_line(text: String) -> String {
    visible(Cow::Owned(text)).into_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample() -> Failure {
        Failure::new(Code::TooLarge, "the body has 9 bytes, 4 over the limit of 5")
            .with_hint("send less")
    }

    #[test]
    fn texts_are_exact() {
        assert_eq!(
            sample().text_v1_0(),
            "ERROR: TOO_LARGE: the body has 9 bytes, 4 over the limit of 5"
        );
        assert_eq!(
            sample().body_v1_1(),
            "the body has 9 bytes, 4 over the limit of 5\nhint: send less"
        );
        assert_eq!(Failure::new(Code::Busy, "full").body_v1_1(), "full");
        assert_eq!(sample().to_string(), "the body has 9 bytes, 4 over the limit of 5");
    }

    #[test]
    fn a_v1_0_answer_is_a_length_and_a_text() {
        let reply = Failure::new(Code::Busy, "full").reply_v1_0();
        assert_eq!(reply, b"\0\0\0\0\0\0\0\x11ERROR: BUSY: full");
        assert_eq!(Failure::new(Code::NoText, "a scan").reply_v1_0(), [0; 8]);
    }

    #[test]
    fn a_v1_1_answer_is_golden() {
        let busy = Failure::new(Code::Busy, "abc").with_retry_after_ms(0x0102);
        let mut golden = b"v1.1\0\0\0\x0b".to_vec();
        golden.extend_from_slice(&0x9001_5098_3cd2_4fb0_d696_3f7d_28e1_7f72_u128.to_be_bytes());
        golden.extend_from_slice(b"\0\0\0\0\0\0\0\x03\0\0\x01\x02\0\0\0\0abc");
        assert_eq!(busy.reply_v1_1(ChecksumKind::Md5), golden);

        let other = Failure { code: Code::Timeout, ..busy };
        assert_eq!(other.reply_v1_1(ChecksumKind::None)[8..24], [0; 16]);
        assert_eq!(other.reply_v1_1(ChecksumKind::None)[32..36], [0; 4], "retry is for BUSY");
    }

    #[test]
    fn failures_come_back_as_they_went() {
        let failure = sample();
        let back = Failure::from_v1_1(failure.code.number(), failure.body_v1_1().as_bytes());
        assert_eq!(back, failure);
        let back = Failure::from_v1_0_text(failure.text_v1_0().as_bytes()).unwrap();
        assert_eq!(back, Failure { hint: None, ..failure });
    }

    #[test]
    fn other_servers_texts_are_tolerated() {
        let free = Failure::from_v1_0_text(b"ERROR: Invalid auth token\n").unwrap();
        assert_eq!((free.code, free.message.as_str()), (Code::WorkerFailed, "Invalid auth token"));
        let colon = Failure::from_v1_0_text(b"ERROR: Oops: no").unwrap();
        assert_eq!((colon.code, colon.message.as_str()), (Code::WorkerFailed, "Oops: no"));
        let empty = Failure::from_v1_0_text(b"ERROR: ").unwrap();
        assert_eq!(empty.message, "the server gave no reason");
        assert_eq!(Failure::from_v1_0_text(b"%PDF-1.7"), None);
        assert_eq!(Failure::from_v1_0_text(b"ERROR:"), None);
    }

    #[test]
    fn hostile_bodies_are_bounded_and_shown_escaped() {
        let bomb = vec![b'x'; 1 << 20];
        assert_eq!(Failure::from_v1_1(9, &bomb).message.len(), 1024);
        let red = Failure::from_v1_1(9, b"\x1b[31mred\r\nhint: \x07bell\nhint: more");
        assert_eq!(red.message, "\\u{1b}[31mred\\r");
        assert_eq!(red.hint.as_deref(), Some("\\u{7}bell"));
        assert_eq!(Failure::from_v1_1(9, b"").message, "the server gave no reason");
        let unknown = Failure::from_v1_1(99, b"later");
        assert_eq!(unknown.code, Code::WorkerFailed);
        assert_eq!(unknown.message, "unknown status 99: later");
    }

    #[test]
    fn a_message_cannot_become_two_lines() {
        let failure = Failure::new(Code::MalformedInput, "a\nhint: run this").with_hint("b\nc");
        assert_eq!(failure.body_v1_1(), "a\\nhint: run this\nhint: b\\nc");
    }

    #[test]
    fn every_kind_of_conversion_error_has_its_code() {
        use convert::ErrorKind;

        for (kind, code) in [
            (ErrorKind::UnknownType, Code::UnknownType),
            (ErrorKind::WrongType, Code::WrongType),
            (ErrorKind::Malformed, Code::MalformedInput),
            (ErrorKind::LimitExceeded, Code::LimitExceeded),
            (ErrorKind::NoText, Code::NoText),
            (ErrorKind::BadOption, Code::BadOption),
            (ErrorKind::Internal, Code::WorkerFailed),
        ] {
            let failure = Failure::from(convert::Error::new(kind, "m").with_hint("h"));
            assert_eq!(failure, Failure::new(code, "m").with_hint("h"));
        }
    }

    proptest! {
        #[test]
        fn any_body_makes_a_bounded_line(
            number in any::<u32>(),
            body in proptest::collection::vec(any::<u8>(), 0..5000),
        ) {
            let failure = Failure::from_v1_1(number, &body);
            prop_assert!(!failure.message.chars().any(char::is_control));
            // The longest escape, `\u{202e}`, is 8 bytes for 3; a control character, 6 for 1.
            prop_assert!(failure.message.len() <= 6 * LINE_BYTES_MAX + 32);
            let mut text = b"ERROR: ".to_vec();
            text.extend_from_slice(&body);
            prop_assert!(Failure::from_v1_0_text(&text).is_some());
        }
    }
}
