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

    /// The glyph of a character in right-to-left text, where that is another: a bracket turned
    /// round, which reads back as the bracket of the text.
    fn mirrored_glyph(&mut self, _character: char) -> Option<Glyph> {
        None
    }

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

const TAB_COLUMNS: u64 = 8;

/// Where tabs lead to: multiples of eight advances of the digit zero.
#[derive(Debug, Clone, Copy)]
pub(super) struct TabStops {
    distance: u64,
    space: u64,
}

impl TabStops {
    pub(super) fn new(ascii_advances: &[u16; 128]) -> Self {
        let [space, zero] = [b' ', b'0'].map(|code| ascii_advances[usize::from(code)].into());
        Self { distance: TAB_COLUMNS * u64::max(zero, 1), space }
    }

    /// How far a tab leads from `x`. A stop that is nearer than a space is passed over, since a tab
    /// is drawn as a space and the rest of the way.
    pub(super) fn way(&self, x: u64) -> u64 {
        let way = self.distance - x % self.distance;
        if way < self.space { way + self.distance } else { way }
    }
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
