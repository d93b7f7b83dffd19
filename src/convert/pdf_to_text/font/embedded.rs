//! What an embedded font program tells about its characters.

use std::collections::HashMap;

use super::glyph_map::GlyphMap;
use super::glyph_names::{self, Numbers};
use crate::convert::pdf_to_text::lexer::{Lexer, Token, find};

/// The built-in encoding of a Type 1 font: the `dup code /name put` lines of its clear text part.
pub(crate) fn type1_encoding(program: &[u8], map: &mut GlyphMap) {
    let clear = &program[..find(program, b"eexec", 0).unwrap_or(program.len().min(64 * 1024))];
    let Some(start) = find(clear, b"/Encoding", 0) else { return };
    let mut lexer = Lexer::new(clear, start + b"/Encoding".len());
    let (mut strings, mut text) = (Vec::new(), String::new());
    let mut code: Option<u32> = None;
    loop {
        strings.clear();
        match lexer.next(&mut strings) {
            Token::Keyword(b"StandardEncoding") => {
                return super::encodings::Base::Standard.fill(map);
            }
            Token::End | Token::Keyword(b"def" | b"readonly") => return,
            Token::Int(value) => code = u32::try_from(value).ok(),
            Token::Name(name) => {
                text.clear();
                if let Some(code) = code.take().filter(|&code| code < 256) {
                    glyph_names::push_encoded(name, code, Numbers::Decimal, &mut text);
                    map.set(code, &text);
                }
            }
            _ => {}
        }
    }
}

/// The built-in encoding of a CFF font.
pub(crate) fn cff_encoding(program: &[u8], map: &mut GlyphMap) {
    let Some(table) = ttf_parser::cff::Table::parse(program) else { return };
    let mut text = String::new();
    for code in 0..=255_u8 {
        let name = table.glyph_index(code).and_then(|glyph| table.glyph_name(glyph));
        text.clear();
        if let Some(name) = name {
            let code = u32::from(code);
            glyph_names::push_encoded(name.as_bytes(), code, Numbers::Decimal, &mut text);
            map.set(code, &text);
        }
    }
}

/// Characters by glyph number, from a TrueType or OpenType font's own character map.
pub(crate) fn glyph_characters(program: &[u8]) -> HashMap<u16, char> {
    let mut characters = HashMap::new();
    let Ok(face) = ttf_parser::Face::parse(program, 0) else { return characters };
    let tables = face.tables().cmap.into_iter().flat_map(|cmap| cmap.subtables);
    for table in tables.filter(ttf_parser::cmap::Subtable::is_unicode) {
        table.codepoints(|code| {
            if let (Some(glyph), Some(character)) = (table.glyph_index(code), char::from_u32(code))
            {
                // Of several characters with one glyph the first is the plainest.
                characters.entry(glyph.0).or_insert(character);
            }
        });
    }
    characters
}

/// Codes of a simple TrueType font without an encoding, by its symbol or Macintosh map and its glyph
/// names or its Unicode map reversed.
pub(crate) fn truetype_encoding(program: &[u8], map: &mut GlyphMap) {
    let Ok(face) = ttf_parser::Face::parse(program, 0) else { return };
    let characters = glyph_characters(program);
    let mut text = String::new();
    for code in 0..=255_u32 {
        let tables = face.tables().cmap.into_iter().flat_map(|cmap| cmap.subtables);
        let glyph = tables.filter(|table| !table.is_unicode()).find_map(|table| {
            let glyph = table.glyph_index(code).or_else(|| table.glyph_index(0xf000 + code));
            glyph.filter(|glyph| glyph.0 != 0)
        });
        let Some(glyph) = glyph else { continue };
        text.clear();
        let named = face
            .glyph_name(glyph)
            .is_some_and(|name| glyph_names::push_text(name.as_bytes(), &mut text));
        if named {
            map.set(code, &text);
        } else if let Some(&character) = characters.get(&glyph.0) {
            map.set_char(code, character);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_encoding_array_of_a_type_1_font() {
        let mut map = GlyphMap::default();
        let program = b"%!PS\n/Encoding 256 array\n0 1 255 {1 index exch /.notdef put} for\n\
            dup 65 /alpha put\ndup 66 /ff put\nreadonly def\ndup 67 /C put currentfile eexec";
        type1_encoding(program, &mut map);
        let mut out = String::new();
        assert!(map.push(65, &mut out) && map.push(66, &mut out) && !map.push(67, &mut out));
        assert_eq!(out, "α\u{fb00}");
    }

    #[test]
    fn garbage_is_no_font() {
        let mut map = GlyphMap::default();
        cff_encoding(b"\x01\x00\x04\x01garbage", &mut map);
        truetype_encoding(b"\x00\x01\x00\x00garbage", &mut map);
        assert!(map.is_empty());
    }
}
