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
    fn the_list_is_in_order() {
        let names: Vec<&str> =
            LIST.lines().filter_map(|line| Some(line.split_once(' ')?.0)).collect();
        assert!(names.len() > 3000);
        assert!(names.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
