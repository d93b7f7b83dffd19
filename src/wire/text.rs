//! Making text from a peer safe to show: one line, no control characters, bounded.

use std::borrow::Cow;

/// `text` with everything escaped that moves a cursor, ends a line or turns the reading direction.
/// A clean string comes back as it is, without an allocation.
pub(super) fn visible(text: Cow<'_, str>) -> Cow<'_, str> {
    if !text.chars().any(is_deceptive) {
        return text;
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for char in text.chars() {
        if is_deceptive(char) {
            shown.extend(char.escape_default());
        } else {
            shown.push(char);
        }
    }
    Cow::Owned(shown)
}

/// `text` in quotes for a message, at most 64 characters of it.
pub(super) fn quoted(text: &str) -> String {
    const CHARS_MAX: usize = 64;
    let cut = text.char_indices().nth(CHARS_MAX).map_or(text.len(), |(at, _)| at);
    let ellipsis = if cut < text.len() { "..." } else { "" };
    format!("`{}{ellipsis}`", visible(Cow::Borrowed(&text[..cut])))
}

/// Up to `bytes_max` bytes of `text`, cut before the character that does not fit.
pub(super) fn cut(text: &str, bytes_max: usize) -> &str {
    let mut end = bytes_max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Control characters, line and paragraph separators, and the marks that reverse what is read: a
/// name must not look like another one in a log.
fn is_deceptive(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clean_text_is_borrowed() {
        assert!(matches!(visible(Cow::Borrowed("Ünï.txt")), Cow::Borrowed("Ünï.txt")));
    }

    #[test]
    fn escapes_and_reversals_are_shown_as_such() {
        assert_eq!(visible("a\x1b[2J\r\n\u{202e}b".into()), "a\\u{1b}[2J\\r\\n\\u{202e}b");
        assert_eq!(visible("\u{85}\u{2028}".into()), "\\u{85}\\u{2028}");
    }

    #[test]
    fn a_quotation_is_bounded_and_whole_in_its_characters() {
        assert_eq!(quoted("a\n"), "`a\\n`");
        assert_eq!(quoted(&"ä".repeat(64)), format!("`{}`", "ä".repeat(64)));
        assert_eq!(quoted(&"ä".repeat(65)), format!("`{}...`", "ä".repeat(64)));
    }

    #[test]
    fn a_cut_never_splits_a_character() {
        assert_eq!(cut("aä", 2), "a");
        assert_eq!(cut("aä", 3), "aä");
        assert_eq!(cut("aä", 99), "aä");
        assert_eq!(cut("ä", 0), "");
    }
}
