//! Content streams: operators with their operands, read straight from the bytes.

use std::borrow::Cow;

use lopdf::{Dictionary, Object};

use super::file::{File, Node};
use super::font::Font;
use super::fonts::Fonts;
use super::layout::{PageText, Run};
use super::lexer::{Lexer, Token, decode_name, find, is_white};
use super::line::Line;
use super::marked::Marked;
use super::matrix::Matrix;
use super::pages::Page;
use super::state::{State, Text};
use crate::convert::Error;

/// An operand; strings are ranges of [`Reader::strings`].
#[derive(Debug, Clone, Copy)]
enum Operand<'c> {
    Number(f64),
    Name(&'c [u8]),
    Str(usize, usize),
    Mark,
}

/// Operands that are kept of one operator: far above any real TJ array.
const OPERANDS_MAX: usize = 1 << 16;
/// Saved states; deeper ones are counted only.
const SAVED_MAX: usize = 1024;

/// Reads pages of one file.
#[derive(Debug)]
pub(super) struct Reader<'f, 'a> {
    pub(super) file: &'f File<'a>,
    fonts: Fonts<'f>,
    pub(super) page: PageText,
    state: State,
    saved: Vec<State>,
    saved_beyond: u32,
    text: Text,
    pub(super) marked: Marked,
    /// Forms that are being drawn, outermost first: a form inside itself is left out.
    forms: Vec<u32>,
    /// Resources of the page and of the forms being drawn; names are looked up from the last.
    resources: Vec<&'f Dictionary>,
    /// Bytes of content that may still be run, see [`work_max`].
    work_left: u64,
}

/// Content is read about once, and packed at most some twenty to one. Forms that draw forms ten
/// times each, or pages that share one large content, would be run for ever: 64 times the file and
/// 32 MiB is above all real files, and a few seconds of the densest text for a small one.
fn work_max(file_bytes: usize) -> u64 {
    (file_bytes as u64).saturating_mul(64).saturating_add(32 << 20)
}

/// What running a form costs besides its bytes, in bytes.
const FORM_COST: u64 = 64;

impl<'f, 'a> Reader<'f, 'a> {
    pub(super) fn new(file: &'f File<'a>) -> Self {
        Self {
            file,
            fonts: Fonts::default(),
            page: PageText::default(),
            state: State::default(),
            saved: Vec::new(),
            saved_beyond: 0,
            text: Text::default(),
            marked: Marked::new(file),
            forms: Vec::new(),
            resources: Vec::new(),
            work_left: work_max(file.data.len()),
        }
    }

    /// Reads a page with its annotations into [`Self::page`].
    pub(super) fn read(&mut self, page: &Page<'f>) -> Result<(), Error> {
        self.page.begin(page.width, page.height);
        self.start(page.upright);
        let contents = self.contents(page.dict)?;
        self.resources.clear();
        self.resources.extend(page.resources);
        self.run(&contents)?;
        self.annotations(page)?;
        self.page.finish();
        Ok(())
    }

    fn start(&mut self, ctm: Matrix) {
        self.saved.clear();
        self.saved_beyond = 0;
        self.marked.clear();
        self.forms.clear();
        self.state = State { ctm, ..State::default() };
        self.text = Text::default();
    }

    /// The content streams of a page, joined: an operator may not begin in one and end in the next,
    /// but an operand may stand before its operator.
    fn contents(&self, page: &Dictionary) -> Result<Vec<u8>, Error> {
        let Ok(contents) = page.get(b"Contents") else { return Ok(Vec::new()) };
        if let Some(node) = self.file.stream(contents) {
            return Ok(self.file.decode(node)?.unwrap_or_default());
        }
        let mut all = Vec::new();
        for part in self.file.resolve(contents).as_array().into_iter().flatten() {
            if let Some(node) = self.file.stream(part)
                && let Some(data) = self.file.decode(node)?
            {
                all.extend_from_slice(&data);
                all.push(b' ');
            }
        }
        Ok(all)
    }

    fn run(&mut self, data: &[u8]) -> Result<(), Error> {
        let cost = data.len() as u64 + FORM_COST;
        self.work_left = self.work_left.checked_sub(cost).ok_or_else(|| {
            let max = work_max(self.file.data.len());
            Error::limit("bytes of content run", format!("more than {max}"), max)
        })?;
        let mut lexer = Lexer::new(data, 0);
        let mut strings: Vec<u8> = Vec::new();
        let mut operands: Vec<Operand<'_>> = Vec::new();
        loop {
            let operand = match lexer.next(&mut strings) {
                Token::End => return Ok(()),
                Token::Keyword(operator) => {
                    if operator == b"BI" {
                        skip_inline_image(&mut lexer);
                    } else {
                        let call = Call { operands: &operands, strings: &strings };
                        self.operate(operator, &call)?;
                    }
                    operands.clear();
                    strings.clear();
                    continue;
                }
                Token::Int(value) => Operand::Number(value as f64),
                Token::Real(value) => Operand::Number(value),
                Token::Name(name) => Operand::Name(name),
                Token::Str(range) => Operand::Str(range.start, range.end),
                Token::ArrayOpen | Token::ArrayClose | Token::DictOpen | Token::DictClose => {
                    Operand::Mark
                }
            };
            if operands.len() < OPERANDS_MAX {
                operands.push(operand);
            }
        }
    }

    fn operate(&mut self, operator: &[u8], call: &Call<'_>) -> Result<(), Error> {
        match operator {
            b"q" => self.save(),
            b"Q" => self.restore(),
            b"cm" => {
                if let Some(matrix) = call.matrix() {
                    self.state.ctm = matrix.then(&self.state.ctm);
                }
            }
            b"Do" => self.draw(call)?,
            b"gs" => self.graphics_state(call)?,
            b"BT" => self.text.begin(),
            b"Tf" => {
                self.state.size = call.number(0).unwrap_or(0.0);
                let dict = self.resource(call, b"Font");
                self.state.font = dict.map(|dict| self.fonts.load(self.file, dict)).transpose()?;
            }
            b"Tc" => self.state.char_space = call.number(0).unwrap_or(0.0),
            b"Tw" => self.state.word_space = call.number(0).unwrap_or(0.0),
            b"Tz" => self.state.stretch = call.number(0).unwrap_or(100.0) / 100.0,
            b"TL" => self.state.leading = call.number(0).unwrap_or(0.0),
            b"Ts" => self.state.rise = call.number(0).unwrap_or(0.0),
            b"Td" => {
                let across = call.number(1).unwrap_or(0.0);
                self.text.advance_line(across, call.number(0).unwrap_or(0.0));
            }
            b"TD" => {
                let down = call.number(0).unwrap_or(0.0);
                self.state.leading = -down;
                self.text.advance_line(call.number(1).unwrap_or(0.0), down);
            }
            b"Tm" => {
                if let Some(matrix) = call.matrix() {
                    self.text.set(matrix);
                }
            }
            b"T*" => self.text.advance_line(0.0, -self.state.leading),
            b"Tj" | b"TJ" => self.show_operands(call),
            b"'" => {
                self.text.advance_line(0.0, -self.state.leading);
                self.show_operands(&Call { operands: call.last(1), ..*call });
            }
            b"\"" => {
                self.state.word_space = call.number(2).unwrap_or(0.0);
                self.state.char_space = call.number(1).unwrap_or(0.0);
                self.text.advance_line(0.0, -self.state.leading);
                self.show_operands(&Call { operands: call.last(1), ..*call });
            }
            b"BMC" => self.marked.open(None, false),
            b"BDC" => self.begin_marked(call),
            b"EMC" => self.end_marked(),
            _ => {}
        }
        Ok(())
    }

    /// What the operator's name stands for, in the innermost resources that know it.
    fn resource_object(&self, call: &Call<'_>, category: &[u8]) -> Option<&'f Object> {
        let name = call.name()?;
        let known = |dict: &&'f Dictionary| self.file.dict(dict, category)?.get(&name).ok();
        self.resources.iter().rev().find_map(known)
    }

    fn resource(&self, call: &Call<'_>, category: &[u8]) -> Option<&'f Dictionary> {
        self.file.resolve(self.resource_object(call, category)?).as_dict().ok()
    }

    fn save(&mut self) {
        if self.saved.len() < SAVED_MAX {
            self.saved.push(self.state.clone());
        } else {
            self.saved_beyond += 1;
        }
    }

    fn restore(&mut self) {
        if self.saved_beyond > 0 {
            self.saved_beyond -= 1;
        } else if let Some(state) = self.saved.pop() {
            self.state = state;
        }
    }

    fn graphics_state(&mut self, call: &Call<'_>) -> Result<(), Error> {
        let dict = self.resource(call, b"ExtGState");
        let font = dict.and_then(|dict| self.file.entry(dict, b"Font")?.as_array().ok());
        if let Some([font, size, ..]) = font.map(Vec::as_slice) {
            if let Ok(dict) = self.file.resolve(font).as_dict() {
                self.state.font = Some(self.fonts.load(self.file, dict)?);
            }
            self.state.size = super::file::number(self.file.resolve(size)).unwrap_or(0.0);
        }
        Ok(())
    }

    fn draw(&mut self, call: &Call<'_>) -> Result<(), Error> {
        let Some(object) = self.resource_object(call, b"XObject") else { return Ok(()) };
        let Some(node) = self.file.stream(object) else { return Ok(()) };
        let Some(dict) = node.dict() else { return Ok(()) };
        if self.file.name(dict, b"Subtype") != Some(b"Form") || self.marked.is_off(self.file, dict)
        {
            return Ok(());
        }
        let matrix =
            self.file.numbers(dict, b"Matrix").and_then(|values| Matrix::from_slice(&values));
        self.form(node, matrix.unwrap_or(Matrix::IDENTITY))
    }

    /// Runs a form in its own graphics state; resources of its own come before those of its caller.
    fn form(&mut self, node: &'f Node, matrix: Matrix) -> Result<(), Error> {
        let id = node.id.0;
        if self.forms.contains(&id) {
            return Ok(());
        }
        let (depth, max) = (self.forms.len() as u32 + 1, self.file.limits.nesting_max);
        if depth > max {
            return Err(Error::limit("nesting of form XObjects", depth, max));
        }
        let Some(dict) = node.dict() else { return Ok(()) };
        let Some(data) = self.file.decode(node)? else { return Ok(()) };
        let (state, text) = (self.state.clone(), self.text);
        let (saved, beyond) = (std::mem::take(&mut self.saved), self.saved_beyond);
        self.saved_beyond = 0;
        self.state.ctm = matrix.then(&self.state.ctm);
        self.forms.push(id);
        let outer = self.resources.len();
        self.resources.extend(self.file.dict(dict, b"Resources"));
        let result = self.run(&data);
        self.resources.truncate(outer);
        self.forms.pop();
        (self.state, self.text, self.saved, self.saved_beyond) = (state, text, saved, beyond);
        result
    }

    /// What annotations show (filled form fields, stamps), as a reader that does not print.
    fn annotations(&mut self, page: &Page<'f>) -> Result<(), Error> {
        const HIDDEN_OR_NO_VIEW: i64 = 2 | 32;
        let annotations = self.file.entry(page.dict, b"Annots").and_then(|all| all.as_array().ok());
        for annotation in annotations.into_iter().flatten() {
            let Ok(dict) = self.file.resolve(annotation).as_dict() else { continue };
            let flags = self.file.integer(dict, b"F").unwrap_or(0);
            if flags & HIDDEN_OR_NO_VIEW != 0 || self.file.name(dict, b"Subtype") == Some(b"Popup")
            {
                continue;
            }
            if self.marked.is_off(self.file, dict) {
                continue;
            }
            if let Some((node, matrix)) = super::annotation::appearance(self.file, dict) {
                self.start(page.upright);
                self.form(node, matrix)?;
            } else if let Some(value) = super::annotation::value(self.file, dict) {
                self.show_value(&value, page.upright);
            }
        }
        Ok(())
    }

    /// Shows the value of a field as a reader would draw it: from its upper left corner on.
    fn show_value(&mut self, value: &super::annotation::Value, upright: Matrix) {
        let scale = upright.a.hypot(upright.b);
        let Some(run) = Run::new(upright.a, upright.b, value.size * scale) else { return };
        for ((x, y), line) in value.lines() {
            let end = x + 0.5 * value.size * line.chars().count() as f64;
            let (from, to) = (upright.apply(x, y), upright.apply(end, y));
            self.page.finish();
            self.page.glyph(&run, from, to, false, |out| out.push_str(line));
        }
    }

    fn begin_marked(&mut self, call: &Call<'_>) {
        let first = call.operands.first();
        let is_layer = matches!(first, Some(Operand::Name(b"OC")));
        // Properties by name, or written in place.
        let named = matches!(call.operands, [_, Operand::Name(_)]);
        let dict = if named { self.resource(call, b"Properties") } else { None };
        let hidden = is_layer
            && (self.resource_object(call, b"Properties"))
                .is_some_and(|group| self.marked.group_is_off(self.file, group));
        let replacement = match dict {
            Some(dict) => self.file.entry(dict, b"ActualText").and_then(|text| text.as_str().ok()),
            None => call.inline_string(b"ActualText"),
        };
        if replacement.is_some() {
            self.page.finish();
        }
        self.marked.open(replacement.map(super::marked::text_string), hidden);
    }

    fn end_marked(&mut self) {
        if let Some((run, from, to, text)) = self.marked.close() {
            let text = text.trim_matches(char::is_control);
            self.page.glyph(&run, from, to, false, |out| out.push_str(text));
        }
    }

    fn show_operands(&mut self, call: &Call<'_>) {
        let Some(font) = self.state.font.clone() else { return };
        let line = Line::new(&self.state, &self.text, &font);
        let mut moved = 0.0;
        for operand in call.operands {
            match *operand {
                Operand::Str(from, to) => {
                    moved = self.show(&font, &line, moved, &call.strings[from..to]);
                }
                Operand::Number(kern) => {
                    moved -= kern / 1000.0 * self.state.size * line.stretch;
                }
                _ => {}
            }
        }
        if font.vertical {
            self.text.move_by(0.0, moved);
        } else {
            self.text.move_by(moved, 0.0);
        }
    }

    /// Shows a string that begins `moved` behind the start of `line`; how far behind it the string ends.
    fn show(&mut self, font: &Font, line: &Line, mut moved: f64, string: &[u8]) -> f64 {
        let state = &self.state;
        let mut rest = string;
        let mut joined = false;
        while let Some(glyph) = font.next_glyph(&mut rest) {
            let spacing = state.char_space + if glyph.is_space { state.word_space } else { 0.0 };
            let own = if font.vertical { -state.size } else { glyph.width * state.size };
            let (from, end) = (moved, moved + own * line.stretch);
            moved = end + spacing * line.stretch;
            let Some(run) = &line.run else { continue };
            let (from, to) = (line.at(from), line.at(end));
            joined = self.marked.shows(run, from, to)
                && self.page.glyph(run, from, to, joined, |out| {
                    font.push_text(glyph.code, out);
                })
                && line.is_tight(spacing);
        }
        moved
    }
}

/// The operands of one operator.
#[derive(Clone, Copy)]
struct Call<'c> {
    operands: &'c [Operand<'c>],
    strings: &'c [u8],
}

impl<'c> Call<'c> {
    /// The operand `back` places from the last.
    fn number(&self, back: usize) -> Option<f64> {
        match self.operands.get(self.operands.len().checked_sub(back + 1)?)? {
            Operand::Number(value) => Some(*value),
            _ => None,
        }
    }

    fn last(&self, count: usize) -> &'c [Operand<'c>] {
        &self.operands[self.operands.len().saturating_sub(count)..]
    }

    fn matrix(&self) -> Option<Matrix> {
        let mut values = [0.0; 6];
        for (back, slot) in values.iter_mut().rev().enumerate() {
            *slot = self.number(back)?;
        }
        Matrix::from_slice(&values)
    }

    /// The last name.
    fn name(&self) -> Option<Cow<'c, [u8]>> {
        self.operands.iter().rev().find_map(|operand| match operand {
            Operand::Name(name) => Some(decode_name(name)),
            _ => None,
        })
    }

    /// The string under `key` of a dictionary that is written in place.
    fn inline_string(&self, key: &[u8]) -> Option<&'c [u8]> {
        self.operands.windows(2).find_map(|pair| match pair {
            [Operand::Name(name), Operand::Str(from, to)] if *name == key => {
                Some(&self.strings[*from..*to])
            }
            _ => None,
        })
    }
}

/// Skips from behind `BI` to behind `EI`. The data may hold the letters `EI`; what follows the real
/// ones is white space and then content, which is printable.
fn skip_inline_image(lexer: &mut Lexer<'_>) {
    let data = lexer.data;
    let mut at = match find(data, b"ID", lexer.pos) {
        Some(start) => start + 2,
        None => data.len(),
    };
    while let Some(end) = find(data, b"EI", at) {
        at = end + 2;
        let before = data.get(end.wrapping_sub(1)).is_some_and(|&byte| is_white(byte));
        let after = data.get(at).is_none_or(|&byte| is_white(byte));
        let sample = &data[at..data.len().min(at + 12)];
        let printable =
            sample.iter().all(|&byte| is_white(byte) && byte != 0 || (0x20..0x7f).contains(&byte));
        if before && after && printable {
            lexer.pos = at;
            return;
        }
    }
    lexer.pos = data.len();
}
