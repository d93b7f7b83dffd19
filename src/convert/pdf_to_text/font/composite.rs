//! Type 0 fonts: codes of one to four bytes, widths by character identifier.

use std::collections::HashMap;

use lopdf::{Dictionary, Object};

use super::encodings::usual_glyph;
use super::{CMap, Font, GlyphMap, Kind, embedded, program, to_unicode};
use crate::convert::Error;
use crate::convert::pdf_to_text::file::{File, number};

/// How strings split into codes, and codes become identifiers and text.
#[derive(Debug)]
pub(crate) struct Codes {
    scheme: Scheme,
    /// What identifiers mean where nothing else says so.
    meaning: Meaning,
}

/// What an identifier of a font without `ToUnicode` is.
#[derive(Debug)]
enum Meaning {
    /// Nothing that is known: the font has a `ToUnicode`, or a charset of its own.
    Unknown,
    /// A glyph of the embedded font, which has a map of its own from characters.
    Glyph(HashMap<u16, char>),
    /// A glyph in the order that most TrueType fonts have.
    UsualGlyph,
    /// A character: what is left to assume, and what some producers write.
    Character,
}

#[derive(Debug)]
enum Scheme {
    /// Two bytes that are the identifier.
    Identity,
    /// Two bytes of UTF-16 (the `Uni...UCS2` and `UTF16` maps).
    Utf16,
    /// A legacy charset, which is told apart by its lead bytes.
    Charset(&'static encoding_rs::Encoding),
    /// Two bytes of JIS X 0208, which is EUC-JP without the high bits.
    Jis,
    Embedded(CMap),
}

pub(super) fn load(file: &File<'_>, dict: &Dictionary) -> Result<Font, Error> {
    let (scheme, vertical) = scheme(file, dict)?;
    let descendants = file.entry(dict, b"DescendantFonts");
    let descendant = match descendants {
        Some(Object::Array(fonts)) => fonts.first().map(|font| file.resolve(font)),
        other => other,
    };
    let descendant = descendant.and_then(|font| font.as_dict().ok());
    let mut text = GlyphMap::default();
    if let Some(unicode) = to_unicode(file, dict)? {
        text = unicode.text;
    }
    let widths = descendant.map(|font| widths(file, font)).unwrap_or_default();
    let meaning = match descendant {
        Some(font) if text.is_empty() => meaning(file, font, &widths)?,
        _ => Meaning::Unknown,
    };
    let default = descendant.and_then(|font| number(file.entry(font, b"DW")?));
    Ok(Font {
        kind: Kind::Composite(Codes { scheme, meaning }),
        text,
        widths,
        default_width: default.unwrap_or(1000.0) as f32,
        scale: 0.001,
        height: 1.0,
        vertical,
    })
}

fn scheme(file: &File<'_>, dict: &Dictionary) -> Result<(Scheme, bool), Error> {
    if let Some(node) = dict.get(b"Encoding").ok().and_then(|object| file.stream(object)) {
        let Some(data) = file.decode(node)? else { return Ok((Scheme::Identity, false)) };
        let map = CMap::parse(&data);
        let vertical =
            map.vertical || node.dict().is_some_and(|dict| file.integer(dict, b"WMode") == Some(1));
        return Ok((Scheme::Embedded(map), vertical));
    }
    let name = file.name(dict, b"Encoding").unwrap_or_default();
    Ok((predefined(name), name == b"V" || name.ends_with(b"-V")))
}

/// The predefined maps by family; what is unknown is taken as two-byte identifiers.
fn predefined(name: &[u8]) -> Scheme {
    let has = |word: &[u8]| name.windows(word.len()).any(|part| part == word);
    if has(b"UCS2") || has(b"UTF16") {
        Scheme::Utf16
    } else if has(b"RKSJ") {
        Scheme::Charset(encoding_rs::SHIFT_JIS)
    } else if name.starts_with(b"GB") {
        Scheme::Charset(encoding_rs::GB18030)
    } else if has(b"B5") || name.starts_with(b"HKscs") || name.starts_with(b"ETenms") {
        Scheme::Charset(encoding_rs::BIG5)
    } else if name.starts_with(b"KSC") {
        Scheme::Charset(encoding_rs::EUC_KR)
    } else if name == b"H" || name == b"V" {
        Scheme::Jis
    } else if name == b"EUC-H" || name == b"EUC-V" {
        Scheme::Charset(encoding_rs::EUC_JP)
    } else {
        Scheme::Identity
    }
}

impl Codes {
    /// The first code of `string` and its length in bytes.
    pub(crate) fn next(&self, string: &[u8]) -> Option<(u32, usize)> {
        let &first = string.first()?;
        let bytes = match &self.scheme {
            Scheme::Identity | Scheme::Utf16 | Scheme::Jis => 2,
            Scheme::Charset(charset) => lead_bytes(charset, first),
            Scheme::Embedded(map) => return Some(split(map, string)),
        };
        let bytes = bytes.min(string.len());
        Some((join(&string[..bytes]), bytes))
    }

    pub(crate) fn cid(&self, code: u32) -> u32 {
        match &self.scheme {
            Scheme::Embedded(map) if !map.cids.is_empty() => map.cid(code).unwrap_or(0),
            _ => code,
        }
    }

    /// The text of a code that `ToUnicode` does not know.
    pub(crate) fn push_text(&self, code: u32, out: &mut String) -> bool {
        let before = out.len();
        match &self.scheme {
            Scheme::Utf16 => out.extend(char::from_u32(code)),
            Scheme::Charset(_) | Scheme::Jis => {
                let (charset, code) = match self.scheme {
                    Scheme::Charset(charset) => (charset, code),
                    _ => (encoding_rs::EUC_JP, code | 0x8080),
                };
                let bytes = code.to_be_bytes();
                let start = bytes.iter().position(|&byte| byte != 0).unwrap_or(3);
                let (text, _) = charset.decode_without_bom_handling(&bytes[start..]);
                out.extend(
                    text.chars().filter(|&character| character != char::REPLACEMENT_CHARACTER),
                );
            }
            Scheme::Identity | Scheme::Embedded(_) => {
                let cid = u16::try_from(self.cid(code)).ok();
                let character = cid.and_then(|cid| match &self.meaning {
                    Meaning::Unknown => None,
                    Meaning::Glyph(characters) => characters.get(&cid).copied(),
                    Meaning::UsualGlyph => usual_glyph(cid),
                    Meaning::Character => char::from_u32(cid.into()),
                });
                out.extend(character.filter(|character| !character.is_control()));
            }
        }
        out.len() > before
    }
}

fn join(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |all, &byte| all << 8 | u32::from(byte))
}

/// The shortest code that lies in a codespace; without any, two bytes.
fn split(map: &CMap, string: &[u8]) -> (u32, usize) {
    for length in 1..=string.len().min(4) {
        let code = join(&string[..length]);
        let fits = |&(bytes, low, high): &(u8, u32, u32)| {
            // Every byte lies between those of the ends, not only the number.
            usize::from(bytes) == length
                && (0..length).all(|at| {
                    let byte = |value: u32| value >> (8 * at) & 0xff;
                    byte(low) <= byte(code) && byte(code) <= byte(high)
                })
        };
        if map.codespaces.iter().any(fits) {
            return (code, length);
        }
    }
    let shortest = map.codespaces.iter().map(|&(bytes, _, _)| usize::from(bytes)).min();
    let length = shortest.unwrap_or(2).min(string.len());
    (join(&string[..length]), length)
}

fn lead_bytes(charset: &'static encoding_rs::Encoding, first: u8) -> usize {
    let single = if charset == encoding_rs::SHIFT_JIS {
        first < 0x81 || (0xa0..0xe0).contains(&first)
    } else if charset == encoding_rs::EUC_JP {
        first < 0x8e
    } else {
        first < 0x81
    };
    if single { 1 } else { 2 }
}

/// What the identifiers of `font`, which has no `ToUnicode`, stand for.
fn meaning(file: &File<'_>, font: &Dictionary, widths: &[f32]) -> Result<Meaning, Error> {
    let characters = match program(file, file.dict(font, b"FontDescriptor"))? {
        Some((b"FontFile2", data)) => embedded::glyph_characters(&data),
        Some((b"FontFile3", data)) if data.starts_with(b"OTTO") => {
            embedded::glyph_characters(&data)
        }
        _ => HashMap::new(),
    };
    if !characters.is_empty() {
        let map = font.get(b"CIDToGIDMap").ok().and_then(|object| file.stream(object));
        return Ok(Meaning::Glyph(match map {
            Some(node) => by_identifier(&characters, &file.decode(node)?.unwrap_or_default()),
            None => characters,
        }));
    }
    // Identifiers of a collection for Chinese, Japanese or Korean would need its table.
    let ordering = file.dict(font, b"CIDSystemInfo").and_then(|info| file.entry(info, b"Ordering"));
    let ordering = ordering.and_then(|ordering| ordering.as_str().ok()).unwrap_or_default();
    if !matches!(ordering, b"" | b"Identity" | b"UCS") {
        return Ok(Meaning::Unknown);
    }
    // There are glyphs among the first of a font, but no characters.
    let glyphs = widths.iter().take(0x20).any(|width| !width.is_nan());
    Ok(if glyphs { Meaning::UsualGlyph } else { Meaning::Character })
}

/// Characters by identifier; `map` has a glyph for each, in two bytes.
fn by_identifier(characters: &HashMap<u16, char>, map: &[u8]) -> HashMap<u16, char> {
    let glyphs = map.as_chunks::<2>().0.iter().map(|bytes| u16::from_be_bytes(*bytes));
    (0..=u16::MAX)
        .zip(glyphs)
        .filter_map(|(identifier, glyph)| Some((identifier, *characters.get(&glyph)?)))
        .collect()
}

/// The /W array: `first [w w w]` and `first last w`.
fn widths(file: &File<'_>, font: &Dictionary) -> Vec<f32> {
    let mut table: Vec<f32> = Vec::new();
    let mut set = |cid: usize, width: f32| {
        if cid < 1 << 16 {
            if cid >= table.len() {
                table.resize((cid + 1).next_power_of_two(), f32::NAN);
            }
            table[cid] = width;
        }
    };
    let array = file.entry(font, b"W").and_then(|array| array.as_array().ok());
    let mut items = array.into_iter().flatten().map(|item| file.resolve(item));
    // Ranges that overlap on purpose must not cost more than every identifier a few times.
    let mut left = 1_u32 << 18;
    while let Some(first) = items.next().and_then(number) {
        let first = first.max(0.0) as usize;
        match items.next() {
            Some(Object::Array(list)) => {
                for (at, item) in list.iter().enumerate() {
                    set(first.saturating_add(at), number(file.resolve(item)).unwrap_or(0.0) as f32);
                }
            }
            Some(last) => {
                let last = number(last).unwrap_or(0.0).clamp(0.0, 65535.0) as usize;
                let width = items.next().and_then(number).unwrap_or(0.0) as f32;
                for cid in first..=last {
                    left = left.saturating_sub(1);
                    if left == 0 {
                        return table;
                    }
                    set(cid, width);
                }
            }
            None => break,
        }
    }
    table
}
