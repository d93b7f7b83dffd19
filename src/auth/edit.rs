//! Changing the list of tokens in a file.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt};
use std::path::Path;

use super::list::{FILE_BYTES_MAX, HASH_PREFIX, ListError, TokenList, hash, hex, is_list, is_name};
use super::rules::{Rules, Uses};
use super::token::{self, Token};
use crate::config::ByteSize;

/// How a list begins. It is longer than a token can be, so that a list without tokens is not taken
/// for a file with one.
const HEADER: &str = "# fxsrv tokens: a name, the hash of a token, and what its holder may do\n";

/// A token to be put on a list.
#[derive(Debug)]
pub struct NewToken<'a> {
    /// Its name.
    pub name: &'a str,
    /// Itself; the list gets its hash.
    pub token: &'a Token,
    /// What it may do.
    pub rules: Rules,
}

/// The names on the list in a file.
///
/// # Errors
///
/// The file cannot be read, or holds no list.
pub fn names(path: &Path) -> Result<TokenList, ListError> {
    let (text, _) = token::read(path, FILE_BYTES_MAX)?;
    if !is_list(&text) {
        return Err(ListError::NoList { path: path.to_owned() });
    }
    TokenList::parse_file(path, &text)
}

/// Puts a token on the list in a file, which is made where it is missing.
///
/// # Errors
///
/// The file holds no list or a wrong one, has a token of this name, or cannot be written.
pub fn add(path: &Path, new: &NewToken<'_>) -> Result<(), ListError> {
    if !is_name(new.name) {
        return Err(ListError::Name(new.name.to_owned()));
    }
    change(path, |text| {
        let text = text.unwrap_or_else(|| HEADER.to_owned());
        let list = TokenList::parse_file(path, &text)?;
        if list.each().any(|(name, _, _)| name == new.name) {
            return Err(ListError::Exists { path: path.to_owned(), name: new.name.to_owned() });
        }
        let end = if text.ends_with('\n') { "\n" } else { "\n\n" };
        Ok(format!("{text}{end}{}", new.toml()))
    })
}

/// Takes a token off the list in a file.
///
/// # Errors
///
/// The file holds no list or a wrong one, has no token of this name, or cannot be written.
pub fn revoke(path: &Path, name: &str) -> Result<(), ListError> {
    let missing = || ListError::Missing { path: path.to_owned(), name: name.to_owned() };
    change(path, |text| {
        let text = text.ok_or_else(missing)?;
        TokenList::parse_file(path, &text)?;
        without(&text, name).ok_or_else(missing)
    })
}

/// The text of a list without the table of one token; comments stay but for those within.
fn without(text: &str, name: &str) -> Option<String> {
    let is_head =
        |line: &str| line.split('#').next().is_some_and(|line| line.trim() == "[[token]]");
    let mut parts = vec![String::new()];
    for line in text.split_inclusive('\n') {
        if is_head(line) {
            parts.push(String::new());
        }
        parts.last_mut()?.push_str(line);
    }
    let is_it = |part: &String| {
        TokenList::parse(part).is_ok_and(|list| list.each().any(|(own, _, _)| own == name))
    };
    let at = parts.iter().position(is_it)?;
    parts.remove(at);
    let left = parts.concat();
    // Whatever a person has written there: the list must be what it was, but for this one.
    let has_it = TokenList::parse(&left).ok()?.each().any(|(own, _, _)| own == name);
    (!has_it).then_some(left)
}

/// Writes a file anew, whole or not at all, with its owner and mode. Others that change it wait.
fn change(
    path: &Path,
    new_text: impl FnOnce(Option<String>) -> Result<String, ListError>,
) -> Result<(), ListError> {
    let cannot = |source| ListError::Unwritable { path: path.to_owned(), source };
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let held = File::open(folder).map_err(cannot)?;
    held.lock().map_err(cannot)?;
    let before = match std::fs::metadata(path) {
        Ok(before) => Some(before),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(cannot(error)),
    };
    let text = match &before {
        Some(_) => {
            let (text, _) = token::read(path, FILE_BYTES_MAX)?;
            if !is_list(&text) {
                return Err(ListError::NoList { path: path.to_owned() });
            }
            Some((*text).clone())
        }
        None => None,
    };
    let text = new_text(text)?;
    TokenList::parse_file(path, &text)?;
    // For its owner alone, as a temporary file is.
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(cannot)?;
    if let Some(before) = before {
        file.as_file().set_permissions(PermissionsExt::from_mode(before.mode())).map_err(cannot)?;
        std::os::unix::fs::fchown(file.as_file(), Some(before.uid()), Some(before.gid()))
            .map_err(cannot)?;
    }
    file.write_all(text.as_bytes()).map_err(cannot)?;
    file.as_file().sync_all().map_err(cannot)?;
    file.persist(path).map_err(|error| cannot(error.error))?;
    held.sync_all().map_err(cannot)
}

impl NewToken<'_> {
    /// Its table.
    fn toml(&self) -> String {
        let Rules { expires, uses, body_bytes_max, rate, concurrency } = &self.rules;
        let hash = hash(self.token.reveal().as_bytes());
        let hex = hex(&hash);
        let mut lines = vec![
            "[[token]]".to_owned(),
            format!("name = \"{}\"", self.name),
            format!("hash = \"{HASH_PREFIX}{hex}\""),
        ];
        lines.extend(expires.map(|at| format!("expires = {at}")));
        if *uses != Uses::ALL {
            let names: Vec<_> = uses.names().map(|name| format!("\"{name}\"")).collect();
            lines.push(format!("operations = [{}]", names.join(", ")));
        }
        // A number alone is in bytes.
        let size = |max| ByteSize(max).to_string().trim_end_matches(" bytes").to_owned();
        lines.extend(body_bytes_max.map(|max| format!("max-body = \"{}\"", size(max))));
        lines.extend(rate.map(|rate| format!("rate = \"{rate}\"")));
        lines.extend(concurrency.map(|max| format!("concurrency = {max}")));
        lines.join("\n") + "\n"
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::auth::Tokens;

    #[test]
    fn a_file_is_changed_whole_and_keeps_its_mode_and_comments() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        let token = Token::parse("one").unwrap();
        let rules = Rules {
            expires: Some("2040-01-01".parse().unwrap()),
            uses: Uses::parse(["jpg", "status"]).unwrap(),
            body_bytes_max: Some(1000),
            rate: Some("5/m".parse().unwrap()),
            concurrency: Some(3),
        };
        add(&path, &NewToken { name: "first", token: &token, rules }).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
        let other = Token::parse("two").unwrap();
        let second = NewToken { name: "second", token: &other, rules: Rules::default() };
        add(&path, &second).unwrap();
        assert_eq!(mode(&path), 0o640);
        assert!(matches!(add(&path, &second), Err(ListError::Exists { .. })));
        let list = names(&path).unwrap();
        let each: Vec<_> = list.each().map(|(name, rules, _)| (name, *rules)).collect();
        assert_eq!(each, [("first", rules), ("second", Rules::default())]);
        let (tokens, _) = Tokens::load(&path).unwrap();
        assert!(tokens.accepts(b"one") && tokens.accepts(b"two"));
        revoke(&path, "first").unwrap();
        assert!(matches!(revoke(&path, "first"), Err(ListError::Missing { .. })));
        let (tokens, _) = Tokens::load(&path).unwrap();
        assert!(!tokens.accepts(b"one") && tokens.accepts(b"two"));
        revoke(&path, "second").unwrap();
        let (tokens, _) = Tokens::load(&path).unwrap();
        assert!(matches!(tokens, Tokens::Listed(_)), "a list without a token is no token");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_of_one_token_stays_what_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "super_secret\n").unwrap();
        assert!(Tokens::load(&path).unwrap().0.accepts(b"super_secret"));
        let token = Token::parse("one").unwrap();
        let new = NewToken { name: "first", token: &token, rules: Rules::default() };
        assert!(matches!(add(&path, &new), Err(ListError::NoList { .. })));
        assert!(matches!(names(&path), Err(ListError::NoList { .. })));
        assert_eq!(std::fs::read(&path).unwrap(), b"super_secret\n");
        assert!(token::line_of(HEADER).len() > token::TOKEN_BYTES_MAX);
    }
}
