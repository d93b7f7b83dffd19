//! What the layout needs to know of a face, whether it is a standard font or an embedded one.

use lopdf::Dictionary;

use super::document::PdfFile;
use crate::convert::Error;

/// One character as it is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Glyph {
    /// Width in thousandths of the font size, exactly as the PDF states it.
    pub(super) advance: u16,
    /// The code that a content stream shows it by.
    pub(super) code: u16,
    /// Index of the font resource; [`Glyph::NO_FONT`] where nothing is drawn.
    pub(super) font: u16,
}

impl Glyph {
    pub(super) const NO_FONT: u16 = u16::MAX;
    /// A character that is left out: a control.
    pub(super) const DROPPED: Self = Self { advance: 0, code: 0, font: Self::NO_FONT };
}

/// A face, or several under one roof, each with its font resource.
pub(super) trait Typeface {
    /// Advances of ASCII. Controls have none.
    fn ascii_advances(&self) -> &[u16; 128];

    /// The glyph of any character. The face notes that the character is used.
    fn glyph(&mut self, character: char) -> Glyph;

    /// Appends the code of `glyph` to an open string of a content stream, escaped.
    fn push_code(glyph: Glyph, content: &mut Vec<u8>);

    /// Appends `text`, which holds no tab and nothing but glyphs of the first font, to an open
    /// string of a content stream.
    fn push_text(&mut self, text: &str, content: &mut Vec<u8>) {
        for character in text.chars() {
            let glyph = self.glyph(character);
            if glyph.font != Glyph::NO_FONT {
                Self::push_code(glyph, content);
            }
        }
    }

    /// Writes the fonts that were used, and gives the font resources by name.
    fn write_fonts(self, file: &mut PdfFile) -> Result<Dictionary, Error>;
}

/// The name of font resource number `index`.
pub(super) fn font_name(index: u16) -> String {
    format!("F{}", u32::from(index) + 1)
}

/// Appends one byte of a literal string. Parentheses and the backslash would end or change it, and
/// a bare CR reads as LF.
pub(super) fn push_escaped(byte: u8, content: &mut Vec<u8>) {
    match byte {
        b'(' | b')' | b'\\' => content.extend([b'\\', byte]),
        b'\r' => content.extend(b"\\r"),
        _ => content.push(byte),
    }
}
