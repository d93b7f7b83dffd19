//! Names of files in HTTP: read from a request, made for a result.

use std::collections::HashSet;
use std::fmt::Write as _;

use axum::http::{HeaderMap, HeaderValue, header};

use crate::convert::Target;

/// Longest name that a result gets, without its extension: file systems take 255 bytes.
const STEM_BYTES_MAX: usize = 200;

/// The name that a request gives its file in `Content-Disposition`.
pub(super) fn from_headers(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_DISPOSITION)?.to_str().ok()?;
    let (_, rest) = value.split_once("filename=")?;
    let name = match rest.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"')?.0,
        None => rest.split(';').next()?.trim(),
    };
    (!name.is_empty()).then(|| name.to_owned())
}

/// The result's name: that of the file with the target's extension, or a plain one.
pub(super) fn of_result(name: &str, target: Target) -> String {
    let base = base(name);
    let stem = base.rsplit_once('.').map_or(base, |(stem, _)| stem);
    format!("{}.{}", tame(stem, "converted"), target.extensions()[0])
}

/// The name under which it stands why a file has no result.
pub(super) fn of_problem(name: &str) -> String {
    format!("{}.problem.json", tame(base(name), "file"))
}

/// `name`, with a number where it is taken already: file systems may not tell case apart.
pub(super) fn unique(name: &str, taken: &mut HashSet<String>) -> String {
    let (stem, extension) = name.split_once('.').unwrap_or((name, ""));
    let mut unique = name.to_owned();
    let mut number = 2;
    while !taken.insert(unique.to_lowercase()) {
        unique = format!("{stem} ({number}).{extension}");
        number += 1;
    }
    unique
}

/// Folders are no part of a name.
fn base(name: &str) -> &str {
    name.rsplit(['/', '\\']).next().unwrap_or(name)
}

/// What of `name` every file system takes, or `plain` where that is nothing.
fn tame(name: &str, plain: &str) -> String {
    let mut kept = String::new();
    for char in name.chars().filter(|char| !char.is_control()) {
        if kept.len() + char.len_utf8() > STEM_BYTES_MAX {
            break;
        }
        kept.push(char);
    }
    let kept = kept.trim_matches(['.', ' ']);
    if kept.is_empty() { plain.to_owned() } else { kept.to_owned() }
}

/// The header that makes a browser save an answer under this name (RFC 6266).
pub(super) fn disposition(name: &str) -> HeaderValue {
    let plain =
        |char: char| char.is_ascii_graphic() && !matches!(char, '"' | '\\' | '%') || char == ' ';
    let ascii: String = name.chars().map(|char| if plain(char) { char } else { '_' }).collect();
    let mut value = format!("attachment; filename=\"{ascii}\"");
    if ascii != name {
        value.push_str("; filename*=UTF-8''");
        value.push_str(&percent_encoded(name));
    }
    HeaderValue::from_str(&value).unwrap_or(HeaderValue::from_static("attachment"))
}

/// All but the characters that RFC 8187 lets stand for themselves, as `%XX`.
fn percent_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 3);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
            out.push(byte.into());
        } else {
            // A string takes everything.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_named_after_its_file() {
        for (name, target, result) in [
            ("photo.jpg", Target::Png, "photo.png"),
            ("a.b.c", Target::Text, "a.b.txt"),
            ("", Target::Pdf, "converted.pdf"),
            ("../../etc/passwd", Target::Pdf, "passwd.pdf"),
            ("C:\\x\\photo.png", Target::Jpg, "photo.jpg"),
            (".bashrc", Target::Pdf, "converted.pdf"),
            ("a\nb.txt", Target::Pdf, "ab.pdf"),
            ("фото.png", Target::Webp, "фото.webp"),
        ] {
            assert_eq!(of_result(name, target), result, "{name:?}");
        }
        assert_eq!(of_result(&"ä".repeat(500), Target::Jpg).len(), STEM_BYTES_MAX + 4);
    }

    #[test]
    fn a_name_that_is_taken_gets_a_number() {
        let mut taken = HashSet::new();
        let names = ["a.png", "A.png", "a.png", "b.problem.json", "b.problem.json"];
        let unique = names.map(|name| unique(name, &mut taken));
        let expected = ["a.png", "A (2).png", "a (3).png", "b.problem.json", "b (2).problem.json"];
        assert_eq!(unique, expected);
        assert_eq!(of_problem("../x/cut.png"), "cut.png.problem.json");
        assert_eq!(of_problem(".."), "file.problem.json");
    }

    #[test]
    fn a_header_holds_any_name() {
        let shown = |name: &str| disposition(name).to_str().unwrap().to_owned();
        assert_eq!(shown("a b.png"), "attachment; filename=\"a b.png\"");
        assert_eq!(
            shown("ä\".png"),
            "attachment; filename=\"__.png\"; filename*=UTF-8''%C3%A4%22.png"
        );
    }

    #[test]
    fn a_request_may_name_its_file() {
        let named = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static(value));
            from_headers(&headers)
        };
        assert_eq!(named("attachment; filename=\"a b.png\"; x=y").unwrap(), "a b.png");
        assert_eq!(named("attachment; filename=a.png; x=y").unwrap(), "a.png");
        assert_eq!(named("inline"), None);
    }
}
