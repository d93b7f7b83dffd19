//! The header of a request.

use std::borrow::Cow;

use zeroize::Zeroize as _;

use super::text::{cut, visible};
use super::{Code, Failure, OPTIONS_BYTES_MAX, Operation, REQUEST_HEADER_BYTES, Version};
use crate::auth::{TOKEN_BYTES_MAX, Token};

const TOKEN_AT: usize = 4;
const CHECKSUM_AT: usize = 36;
const FILENAME_AT: usize = 52;
const BODY_BYTES_AT: usize = 82;
const OPERATION_AT: usize = 90;

/// The 94 bytes of a request's header, as they came.
///
/// Reading them cannot fail; what they say is checked later, in the order that [`super::admit`]
/// holds, because the first failure decides the answer.
#[derive(Clone, PartialEq, Eq)]
pub struct RequestHeader {
    bytes: [u8; REQUEST_HEADER_BYTES],
}

/// It holds a token.
impl Drop for RequestHeader {
    fn drop(&mut self) {
        self.bytes[TOKEN_AT..CHECKSUM_AT].zeroize();
    }
}

impl RequestHeader {
    /// Takes the bytes as they came.
    #[must_use]
    pub fn parse(bytes: &[u8; REQUEST_HEADER_BYTES]) -> Self {
        Self { bytes: *bytes }
    }

    /// A header to send. A `filename` of more than 30 bytes is cut before the character that does
    /// not fit; the whole of it can travel as the option `name`.
    ///
    /// # Panics
    ///
    /// Panics where v1.0 is given what it does not have, or more than [`OPTIONS_BYTES_MAX`] of
    /// options: either would be our own mistake.
    #[must_use]
    pub fn new(
        version: Version,
        token: &Token,
        checksum: [u8; 16],
        filename: &str,
        body_bytes: u64,
        operation: Operation,
        options_bytes: usize,
    ) -> Self {
        assert!(
            version == Version::V1_1 || (options_bytes == 0 && operation != Operation::Status),
            "v1.0 has neither options nor status"
        );
        assert!(options_bytes <= OPTIONS_BYTES_MAX, "{options_bytes} bytes of options");
        let filename = cut(filename, BODY_BYTES_AT - FILENAME_AT);
        // At most 4096 in the high half, which is 28 bits in all.
        #[allow(clippy::cast_possible_truncation)]
        let split = (options_bytes as u32) << 16 | u32::from(operation.id());

        let mut bytes = [0; REQUEST_HEADER_BYTES];
        bytes[..TOKEN_AT].copy_from_slice(&version.bytes());
        bytes[TOKEN_AT..CHECKSUM_AT].copy_from_slice(token.field());
        bytes[CHECKSUM_AT..FILENAME_AT].copy_from_slice(&checksum);
        bytes[FILENAME_AT..][..filename.len()].copy_from_slice(filename.as_bytes());
        bytes[BODY_BYTES_AT..OPERATION_AT].copy_from_slice(&body_bytes.to_be_bytes());
        bytes[OPERATION_AT..].copy_from_slice(&split.to_be_bytes());
        Self { bytes }
    }

    /// A header without a body and without a token, for a server that may ask for none.
    #[must_use]
    pub fn without_token(version: Version, checksum: [u8; 16], operation: Operation) -> Self {
        let mut bytes = [0; REQUEST_HEADER_BYTES];
        bytes[..TOKEN_AT].copy_from_slice(&version.bytes());
        bytes[CHECKSUM_AT..FILENAME_AT].copy_from_slice(&checksum);
        bytes[OPERATION_AT..].copy_from_slice(&u32::from(operation.id()).to_be_bytes());
        Self { bytes }
    }

    /// The same request in another version, for a tunnel between a client and a worker that speak
    /// different ones. To v1.0 the length of the options is cleared, and the caller holds the block
    /// back; there is no v1.0 of a status request.
    #[must_use]
    pub fn with_version(&self, version: Version) -> Self {
        let mut bytes = self.bytes;
        bytes[..TOKEN_AT].copy_from_slice(&version.bytes());
        if version == Version::V1_0 {
            bytes[OPERATION_AT..OPERATION_AT + 2].fill(0);
        }
        Self { bytes }
    }

    /// The same request with another token, for a master whose workers have their own.
    #[must_use]
    pub fn with_token(&self, token: &Token) -> Self {
        let mut bytes = self.bytes;
        bytes[TOKEN_AT..CHECKSUM_AT].copy_from_slice(token.field());
        Self { bytes }
    }

    /// The version.
    ///
    /// # Errors
    ///
    /// `BAD_VERSION`, with the four bytes.
    pub fn version(&self) -> Result<Version, Failure> {
        let start: [u8; 4] = self.field(0);
        Version::parse(&start).ok_or_else(|| {
            Failure::new(Code::BadVersion, format!("unknown version `{}`", start.escape_ascii()))
                .with_hint("this server speaks v1.0 and v1.1")
        })
    }

    /// The field of the token as it was sent, for [`crate::auth::Tokens::check`].
    #[must_use]
    pub fn token(&self) -> &[u8] {
        &self.bytes[TOKEN_AT..CHECKSUM_AT]
    }

    /// The announced checksum of the body.
    #[must_use]
    pub fn checksum(&self) -> [u8; 16] {
        self.field(CHECKSUM_AT)
    }

    /// The name for a log line: without its padding, with `U+FFFD` where it was cut inside a
    /// character, and with control characters escaped. It is informative and never a path.
    #[must_use]
    pub fn filename(&self) -> Cow<'_, str> {
        let field = strip_nuls(&self.bytes[FILENAME_AT..BODY_BYTES_AT]);
        visible(String::from_utf8_lossy(field))
    }

    /// The announced size of the body.
    #[must_use]
    pub fn body_bytes(&self) -> u64 {
        u64::from_be_bytes(self.field(BODY_BYTES_AT))
    }

    /// The operation: the whole field in v1.0, its low 16 bits in v1.1.
    ///
    /// # Errors
    ///
    /// `BAD_OPERATION`, with the number.
    pub fn operation(&self, version: Version) -> Result<Operation, Failure> {
        let number = match version {
            Version::V1_0 => self.operation_field(),
            Version::V1_1 => self.operation_field() & 0xffff,
        };
        u16::try_from(number)
            .ok()
            .and_then(|id| Operation::from_id(id, version))
            .ok_or_else(|| bad_operation(number, version))
    }

    /// The bytes of options between header and body: none in v1.0, the high 16 bits of the
    /// operation in v1.1.
    ///
    /// # Errors
    ///
    /// `BAD_OPTION` over [`OPTIONS_BYTES_MAX`].
    pub fn options_bytes(&self, version: Version) -> Result<usize, Failure> {
        let bytes = match version {
            Version::V1_0 => 0,
            Version::V1_1 => usize::from(u16::from_be_bytes(self.field(OPERATION_AT))),
        };
        if bytes > OPTIONS_BYTES_MAX {
            return Err(options_too_long(bytes));
        }
        Ok(bytes)
    }

    /// The bytes on the wire.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; REQUEST_HEADER_BYTES] {
        self.bytes
    }

    fn operation_field(&self) -> u32 {
        u32::from_be_bytes(self.field(OPERATION_AT))
    }

    /// `N` bytes at an offset that the layout fixes.
    fn field<const N: usize>(&self, offset: usize) -> [u8; N] {
        std::array::from_fn(|index| self.bytes[offset + index])
    }
}

/// The token stays out of logs.
impl std::fmt::Debug for RequestHeader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let version: [u8; 4] = self.field(0);
        f.debug_struct("RequestHeader")
            .field("version", &version.escape_ascii().to_string())
            .field("filename", &self.filename())
            .field("body_bytes", &self.body_bytes())
            .field("operation", &format_args!("{:#010x}", self.operation_field()))
            .finish_non_exhaustive()
    }
}

/// The refusal of an options block over the limit, whether announced or in hand.
pub(super) fn options_too_long(bytes: usize) -> Failure {
    let over = bytes - OPTIONS_BYTES_MAX;
    Failure::new(
        Code::BadOption,
        format!("the options have {bytes} bytes, {over} over the limit of {OPTIONS_BYTES_MAX}"),
    )
}

fn bad_operation(number: u32, version: Version) -> Failure {
    let (message, hint) = match (number, version) {
        (0, Version::V1_0) => {
            ("operation 0 (status) does not exist in v1.0".to_owned(), "ask for the status in v1.1")
        }
        _ => (
            format!("unknown operation {number}"),
            if (1..=5).contains(&number.swap_bytes()) {
                "the operation is big-endian, and this one came little-endian"
            } else {
                "1 is to JPG, 2 to PNG, 3 to WEBP, 4 to PDF, 5 to text"
            },
        ),
    };
    Failure::new(Code::BadOperation, message).with_hint(hint)
}

fn strip_nuls(field: &[u8]) -> &[u8] {
    let start = field.iter().position(|&byte| byte != 0).unwrap_or(field.len());
    let end = field.iter().rposition(|&byte| byte != 0).map_or(start, |last| last + 1);
    &field[start..end]
}

const _: () = assert!(TOKEN_AT + TOKEN_BYTES_MAX == CHECKSUM_AT);
const _: () = assert!(OPERATION_AT + 4 == REQUEST_HEADER_BYTES);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::convert::Target;

    fn token() -> Token {
        Token::parse("t0ken").unwrap()
    }

    fn header(version: Version, filename: &str, operation: Operation) -> RequestHeader {
        let body_bytes = 0x0102_0304_0506_0708;
        RequestHeader::new(
            version,
            &token(),
            *b"0123456789abcdef",
            filename,
            body_bytes,
            operation,
            0,
        )
    }

    fn with_operation_field(version: Version, number: u32) -> RequestHeader {
        let mut bytes = header(version, "a", Operation::Convert(Target::Jpg)).to_bytes();
        bytes[OPERATION_AT..].copy_from_slice(&number.to_be_bytes());
        RequestHeader::parse(&bytes)
    }

    #[test]
    fn a_v1_1_header_is_golden() {
        let operation = Operation::Convert(Target::Text);
        let header = RequestHeader::new(
            Version::V1_1,
            &token(),
            *b"0123456789abcdef",
            "ä.pdf",
            0x0102,
            operation,
            4096,
        );
        let mut golden = b"v1.1t0ken".to_vec();
        golden.extend_from_slice(&[0; 27]);
        golden.extend_from_slice(b"0123456789abcdef\xc3\xa4.pdf");
        golden.extend_from_slice(&[0; 24]);
        golden.extend_from_slice(b"\0\0\0\0\0\0\x01\x02\x10\x00\x00\x05");
        assert_eq!(header.to_bytes().to_vec(), golden);
    }

    #[test]
    fn an_unknown_version_is_shown_escaped() {
        let mut bytes = [0; REQUEST_HEADER_BYTES];
        bytes[..4].copy_from_slice(b"G\x1b\xff`");
        let failure = RequestHeader::parse(&bytes).version().unwrap_err();
        assert_eq!(failure.code, Code::BadVersion);
        assert_eq!(failure.message, "unknown version `G\\x1b\\xff``");
    }

    #[test]
    fn v1_0_has_no_status_and_reads_all_four_bytes_of_the_operation() {
        let failure = with_operation_field(Version::V1_0, 0).operation(Version::V1_0).unwrap_err();
        assert_eq!(failure.message, "operation 0 (status) does not exist in v1.0");
        let header = with_operation_field(Version::V1_0, 0x0001_0004);
        let failure = header.operation(Version::V1_0).unwrap_err();
        assert_eq!(
            (failure.code, failure.message.as_str()),
            (Code::BadOperation, "unknown operation 65540")
        );
        assert_eq!(header.options_bytes(Version::V1_0).unwrap(), 0);
    }

    #[test]
    fn v1_1_splits_the_operation_into_id_and_length() {
        let header = with_operation_field(Version::V1_1, 0x1000_0000);
        assert_eq!(header.operation(Version::V1_1).unwrap(), Operation::Status);
        assert_eq!(header.options_bytes(Version::V1_1).unwrap(), 4096);
        let header = with_operation_field(Version::V1_1, 0x1001_0006);
        let failure = header.operation(Version::V1_1).unwrap_err();
        assert_eq!(failure.message, "unknown operation 6");
        let failure = header.options_bytes(Version::V1_1).unwrap_err();
        assert_eq!(failure.code, Code::BadOption);
        assert_eq!(failure.message, "the options have 4097 bytes, 1 over the limit of 4096");
    }

    #[test]
    fn a_long_name_is_cut_between_characters() {
        let operation = Operation::Convert(Target::Jpg);
        let long = format!("{}äb", "x".repeat(29));
        assert_eq!(header(Version::V1_0, &long, operation).filename(), "x".repeat(29));
        let exact = format!("{}ä", "x".repeat(28));
        assert_eq!(header(Version::V1_0, &exact, operation).filename(), exact);
    }

    #[test]
    fn a_name_cannot_write_to_the_log() {
        let operation = Operation::Convert(Target::Jpg);
        let name = header(Version::V1_0, "\0a\n\x1b[2J\0b", operation);
        assert_eq!(name.filename(), "a\\n\\u{1b}[2J\\u{0}b");
    }

    #[test]
    fn a_tunnel_changes_version_and_token_and_nothing_else() {
        let operation = Operation::Convert(Target::Png);
        let (old, new) =
            (header(Version::V1_0, "a.png", operation), header(Version::V1_1, "a.png", operation));
        assert_eq!(old.with_version(Version::V1_1), new);
        assert_eq!(new.with_version(Version::V1_0), old);
        let optioned = with_operation_field(Version::V1_1, 0x0020_0002);
        assert_eq!(optioned.with_version(Version::V1_0), header(Version::V1_0, "a", operation));

        let other = old.with_token(&Token::parse("other").unwrap());
        assert_eq!(other.token()[..6], *b"other\0");
        assert_eq!(other.with_token(&token()), old);
    }

    #[test]
    fn debug_does_not_show_the_token() {
        let shown =
            format!("{:?}", header(Version::V1_0, "a.png", Operation::Convert(Target::Png)));
        assert!(shown.contains("a.png"), "{shown}");
        assert!(!shown.contains("t0ken") && !shown.contains("116, 48"), "{shown}");
    }

    fn any_target() -> impl Strategy<Value = Target> {
        prop::sample::select(vec![
            Target::Jpg,
            Target::Png,
            Target::Webp,
            Target::Pdf,
            Target::Text,
        ])
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            target in any_target(), checksum in any::<[u8; 16]>(), body_bytes in any::<u64>(),
            filename in "[a-zA-Z0-9äß€ ]{0,10}", options_bytes in 0..=OPTIONS_BYTES_MAX,
        ) {
            let operation = Operation::Convert(target);
            let header = RequestHeader::new(
                Version::V1_1, &token(), checksum, &filename, body_bytes, operation, options_bytes,
            );
            let header = RequestHeader::parse(&header.to_bytes());
            prop_assert_eq!(header.version(), Ok(Version::V1_1));
            prop_assert_eq!(header.operation(Version::V1_1), Ok(operation));
            prop_assert_eq!(header.options_bytes(Version::V1_1), Ok(options_bytes));
            prop_assert_eq!(header.checksum(), checksum);
            prop_assert_eq!(header.body_bytes(), body_bytes);
            prop_assert_eq!(header.filename(), filename);
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(
            bytes in proptest::collection::vec(any::<u8>(), REQUEST_HEADER_BYTES),
            version in prop::sample::select(vec![Version::V1_0, Version::V1_1]),
        ) {
            let mut bytes: [u8; REQUEST_HEADER_BYTES] = bytes.try_into().unwrap();
            bytes[..4].copy_from_slice(&version.bytes());
            let header = RequestHeader::parse(&bytes);
            prop_assert!(!header.filename().chars().any(char::is_control));
            let _ = (header.operation(version), header.options_bytes(version), format!("{header:?}"));
            prop_assert_eq!(header.to_bytes(), bytes);
        }
    }
}
