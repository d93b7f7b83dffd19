//! A list of tokens in a file: each with a name, a hash, and what it may do.
//!
//! ```toml
//! # fxsrv tokens: a name, the hash of a token, and what its holder may do
//!
//! [[token]]
//! name = "scanner"
//! hash = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
//! expires = 2030-12-31T00:00:00Z
//! operations = ["pdf", "text"]
//! max-body = "20 MiB"
//! rate = "100/m"
//! concurrency = 4
//! ```
//!
//! The hash is SHA-256 over the bytes of the token, without padding, and without salt or stretching:
//! `fxsrv token new` makes 192 random bits, which nobody counts through. A token that a person has
//! thought of is better kept out of a list that others can read.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest;
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use toml::value::Datetime;

use super::date::Moment;
use super::rules::{Rate, Rules, Uses};
use super::token::{self, Token, TokenError};
use super::tokens::{Denied, Grant, Tokens};
use super::usage::Usage;
use crate::config::ByteSize;

/// 4,096 tokens of about 250 bytes: comparing with as many takes 50 microseconds.
pub(super) const FILE_BYTES_MAX: usize = 1024 * 1024;
const TOKENS_MAX: usize = 4096;

/// Names stand in log lines.
const NAME_BYTES_MAX: usize = 64;

const HASH_BYTES: usize = 32;
pub(super) const HASH_PREFIX: &str = "sha256:";

/// Why a list cannot be used, or not be changed.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// The file cannot be read, or is no text.
    #[error(transparent)]
    File(#[from] TokenError),
    /// The list is wrong.
    #[error("{} is wrong:\n{problem}", .path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// What, and where.
        problem: String,
    },
    /// The file holds a single token, as it is.
    #[error("{} holds one token, and no list", .path.display())]
    NoList {
        /// The file.
        path: PathBuf,
    },
    /// A token of this name is there.
    #[error("{} has a token '{name}' already", .path.display())]
    Exists {
        /// The file.
        path: PathBuf,
        /// The name.
        name: String,
    },
    /// No token of this name is there.
    #[error("{} has no token '{name}'", .path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// The name.
        name: String,
    },
    /// The name cannot be a token's.
    #[error(
        "'{0}' is no name of a token: it has 1 to {NAME_BYTES_MAX} letters, digits and any of ._-"
    )]
    Name(String),
    /// The file cannot be written.
    #[error("cannot write {}: {source}", .path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// The tokens of a list. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct TokenList(Arc<Vec<Arc<Entry>>>);

/// A token of a list.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) rules: Rules,
    pub(super) usage: Arc<Usage>,
    hash: [u8; HASH_BYTES],
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct RawList {
    #[serde(default)]
    token: Vec<RawEntry>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct RawEntry {
    name: String,
    hash: String,
    expires: Option<Datetime>,
    operations: Option<Vec<String>>,
    max_body: Option<String>,
    rate: Option<String>,
    concurrency: Option<u32>,
}

impl Tokens {
    /// What a file accepts: one token as it is, or a list of hashes. Also says whether every user of
    /// the machine can read it.
    ///
    /// # Errors
    ///
    /// Names the file, and says what is wrong with it.
    pub fn load(path: &Path) -> Result<(Self, bool), ListError> {
        let (text, world_readable) = token::read(path, FILE_BYTES_MAX)?;
        if !is_list(&text) {
            let loaded = Token::load(path)?;
            return Ok((Self::Only(vec![loaded.token]), loaded.world_readable));
        }
        Ok((Self::Listed(TokenList::parse_file(path, &text)?), world_readable))
    }
}

impl TokenList {
    /// Reads a list.
    ///
    /// # Errors
    ///
    /// Says what is wrong, and where.
    pub fn parse(text: &str) -> Result<Self, String> {
        let raw: RawList =
            toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
        if raw.token.len() > TOKENS_MAX {
            let (have, over) = (raw.token.len(), raw.token.len() - TOKENS_MAX);
            return Err(format!("{have} tokens are {over} over the limit of {TOKENS_MAX}"));
        }
        let mut entries: Vec<Arc<Entry>> = Vec::with_capacity(raw.token.len());
        for raw in raw.token {
            let name = raw.name.clone();
            let entry = raw.parse().map_err(|problem| format!("token '{name}': {problem}"))?;
            if entries.iter().any(|other| other.name == entry.name) {
                return Err(format!("token '{name}' is there twice"));
            }
            if let Some(other) = entries.iter().find(|other| other.hash == entry.hash) {
                return Err(format!("tokens '{}' and '{name}' have one hash", other.name));
            }
            entries.push(Arc::new(entry));
        }
        Ok(Self(Arc::new(entries)))
    }

    pub(super) fn parse_file(path: &Path, text: &str) -> Result<Self, ListError> {
        Self::parse(text).map_err(|problem| ListError::Wrong { path: path.to_owned(), problem })
    }

    /// Each token's name, rules and conversions on their way.
    pub fn each(&self) -> impl Iterator<Item = (&str, &Rules, u32)> {
        self.0.iter().map(|entry| (entry.name.as_str(), &entry.rules, entry.usage.running()))
    }

    /// Looks at every token, whether an earlier one has matched or not.
    pub(super) fn check(&self, token: &[u8], now: Moment) -> Result<Grant, Denied> {
        let hash = hash(token);
        let (mut found, mut at) = (Choice::from(0), 0_u64);
        for (number, entry) in (0_u64..).zip(self.0.iter()) {
            let is_it = entry.hash.ct_eq(&hash);
            at.conditional_assign(&number, is_it);
            found |= is_it;
        }
        let entry = usize::try_from(at).ok().and_then(|at| self.0.get(at));
        match entry.filter(|_| bool::from(found)) {
            None => Err(Denied::Unknown),
            Some(entry) => match entry.rules.expires {
                Some(at) if at <= now => Err(Denied::Expired { at }),
                _ => Ok(Grant::of(entry)),
            },
        }
    }

    pub(super) fn after(&self, before: &Self) -> Self {
        let carry = |entry: &Arc<Entry>| {
            let usage = match before.0.iter().find(|other| other.name == entry.name) {
                Some(other) => Arc::clone(&other.usage),
                None => Arc::clone(&entry.usage),
            };
            let Entry { name, rules, hash, .. } = &**entry;
            Arc::new(Entry { name: name.clone(), rules: *rules, hash: *hash, usage })
        };
        Self(Arc::new(self.0.iter().map(carry).collect()))
    }
}

impl RawEntry {
    fn parse(self) -> Result<Entry, String> {
        if !is_name(&self.name) {
            return Err(ListError::Name(self.name).to_string());
        }
        if self.concurrency == Some(0) {
            return Err("concurrency is 0, and must be 1 or more".to_owned());
        }
        let rules = Rules {
            expires: self.expires.as_ref().map(Moment::from_toml).transpose()?,
            uses: match &self.operations {
                Some(names) => Uses::parse(names.iter().map(String::as_str))?,
                None => Uses::ALL,
            },
            body_bytes_max: match self.max_body {
                Some(size) => Some(size.parse::<ByteSize>()?.0),
                None => None,
            },
            rate: self.rate.as_deref().map(str::parse::<Rate>).transpose()?,
            concurrency: self.concurrency,
        };
        let hash = parse_hash(&self.hash)
            .ok_or_else(|| format!("the hash is not '{HASH_PREFIX}' and 64 hexadecimal digits"))?;
        Ok(Entry { name: self.name, rules, usage: Arc::default(), hash })
    }
}

/// A file with one line is a token, as it always was; a list says so in its first line, or has more.
pub(super) fn is_list(text: &str) -> bool {
    text.starts_with("# fxsrv tokens:") || token::line_of(text).contains("[[token]]\n")
}

pub(super) fn is_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_plain)
}

pub(super) fn hash(token: &[u8]) -> [u8; HASH_BYTES] {
    let digest = digest::digest(&digest::SHA256, token);
    let mut hash = [0; HASH_BYTES];
    hash.copy_from_slice(digest.as_ref());
    hash
}

pub(super) fn hex(hash: &[u8]) -> String {
    hash.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn parse_hash(text: &str) -> Option<[u8; HASH_BYTES]> {
    let hex = text.strip_prefix(HASH_PREFIX).filter(|hex| hex.len() == 2 * HASH_BYTES)?;
    let mut hash = [0; HASH_BYTES];
    for (byte, digits) in hash.iter_mut().zip(hex.as_bytes().chunks(2)) {
        let digits = std::str::from_utf8(digits).ok().filter(|_| digits.is_ascii())?;
        *byte = u8::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+'))?;
    }
    Some(hash)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn entry(name: &str, token: &str, more: &str) -> String {
        let hex = hex(&hash(token.as_bytes()));
        format!("[[token]]\nname = \"{name}\"\nhash = \"sha256:{hex}\"\n{more}\n")
    }

    fn listed(text: &str) -> Tokens {
        Tokens::Listed(TokenList::parse(text).unwrap())
    }

    #[test]
    fn a_hash_is_what_sha256sum_makes() {
        let hex = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
        assert_eq!(parse_hash(&format!("sha256:{hex}")), Some(hash(b"test")));
        for wrong in
            [hex, "sha256:", &format!("sha256:{}", &hex[1..]), &format!("sha256:+{}", &hex[1..])]
        {
            assert_eq!(parse_hash(wrong), None, "{wrong}");
        }
        assert_eq!(parse_hash(&format!("sha256:{}", "é".repeat(32))), None);
    }

    #[test]
    fn a_token_of_the_list_brings_its_name_and_rules() {
        let text = format!(
            "{}{}{}",
            entry("first", "one", ""),
            entry("second", "two", "operations = ['pdf', 'store']\nmax-body = '1 KiB'"),
            entry("past", "three", "expires = 2001-01-01"),
        );
        let tokens = listed(&text);
        let first = tokens.check(b"one\0\0").unwrap();
        assert_eq!((first.name(), first.uses()), (Some("first"), Uses::ALL));
        let second = tokens.check(b"\0two").unwrap();
        assert_eq!((second.name(), second.body_bytes_max()), (Some("second"), Some(1024)));
        assert!(second.uses().has_operation(4) && !second.uses().has_operation(1));
        assert!(matches!(tokens.check(b"three"), Err(Denied::Expired { .. })));
        for wrong in [&b""[..], b"thre", b"one2", b"two\0x", &[b'x'; 40]] {
            assert_eq!(tokens.check(wrong).err(), Some(Denied::Unknown), "{wrong:?}");
        }
        assert_eq!(listed("").check(b"").err(), Some(Denied::Unknown));
        assert!(!format!("{tokens:?}").contains("three"), "it is not kept");
    }

    #[test]
    fn a_reload_goes_on_counting() {
        let text = entry("first", "one", "concurrency = 1");
        let before = listed(&text);
        let place = before.check(b"one").unwrap().enter().unwrap();
        let after = listed(&text).after(&before);
        assert!(after.check(b"one").unwrap().enter().is_err());
        drop(place);
        assert!(after.check(b"one").unwrap().enter().is_ok());
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (text, part) in [
            (entry("a b", "x", ""), "no name of a token"),
            (entry("a", "x", "uses = 1"), "unknown field `uses`"),
            (entry("a", "x", "operations = ['gif']"), "'gif' is no operation"),
            (entry("a", "x", "max-body = 'big'"), "no size"),
            (entry("a", "x", "rate = 'often'"), "no rate"),
            (entry("a", "x", "concurrency = 0"), "must be 1 or more"),
            (entry("a", "x", "") + &entry("a", "y", ""), "there twice"),
            (entry("a", "x", "") + &entry("b", "x", ""), "have one hash"),
            ("[[token]]\nname = 'a'\nhash = 'x'\n".to_owned(), "64 hexadecimal digits"),
            ("one\ntwo\n".to_owned(), "line 1"),
        ] {
            let problem = TokenList::parse(&text).unwrap_err();
            assert!(problem.contains(part), "{problem:?} lacks {part:?}");
        }
    }
}
