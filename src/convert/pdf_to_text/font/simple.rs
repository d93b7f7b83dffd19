//! Fonts with one byte a code: Type 1, TrueType, Type 3.

use lopdf::{Dictionary, Object};

use super::encodings::Base;
use super::glyph_names::Numbers;
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
    let name = file.name(dict, b"BaseFont").unwrap_or_default();
    let type3 = file.name(dict, b"Subtype") == Some(b"Type3");
    if let Some(encoding) = file.dict(dict, b"Encoding") {
        differences(file, encoding, type3, &mut text);
    }
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

/// Names of a Type 3 font number its glyphs in ways of its maker, and its codes are what is left of its text.
fn differences(file: &File<'_>, encoding: &Dictionary, type3: bool, text: &mut GlyphMap) {
    let array = file.entry(encoding, b"Differences").and_then(|array| array.as_array().ok());
    let items = || array.into_iter().flatten().map(|item| file.resolve(item));
    let in_hex = || items().any(|item| item.as_name().is_ok_and(glyph_names::is_in_hex));
    let numbers = match type3 {
        true => Numbers::OfCodes,
        false if in_hex() => Numbers::Hexadecimal,
        false => Numbers::Decimal,
    };
    let (mut code, mut character) = (0_u32, String::new());
    for item in items() {
        match item {
            Object::Name(name) => {
                if code < 256 {
                    character.clear();
                    glyph_names::push_encoded(name, code, numbers, &mut character);
                    // A name that says nothing takes the base's meaning away.
                    text.set(code, &character);
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
