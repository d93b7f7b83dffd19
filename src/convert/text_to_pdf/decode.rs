//! Bytes to text.
//!
//! In this order: a UTF-8, UTF-16 LE or UTF-16 BE byte order mark decides; else valid UTF-8 is
//! UTF-8; else the whole file is Windows-1252, which is Latin-1 with printable characters in place
//! of most of its second block of controls. Its five unassigned bytes stay controls.
//!
//! A NUL is padding: trailing ones are dropped, others become spaces.

use std::borrow::Cow;

/// 0x80 to 0x9F in Windows-1252, as the Encoding Standard of WHATWG maps them.
pub(super) const WINDOWS_1252_HIGH: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}',
    '\u{90}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];

pub(super) fn decode(input: &[u8]) -> Cow<'_, str> {
    let text = match input {
        [0xff, 0xfe, rest @ ..] => Cow::Owned(utf16(rest, u16::from_le_bytes)),
        [0xfe, 0xff, rest @ ..] => Cow::Owned(utf16(rest, u16::from_be_bytes)),
        [0xef, 0xbb, 0xbf, rest @ ..] => eight_bit(rest),
        _ => eight_bit(input),
    };
    without_nuls(text)
}

fn eight_bit(input: &[u8]) -> Cow<'_, str> {
    // Before validation, so that a mostly empty file costs one look at its end.
    let end = input.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    let input = &input[..end];
    match std::str::from_utf8(input) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(input.iter().map(|&byte| windows_1252(byte)).collect()),
    }
}

fn windows_1252(byte: u8) -> char {
    match byte {
        0x80..=0x9f => WINDOWS_1252_HIGH[usize::from(byte - 0x80)],
        _ => char::from(byte),
    }
}

/// Lone surrogates and a last odd byte become U+FFFD.
fn utf16(input: &[u8], unit: fn([u8; 2]) -> u16) -> String {
    let (pairs, odd) = input.as_chunks::<2>();
    let end = pairs.iter().rposition(|pair| *pair != [0, 0]).map_or(0, |last| last + 1);
    let units = pairs[..end].iter().map(|pair| unit(*pair));
    let mut text: String = char::decode_utf16(units)
        .map(|result| result.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect();
    if odd.iter().any(|&byte| byte != 0) {
        text.push(char::REPLACEMENT_CHARACTER);
    }
    text
}

fn without_nuls(text: Cow<'_, str>) -> Cow<'_, str> {
    if !text.as_bytes().contains(&0) {
        return text;
    }
    // Byte by byte, which compiles to vector code: `str::replace` takes 20 times as long on a file
    // of nothing but NULs.
    let bytes: Vec<u8> = text.bytes().map(|byte| if byte == 0 { b' ' } else { byte }).collect();
    // One ASCII byte for another keeps UTF-8 valid, so nothing is ever replaced here.
    Cow::Owned(String::from_utf8(bytes).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_order_marks_decide() {
        assert_eq!(decode(b"\xef\xbb\xbfna\xc3\xafve"), "naïve");
        assert_eq!(decode(b"\xff\xfeA\0\x16\x04"), "AЖ");
        assert_eq!(decode(b"\xfe\xff\0A\x04\x16"), "AЖ");
        assert_eq!(decode(b"\xff\xfe=\xd8\0\xdeB\0"), "😀B");
    }

    #[test]
    fn broken_utf16_shows_replacements() {
        assert_eq!(decode(b"\xff\xfe=\xd8B\0"), "\u{fffd}B");
        assert_eq!(decode(b"\xff\xfeA\0x"), "A\u{fffd}");
    }

    #[test]
    fn invalid_utf8_is_windows_1252() {
        assert_eq!(decode(b"caf\xe9 \x80 5"), "café € 5");
        assert_eq!(decode(b"\x93\xe9\x94"), "“é”");
    }

    #[test]
    fn nuls_are_padding() {
        assert_eq!(decode(b"a\0\0"), "a");
        assert_eq!(decode(b"a\0b\0"), "a b");
        assert_eq!(decode(&[0; 4096]), "");
        assert_eq!(decode(b"\xff\xfeA\0\0\0\0\0"), "A");
    }
}
