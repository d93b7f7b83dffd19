//! A font file, and how its subset goes into a PDF (PDF 32000-1, 9.6 to 9.9).
//!
//! TrueType outlines are a `CIDFontType2`, whose `CIDToGIDMap` leads from our codes to glyphs. Those of
//! CFF are a `CIDFontType0`, which has no such map: there a `CMap` of our own leads from codes to
//! identifiers, and these are the glyphs of the subset.

use std::io::Write as _;

use lopdf::{Dictionary, Object, ObjectId, dictionary};
use subsetter::GlyphRemapper;
use ttf_parser::{Face, GlyphId, Permissions, RawFace, Tag};

use super::document::PdfFile;
use super::tounicode;
use crate::convert::{Error, ErrorKind};

/// The most lines of a section of a `CMap` (Adobe Technical Note 5014).
const SECTION_LINES_MAX: usize = 100;

/// The name that the file's CMaps go by.
const CMAP_NAME: &str = "Fxsrv-Codes";

/// A font in memory, which somebody else has read.
#[derive(Debug, Clone, Copy)]
pub struct FontData<'a> {
    /// A TrueType or OpenType file, or a collection of such.
    pub bytes: &'a [u8],
    /// Which font of a collection; 0 where there is one.
    pub index: u32,
}

impl FontData<'_> {
    /// Whether text can be set in this font: it can be read, its licence lets a part of it travel in a
    /// document, and a part can be taken out of it.
    ///
    /// # Errors
    ///
    /// What is in the way.
    pub fn check(self) -> Result<(), Error> {
        let file = FontFile::parse(self)?;
        file.check_licence()?;
        let mut remapper = GlyphRemapper::new();
        remapper.remap(file.face.number_of_glyphs().saturating_sub(1));
        file.subset(&remapper).map(drop)
    }
}

/// One character of a font resource. Its code is its place among them, from 1.
pub(super) struct Entry {
    pub(super) character: char,
    pub(super) glyph: GlyphId,
    pub(super) advance: u16,
}

pub(super) struct FontFile<'a> {
    data: FontData<'a>,
    face: Face<'a>,
    outlines: Outlines,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outlines {
    TrueType,
    Cff,
}

/// What all font resources over one font share.
pub(super) struct Subset {
    name: String,
    descriptor: ObjectId,
    remapper: GlyphRemapper,
}

impl<'a> FontFile<'a> {
    pub(super) fn parse(data: FontData<'a>) -> Result<Self, Error> {
        let face = Face::parse(data.bytes, data.index)
            .map_err(|error| unusable(&format!("it cannot be read: {error}")))?;
        let tables = face.tables();
        let outlines = match (tables.glyf.is_some(), tables.cff.is_some()) {
            (true, _) => Outlines::TrueType,
            (_, true) => Outlines::Cff,
            _ => return Err(unusable("it has no outlines of TrueType or CFF (no glyf, no CFF)")),
        };
        Ok(Self { data, face, outlines })
    }

    /// The licence as the table OS/2 tells it (`fsType`). A font without the table says nothing against it.
    fn check_licence(&self) -> Result<(), Error> {
        if self.face.tables().os2.is_none() {
            return Ok(());
        }
        if self.face.permissions() == Some(Permissions::Restricted) {
            return Err(unusable(
                "its licence does not let it be embedded in documents (fsType 2)",
            ));
        }
        if !self.face.is_subsetting_allowed() {
            return Err(unusable(
                "its licence does not let a part of it be embedded (fsType 0x100)",
            ));
        }
        if !self.face.is_outline_embedding_allowed() {
            return Err(unusable("its licence lets its bitmaps alone be embedded (fsType 0x200)"));
        }
        Ok(())
    }

    pub(super) fn glyph(&self, character: char) -> Option<GlyphId> {
        self.face.glyph_index(character).filter(|glyph| glyph.0 != 0)
    }

    /// In thousandths of the font size, rounded: PDF states widths so, and the layout follows.
    pub(super) fn advance(&self, glyph: GlyphId) -> u16 {
        let units = self.face.glyph_hor_advance(glyph).unwrap_or(0);
        u16::try_from(self.thousandths(units.into())).unwrap_or(u16::MAX)
    }

    fn thousandths(&self, units: i64) -> i64 {
        let em = i64::from(self.face.units_per_em());
        (units * 1000 + em / 2).div_euclid(em)
    }

    /// Writes the glyphs of `remapper`, and what describes them.
    pub(super) fn write_subset(
        &self,
        remapper: GlyphRemapper,
        file: &mut PdfFile,
    ) -> Result<Subset, Error> {
        let name = self.subset_name(&remapper);
        let subset = self.subset(&remapper)?;
        let (key, stream) = match self.outlines {
            Outlines::TrueType => {
                let length = i64::try_from(subset.len()).unwrap_or(i64::MAX);
                ("FontFile2", file.add_stream(dictionary! { "Length1" => length }, &subset)?)
            }
            Outlines::Cff => {
                let table = cff_table(&subset).ok_or_else(|| unusable("its subset has no CFF"))?;
                let kind = dictionary! { "Subtype" => "CIDFontType0C" };
                ("FontFile3", file.add_stream(kind, table)?)
            }
        };
        let face = &self.face;
        let bounds = face.global_bounding_box();
        let scaled = |units: i16| Object::Integer(self.thousandths(units.into()));
        let descriptor = file.add(dictionary! {
            "Type" => "FontDescriptor",
            "FontName" => name.as_str(),
            // Symbolic: the glyphs are reached by number, not by a standard encoding.
            "Flags" => 4,
            "FontBBox" => vec![bounds.x_min, bounds.y_min, bounds.x_max, bounds.y_max]
                .into_iter().map(scaled).collect::<Vec<_>>(),
            "ItalicAngle" => 0,
            "Ascent" => scaled(face.ascender()),
            "Descent" => scaled(face.descender()),
            "CapHeight" => scaled(face.capital_height().unwrap_or(face.ascender())),
            // The width of upright stems, which the file does not state; 80 is a common regular.
            "StemV" => 80,
            key => stream,
        });
        Ok(Subset { name, descriptor, remapper })
    }

    /// Writes a font resource with the codes of `entries`.
    pub(super) fn write_font(
        &self,
        subset: &Subset,
        entries: &[Entry],
        file: &mut PdfFile,
    ) -> Result<ObjectId, Error> {
        let map = tounicode::cmap(entries.iter().map(|entry| entry.character));
        let map = file.add_stream(Dictionary::new(), &map)?;
        let glyphs = entries.iter().map(|entry| subset.remapper.get(entry.glyph.0).unwrap_or(0));
        let mut descendant = dictionary! {
            "Type" => "Font",
            "BaseFont" => subset.name.as_str(),
            "CIDSystemInfo" => identity(),
            "FontDescriptor" => subset.descriptor,
            "DW" => self.advance(GlyphId::default()),
        };
        let encoding = match self.outlines {
            Outlines::TrueType => {
                let glyphs: Vec<u8> =
                    [0, 0].into_iter().chain(glyphs.flat_map(u16::to_be_bytes)).collect();
                descendant.set("Subtype", "CIDFontType2");
                descendant.set("CIDToGIDMap", file.add_stream(Dictionary::new(), &glyphs)?);
                descendant.set("W", widths(1, entries.iter().map(|entry| entry.advance)));
                "Identity-H".into()
            }
            Outlines::Cff => {
                let advances =
                    subset.remapper.remapped_gids().map(|gid| self.advance(GlyphId(gid)));
                descendant.set("Subtype", "CIDFontType0");
                descendant.set("W", widths(0, advances));
                let kind = dictionary! {
                    "Type" => "CMap",
                    "CMapName" => CMAP_NAME,
                    "CIDSystemInfo" => identity(),
                };
                Object::Reference(file.add_stream(kind, &code_cmap(glyphs))?)
            }
        };
        let descendant = file.add(descendant);
        Ok(file.add(dictionary! {
            "Type" => "Font",
            "Subtype" => "Type0",
            "BaseFont" => subset.name.as_str(),
            "Encoding" => encoding,
            "DescendantFonts" => vec![Object::Reference(descendant)],
            "ToUnicode" => map,
        }))
    }

    fn subset(&self, remapper: &GlyphRemapper) -> Result<Vec<u8>, Error> {
        subsetter::subset(self.data.bytes, self.data.index, remapper)
            .map_err(|error| unusable(&format!("a part of it cannot be taken out: {error}")))
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
}

/// Fonts are checked before texts are set in them, so that this is the operator's to see, or our mistake.
fn unusable(why: &str) -> Error {
    Error::new(ErrorKind::Internal, format!("the font is of no use here: {why}"))
}

fn cff_table(font: &[u8]) -> Option<&[u8]> {
    RawFace::parse(font, 0).ok()?.table(Tag::from_bytes(b"CFF "))
}

fn identity() -> Dictionary {
    dictionary! {
        "Registry" => Object::string_literal("Adobe"),
        "Ordering" => Object::string_literal("Identity"),
        "Supplement" => 0,
    }
}

/// The array `W`: `first last advance` for every run of equal advances, from `first` on.
fn widths(first: u32, advances: impl Iterator<Item = u16>) -> Vec<Object> {
    let advances: Vec<u16> = advances.collect();
    let (mut widths, mut first) = (Vec::new(), first);
    for run in advances.chunk_by(|left, right| left == right) {
        // There are 65,535 of them at most.
        let next = first + u32::try_from(run.len()).unwrap_or(0);
        widths.extend([first.into(), (next - 1).into(), run[0].into()]);
        first = next;
    }
    widths
}

/// The map from codes 1, 2, 3... of two bytes to `cids`. Glyphs are numbered in the order in which they
/// are met, as the codes are, so that few ranges do.
fn code_cmap(cids: impl Iterator<Item = u16>) -> Vec<u8> {
    let codes: Vec<(u16, u16)> = (1..=u16::MAX).zip(cids).collect();
    // A range stays within one first byte (PDF 32000-1, 9.7.6.3).
    let follows = |&(code, cid): &(u16, u16), &(next, next_cid): &(u16, u16)| {
        next >> 8 == code >> 8 && cid.checked_add(1) == Some(next_cid)
    };
    let ranges: Vec<_> = codes.chunk_by(follows).collect();
    let mut cmap = format!(
        "/CIDInit /ProcSet findresource begin\n12 dict begin\nbegincmap\n\
         /CIDSystemInfo << /Registry (Adobe) /Ordering (Identity) /Supplement 0 >> def\n\
         /CMapName /{CMAP_NAME} def\n/CMapType 1 def\n\
         1 begincodespacerange\n<0000> <FFFF>\nendcodespacerange\n"
    )
    .into_bytes();
    // Writing to a Vec does not fail.
    for section in ranges.chunks(SECTION_LINES_MAX) {
        let _ = writeln!(cmap, "{} begincidrange", section.len());
        for range in section {
            let ((first, cid), (last, _)) = (range[0], range[range.len() - 1]);
            let _ = writeln!(cmap, "<{first:04X}> <{last:04X}> {cid}");
        }
        cmap.extend_from_slice(b"endcidrange\n");
    }
    cmap.extend_from_slice(b"endcmap\nCMapName currentdict /CMap defineresource pop\nend\nend\n");
    cmap
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_in_a_row_are_one_range() {
        let cids = [1, 2, 2, 3].into_iter().chain(10..400);
        let cmap = String::from_utf8_lossy(&code_cmap(cids)).into_owned();
        let ranges = "4 begincidrange\n<0001> <0002> 1\n<0003> <0004> 2\n<0005> <00FF> 10\n\
                      <0100> <018A> 261\nendcidrange\n";
        assert!(cmap.contains(ranges), "{cmap}");
    }

    #[test]
    fn equal_widths_in_a_row_are_one_run() {
        let runs = widths(1, [500, 500, 600].into_iter());
        let runs: Vec<_> = runs.iter().filter_map(|number| number.as_i64().ok()).collect();
        assert_eq!(runs, [1, 2, 500, 3, 3, 600]);
    }
}
