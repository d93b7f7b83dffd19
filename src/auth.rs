//! Tokens: what a client shows to be served.
//!
//! Owns: reading, making and comparing tokens. Must never: show one in a message or a log line, or
//! compare one in a time that depends on its contents.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use subtle::{Choice, ConstantTimeEq};
use zeroize::{Zeroize, Zeroizing};

/// The width of the field in a request's header.
pub const TOKEN_BYTES_MAX: usize = 32;

/// More than any file with one token in it: 32 bytes, a line end, and room to say by how much a
/// longer one is too long.
const FILE_BYTES_MAX: usize = 4096;

/// 64 letters, so that six bits of a random byte choose one without bias. None of them needs
/// quoting in a shell or can be taken for the start of a flag.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._";

/// Why a token could not be read or made.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Nothing is left of it.
    #[error("the token is empty")]
    Empty,
    /// It does not fit the field of the header.
    #[error("the token has {bytes} bytes, {} over the limit of {TOKEN_BYTES_MAX}", .bytes - TOKEN_BYTES_MAX)]
    TooLong {
        /// Its bytes.
        bytes: usize,
    },
    /// It holds a control character, such as a tab, a NUL or a second line.
    #[error("the token has a control character at byte {at}")]
    Control {
        /// Where, from 0.
        at: usize,
    },
    /// It starts or ends with a space, which is hardly meant.
    #[error("the token starts or ends with a space")]
    Space,
    /// The file is no text.
    #[error("{}: the token is not UTF-8", .path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
    },
    /// The file holds a token that is none.
    #[error("{}: {source}", .path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with the token.
        source: Box<TokenError>,
    },
    /// The file cannot be read.
    #[error("cannot read {}: {source}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The system gave no random bytes.
    #[error("the system has no random bytes to make a token of")]
    NoRandomness,
}

/// A token: 1 to 32 bytes without NUL. Wiped when it is dropped; `Debug` does not show it.
#[derive(Clone)]
pub struct Token {
    /// Padded with NULs on the right. No token holds one, so the padded form is unique.
    field: [u8; TOKEN_BYTES_MAX],
}

/// A token from a file.
#[derive(Debug)]
pub struct LoadedToken {
    /// The token.
    pub token: Token,
    /// The file can be read by every user of the machine, which deserves a warning.
    pub world_readable: bool,
}

impl Token {
    /// A token from a flag, a variable or a line.
    ///
    /// # Errors
    ///
    /// Says what is wrong with it, and never what it is.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        if text.is_empty() {
            return Err(TokenError::Empty);
        }
        if let Some(at) = text.find(char::is_control) {
            return Err(TokenError::Control { at });
        }
        if text.trim().len() != text.len() {
            return Err(TokenError::Space);
        }
        if text.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::TooLong { bytes: text.len() });
        }
        let mut field = [0; TOKEN_BYTES_MAX];
        field[..text.len()].copy_from_slice(text.as_bytes());
        Ok(Self { field })
    }

    /// A token from a file of one line. Its line end does not count.
    ///
    /// # Errors
    ///
    /// Names the file, and says what is wrong with it.
    pub fn load(path: &Path) -> Result<LoadedToken, TokenError> {
        let unreadable = |source| TokenError::Unreadable { path: path.to_owned(), source };
        let file = File::open(path).map_err(unreadable)?;
        let mode = file.metadata().map_err(unreadable)?.permissions().mode();
        let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_BYTES_MAX));
        file.take(FILE_BYTES_MAX as u64).read_to_end(&mut bytes).map_err(unreadable)?;

        let text = std::str::from_utf8(&bytes)
            .map_err(|_| TokenError::NotUtf8 { path: path.to_owned() })?;
        let line = text.strip_suffix('\n').unwrap_or(text);
        let line = line.strip_suffix('\r').unwrap_or(line);
        let token = Self::parse(line).map_err(|source| TokenError::InFile {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
        Ok(LoadedToken { token, world_readable: mode & 0o004 != 0 })
    }

    /// A new token of 32 letters, which is 192 bits from the system's randomness.
    ///
    /// # Errors
    ///
    /// Only where the system has none.
    pub fn generate() -> Result<Self, TokenError> {
        let mut field = [0; TOKEN_BYTES_MAX];
        getrandom::fill(&mut field).map_err(|_| TokenError::NoRandomness)?;
        for byte in &mut field {
            *byte = ALPHABET[usize::from(*byte & 63)];
        }
        Ok(Self { field })
    }

    /// The token as text, to be handed to the person who asked for it and to nobody else.
    #[must_use]
    pub fn reveal(&self) -> &str {
        let end = self.field.iter().position(|&byte| byte == 0).unwrap_or(TOKEN_BYTES_MAX);
        // Both constructors fill it with whole characters.
        std::str::from_utf8(&self.field[..end]).unwrap_or_default()
    }

    /// The field of a header: the token, padded with NULs on the right.
    #[must_use]
    pub fn field(&self) -> &[u8; TOKEN_BYTES_MAX] {
        &self.field
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        self.field.zeroize();
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(hidden)")
    }
}

/// The tokens that a server accepts.
#[derive(Debug, Clone)]
pub enum Tokens {
    /// Any, and none at all: a worker that only its master can reach.
    Open,
    /// These. Several make it possible to change a token without a moment in which neither works.
    Only(Vec<Token>),
}

impl Tokens {
    /// One that is accepted, to be shown to a server that accepts the same.
    #[must_use]
    pub fn any(&self) -> Option<&Token> {
        match self {
            Self::Open => None,
            Self::Only(tokens) => tokens.first(),
        }
    }

    /// Whether the field of a header holds an accepted token. NULs are stripped on both ends first.
    ///
    /// The time depends on the number of accepted tokens and on the field, which the sender knows,
    /// but not on what the tokens are, nor on which of them matches, nor on how much of one does.
    #[must_use]
    pub fn accepts(&self, field: &[u8]) -> bool {
        let Self::Only(tokens) = self else {
            return true;
        };
        let Some(candidate) = normalize(field) else {
            return false;
        };
        let found = tokens
            .iter()
            .fold(Choice::from(0), |found, token| found | token.field.ct_eq(&*candidate));
        found.into()
    }
}

/// A field without the NULs on both ends, padded on the right again; `None` where more is left than
/// a token can have. A NUL inside stays and matches nothing; nor does an empty field.
fn normalize(field: &[u8]) -> Option<Zeroizing<[u8; TOKEN_BYTES_MAX]>> {
    let start = field.iter().position(|&byte| byte != 0).unwrap_or(field.len());
    let end = field.iter().rposition(|&byte| byte != 0).map_or(start, |last| last + 1);
    let bytes = &field[start..end];
    let mut padded = Zeroizing::new([0; TOKEN_BYTES_MAX]);
    padded.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(padded)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    const SECRET: &str = "super_secret_token_123456789012";

    fn only(tokens: &[&str]) -> Tokens {
        Tokens::Only(tokens.iter().map(|token| Token::parse(token).unwrap()).collect())
    }

    fn load(contents: &[u8], mode: u32) -> Result<LoadedToken, TokenError> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(contents).unwrap();
        file.as_file().set_permissions(std::fs::Permissions::from_mode(mode)).unwrap();
        Token::load(file.path())
    }

    #[test]
    fn a_token_is_refused_with_the_reason_and_without_itself() {
        let message = |text: &str| Token::parse(text).unwrap_err().to_string();
        assert_eq!(message(""), "the token is empty");
        assert_eq!(message(&"x".repeat(35)), "the token has 35 bytes, 3 over the limit of 32");
        assert_eq!(message("ab\tc"), "the token has a control character at byte 2");
        assert_eq!(message("a\0b"), "the token has a control character at byte 1");
        assert_eq!(message(" ab"), "the token starts or ends with a space");
        assert!(Token::parse(&"x".repeat(32)).is_ok());
        assert_eq!(Token::parse("pass phrase").unwrap().reveal(), "pass phrase");
    }

    #[test]
    fn a_file_holds_one_line() {
        for contents in [SECRET.to_owned(), format!("{SECRET}\n"), format!("{SECRET}\r\n")] {
            let loaded = load(contents.as_bytes(), 0o600).unwrap();
            assert_eq!(loaded.token.reveal(), SECRET);
            assert!(!loaded.world_readable);
        }
        assert!(load(b"t", 0o604).unwrap().world_readable);
        assert!(!load(b"t", 0o640).unwrap().world_readable);

        let message = |contents: &[u8]| load(contents, 0o600).unwrap_err().to_string();
        assert!(message(b"a\nb\n").ends_with(": the token has a control character at byte 1"));
        assert!(message(b"\n").ends_with(": the token is empty"));
        assert!(message(b"\xff\n").ends_with(": the token is not UTF-8"));
        assert!(message(&[b'x'; 33]).ends_with(": the token has 33 bytes, 1 over the limit of 32"));
        let missing = Token::load(Path::new("/nonexistent/token")).unwrap_err().to_string();
        assert!(missing.starts_with("cannot read /nonexistent/token: "), "{missing}");
    }

    #[test]
    fn made_tokens_fill_the_field_and_differ() {
        let (first, second) = (Token::generate().unwrap(), Token::generate().unwrap());
        assert_eq!(first.reveal().len(), TOKEN_BYTES_MAX);
        assert!(first.reveal().bytes().all(|byte| ALPHABET.contains(&byte)));
        assert_ne!(first.reveal(), second.reveal());
        assert_eq!(Token::parse(first.reveal()).unwrap().field(), first.field());
    }

    #[test]
    fn debug_hides_a_token() {
        assert_eq!(format!("{:?}", only(&["abc"])), "Only([Token(hidden)])");
    }

    #[test]
    fn nuls_on_both_ends_do_not_count() {
        let tokens = only(&[SECRET]);
        for field in [format!("{SECRET}\0"), format!("\0{SECRET}"), SECRET.to_owned()] {
            assert!(tokens.accepts(field.as_bytes()), "{field:?}");
        }
        let short = only(&["abc"]);
        assert!(short.accepts(b"\0\0\0abc\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"));
        assert!(!short.accepts(b"a\0bc"));
        assert!(!short.accepts(b"abc\0d"));
    }

    #[test]
    fn only_a_whole_token_is_accepted() {
        let tokens = only(&["first", SECRET, "last"]);
        assert!(tokens.accepts(b"first") && tokens.accepts(b"last"));
        for wrong in ["", "\0\0\0", "firs", "first1", "First", "irst", "first "] {
            assert!(!tokens.accepts(wrong.as_bytes()), "{wrong:?}");
        }
        assert!(!tokens.accepts(&[b'x'; 33]));
        assert!(!Tokens::Only(Vec::new()).accepts(b""));
        assert!(Tokens::Open.accepts(b"") && Tokens::Open.accepts(&[b'x'; 33]));
    }

    proptest! {
        #[test]
        fn a_field_matches_if_and_only_if_its_stripped_bytes_are_the_token(
            token in "[!-~]{1,32}",
            field in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..40),
                "\0{0,3}[!-~]{1,29}\0{0,3}".prop_map(String::into_bytes),
            ],
            before in 0..4_usize,
        ) {
            let tokens = Tokens::Only(vec![Token::parse(&token).unwrap()]);
            let mut own = vec![0; before.min(TOKEN_BYTES_MAX - token.len())];
            own.extend_from_slice(token.as_bytes());
            own.resize(TOKEN_BYTES_MAX, 0);
            prop_assert!(tokens.accepts(&own));
            let text = String::from_utf8_lossy(&field);
            prop_assert_eq!(tokens.accepts(&field), text.trim_matches('\0') == token);
        }
    }
}
