//! A small reader of the PDFs that this module writes: characters and widths, line by line.

use std::collections::BTreeMap;

use lopdf::{Dictionary, Document, Object, content::Content};

use crate::convert::text_to_pdf::{
    standard::{Helvetica, winansi},
    typeface::Typeface as _,
};

pub(super) type Page = Vec<Line>;

/// What one step down and the strings after it show.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Line {
    pub(super) text: String,
    /// From the left edge to the end of the last character that is no blank, in thousandths of the
    /// font size.
    pub(super) width: u64,
    /// Fonts in the order they were first used.
    pub(super) fonts: Vec<String>,
    x: i64,
}

/// Character and advance by code.
struct Font {
    code_bytes: usize,
    codes: BTreeMap<u16, (char, i64)>,
}

pub(super) fn read(pdf: &[u8]) -> Vec<Page> {
    let document = Document::load_mem(pdf).unwrap();
    let root = document.catalog().unwrap().get(b"Pages").unwrap().as_reference().unwrap();
    let resources = document.get_dictionary(root).unwrap().get(b"Resources").unwrap();
    let fonts: BTreeMap<String, Font> = resources
        .as_dict()
        .unwrap()
        .get(b"Font")
        .unwrap()
        .as_dict()
        .unwrap()
        .iter()
        .map(|(name, id)| {
            let font = document.get_dictionary(id.as_reference().unwrap()).unwrap();
            (String::from_utf8(name.clone()).unwrap(), Font::read(&document, font))
        })
        .collect();
    let contents = document.get_pages().into_values().map(|id| document.get_page_content(id));
    contents.map(|content| page(&Content::decode(&content).unwrap(), &fonts)).collect()
}

fn page(content: &Content, fonts: &BTreeMap<String, Font>) -> Page {
    let mut page = Page::new();
    let mut font = String::new();
    for operation in &content.operations {
        match operation.operator.as_str() {
            "Tf" => font = operation.operands[0].as_name_str().to_owned(),
            "T*" => page.push(Line::default()),
            "'" => {
                page.push(Line::default());
                page.last_mut().unwrap().show(&operation.operands[0], &font, &fonts[&font]);
            }
            "TJ" => {
                for operand in operation.operands[0].as_array().unwrap() {
                    page.last_mut().unwrap().show(operand, &font, &fonts[&font]);
                }
            }
            "BT" | "ET" | "TL" | "Td" => {}
            other => panic!("operator {other}"),
        }
    }
    page
}

trait NameStr {
    fn as_name_str(&self) -> &str;
}

impl NameStr for Object {
    fn as_name_str(&self) -> &str {
        std::str::from_utf8(self.as_name().unwrap()).unwrap()
    }
}

impl Line {
    fn show(&mut self, operand: &Object, name: &str, font: &Font) {
        if let Ok(distance) = operand.as_i64() {
            self.x -= distance;
            return;
        }
        if !self.fonts.iter().any(|known| known == name) {
            self.fonts.push(name.to_owned());
        }
        let bytes = operand.as_str().unwrap();
        for code in bytes.chunks_exact(font.code_bytes) {
            let code = code.iter().fold(0, |code, byte| code << 8 | u16::from(*byte));
            let (character, advance) = font.codes[&code];
            self.text.push(character);
            self.x += advance;
            if character != ' ' {
                self.width = self.width.max(self.x.try_into().unwrap());
            }
        }
    }
}

impl Font {
    fn read(document: &Document, font: &Dictionary) -> Self {
        if font.get(b"Subtype").unwrap().as_name_str() == "Type1" {
            let codes = ('\0'..='\u{2fff}').filter_map(|character| {
                let code = winansi(character)?;
                Some((code.into(), (character, Helvetica.glyph(character).advance.into())))
            });
            return Self { code_bytes: 1, codes: codes.collect() };
        }
        let map = font.get(b"ToUnicode").unwrap().as_reference().unwrap();
        let map = document.get_object(map).unwrap().as_stream().unwrap();
        let map = String::from_utf8(map.decompressed_content().unwrap()).unwrap();
        let descendant =
            font.get(b"DescendantFonts").unwrap().as_array().unwrap()[0].as_reference();
        let descendant = document.get_dictionary(descendant.unwrap()).unwrap();
        let advances = advances(descendant.get(b"W").unwrap().as_array().unwrap());
        // All lines but the range of codes that stands at the start.
        let lines = map.lines().filter(|line| line.starts_with('<') && *line != "<0000> <FFFF>");
        let codes = lines.map(|line| {
            let (code, units) = line[1..line.len() - 1].split_once("> <").unwrap();
            let code = u16::from_str_radix(code, 16).unwrap();
            let units = (0..units.len()).step_by(4).map(|at| &units[at..at + 4]);
            let units = units.map(|unit| u16::from_str_radix(unit, 16).unwrap());
            let character = char::decode_utf16(units).next().unwrap().unwrap();
            (code, (character, advances[&code]))
        });
        Self { code_bytes: 2, codes: codes.collect() }
    }
}

/// `first last advance`, again and again.
fn advances(widths: &[Object]) -> BTreeMap<u16, i64> {
    let numbers: Vec<_> = widths.iter().map(|number| number.as_i64().unwrap()).collect();
    let runs = numbers.chunks_exact(3);
    runs.flat_map(|run| (run[0]..=run[1]).map(|code| (code.try_into().unwrap(), run[2]))).collect()
}
