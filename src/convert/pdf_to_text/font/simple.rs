//! Fonts with one byte a code: Type 1, TrueType, Type 3.

use lopdf::{Dictionary, Object};

use super::encodings::Base;
use super::{
    Font, GlyphMap, Kind, embedded, glyph_names, program, to_unicode, type3_scale, widths,
};
use crate::convert::Error;
use crate::convert::pdf_to_text::file::{File, number};

const SYMBOLIC: i64 = 4;

pub(super) fn load(file: &File<'_>, dict: &Dictionary) -> Result<Font, Error> {
    let descriptor = file.dict(dict, b"FontDescriptor");
    let mut text = GlyphMap::default();
    let unicode = to_unicode(file, dict)?;
    base_encoding(file, dict, descriptor, &mut text)?;
    if let Some(encoding) = file.dict(dict, b"Encoding") {
        differences(file, encoding, &mut text);
    }
    let name = file.name(dict, b"BaseFont").unwrap_or_default();
    let type3 = file.name(dict, b"Subtype") == Some(b"Type3");
    let (scale, height) = if type3 { type3_scale(file, dict) } else { (0.001, 1.0) };
    let (table, default_width) = match stated_widths(file, dict) {
        Some(table) => {
            let missing = descriptor.and_then(|dict| number(file.entry(dict, b"MissingWidth")?));
            (table, missing.unwrap_or(0.0) as f32)
        }
        None if type3 => (Vec::new(), 0.0),
        None => (standard_widths(name, &text), 556.0),
    };
    if let Some(unicode) = unicode {
        text.overlay(&unicode.text);
    }
    Ok(Font {
        kind: Kind::Simple,
        text,
        widths: table,
        default_width,
        scale,
        height,
        vertical: false,
    })
}

/// The encoding below the differences: the one that is named, else the font's own, else what its
/// type usually has.
fn base_encoding(
    file: &File<'_>,
    dict: &Dictionary,
    descriptor: Option<&Dictionary>,
    text: &mut GlyphMap,
) -> Result<(), Error> {
    let name = file.name(dict, b"BaseFont").unwrap_or_default();
    let has = |word: &[u8]| name.windows(word.len()).any(|part| part == word);
    let named = file
        .name(dict, b"Encoding")
        .or_else(|| file.name(file.dict(dict, b"Encoding")?, b"BaseEncoding"));
    let named = named.and_then(Base::from_name);
    let truetype = file.name(dict, b"Subtype") == Some(b"TrueType");
    let flags = descriptor.and_then(|dict| file.integer(dict, b"Flags")).unwrap_or(0);
    let program = match named {
        // The font is opened only where the answer can depend on it.
        Some(_) => None,
        None => program(file, descriptor)?,
    };
    match (named, &program) {
        _ if has(b"ZapfDingbats") && program.is_none() => Base::ZapfDingbats.fill(text),
        _ if name.ends_with(b"Symbol") && program.is_none() => Base::Symbol.fill(text),
        (Some(base), _) => base.fill(text),
        (None, Some((key, data))) => {
            match *key {
                b"FontFile" => embedded::type1_encoding(data, text),
                b"FontFile2" => {
                    Base::WinAnsi.fill(text);
                    if flags & SYMBOLIC != 0 {
                        embedded::truetype_encoding(data, text);
                    }
                }
                _ => embedded::cff_encoding(data, text),
            }
            if text.is_empty() {
                if truetype { Base::WinAnsi } else { Base::Standard }.fill(text);
            }
        }
        (None, None) if truetype => Base::WinAnsi.fill(text),
        (None, None) => Base::Standard.fill(text),
    }
    Ok(())
}

fn differences(file: &File<'_>, encoding: &Dictionary, text: &mut GlyphMap) {
    let array = file.entry(encoding, b"Differences").and_then(|array| array.as_array().ok());
    let (mut code, mut character) = (0_u32, String::new());
    for item in array.into_iter().flatten() {
        match file.resolve(item) {
            Object::Name(name) => {
                if code < 256 {
                    character.clear();
                    let known = glyph_names::push_text(name, &mut character)
                        || push_numbered(name, code, &mut character);
                    // A name that says nothing (`.notdef`, `g17`) takes the base's meaning away.
                    text.set(code, if known { &character } else { "" });
                }
                code = code.saturating_add(1);
            }
            other => {
                let value = number(other).unwrap_or(0.0);
                code = value.clamp(0.0, 256.0) as u32;
            }
        }
    }
}

/// Names that only number the glyphs (`a65`, `C0065`, `g65`, `cid_65`): where the number is the code
/// itself, and prints, such names mostly keep ASCII.
fn push_numbered(name: &[u8], code: u32, out: &mut String) -> bool {
    let Ok(name) = std::str::from_utf8(name) else { return false };
    let digits = name.trim_start_matches(|letter: char| !letter.is_ascii_digit());
    let hit = digits.parse().is_ok_and(|value: u32| value == code) && (32..127).contains(&code);
    out.extend(char::from_u32(code).filter(|_| hit));
    hit
}

fn stated_widths(file: &File<'_>, dict: &Dictionary) -> Option<Vec<f32>> {
    let stated = file.numbers(dict, b"Widths")?;
    let first = file.integer(dict, b"FirstChar").unwrap_or(0).clamp(0, 255) as usize;
    let mut table = vec![f32::NAN; 256];
    for (slot, width) in table[first..].iter_mut().zip(stated) {
        *slot = width as f32;
    }
    Some(table)
}

fn standard_widths(name: &[u8], text: &GlyphMap) -> Vec<f32> {
    let mut buffer = String::new();
    let width = |code: u32| {
        buffer.clear();
        text.push(code, &mut buffer);
        widths::standard(name, buffer.chars().next().unwrap_or('0'))
    };
    (0..256).map(width).collect()
}
