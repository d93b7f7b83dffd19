//! Text to lines, by the characters that end one.

/// What ended a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// CR, LF, CRLF, VT, NEL (U+0085), U+2028 or U+2029: the mandatory breaks of UAX 14.
    Line,
    /// A form feed, which also ends the page.
    Page,
    /// The end of the text.
    Text,
}

/// The lines of a text, without what ends them.
pub(super) struct Lines<'a> {
    rest: Option<&'a str>,
}

impl<'a> Lines<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { rest: Some(text) }
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = (&'a str, End);

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest?;
        let mut from = 0;
        while let Some(offset) = rest.as_bytes()[from..].iter().position(|&byte| may_end(byte)) {
            let at = from + offset;
            if let Some((length, end)) = ending(&rest.as_bytes()[at..]) {
                self.rest = Some(&rest[at + length..]);
                return Some((&rest[..at], end));
            }
            from = at + 1;
        }
        self.rest = None;
        Some((rest, End::Text))
    }
}

/// The controls LF to CR, and the first bytes of NEL and of U+2028 and U+2029 in UTF-8.
fn may_end(byte: u8) -> bool {
    matches!(byte, b'\n'..=b'\r' | 0xc2 | 0xe2)
}

/// The ending that `bytes` begin with, and its length in bytes.
fn ending(bytes: &[u8]) -> Option<(usize, End)> {
    match bytes {
        [b'\r', b'\n', ..] | [0xc2, 0x85, ..] => Some((2, End::Line)),
        [b'\x0c', ..] => Some((1, End::Page)),
        [b'\n' | b'\x0b' | b'\r', ..] => Some((1, End::Line)),
        [0xe2, 0x80, 0xa8 | 0xa9, ..] => Some((3, End::Line)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ending_is_known() {
        let lines: Vec<_> =
            Lines::new("a\nb\r\nc\rd\u{85}e\u{2028}f\u{2029}g\u{b}h\u{c}i£“\n").collect();
        let mut expected: Vec<_> =
            "abcdefg".split_inclusive(|_| true).map(|l| (l, End::Line)).collect();
        expected.extend([("h", End::Page), ("i£“", End::Line), ("", End::Text)]);
        assert_eq!(lines, expected);
    }

    #[test]
    fn an_empty_text_is_one_empty_line() {
        assert_eq!(Lines::new("").collect::<Vec<_>>(), [("", End::Text)]);
    }
}
