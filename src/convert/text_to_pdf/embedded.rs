//! Fonts that travel inside the PDF: `DejaVu` Sans, then a fallback where one is given.
//!
//! A character code is a number of our own: characters are counted in the order they are met, a
//! `CIDToGIDMap` leads from the number to the glyph, and `ToUnicode` back to the character. So
//! characters that no font has are drawn as the empty box (`.notdef`), each under its own code, and
//! still read back as what they are. A font holds 65,534 codes; a text with more begins another
//! over the same glyphs.

use lopdf::{Dictionary, Object, ObjectId, dictionary};
use subsetter::GlyphRemapper;
use ttf_parser::{Face, GlyphId};

use super::{
    bidi,
    document::PdfFile,
    tounicode,
    typeface::{Glyph, Typeface, font_name, push_escaped},
};
use crate::convert::{Error, ErrorKind};

/// Licence: assets/fonts/DejaVuSans-LICENSE.txt.
static DEJAVU_SANS: &[u8] = include_bytes!("../../../assets/fonts/DejaVuSans.ttf");

/// Codes of two bytes are 0 to 65,535; 0 is `.notdef` by custom, and the last stays free.
const CODES_PER_FONT: usize = 65_534;
/// Code points in blocks of 256.
const BLOCKS: usize = 0x11_0000 >> 8;
const GLYPH_UNKNOWN: Glyph = Glyph { advance: 0, code: 0, font: 0 };

/// A font file that someone else has read.
#[derive(Debug, Clone, Copy)]
pub(in crate::convert) struct FontData<'a> {
    /// TrueType outlines, alone or in a collection.
    pub(in crate::convert) bytes: &'a [u8],
    /// Which font of a collection; 0 where there is one.
    pub(in crate::convert) index: u32,
}

/// All embedded fonts of a document.
pub(super) struct Embedded<'a> {
    sources: Vec<Source<'a>>,
    fonts: Vec<Font>,
    /// Glyphs by code point; a block is made when its first character is met.
    blocks: Vec<Option<Box<[Glyph; 256]>>>,
    /// Brackets that are drawn as their mirror image, at most twelve.
    mirrored: Vec<(char, Glyph)>,
    ascii_advances: [u16; 128],
}

struct Source<'a> {
    data: FontData<'a>,
    face: Face<'a>,
    /// The font resource that takes this source's next character.
    open_font: Option<usize>,
}

/// One font resource.
struct Font {
    source: usize,
    /// By code, from code 1.
    entries: Vec<Entry>,
}

struct Entry {
    character: char,
    glyph: GlyphId,
    advance: u16,
}

impl<'a> Embedded<'a> {
    pub(super) fn new(fallback: Option<FontData<'a>>) -> Result<Self, Error> {
        let mut sources = vec![Source::parse(FontData { bytes: DEJAVU_SANS, index: 0 })?];
        if let Some(data) = fallback {
            sources.push(Source::parse(data)?);
        }
        let mut ascii_advances = [0; 128];
        for (code, advance) in (0..128u8).zip(&mut ascii_advances) {
            if !code.is_ascii_control() {
                *advance = sources[0].advance(sources[0].glyph(code.into()).unwrap_or_default());
            }
        }
        sources[0].open_font = Some(0);
        let fonts = vec![Font { source: 0, entries: Vec::new() }];
        let blocks = std::iter::repeat_with(|| None).take(BLOCKS).collect();
        Ok(Self { sources, fonts, blocks, mirrored: Vec::new(), ascii_advances })
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
    fn choose(&self, character: char) -> (usize, GlyphId, u16) {
        if is_invisible(character) {
            // The glyph of the space draws nothing, which not all of these do in every font.
            return (0, self.sources[0].glyph(' ').unwrap_or_default(), 0);
        }
        let found = self.sources.iter().enumerate().find_map(|(index, source)| {
            source.glyph(character).map(|glyph| (index, glyph, source.advance(glyph)))
        });
        let notdef = GlyphId::default();
        found.unwrap_or_else(|| (0, notdef, self.sources[0].advance(notdef)))
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
            let name = source.subset_name(&remapper);
            let descriptor = source.write_descriptor(&name, &remapper, file)?;
            for (index, font) in (0..).zip(&self.fonts).filter(|(_, font)| font.source == number) {
                let id = font.write(&name, descriptor, source, &remapper, file)?;
                resources.set(font_name(index), id);
            }
        }
        Ok(resources)
    }
}

impl<'a> Source<'a> {
    fn parse(data: FontData<'a>) -> Result<Self, Error> {
        let face = Face::parse(data.bytes, data.index)
            .map_err(|error| Error::new(ErrorKind::Internal, format!("reading a font: {error}")))?;
        // A CIDToGIDMap goes with TrueType outlines only.
        if face.tables().glyf.is_none() {
            let message = "the fallback font has no TrueType outlines (no glyf table)";
            return Err(Error::new(ErrorKind::Internal, message));
        }
        Ok(Self { data, face, open_font: None })
    }

    fn glyph(&self, character: char) -> Option<GlyphId> {
        self.face.glyph_index(character).filter(|glyph| glyph.0 != 0)
    }

    /// In thousandths of the font size, rounded: PDF states widths so, and the layout follows.
    fn advance(&self, glyph: GlyphId) -> u16 {
        let units = self.face.glyph_hor_advance(glyph).unwrap_or(0);
        u16::try_from(self.thousandths(units.into())).unwrap_or(u16::MAX)
    }

    fn thousandths(&self, units: i64) -> i64 {
        let em = i64::from(self.face.units_per_em());
        (units * 1000 + em / 2).div_euclid(em)
    }

    /// `ABCDEF+Name`: six letters that tell subsets apart, from the glyphs that are in it.
    fn subset_name(&self, remapper: &GlyphRemapper) -> String {
        let glyphs: Vec<u8> = remapper.remapped_gids().flat_map(u16::to_be_bytes).collect();
        let mut hash = xxhash_rust::xxh3::xxh3_64(&glyphs);
        let mut name = String::new();
        for _ in 0..6 {
            name.push(char::from(b'A' + u8::try_from(hash % 26).unwrap_or(0)));
            hash /= 26;
        }
        let own = self
            .face
            .names()
            .into_iter()
            .filter(|entry| entry.name_id == ttf_parser::name_id::POST_SCRIPT_NAME)
            .find_map(|entry| entry.to_string())
            .unwrap_or_else(|| "Fallback".to_owned());
        name.push('+');
        name.extend(own.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-'));
        name
    }

    /// Writes the font file and what describes it.
    fn write_descriptor(
        &self,
        name: &str,
        remapper: &GlyphRemapper,
        file: &mut PdfFile,
    ) -> Result<ObjectId, Error> {
        let subset = subsetter::subset(self.data.bytes, self.data.index, remapper)
            .map_err(|error| Error::new(ErrorKind::Internal, format!("subsetting: {error}")))?;
        let length = i64::try_from(subset.len()).unwrap_or(i64::MAX);
        let font_file = file.add_stream(dictionary! { "Length1" => length }, &subset)?;
        let face = &self.face;
        let bounds = face.global_bounding_box();
        let scaled = |units: i16| Object::Integer(self.thousandths(units.into()));
        Ok(file.add(dictionary! {
            "Type" => "FontDescriptor",
            "FontName" => name,
            // Symbolic: the glyphs are reached by number, not by a standard encoding.
            "Flags" => 4,
            "FontBBox" => vec![bounds.x_min, bounds.y_min, bounds.x_max, bounds.y_max]
                .into_iter().map(scaled).collect::<Vec<_>>(),
            "ItalicAngle" => 0,
            "Ascent" => scaled(face.ascender()),
            "Descent" => scaled(face.descender()),
            "CapHeight" => scaled(face.capital_height().unwrap_or(face.ascender())),
            // The width of upright stems, which TrueType does not state; 80 is a common regular.
            "StemV" => 80,
            "FontFile2" => font_file,
        }))
    }
}

impl Font {
    fn write(
        &self,
        name: &str,
        descriptor: ObjectId,
        source: &Source<'_>,
        remapper: &GlyphRemapper,
        file: &mut PdfFile,
    ) -> Result<ObjectId, Error> {
        let mut glyphs = vec![0, 0];
        for entry in &self.entries {
            glyphs.extend(remapper.get(entry.glyph.0).unwrap_or(0).to_be_bytes());
        }
        let glyphs = file.add_stream(Dictionary::new(), &glyphs)?;
        let map = tounicode::cmap(self.entries.iter().map(|entry| entry.character));
        let map = file.add_stream(Dictionary::new(), &map)?;
        let descendant = file.add(dictionary! {
            "Type" => "Font",
            "Subtype" => "CIDFontType2",
            "BaseFont" => name,
            "CIDSystemInfo" => dictionary! {
                "Registry" => Object::string_literal("Adobe"),
                "Ordering" => Object::string_literal("Identity"),
                "Supplement" => 0,
            },
            "FontDescriptor" => descriptor,
            "DW" => source.advance(GlyphId::default()),
            "W" => self.widths(),
            "CIDToGIDMap" => glyphs,
        });
        Ok(file.add(dictionary! {
            "Type" => "Font",
            "Subtype" => "Type0",
            "BaseFont" => name,
            "Encoding" => "Identity-H",
            "DescendantFonts" => vec![Object::Reference(descendant)],
            "ToUnicode" => map,
        }))
    }

    /// The array `W`: `first last advance` for every run of equal advances.
    fn widths(&self) -> Vec<Object> {
        let mut widths = Vec::new();
        let mut first = 1usize;
        for run in self.entries.chunk_by(|left, right| left.advance == right.advance) {
            let last = first + run.len() - 1;
            // At most CODES_PER_FONT, so the conversions hold.
            widths.extend([first, last].map(|code| Object::from(u32::try_from(code).unwrap_or(0))));
            widths.push(run[0].advance.into());
            first = last + 1;
        }
        widths
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
