//! Fonts: what a code shows as text, and how far it moves.

mod cmap;
mod composite;
mod embedded;
mod encodings;
mod glyph_map;
mod glyph_names;
mod simple;
mod widths;

use lopdf::Dictionary;

use super::file::File;
use super::matrix::Matrix;
use crate::convert::Error;
use cmap::CMap;
use composite::Codes;
use glyph_map::GlyphMap;

/// A font, ready to show strings.
#[derive(Debug)]
pub(super) struct Font {
    kind: Kind,
    text: GlyphMap,
    /// By code for a simple font, by character identifier for a composite one; in thousandths.
    widths: Vec<f32>,
    default_width: f32,
    /// From a width to text space: 1/1000, or what the matrix of a Type 3 font says.
    pub(super) scale: f64,
    /// The height of a Type 3 font's glyphs in units of the font size, 1 for all others.
    pub(super) height: f64,
    pub(super) vertical: bool,
}

#[derive(Debug)]
enum Kind {
    Simple,
    Composite(Codes),
}

/// One code of a string.
#[derive(Debug, Clone, Copy)]
pub(super) struct Glyph {
    pub(super) code: u32,
    /// Of text space at a font size of 1.
    pub(super) width: f64,
    /// The one-byte code 32, to which word spacing applies.
    pub(super) is_space: bool,
}

impl Font {
    /// Reads the font that `dict` describes.
    pub(super) fn load(file: &File<'_>, dict: &Dictionary) -> Result<Self, Error> {
        if file.name(dict, b"Subtype") == Some(b"Type0") {
            composite::load(file, dict)
        } else {
            simple::load(file, dict)
        }
    }

    /// Takes the next code off `string`.
    pub(super) fn next_glyph(&self, string: &mut &[u8]) -> Option<Glyph> {
        match &self.kind {
            Kind::Simple => {
                let (&byte, rest) = string.split_first()?;
                *string = rest;
                let code = u32::from(byte);
                Some(Glyph { code, width: self.width(code), is_space: byte == b' ' })
            }
            Kind::Composite(codes) => {
                let (code, bytes) = codes.next(string)?;
                *string = &string[bytes..];
                let width = self.width(codes.cid(code));
                Some(Glyph { code, width, is_space: bytes == 1 && code == 32 })
            }
        }
    }

    /// Appends the text of a code; `false` where it is not known.
    pub(super) fn push_text(&self, code: u32, out: &mut String) -> bool {
        if self.text.push(code, out) {
            return true;
        }
        match &self.kind {
            Kind::Simple => false,
            Kind::Composite(codes) => codes.push_text(code, out),
        }
    }

    fn width(&self, at: u32) -> f64 {
        let width = self.widths.get(at as usize).copied().filter(|width| !width.is_nan());
        f64::from(width.unwrap_or(self.default_width)) * self.scale
    }
}

/// The `ToUnicode` map of a font.
fn to_unicode(file: &File<'_>, dict: &Dictionary) -> Result<Option<CMap>, Error> {
    let Some(node) = dict.get(b"ToUnicode").ok().and_then(|object| file.stream(object)) else {
        return Ok(None);
    };
    Ok(file.decode(node)?.map(|data| CMap::parse(&data)))
}

/// An embedded font program after the key that says its type.
type Program = (&'static [u8], Vec<u8>);

/// The embedded font program of a descriptor.
fn program(file: &File<'_>, descriptor: Option<&Dictionary>) -> Result<Option<Program>, Error> {
    let Some(descriptor) = descriptor else { return Ok(None) };
    for key in [b"FontFile".as_slice(), b"FontFile2", b"FontFile3"] {
        let stream = descriptor.get(key).ok().and_then(|object| file.stream(object));
        if let Some(node) = stream {
            return Ok(file.decode(node)?.map(|data| (key, data)));
        }
    }
    Ok(None)
}

/// Scale and height of a Type 3 font, whose widths are in glyph space.
///
/// The height is that of its box. Where there is none, or one that cannot be, it is what the widths say: letters are about
/// half as wide as their font is high.
fn type3_scale(file: &File<'_>, dict: &Dictionary) -> (f64, f64) {
    let matrix = file.numbers(dict, b"FontMatrix").and_then(|values| Matrix::from_slice(&values));
    let matrix = matrix.unwrap_or(Matrix { a: 0.001, d: 0.001, ..Matrix::IDENTITY });
    let scale = if matrix.a == 0.0 { matrix.b.abs() } else { matrix.a.abs() };
    let bounds = file.numbers(dict, b"FontBBox").unwrap_or_default();
    let height = match *bounds {
        [_, low, _, high, ..] => (high - low).abs() * matrix.d.hypot(matrix.c),
        _ => 0.0,
    };
    if (0.1..=4.0).contains(&height) {
        return (scale, height);
    }
    let mut widths = file.numbers(dict, b"Widths").unwrap_or_default();
    widths.retain(|width| *width > 0.0 && width.is_finite());
    widths.sort_by(f64::total_cmp);
    let height = widths.get(widths.len() / 2).map_or(0.0, |width| 2.0 * width * scale);
    // Most fonts without a box are of a size as any other.
    let usual = !height.is_finite() || (0.1..=4.0).contains(&height) || height == 0.0;
    (scale, if usual { 1.0 } else { height })
}
