//! Text to lines on pages, and those to content streams.
//!
//! A line of the text that fits is written as it is. One that is too wide is broken at the last
//! opportunity of UAX 14 (by `unicode-linebreak`) before the frame's edge, and where there is none,
//! before the character that would cross it; a single character that is wider than the frame stands
//! alone and crosses it. Spaces and tabs at a break hang beyond the edge and are left out, but for
//! one space, so that words on both sides stay apart for whoever reads the content in its order.

use std::io::Write as _;

use unicode_linebreak::linebreaks;

use super::{
    document::PdfFile,
    flow,
    frame::Frame,
    line_items::LineItems,
    lines::{End, Lines},
    typeface::{Glyph, TabStops, Typeface},
};
use crate::convert::{Error, bidi};

/// Characters of one line on a page. Some readers take strings of at most 32,767 bytes (PDF
/// 32000-1, annex C), and a code takes 4 at most (two bytes, both escaped). Only characters without
/// advance can be so many.
const LINE_CHARS_MAX: usize = 8_000;
/// What follows a character that stands alone: combining marks, joiners.
const CLUSTER_CHARS_MAX: usize = 64;

/// Lays text out, page by page.
pub(super) struct Layout<F> {
    frame: Frame,
    face: F,
    file: PdfFile,
    ascii_advances: [u16; 128],
    tab_stops: TabStops,
    /// Whether the text has a character that turns the direction; else no line is looked at twice.
    bidi: bool,
    /// Whether the current line of the text has right to left as its base direction.
    rtl: bool,
    /// The current page; empty where none is open.
    content: Vec<u8>,
    lines: u32,
    items: LineItems,
}

/// How much of a text goes on one line.
struct Fit {
    /// Where the first character that crosses the edge begins.
    overflow: Option<usize>,
    /// Neither tabs, nor other fonts than the first, nor right to left.
    plain: bool,
}

impl<F: Typeface> Layout<F> {
    pub(super) fn new(frame: Frame, face: F, file: PdfFile, bidi: bool) -> Self {
        let ascii_advances = *face.ascii_advances();
        Self {
            frame,
            face,
            file,
            ascii_advances,
            tab_stops: TabStops::new(&ascii_advances),
            bidi,
            rtl: false,
            content: Vec::new(),
            lines: 0,
            items: LineItems::default(),
        }
    }

    /// Every line of the text begins a line on the page.
    pub(super) fn plain(&mut self, text: &str) -> Result<(), Error> {
        for (line, end) in Lines::new(text) {
            // What follows the last end of line, or stands before a form feed, is no line of its
            // own where it is empty.
            if !line.is_empty() || end == End::Line {
                self.line(line)?;
            }
            if end == End::Page {
                self.page_break()?;
            }
        }
        Ok(())
    }

    /// Wrapped lines are joined; a blank line on the page parts paragraphs.
    pub(super) fn flow(&mut self, text: &str) -> Result<(), Error> {
        flow::paragraphs(text, |step| match step {
            flow::Step::Paragraph(paragraph) => {
                if self.page_is_open() {
                    self.line("")?;
                }
                self.line(paragraph)
            }
            flow::Step::PageBreak => self.page_break(),
        })
    }

    /// Writes the last page, or a blank one where there is none, and the file.
    pub(super) fn finish(mut self) -> Result<Vec<u8>, Error> {
        if self.page_is_open() || self.file.page_count() == 0 {
            self.page_break()?;
        }
        let fonts = self.face.write_fonts(&mut self.file)?;
        self.file.finish(fonts)
    }

    /// Lays out one line of the text, on as many lines of the page as it takes.
    fn line(&mut self, line: &str) -> Result<(), Error> {
        self.rtl = self.bidi && bidi::base_is_rtl(line);
        let mut rest = line;
        loop {
            let fit = self.fit(rest);
            let Some(overflow) = fit.overflow else {
                return self.write_line(rest.trim_end_matches([' ', '\t']), fit.plain);
            };
            let (head, tail) = rest.split_at(self.break_before(rest, overflow));
            self.write_line(hang(head), fit.plain)?;
            rest = tail;
        }
    }

    fn fit(&mut self, text: &str) -> Fit {
        let (mut at, mut width, mut count, mut plain) = (0, 0u64, 0, !self.rtl);
        while let Some(&byte) = text.as_bytes().get(at) {
            let length = if byte == b'\t' {
                plain = false;
                width += self.tab_stops.way(width);
                1
            } else if byte.is_ascii() {
                width += u64::from(self.ascii_advances[usize::from(byte)]);
                1
            } else {
                let Some(character) = text[at..].chars().next() else { break };
                let glyph = self.face.glyph(character);
                plain &= matches!(glyph.font, 0 | Glyph::NO_FONT)
                    && !(self.bidi && bidi::turns(character));
                width += u64::from(glyph.advance);
                character.len_utf8()
            };
            count += 1;
            let crosses = width > self.frame.width_milli_em || count > LINE_CHARS_MAX;
            if crosses && byte != b' ' && byte != b'\t' {
                return Fit { overflow: Some(at), plain };
            }
            at += length;
        }
        Fit { overflow: None, plain }
    }

    /// Where to break `text`, of which all before `overflow` fits: at least one character is taken.
    fn break_before(&mut self, text: &str, overflow: usize) -> usize {
        if let Some(at) = break_at_space(text.as_bytes(), overflow) {
            return at;
        }
        // The rules look at the character after a break, so it is part of the window; what they say
        // about the window's end is not asked for.
        let window = overflow + text[overflow..].chars().next().map_or(0, char::len_utf8);
        let opportunity =
            linebreaks(&text[..window]).map(|(at, _)| at).take_while(|&at| at <= overflow).last();
        match opportunity {
            Some(at) if at > 0 => at,
            _ if overflow > 0 => overflow,
            _ => self.cluster(text),
        }
    }

    /// The length of the first character with the zero-width ones that follow it.
    fn cluster(&mut self, text: &str) -> usize {
        let mut characters = text.char_indices().skip(1).take(CLUSTER_CHARS_MAX);
        characters
            .find(|&(_, character)| self.face.glyph(character).advance > 0)
            .or_else(|| text.char_indices().nth(CLUSTER_CHARS_MAX))
            .map_or(text.len(), |(at, _)| at)
    }

    fn write_line(&mut self, text: &str, plain: bool) -> Result<(), Error> {
        if self.lines == self.frame.lines_per_page {
            self.page_break()?;
        }
        self.open_page();
        self.lines += 1;
        if text.is_empty() {
            self.content.extend_from_slice(b"T*\n");
        } else if plain {
            self.content.push(b'(');
            self.face.push_text(text, &mut self.content);
            self.content.extend_from_slice(b")'\n");
        } else {
            self.items.set(text, &mut self.face, self.tab_stops);
            if self.bidi {
                self.items.reorder(text, self.rtl, &mut self.face);
            }
            // Less than nothing where the space at a break hangs over the left edge.
            let free = self.frame.width_milli_em.cast_signed() - self.items.width();
            let lead = if self.rtl { free } else { 0 };
            self.items.write::<F>(lead, self.frame.font_size, &mut self.content);
        }
        Ok(())
    }

    fn page_is_open(&self) -> bool {
        !self.content.is_empty()
    }

    fn open_page(&mut self) {
        if self.page_is_open() {
            return;
        }
        let Frame { font_size, leading, .. } = self.frame;
        let (x, y) = self.frame.origin();
        // Every line begins with a step down, also the first. Writing to a Vec does not fail.
        let _ = write!(
            self.content,
            "BT\n/F1 {font_size} Tf\n{leading} TL\n{x:.2} {:.2} Td\n",
            y + leading
        );
    }

    /// Ends the page, which is blank where none is open.
    fn page_break(&mut self) -> Result<(), Error> {
        if self.page_is_open() {
            self.content.extend_from_slice(b"ET");
        }
        self.file.add_page(&self.content)?;
        self.content.clear();
        self.lines = 0;
        Ok(())
    }
}

/// The break of UAX 14 before `overflow` where it is plain to see, without the tables: after a
/// space between ASCII letters or digits, with no more than those up to and including `overflow`.
///
/// Western prose is broken so nearly always, in half of the time.
fn break_at_space(text: &[u8], overflow: usize) -> Option<usize> {
    text.get(overflow).filter(|byte| byte.is_ascii_alphanumeric())?;
    let space = text[..overflow].iter().rposition(|byte| !byte.is_ascii_alphanumeric())?;
    let before = text.get(space.checked_sub(1)?)?;
    (text[space] == b' ' && (before.is_ascii_alphanumeric() || b".,;".contains(before)))
        .then_some(space + 1)
}

/// A line before a break, with one of the spaces that end it.
fn hang(line: &str) -> &str {
    let end = line.trim_end_matches([' ', '\t']).len();
    let space = usize::from(end > 0 && line.as_bytes().get(end) == Some(&b' '));
    &line[..end + space]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_short_cut_breaks_where_the_tables_do(
            text in "[a-c1.,;:é(\"漢 -]{2,40}",
            at in 1usize..40,
        ) {
            let boundaries = (0..at.min(text.len())).rev();
            let at = boundaries.into_iter().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
            let breaks = linebreaks(&text).map(|(at, _)| at);
            let tables = breaks.take_while(|&other| other <= at).last();
            if let Some(found) = break_at_space(text.as_bytes(), at) {
                prop_assert_eq!(Some(found), tables);
            }
        }
    }
}
