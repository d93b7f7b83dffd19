//! A line that needs more than one string: with tabs, several fonts, or right-to-left text.

use std::io::Write as _;

use super::typeface::{Glyph, TabStops, Typeface, font_name};
use crate::convert::bidi;

/// The characters of a line with their places.
#[derive(Default)]
pub(super) struct LineItems {
    /// In the order of the text, and after [`LineItems::reorder`] from left to right.
    items: Vec<Item>,
    visual: Vec<Item>,
}

#[derive(Clone, Copy)]
struct Item {
    glyph: Glyph,
    /// Where its character begins in the line.
    at: usize,
    /// Space after it, beyond its advance: what a tab skips.
    skip: i64,
}

impl LineItems {
    /// Takes the characters of `text`. A tab is a space, so that words stay apart for readers which
    /// go by characters alone, and the rest of the way to its stop.
    pub(super) fn set<F: Typeface>(&mut self, text: &str, face: &mut F, tab_stops: TabStops) {
        self.items.clear();
        let mut x = 0;
        for (at, character) in text.char_indices() {
            let is_tab = character == '\t';
            let glyph = face.glyph(if is_tab { ' ' } else { character });
            if glyph.font == Glyph::NO_FONT {
                continue;
            }
            let advance = u64::from(glyph.advance);
            let way = if is_tab { tab_stops.way(x) } else { advance };
            let skip = way.saturating_sub(advance).cast_signed();
            x += way;
            self.items.push(Item { glyph, at, skip });
        }
    }

    /// Puts the characters into visual order.
    pub(super) fn reorder<F: Typeface>(&mut self, text: &str, base_rtl: bool, face: &mut F) {
        self.visual.clear();
        for run in bidi::visual_runs(text, base_rtl) {
            let start = self.items.partition_point(|item| item.at < run.range.start);
            let end = self.items.partition_point(|item| item.at < run.range.end);
            let items = &mut self.items[start..end];
            if run.rtl {
                items.reverse();
                for item in items.iter_mut() {
                    let character = text[item.at..].chars().next();
                    let mirrored = character.and_then(|c| face.mirrored_glyph(c));
                    item.glyph = mirrored.unwrap_or(item.glyph);
                }
                self.visual.extend_from_slice(items);
                // The search above needs the order of the text.
                items.sort_unstable_by_key(|item| item.at);
            } else {
                self.visual.extend_from_slice(items);
            }
        }
        std::mem::swap(&mut self.items, &mut self.visual);
    }

    /// Width of the whole line, in thousandths of the font size. A line has thousands of characters
    /// at most, so the sum is far from its limits.
    pub(super) fn width(&self) -> i64 {
        self.items.iter().map(|item| i64::from(item.glyph.advance) + item.skip).sum()
    }

    /// Appends the line to a content stream, `lead` thousandths of the font size from the left
    /// edge.
    /// The first font is current before and after.
    pub(super) fn write<F: Typeface>(&self, lead: i64, font_size: f32, content: &mut Vec<u8>) {
        let mut strings = Strings { content, open: false };
        strings.content.extend_from_slice(b"T*[");
        strings.skip(lead);
        let mut font = 0;
        for item in &self.items {
            if item.glyph.font != font {
                font = item.glyph.font;
                strings.set_font(font, font_size);
            }
            strings.open();
            F::push_code(item.glyph, strings.content);
            strings.skip(item.skip);
        }
        if font != 0 {
            strings.set_font(0, font_size);
        }
        strings.close();
        strings.content.extend_from_slice(b"]TJ\n");
    }
}

/// The operand of `TJ`: strings and numbers between brackets.
struct Strings<'a> {
    content: &'a mut Vec<u8>,
    open: bool,
}

impl Strings<'_> {
    fn open(&mut self) {
        if !std::mem::replace(&mut self.open, true) {
            self.content.push(b'(');
        }
    }

    fn close(&mut self) {
        if std::mem::replace(&mut self.open, false) {
            self.content.push(b')');
        }
    }

    /// `TJ` subtracts its numbers from the position. Writing to a Vec does not fail.
    fn skip(&mut self, distance: i64) {
        if distance != 0 {
            self.close();
            let _ = write!(self.content, "{}", -distance);
        }
    }

    fn set_font(&mut self, font: u16, font_size: f32) {
        self.close();
        let _ = write!(self.content, "]TJ/{} {font_size} Tf[", font_name(font));
    }
}
