//! Names of files.

use std::fmt;

/// The field that says a name's length has five bits.
pub const NAME_BYTES_MAX: usize = 31;

/// Every name of the store's own begins with this, and no user's does.
pub(super) const OWN_PREFIX: &str = ".fxsrv-";

/// The name of a file in a store: one component of a path, and never more.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Name(String);

/// Why bytes are no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing is left of it without its NULs.
    #[error("the name is empty")]
    Empty,
    /// The length does not fit its field.
    #[error("the name has {0} bytes, {over} over the limit of 31", over = .0 - NAME_BYTES_MAX)]
    TooLong(usize),
    /// No text.
    #[error("the name is not UTF-8")]
    NotUtf8,
    /// It would lead elsewhere.
    #[error("the name has a slash at byte {0}")]
    Slash(usize),
    /// A NUL within, a line end, or the like.
    #[error("the name has a control character at byte {0}")]
    Control(usize),
    /// The directory itself or the one above.
    #[error("the name is that of a directory")]
    Dots,
    /// Names of the store's own.
    #[error("the name begins with {OWN_PREFIX}, as only the store's own do")]
    Own,
}

impl Name {
    /// The name that these bytes of a request are. NULs at the end do not count: clients of another
    /// reading of the protocol count one.
    ///
    /// # Errors
    ///
    /// Says what is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, NameError> {
        let end = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        let bytes = &bytes[..end];
        if bytes.is_empty() {
            return Err(NameError::Empty);
        }
        if bytes.len() > NAME_BYTES_MAX {
            return Err(NameError::TooLong(bytes.len()));
        }
        let name = std::str::from_utf8(bytes).map_err(|_| NameError::NotUtf8)?;
        if let Some(at) = name.find('/') {
            return Err(NameError::Slash(at));
        }
        if let Some(at) = name.find(char::is_control) {
            return Err(NameError::Control(at));
        }
        if matches!(name, "." | "..") {
            return Err(NameError::Dots);
        }
        if name.starts_with(OWN_PREFIX) {
            return Err(NameError::Own);
        }
        Ok(Self(name.to_owned()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of a file's summary: `summary_` and its own, or `summary.txt` where that is too long.
    #[must_use]
    pub(super) fn of_summary(&self) -> Self {
        let name = format!("summary_{}", self.0);
        Self(if name.len() > NAME_BYTES_MAX { "summary.txt".to_owned() } else { name })
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_are_one_component_of_a_path() {
        for good in ["a", "file.txt", "...", ".hidden", "a b", "-rf", "naïve.txt", "x\\y", "*?"] {
            assert_eq!(Name::parse(good.as_bytes()).unwrap().as_str(), good);
        }
        assert!(Name::parse(&[b'x'; 31]).is_ok());
    }

    #[test]
    fn every_forbidden_kind_is_refused() {
        use NameError as E;
        for (bad, error) in [
            (&b""[..], E::Empty),
            (b"\0\0", E::Empty),
            (&[b'x'; 32], E::TooLong(32)),
            (b"a\xff", E::NotUtf8),
            (b"\xc0\xaf", E::NotUtf8),
            (b"../x", E::Slash(2)),
            (b"/etc/passwd", E::Slash(0)),
            (b"a/", E::Slash(1)),
            (b"a\0b", E::Control(1)),
            (b"a\nb", E::Control(1)),
            (b"\x7f", E::Control(0)),
            ("a\u{85}".as_bytes(), E::Control(1)),
            (b".", E::Dots),
            (b"..", E::Dots),
            (b"..\0", E::Dots),
            (b".fxsrv-tmp-1", E::Own),
        ] {
            assert_eq!(Name::parse(bad), Err(error), "{bad:?}");
        }
    }

    #[test]
    fn nuls_at_the_end_do_not_count() {
        assert_eq!(Name::parse(b"a.txt\0").unwrap().as_str(), "a.txt");
    }

    #[test]
    fn a_summary_has_a_name_that_fits() {
        let of = |name: &str| Name::parse(name.as_bytes()).unwrap().of_summary().0;
        assert_eq!(of("numbers.txt"), "summary_numbers.txt");
        assert_eq!(of(&"x".repeat(23)), format!("summary_{}", "x".repeat(23)));
        assert_eq!(of(&"x".repeat(24)), "summary.txt");
    }
}
