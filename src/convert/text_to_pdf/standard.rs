//! Helvetica, one of the fonts that every PDF reader has, in `WinAnsiEncoding`.
//!
//! Nothing is embedded, so a page is its text and little more.

use lopdf::{Dictionary, dictionary};

use super::{
    decode::WINDOWS_1252_HIGH,
    document::PdfFile,
    typeface::{Glyph, Typeface, font_name, push_escaped},
};
use crate::convert::Error;

/// Advances of Helvetica by `WinAnsi` code, in thousandths of the font size; 0 where the code has
/// no character. From the Adobe Font Metrics of the Core 14 fonts (Helvetica.afm) and annex D.2 of
/// PDF 32000-1, which assigns names to codes.
#[rustfmt::skip]
const ADVANCES: [u16; 256] = [
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    278, 278, 355, 556, 556, 889, 667, 191, 333, 333, 389, 584, 278, 333, 278, 278,
    556, 556, 556, 556, 556, 556, 556, 556, 556, 556, 278, 278, 584, 584, 584, 556,
    1015, 667, 667, 722, 722, 667, 611, 778, 722, 278, 500, 667, 556, 833, 722, 778,
    667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 278, 278, 278, 469, 556,
    333, 556, 556, 500, 556, 556, 278, 556, 556, 222, 222, 500, 222, 833, 556, 556,
    556, 556, 333, 500, 278, 556, 500, 722, 500, 500, 500, 334, 260, 334, 584, 0,
    556, 0, 222, 556, 333, 1000, 556, 556, 333, 1000, 667, 333, 1000, 0, 611, 0,
    0, 222, 222, 333, 333, 350, 556, 1000, 333, 1000, 500, 333, 944, 0, 500, 667,
    278, 333, 556, 556, 556, 556, 260, 556, 333, 737, 370, 556, 584, 0, 737, 333,
    400, 584, 333, 333, 333, 556, 537, 278, 333, 333, 365, 556, 834, 834, 834, 611,
    667, 667, 667, 667, 667, 667, 1000, 722, 667, 667, 667, 667, 278, 278, 278, 278,
    722, 722, 778, 778, 778, 778, 778, 584, 778, 722, 722, 722, 722, 667, 667, 611,
    556, 556, 556, 556, 556, 556, 889, 500, 556, 556, 556, 556, 278, 278, 278, 278,
    556, 556, 556, 556, 556, 556, 556, 584, 611, 556, 556, 556, 556, 500, 556, 500,
];

const ASCII_ADVANCES: [u16; 128] = {
    let mut ascii = [0; 128];
    let mut code = 0;
    while code < ascii.len() {
        ascii[code] = ADVANCES[code];
        code += 1;
    }
    ascii
};

/// Bytes of UTF-8 that go into a string as they are: printable ASCII but for `(`, `)` and `\`.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = b' ';
    while byte <= b'~' {
        plain[byte as usize] = !matches!(byte, b'(' | b')' | b'\\');
        byte += 1;
    }
    plain
};

/// The code of `character` in `WinAnsiEncoding`.
///
/// The soft hyphen has none here: its code draws and reads back as a plain hyphen.
pub(super) fn winansi(character: char) -> Option<u8> {
    match character {
        ' '..='~' | '\u{a0}'..='\u{ac}' | '\u{ae}'..='\u{ff}' => u8::try_from(character).ok(),
        _ => {
            let index = WINDOWS_1252_HIGH.iter().position(|&high| high == character)?;
            if character.is_control() { None } else { u8::try_from(0x80 + index).ok() }
        }
    }
}

/// Whether all of `text` can be shown: by a code, or by being a control that is never drawn.
pub(super) fn covers(text: &str) -> bool {
    text.is_ascii()
        || text.chars().all(|character| {
            character.is_ascii()
                || winansi(character).is_some()
                || character.is_control()
                || matches!(character, '\u{2028}' | '\u{2029}')
        })
}

/// The standard Helvetica.
pub(super) struct Helvetica;

impl Typeface for Helvetica {
    fn ascii_advances(&self) -> &[u16; 128] {
        &ASCII_ADVANCES
    }

    fn glyph(&mut self, character: char) -> Glyph {
        match winansi(character) {
            Some(code) => {
                Glyph { advance: ADVANCES[usize::from(code)], code: code.into(), font: 0 }
            }
            None => Glyph::DROPPED,
        }
    }

    fn push_code(glyph: Glyph, content: &mut Vec<u8>) {
        let [_, code] = glyph.code.to_be_bytes();
        push_escaped(code, content);
    }

    fn push_text(&mut self, text: &str, content: &mut Vec<u8>) {
        let mut rest = text;
        loop {
            let plain = rest.bytes().position(|byte| !PLAIN[usize::from(byte)]);
            let Some(at) = plain else { return content.extend_from_slice(rest.as_bytes()) };
            content.extend_from_slice(&rest.as_bytes()[..at]);
            let mut characters = rest[at..].chars();
            if let Some(code) = characters.next().and_then(winansi) {
                push_escaped(code, content);
            }
            rest = characters.as_str();
        }
    }

    fn write_fonts(self, file: &mut PdfFile) -> Result<Dictionary, Error> {
        let font = file.add(dictionary! {
            "Type" => "Font",
            "Subtype" => "Type1",
            "BaseFont" => "Helvetica",
            "Encoding" => "WinAnsiEncoding",
        });
        Ok(dictionary! { font_name(0) => font })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_with_an_advance_has_a_character() {
        let mut codes = [false; 256];
        for character in '\0'..='\u{2fff}' {
            if let Some(code) = winansi(character) {
                assert!(!std::mem::replace(&mut codes[usize::from(code)], true));
            }
        }
        for (code, known) in codes.into_iter().enumerate() {
            assert_eq!(known, ADVANCES[code] != 0, "{code:#x}");
        }
    }

    #[test]
    fn strings_are_escaped() {
        let mut content = Vec::new();
        Helvetica.push_text("a(b)\\ é\u{1}€", &mut content);
        assert_eq!(content, b"a\\(b\\)\\\\ \xe9\x80");
    }
}
