//! Glyph names to Unicode.
//!
//! `glyph_names.txt` holds one `name HEX...` a line in the order of bytes: the assignments of the
//! Adobe Glyph List 2.0 without the CJK, corporate-use and derivable names, and names that TeX fonts
//! use besides. The rules for names that are not in the list are those of the AGL specification.

use std::sync::OnceLock;

const LIST: &str = include_str!("glyph_names.txt");

/// Appends what `name` stands for; `false` where that is not known.
pub(crate) fn push_text(name: &[u8], out: &mut String) -> bool {
    let Ok(name) = std::str::from_utf8(name) else { return false };
    let before = out.len();
    if push_listed(name, out) {
        return true;
    }
    // A suffix names a variant of the glyph: `a.sc`, `one.oldstyle`.
    let base = name.split('.').next().unwrap_or_default();
    for part in base.split('_') {
        if !push_listed(part, out) {
            push_computed(part, out);
        }
    }
    out.len() > before
}

/// How an encoding writes numbers where names only number the glyphs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Numbers {
    /// `a65`.
    Decimal,
    /// `G41`.
    Hexadecimal,
    /// In no way that others know.
    OfCodes,
}

/// Appends what a glyph of an encoding stands for: what its name says, or the number in a name that only
/// numbers glyphs, or else its code. That is what other readers make of such fonts, bitmaps of old TeX
/// files above all, whose codes are mostly near to Latin-1. Nothing for `.notdef`.
pub(crate) fn push_encoded(name: &[u8], code: u32, numbers: Numbers, out: &mut String) {
    if name == b".notdef" || push_text(name, out) {
        return;
    }
    let value = number(name, numbers).unwrap_or(code);
    out.extend(char::from_u32(value).filter(|character| !character.is_control()));
}

/// Whether a name that says nothing is two hexadecimal digits of which one is a letter, behind a letter or alone.
pub(crate) fn is_in_hex(name: &[u8]) -> bool {
    let digits = match name {
        [first, digits @ ..] if digits.len() == 2 && first.is_ascii_alphabetic() => digits,
        digits if digits.len() == 2 => digits,
        _ => return false,
    };
    digits.iter().all(u8::is_ascii_hexdigit)
        && digits.iter().any(u8::is_ascii_alphabetic)
        && !push_text(name, &mut String::new())
}

/// The number behind up to two letters, or of two digits behind one.
fn number(name: &[u8], numbers: Numbers) -> Option<u32> {
    let name = std::str::from_utf8(name).ok().filter(|name| name.is_ascii())?;
    let digits = name.trim_start_matches(|letter: char| letter.is_ascii_alphabetic());
    let plain = digits.bytes().all(|digit| digit.is_ascii_digit());
    match numbers {
        Numbers::OfCodes => None,
        Numbers::Hexadecimal if (2..=3).contains(&name.len()) => {
            u32::from_str_radix(&name[name.len() - 2..], 16).ok()
        }
        _ if name.len() - digits.len() > 2 || !plain => None,
        _ => digits.parse().ok(),
    }
}

fn push_listed(name: &str, out: &mut String) -> bool {
    static LINES: OnceLock<Vec<(&'static str, &'static str)>> = OnceLock::new();
    if name.len() == 1 && name.as_bytes()[0].is_ascii_alphabetic() {
        out.push_str(name);
        return true;
    }
    let lines =
        LINES.get_or_init(|| LIST.lines().filter_map(|line| line.split_once(' ')).collect());
    let Ok(at) = lines.binary_search_by(|(key, _)| key.cmp(&name)) else { return false };
    out.extend(lines[at].1.split(' ').filter_map(hex_character));
    true
}

/// `uniXXXX...` and `uXXXX` to `uXXXXXX`.
fn push_computed(name: &str, out: &mut String) {
    if let Some(digits) = name.strip_prefix("uni")
        && digits.is_ascii()
        && digits.len() >= 4
    {
        for at in (0..digits.len() / 4 * 4).step_by(4) {
            out.extend(hex_character(&digits[at..at + 4]));
        }
    } else if let Some(digits) = name.strip_prefix('u')
        && (4..=6).contains(&digits.len())
    {
        out.extend(hex_character(digits));
    }
}

fn hex_character(digits: &str) -> Option<char> {
    char::from_u32(u32::from_str_radix(digits, 16).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(name: &str) -> String {
        let mut out = String::new();
        push_text(name.as_bytes(), &mut out);
        out
    }

    #[test]
    fn listed_and_computed_names() {
        assert_eq!(text("A"), "A");
        assert_eq!(text("eacute"), "é");
        assert_eq!(text("fi"), "\u{fb01}");
        assert_eq!(text("afii10017"), "А");
        assert_eq!(text("uni20AC0308"), "€\u{308}");
        assert_eq!(text("u1F600"), "😀");
        assert_eq!(text("f_f_i"), "ffi");
        assert_eq!(text("one.oldstyle"), "1");
        assert_eq!(text(".notdef"), "");
        assert_eq!(text("g123"), "");
    }

    #[test]
    fn names_that_say_nothing_leave_their_code() {
        use Numbers::{Decimal, Hexadecimal, OfCodes};
        for (name, code, numbers, text) in [
            ("a233", 7, Decimal, "é"),
            ("eacute", 65, Decimal, "é"),
            ("eacute", 65, OfCodes, "é"),
            ("D0", 108, OfCodes, "l"),
            ("CP", 97, Hexadecimal, "a"),
            ("G41", 1, Hexadecimal, "A"),
            ("G41", 1, Decimal, ")"),
            ("41", 1, Decimal, ")"),
            ("cid65", 66, Decimal, "B"),
            ("99999999999", 66, Decimal, "B"),
            (".notdef", 66, Decimal, ""),
            ("a10", 200, Decimal, ""),
        ] {
            let mut out = String::new();
            push_encoded(name.as_bytes(), code, numbers, &mut out);
            assert_eq!(out, text, "{name}");
        }
        let in_hex =
            ["GA0", "1f", "G41", "G1a0", "ff", "ae"].map(|name| is_in_hex(name.as_bytes()));
        assert_eq!(in_hex, [true, true, false, false, false, false]);
    }

    #[test]
    fn the_list_is_in_order() {
        let names: Vec<&str> =
            LIST.lines().filter_map(|line| Some(line.split_once(' ')?.0)).collect();
        assert!(names.len() > 3000);
        assert!(names.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
