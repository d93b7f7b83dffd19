//! Fonts that travel inside the PDF: `DejaVu` Sans, then those that were handed in, in their order.
//!
//! A character code is a number of our own: characters are counted in the order they are met, a map
//! leads from the number to the glyph, and `ToUnicode` back to the character. So
//! characters that no font has are drawn as the empty box (`.notdef`), each under its own code, and
//! still read back as what they are. A font holds 65,534 codes; a text with more begins another
//! over the same glyphs.

use lopdf::Dictionary;
use subsetter::GlyphRemapper;
use ttf_parser::GlyphId;

use super::{
    document::PdfFile,
    font_file::{Entry, FontFile},
    typeface::{Glyph, Typeface, font_name, push_escaped},
};
use crate::convert::{Error, FontData, bidi};

/// Licence: assets/fonts/DejaVuSans-LICENSE.txt.
static DEJAVU_SANS: &[u8] = include_bytes!("../../../assets/fonts/DejaVuSans.ttf");

/// Codes of two bytes are 0 to 65,535; 0 is `.notdef` by custom, and the last stays free.
const CODES_PER_FONT: usize = 65_534;
/// Characters without a glyph that are named: enough to tell which script it is.
const MISSING_NAMED_MAX: usize = 8;
/// Code points in blocks of 256.
const BLOCKS: usize = 0x11_0000 >> 8;
const GLYPH_UNKNOWN: Glyph = Glyph { advance: 0, code: 0, font: 0 };

/// All embedded fonts of a document.
pub(super) struct Embedded<'a> {
    sources: Vec<Source<'a>>,
    fonts: Vec<Font>,
    /// Glyphs by code point; a block is made when its first character is met.
    blocks: Vec<Option<Box<[Glyph; 256]>>>,
    /// Brackets that are drawn as their mirror image, at most twelve.
    mirrored: Vec<(char, Glyph)>,
    missing: Missing,
    ascii_advances: [u16; 128],
}

struct Source<'a> {
    file: FontFile<'a>,
    /// The font resource that takes this source's next character.
    open_font: Option<usize>,
}

/// One font resource.
struct Font {
    source: usize,
    /// By code, from code 1.
    entries: Vec<Entry>,
}

/// Characters that no font has.
#[derive(Default)]
struct Missing {
    /// The first of them.
    named: Vec<char>,
    count: usize,
}

impl<'a> Embedded<'a> {
    pub(super) fn new(fallbacks: &[FontData<'a>]) -> Result<Self, Error> {
        let built_in = FontData { bytes: DEJAVU_SANS, index: 0 };
        let mut sources = Vec::with_capacity(1 + fallbacks.len());
        for &data in [built_in].iter().chain(fallbacks) {
            sources.push(Source { file: FontFile::parse(data)?, open_font: None });
        }
        let mut ascii_advances = [0; 128];
        for (code, advance) in (0..128u8).zip(&mut ascii_advances) {
            if !code.is_ascii_control() {
                let file = &sources[0].file;
                *advance = file.advance(file.glyph(code.into()).unwrap_or_default());
            }
        }
        sources[0].open_font = Some(0);
        let fonts = vec![Font { source: 0, entries: Vec::new() }];
        let blocks = std::iter::repeat_with(|| None).take(BLOCKS).collect();
        let (mirrored, missing) = (Vec::new(), Missing::default());
        Ok(Self { sources, fonts, blocks, mirrored, missing, ascii_advances })
    }

    /// Gives a character that is met for the first time its code.
    #[cold]
    fn assign(&mut self, character: char) -> Glyph {
        let glyph = if character.is_control() {
            Glyph::DROPPED
        } else {
            self.assign_code(character, character)
        };
        let block = self.blocks[character as usize >> 8]
            .get_or_insert_with(|| Box::new([GLYPH_UNKNOWN; 256]));
        block[character as usize & 0xff] = glyph;
        glyph
    }

    /// A new code that reads back as `character` and is drawn as `drawn`.
    fn assign_code(&mut self, character: char, drawn: char) -> Glyph {
        let (source, glyph, advance) = self.choose(drawn);
        let index = match self.sources[source].open_font {
            Some(index) if self.fonts[index].entries.len() < CODES_PER_FONT => index,
            _ => {
                self.fonts.push(Font { source, entries: Vec::new() });
                self.fonts.len() - 1
            }
        };
        self.sources[source].open_font = Some(index);
        let entries = &mut self.fonts[index].entries;
        entries.push(Entry { character, glyph, advance });
        // 1,112,064 characters in fonts of 65,534 are 17 fonts for a source.
        let (Ok(code), Ok(font)) = (u16::try_from(entries.len()), u16::try_from(index)) else {
            return Glyph::DROPPED;
        };
        Glyph { advance, code, font }
    }

    /// Source, glyph and advance of a character.
    fn choose(&mut self, character: char) -> (usize, GlyphId, u16) {
        let first = &self.sources[0].file;
        if is_invisible(character) {
            // The glyph of the space draws nothing, which not all of these do in every font.
            return (0, first.glyph(' ').unwrap_or_default(), 0);
        }
        let found = self.sources.iter().enumerate().find_map(|(index, Source { file, .. })| {
            file.glyph(character).map(|glyph| (index, glyph, file.advance(glyph)))
        });
        found.unwrap_or_else(|| {
            self.missing.note(character);
            let notdef = GlyphId::default();
            (0, notdef, first.advance(notdef))
        })
    }
}

impl Typeface for Embedded<'_> {
    fn ascii_advances(&self) -> &[u16; 128] {
        &self.ascii_advances
    }

    fn glyph(&mut self, character: char) -> Glyph {
        if let Some(block) = &self.blocks[character as usize >> 8] {
            let glyph = block[character as usize & 0xff];
            if glyph != GLYPH_UNKNOWN {
                return glyph;
            }
        }
        self.assign(character)
    }

    fn mirrored_glyph(&mut self, character: char) -> Option<Glyph> {
        let drawn = bidi::mirrored(character)?;
        let known = self.mirrored.iter().find(|(known, _)| *known == character);
        if let Some(&(_, glyph)) = known {
            return Some(glyph);
        }
        let glyph = self.assign_code(character, drawn);
        self.mirrored.push((character, glyph));
        Some(glyph)
    }

    fn push_code(glyph: Glyph, content: &mut Vec<u8>) {
        let [high, low] = glyph.code.to_be_bytes();
        push_escaped(high, content);
        push_escaped(low, content);
    }

    fn write_fonts(self, file: &mut PdfFile) -> Result<Dictionary, Error> {
        let mut resources = Dictionary::new();
        for (number, source) in self.sources.iter().enumerate() {
            let fonts = || self.fonts.iter().filter(|font| font.source == number);
            let mut remapper = GlyphRemapper::new();
            for entry in fonts().flat_map(|font| &font.entries) {
                remapper.remap(entry.glyph.0);
            }
            if fonts().next().is_none() {
                continue;
            }
            let subset = source.file.write_subset(remapper, file)?;
            for (index, font) in (0..).zip(&self.fonts).filter(|(_, font)| font.source == number) {
                let id = source.file.write_font(&subset, &font.entries, file)?;
                resources.set(font_name(index), id);
            }
        }
        if let Some(notice) = self.missing.notice() {
            file.set_notice(notice);
        }
        Ok(resources)
    }
}

impl Missing {
    fn note(&mut self, character: char) {
        self.count += 1;
        if self.named.len() < MISSING_NAMED_MAX {
            self.named.push(character);
        }
    }

    /// What is said of them, in ASCII and without parentheses.
    fn notice(&self) -> Option<String> {
        let (noun, verb) = match self.count {
            0 => return None,
            1 => ("character has", "is"),
            _ => ("characters have", "are"),
        };
        let names: Vec<_> = self.named.iter().map(|&c| format!("U+{:04X}", u32::from(c))).collect();
        let rest = match self.count - names.len() {
            0 => String::new(),
            rest => format!(" and {rest} more"),
        };
        Some(format!(
            "{} {noun} no glyph in any font of the converter, and {verb} drawn as an empty box: {}{rest}",
            self.count,
            names.join(" ")
        ))
    }
}

/// Characters that are there for what they do to others, and are not seen: the
/// `Default_Ignorable_Code_Point` property of Unicode, less the two Hangul fillers that fonts draw.
fn is_invisible(character: char) -> bool {
    matches!(character,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}
