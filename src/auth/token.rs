//! One token: its form, its file, and how a new one is made.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

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
        let (text, world_readable) = read(path, FILE_BYTES_MAX)?;
        let token = Self::parse(line_of(&text)).map_err(|source| TokenError::InFile {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
        Ok(LoadedToken { token, world_readable })
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

/// The text of a file, as far as `bytes_max`, and whether every user of the machine can read it.
pub(super) fn read(path: &Path, bytes_max: usize) -> Result<(Zeroizing<String>, bool), TokenError> {
    let unreadable = |source| TokenError::Unreadable { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.permissions().mode();
    // Of the largest size from the start: a string that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(bytes_max));
    file.take(bytes_max as u64).read_to_end(&mut bytes).map_err(unreadable)?;
    let text = String::from_utf8(std::mem::take(&mut *bytes)).map_err(|error| {
        drop(Zeroizing::new(error.into_bytes()));
        TokenError::NotUtf8 { path: path.to_owned() }
    })?;
    Ok((Zeroizing::new(text), mode & 0o004 != 0))
}

/// The text without one line end.
pub(super) fn line_of(text: &str) -> &str {
    let line = text.strip_suffix('\n').unwrap_or(text);
    line.strip_suffix('\r').unwrap_or(line)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write;

    use super::*;

    const SECRET: &str = "super_secret_token_123456789012";

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
}
