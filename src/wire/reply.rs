//! The headers of answers.

use super::{REPLY_HEADER_BYTES, REPLY_V1_0_HEADER_BYTES, Version};

/// The header of a v1.1 answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplyHeader {
    /// 0 for success, else the number of a [`super::Code`].
    pub status: u32,
    /// Of the answer's body, in the request's kind.
    pub checksum: [u8; 16],
    /// Bytes of body that follow.
    pub body_bytes: u64,
    /// When to come back; 0 unless the status is `BUSY`.
    pub retry_after_ms: u32,
    /// Time spent converting; 0 where it never came to that.
    pub convert_us: u32,
}

/// Why an answer's header could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// A length and so a v1.0 answer: its first four bytes are zero below 4 GiB.
    #[error("the server answered in v1.0 with {body_bytes} bytes: it does not know v1.1")]
    V1_0 {
        /// Bytes of body that follow the first eight of the answer.
        body_bytes: u64,
    },
    /// Neither version.
    #[error(
        "the answer starts with `{}`, and v1.1 was expected",
        .start.escape_ascii()
    )]
    BadVersion {
        /// The first four bytes.
        start: [u8; 4],
    },
}

impl ReplyHeader {
    /// Tells from its first bytes whether an answer is v1.1. A v1.0 answer may be shorter than
    /// [`REPLY_HEADER_BYTES`], so a client that must cope with both looks at eight bytes before it
    /// waits for the rest.
    ///
    /// # Errors
    ///
    /// Names the version that was sent instead.
    pub fn check_start(start: &[u8; REPLY_V1_0_HEADER_BYTES]) -> Result<(), ReplyError> {
        let [a, b, c, d, ..] = *start;
        match [a, b, c, d] {
            [0, 0, 0, 0] => Err(ReplyError::V1_0 { body_bytes: u64::from_be_bytes(*start) }),
            version if Version::parse(&version) == Some(Version::V1_1) => Ok(()),
            start => Err(ReplyError::BadVersion { start }),
        }
    }

    /// Reads a header. The numbers in it are the server's claims, and not yet held against a limit.
    ///
    /// # Errors
    ///
    /// Names the version that was sent instead.
    pub fn parse(bytes: &[u8; REPLY_HEADER_BYTES]) -> Result<Self, ReplyError> {
        Self::check_start(&field(bytes, 0))?;
        Ok(Self {
            status: u32::from_be_bytes(field(bytes, 4)),
            checksum: field(bytes, 8),
            body_bytes: u64::from_be_bytes(field(bytes, 24)),
            retry_after_ms: u32::from_be_bytes(field(bytes, 32)),
            convert_us: u32::from_be_bytes(field(bytes, 36)),
        })
    }

    /// The bytes on the wire.
    #[must_use]
    pub fn encode(&self) -> [u8; REPLY_HEADER_BYTES] {
        let mut bytes = [0; REPLY_HEADER_BYTES];
        bytes[..4].copy_from_slice(&Version::V1_1.bytes());
        bytes[4..8].copy_from_slice(&self.status.to_be_bytes());
        bytes[8..24].copy_from_slice(&self.checksum);
        bytes[24..32].copy_from_slice(&self.body_bytes.to_be_bytes());
        bytes[32..36].copy_from_slice(&self.retry_after_ms.to_be_bytes());
        bytes[36..].copy_from_slice(&self.convert_us.to_be_bytes());
        bytes
    }
}

/// The header of a v1.0 answer with a body of `body_bytes`.
#[must_use]
pub fn encode_reply_v1_0_header(body_bytes: u64) -> [u8; REPLY_V1_0_HEADER_BYTES] {
    body_bytes.to_be_bytes()
}

/// The bytes of body that a v1.0 answer announces.
#[must_use]
pub fn parse_reply_v1_0_header(bytes: &[u8; REPLY_V1_0_HEADER_BYTES]) -> u64 {
    u64::from_be_bytes(*bytes)
}

/// `N` bytes of a header at an offset that the layout fixes.
fn field<const N: usize>(bytes: &[u8; REPLY_HEADER_BYTES], offset: usize) -> [u8; N] {
    std::array::from_fn(|index| bytes[offset + index])
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_header_is_golden() {
        let header = ReplyHeader {
            status: 11,
            checksum: *b"0123456789abcdef",
            body_bytes: 0x0102_0304_0506_0708,
            retry_after_ms: 0x1112_1314,
            convert_us: 0x2122_2324,
        };
        let golden = b"v1.1\0\0\0\x0b0123456789abcdef\
            \x01\x02\x03\x04\x05\x06\x07\x08\x11\x12\x13\x14\x21\x22\x23\x24";
        assert_eq!(&header.encode(), golden);
        assert_eq!(ReplyHeader::parse(golden), Ok(header));
    }

    #[test]
    fn an_answer_in_v1_0_is_recognised() {
        let mut bytes = [b'E'; REPLY_HEADER_BYTES];
        bytes[..8].copy_from_slice(&encode_reply_v1_0_header(300));
        let error = ReplyHeader::parse(&bytes).unwrap_err();
        assert_eq!(error, ReplyError::V1_0 { body_bytes: 300 });
        assert_eq!(
            error.to_string(),
            "the server answered in v1.0 with 300 bytes: it does not know v1.1"
        );
    }

    #[test]
    fn an_answer_in_no_version_is_named() {
        let error = ReplyHeader::check_start(b"v9\x1b\n    ").unwrap_err();
        assert_eq!(error.to_string(), "the answer starts with `v9\\x1b\\n`, and v1.1 was expected");
    }

    #[test]
    fn a_v1_0_header_is_a_big_endian_length() {
        assert_eq!(encode_reply_v1_0_header(258), [0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(parse_reply_v1_0_header(&[0, 0, 0, 0, 0, 0, 1, 2]), 258);
    }

    proptest! {
        #[test]
        fn any_header_comes_back(
            status in any::<u32>(), checksum in any::<[u8; 16]>(), body_bytes in any::<u64>(),
            retry_after_ms in any::<u32>(), convert_us in any::<u32>(),
        ) {
            let header = ReplyHeader { status, checksum, body_bytes, retry_after_ms, convert_us };
            prop_assert_eq!(ReplyHeader::parse(&header.encode()), Ok(header));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(low in any::<[u8; 32]>(), high in any::<[u8; 8]>()) {
            let mut bytes = [0; REPLY_HEADER_BYTES];
            bytes[..32].copy_from_slice(&low);
            bytes[32..].copy_from_slice(&high);
            if let Ok(header) = ReplyHeader::parse(&bytes) {
                prop_assert_eq!(header.encode(), bytes);
            }
        }
    }
}
