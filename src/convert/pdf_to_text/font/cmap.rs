//! `CMap` streams: codes to text (`ToUnicode`), or codes to character identifiers.

use super::glyph_map::GlyphMap;
use crate::convert::pdf_to_text::lexer::{Lexer, Token};

/// Entries that one range may expand to, and that all of a map may: what two bytes can tell apart,
/// and sixteen times that for maps that overlap themselves.
const RANGE_MAX: u32 = 1 << 16;
const ENTRIES_MAX: u32 = 1 << 20;

/// How long codes are, and what they mean.
#[derive(Debug, Clone, Default)]
pub(crate) struct CMap {
    /// Bytes of a code, lowest and highest code.
    pub(crate) codespaces: Vec<(u8, u32, u32)>,
    pub(crate) text: GlyphMap,
    /// First code, last code, identifier of the first; in the order of the file.
    pub(crate) cids: Vec<(u32, u32, u32)>,
    /// The map that this one builds upon.
    pub(crate) base: Option<Vec<u8>>,
    pub(crate) vertical: bool,
    entries: u32,
}

impl CMap {
    pub(crate) fn parse(data: &[u8]) -> Self {
        let mut map = Self::default();
        let mut lexer = Lexer::new(data, 0);
        let mut strings = Vec::new();
        let mut before: Token<'_> = Token::End;
        let mut name_before: &[u8] = b"";
        loop {
            strings.clear();
            let token = lexer.next(&mut strings);
            match &token {
                Token::End => return map,
                Token::Keyword(b"begincodespacerange") => map.codespaces(&mut lexer),
                Token::Keyword(b"beginbfchar") => map.bf_chars(&mut lexer),
                Token::Keyword(b"beginbfrange") => map.bf_ranges(&mut lexer),
                Token::Keyword(b"begincidchar") => map.cid_entries(&mut lexer, false),
                Token::Keyword(b"begincidrange") => map.cid_entries(&mut lexer, true),
                Token::Keyword(b"usecmap") => map.base = Some(name_before.to_vec()),
                Token::Keyword(b"def") if name_before == b"WMode" => {
                    map.vertical = before == Token::Int(1);
                }
                Token::Name(name) => name_before = name,
                _ => {}
            }
            before = token;
        }
    }

    /// The identifier of a code; later entries win.
    pub(crate) fn cid(&self, code: u32) -> Option<u32> {
        let hit = self.cids.iter().rev().find(|&&(low, high, _)| low <= code && code <= high);
        hit.map(|&(low, _, cid)| cid.saturating_add(code - low))
    }

    fn codespaces(&mut self, lexer: &mut Lexer<'_>) {
        let mut strings = Vec::new();
        while let Some((low, bytes)) = code(lexer, &mut strings) {
            let Some((high, _)) = code(lexer, &mut strings) else { return };
            if self.codespaces.len() < 256 {
                self.codespaces.push((bytes.clamp(1, 4), low, high));
            }
        }
    }

    fn bf_chars(&mut self, lexer: &mut Lexer<'_>) {
        let (mut strings, mut text) = (Vec::new(), String::new());
        while let Some((from, _)) = code(lexer, &mut strings) {
            strings.clear();
            match lexer.next(&mut strings) {
                Token::Str(range) => {
                    utf16(&strings[range], 0, &mut text);
                    self.set(from, &text);
                }
                // A glyph's name instead of text is allowed.
                Token::Name(name) => {
                    text.clear();
                    if super::glyph_names::push_text(name, &mut text) {
                        self.set(from, &text);
                    }
                }
                _ => return,
            }
        }
    }

    fn bf_ranges(&mut self, lexer: &mut Lexer<'_>) {
        let (mut strings, mut text) = (Vec::new(), String::new());
        while let Some((low, _)) = code(lexer, &mut strings) {
            let Some((high, _)) = code(lexer, &mut strings) else { return };
            let count = high.saturating_sub(low).saturating_add(1).min(RANGE_MAX);
            strings.clear();
            match lexer.next(&mut strings) {
                Token::Str(range) => {
                    for at in 0..count {
                        utf16(&strings[range.clone()], at, &mut text);
                        if !self.set(low.saturating_add(at), &text) {
                            return;
                        }
                    }
                }
                Token::ArrayOpen => {
                    let mut at = 0;
                    while let Token::Str(range) = lexer.next(&mut strings) {
                        utf16(&strings[range], 0, &mut text);
                        if at < count {
                            self.set(low.saturating_add(at), &text);
                        }
                        strings.clear();
                        at += 1;
                    }
                }
                _ => return,
            }
        }
    }

    fn set(&mut self, code: u32, text: &str) -> bool {
        self.entries += 1;
        if self.entries > ENTRIES_MAX {
            return false;
        }
        self.text.set(code, text);
        true
    }

    fn cid_entries(&mut self, lexer: &mut Lexer<'_>, ranges: bool) {
        let mut strings = Vec::new();
        while let Some((low, _)) = code(lexer, &mut strings) {
            let high =
                if ranges { code(lexer, &mut strings).map(|(high, _)| high) } else { Some(low) };
            let (Some(high), Token::Int(cid)) = (high, lexer.next(&mut strings)) else { return };
            // Lookups walk the list, so it is kept to what real maps hold.
            if self.cids.len() < 20_000 {
                self.cids.push((low, high, u32::try_from(cid).unwrap_or(0)));
            }
        }
    }
}

/// A code as a number, with its length in bytes; `None` ends a section.
fn code(lexer: &mut Lexer<'_>, strings: &mut Vec<u8>) -> Option<(u32, u8)> {
    strings.clear();
    let Token::Str(range) = lexer.next(strings) else { return None };
    let bytes = &strings[range];
    let value = bytes.iter().take(4).fold(0_u32, |all, &byte| all << 8 | u32::from(byte));
    Some((value, bytes.len().min(4) as u8))
}

/// UTF-16BE, its last unit raised by `add`, as text. One byte stands for itself.
fn utf16(bytes: &[u8], add: u32, text: &mut String) {
    text.clear();
    if let [byte] = bytes {
        text.extend(char::from_u32(u32::from(*byte) + add));
        return;
    }
    let units = bytes.chunks_exact(2).take(128).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    text.extend(char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)));
    if add > 0
        && let Some(last) = text.pop()
    {
        text.extend(char::from_u32((last as u32).saturating_add(add)));
    }
    text.retain(|character| character != '\0');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(map: &CMap, code: u32) -> String {
        let mut out = String::new();
        map.text.push(code, &mut out);
        out
    }

    #[test]
    fn characters_ranges_arrays_and_surrogates() {
        let map = CMap::parse(
            b"1 begincodespacerange <00><ff> endcodespacerange
              2 beginbfchar <01> <0041> <02> <00660069> endbfchar
              3 beginbfrange <10> <12> <0061> <20> <21> [<0078> <D83DDE00>]
              <30> <31> <D83DDE00> endbfrange",
        );
        assert_eq!(map.codespaces, [(1, 0, 255)]);
        assert_eq!((text(&map, 1), text(&map, 2)), ("A".into(), "fi".into()));
        assert_eq!((text(&map, 0x12), text(&map, 0x20)), ("c".into(), "x".into()));
        assert_eq!((text(&map, 0x21), text(&map, 0x31)), ("\u{1f600}".into(), "\u{1f601}".into()));
        assert_eq!(text(&map, 0x40), "");
    }

    #[test]
    fn identifiers_and_the_base() {
        let map = CMap::parse(
            b"/Identity-H usecmap /WMode 1 def 1 begincidrange <0000> <00ff> 5 endcidrange
              1 begincidchar <0003> 900 endcidchar",
        );
        assert_eq!((map.cid(2), map.cid(3), map.cid(0x100)), (Some(7), Some(900), None));
        assert_eq!(map.base.as_deref(), Some(b"Identity-H".as_slice()));
        assert!(map.vertical);
    }

    #[test]
    fn a_range_over_everything_is_bounded() {
        let map = CMap::parse(b"1 beginbfrange <00000000> <ffffffff> <0041> endbfrange");
        assert_eq!(text(&map, 1), "B");
    }
}
