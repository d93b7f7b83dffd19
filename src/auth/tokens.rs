//! The tokens that a server accepts, and whether it is one of them that a client shows.

use std::sync::Arc;
use std::time::{Duration, Instant};

use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

use super::date::Moment;
use super::list::{Entry, TokenList};
use super::rules::{Rules, Uses};
use super::token::{TOKEN_BYTES_MAX, Token};
use super::usage::{Place, TooMuch};

/// The tokens that a server accepts.
#[derive(Debug, Clone)]
pub enum Tokens {
    /// Any, and none at all: a worker that only its master can reach.
    Open,
    /// These. Several make it possible to change a token without a moment in which neither works.
    Only(Vec<Token>),
    /// Those of a list, each with a name and with what it is for.
    Listed(TokenList),
}

/// Why a token does not let its holder in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// It is none of ours.
    #[error("the token is not accepted")]
    Unknown,
    /// It was one of ours.
    #[error("the token expired at {at}")]
    Expired {
        /// When.
        at: Moment,
    },
    /// Its address has shown too many wrong ones, and is not looked at before this time is over.
    #[error("too many wrong tokens came from this address")]
    Limited {
        /// How long.
        wait: Duration,
    },
}

/// What the holder of an accepted token may do.
#[derive(Debug, Clone, Default)]
pub struct Grant(Option<Arc<Entry>>);

impl Grant {
    pub(super) fn of(entry: &Arc<Entry>) -> Self {
        Self(Some(Arc::clone(entry)))
    }

    /// The token's name, where it has one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.0.as_ref().map(|entry| entry.name.as_str())
    }

    /// What it is for.
    #[must_use]
    pub fn uses(&self) -> Uses {
        self.rules().map_or(Uses::ALL, |rules| rules.uses)
    }

    /// Bytes of one body, where the token has a limit of its own.
    #[must_use]
    pub fn body_bytes_max(&self) -> Option<u64> {
        self.rules().and_then(|rules| rules.body_bytes_max)
    }

    /// A place for one conversion, among those that the token may have now.
    ///
    /// # Errors
    ///
    /// It has its most already.
    pub fn enter(&self) -> Result<Place, TooMuch> {
        match &self.0 {
            Some(entry) => entry.usage.enter(&entry.rules, Instant::now()),
            None => Ok(Place::unlimited()),
        }
    }

    fn rules(&self) -> Option<&Rules> {
        self.0.as_ref().map(|entry| &entry.rules)
    }
}

impl Tokens {
    /// One that is accepted, to be shown to a server that accepts the same. Of a list there is none:
    /// it holds hashes.
    #[must_use]
    pub fn any(&self) -> Option<&Token> {
        match self {
            Self::Open | Self::Listed(_) => None,
            Self::Only(tokens) => tokens.first(),
        }
    }

    /// What the token in the field of a header lets its holder do. NULs are stripped on both ends
    /// first.
    ///
    /// The time depends on the number of accepted tokens and on the field, which the sender knows,
    /// but not on what the tokens are, nor on which of them matches, nor on how much of one does.
    ///
    /// # Errors
    ///
    /// It is none that is accepted, or not any more.
    pub fn check(&self, field: &[u8]) -> Result<Grant, Denied> {
        match self {
            Self::Open => Ok(Grant::default()),
            Self::Only(tokens) => {
                let candidate = normalize(field).ok_or(Denied::Unknown)?;
                let found = tokens
                    .iter()
                    .fold(Choice::from(0), |found, token| found | token.field().ct_eq(&*candidate));
                if bool::from(found) { Ok(Grant::default()) } else { Err(Denied::Unknown) }
            }
            Self::Listed(list) => list.check(stripped(field), Moment::now()),
        }
    }

    /// Whether the field of a header holds an accepted token, whatever it is for.
    #[must_use]
    pub fn accepts(&self, field: &[u8]) -> bool {
        self.check(field).is_ok()
    }

    /// Goes on counting what the tokens of `before` have in use, by their names.
    #[must_use]
    pub fn after(self, before: &Self) -> Self {
        match (self, before) {
            (Self::Listed(list), Self::Listed(before)) => Self::Listed(list.after(before)),
            (tokens, _) => tokens,
        }
    }
}

/// A field without the NULs on both ends. A NUL inside stays and matches nothing.
pub(crate) fn stripped(field: &[u8]) -> &[u8] {
    let start = field.iter().position(|&byte| byte != 0).unwrap_or(field.len());
    let end = field.iter().rposition(|&byte| byte != 0).map_or(start, |last| last + 1);
    &field[start..end]
}

/// The same, padded on the right again; `None` where more is left than a token can have. An empty
/// field matches nothing.
fn normalize(field: &[u8]) -> Option<Zeroizing<[u8; TOKEN_BYTES_MAX]>> {
    let bytes = stripped(field);
    let mut padded = Zeroizing::new([0; TOKEN_BYTES_MAX]);
    padded.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(padded)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECRET: &str = "super_secret_token_123456789012";

    fn only(tokens: &[&str]) -> Tokens {
        Tokens::Only(tokens.iter().map(|token| Token::parse(token).unwrap()).collect())
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
