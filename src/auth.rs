//! Tokens: what a client shows to be served.
//!
//! Owns: reading, making and comparing tokens. Must never: show one in a message or a log line,
//! leave one in memory that is given back, or compare one in a time that depends on its contents.

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
        rustls::crypto::aws_lc_rs::default_provider()
            .secure_random
            .fill(&mut field)
            .map_err(|_| TokenError::NoRandomness)?;
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
