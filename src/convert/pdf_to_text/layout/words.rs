//! Words, made from glyphs in the order in which the page shows them.

use std::collections::HashMap;
use std::ops::Range;

/// A gap above this share of the font size parts two words. Kerning moves glyphs by less than a
/// twentieth, and a space is about a quarter, at least a seventh in tight setting.
pub(super) const WORD_GAP: f64 = 0.1;
/// A glyph that begins this far (of the font size) before the end of the one before starts anew.
const BACK_STEP: f64 = 0.2;
/// Two equal words this close together, of the font size, are one that was printed twice.
const OVERPRINT_ALONG: f64 = 0.1;
const OVERPRINT_ACROSS: f64 = 0.2;

/// Text that leans by more than this (the sine of two degrees) is laid out along its own direction.
const SLANT: f64 = 0.035;
/// The class of text that leans: watermarks, labels of axes.
const SLANTED: u8 = 4;
/// Classes of direction: four quarter turns and all that leans.
pub(super) const TURNS: usize = 5;

/// How a string runs over the page: the same for all its glyphs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    /// Unit vector along the text, on the upright page.
    along: (f64, f64),
    /// Quarter turns counterclockwise of the text's direction, or [`SLANTED`].
    turn: u8,
    /// Font size on the page.
    size: f64,
}

impl Run {
    /// A run along `(dx, dy)`; `None` where the direction or the size is nothing.
    pub(crate) fn new(dx: f64, dy: f64, size: f64) -> Option<Self> {
        let length = dx.hypot(dy);
        if !(length.is_finite() && size.is_finite() && length > 1e-9 && size > 1e-6) {
            return None;
        }
        let along = (dx / length, dy / length);
        let turn = if along.0.abs().min(along.1.abs()) > SLANT {
            SLANTED
        } else if along.0.abs() >= along.1.abs() {
            if along.0 >= 0.0 { 0 } else { 2 }
        } else if along.1 > 0.0 {
            1
        } else {
            3
        };
        Some(Self { along, turn, size })
    }

    /// A point along the direction, and to its left (upwards for upright text).
    fn in_frame(&self, (x, y): (f64, f64)) -> (f64, f64) {
        match self.turn {
            0 => (x, y),
            1 => (y, -x),
            2 => (-x, -y),
            3 => (-y, x),
            _ => (x * self.along.0 + y * self.along.1, y * self.along.0 - x * self.along.1),
        }
    }
}

/// A word in the frame of its direction: `start` and `end` along, `base` upwards.
#[derive(Debug, Clone)]
pub(crate) struct Word {
    pub(super) text: Range<usize>,
    pub(super) start: f64,
    pub(super) end: f64,
    pub(super) base: f64,
    pub(super) size: f64,
    pub(super) chars: u32,
    pub(super) turn: u8,
    /// A space was shown right before.
    pub(super) after_space: bool,
}

/// The words of one page; reused from page to page.
#[derive(Debug, Default)]
pub(crate) struct PageText {
    pub(super) text: String,
    pub(super) words: Vec<Word>,
    open: Option<Open>,
    space: bool,
    width: f64,
    height: f64,
}

/// The word that is growing.
#[derive(Debug)]
struct Open {
    text_start: usize,
    start: (f64, f64),
    end: (f64, f64),
    run: Run,
    chars: u32,
    after_space: bool,
}

impl PageText {
    pub(crate) fn begin(&mut self, width: f64, height: f64) {
        self.text.clear();
        self.words.clear();
        (self.open, self.space) = (None, false);
        (self.width, self.height) = (width, height);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.words.is_empty() && self.open.is_none()
    }

    /// Adds what `push` appends as one glyph from `from` to `to`. Text off the page is left out, as
    /// nobody sees it there.
    pub(crate) fn glyph(
        &mut self,
        run: &Run,
        from: (f64, f64),
        to: (f64, f64),
        push: impl FnOnce(&mut String),
    ) {
        let beyond = |a: f64, b: f64, max: f64| a.max(b) < 0.0 || a.min(b) > max;
        if beyond(from.0, to.0, self.width) || beyond(from.1, to.1, self.height) {
            return;
        }
        let text_start = self.text.len();
        push(&mut self.text);
        let added = &self.text[text_start..];
        if added.is_empty() {
            return;
        }
        if added.chars().all(|character| character.is_whitespace() || character.is_control()) {
            self.text.truncate(text_start);
            self.finish();
            self.space = true;
            return;
        }
        let chars = added.chars().count() as u32;
        match &mut self.open {
            Some(open) if open.continues(run, from) => {
                open.end = to;
                open.chars += chars;
            }
            _ => self.start_word(run, from, to, text_start, chars),
        }
    }

    fn start_word(&mut self, run: &Run, from: (f64, f64), to: (f64, f64), text: usize, chars: u32) {
        self.finish_at(text);
        let after_space = std::mem::take(&mut self.space);
        self.open =
            Some(Open { text_start: text, start: from, end: to, run: *run, chars, after_space });
    }

    /// Ends the word that is growing.
    pub(crate) fn finish(&mut self) {
        self.finish_at(self.text.len());
    }

    fn finish_at(&mut self, text_end: usize) {
        let Some(open) = self.open.take() else { return };
        let (start, base) = open.run.in_frame(open.start);
        let (end, _) = open.run.in_frame(open.end);
        self.words.push(Word {
            text: open.text_start..text_end,
            start: start.min(end),
            end: start.max(end),
            base,
            size: open.run.size,
            chars: open.chars,
            turn: open.run.turn,
            after_space: open.after_space,
        });
    }

    pub(super) fn text_of(&self, word: usize) -> &str {
        &self.text[self.words[word].text.clone()]
    }

    /// Drops words that are printed over themselves to look bold, or as their own shadow.
    pub(super) fn drop_overprints(&mut self) {
        self.finish();
        let mut seen: HashMap<&str, Vec<usize>> = HashMap::with_capacity(self.words.len());
        let mut doubled = vec![false; self.words.len()];
        for (at, word) in self.words.iter().enumerate() {
            let known = seen.entry(&self.text[word.text.clone()]).or_default();
            // An overprint follows soon; looking back over all equal words would be quadratic.
            doubled[at] = known.iter().rev().take(16).any(|&other| {
                let other = &self.words[other];
                other.turn == word.turn
                    && (other.start - word.start).abs() < OVERPRINT_ALONG * word.size
                    && (other.base - word.base).abs() < OVERPRINT_ACROSS * word.size
            });
            if !doubled[at] {
                known.push(at);
            }
        }
        let mut at = 0;
        self.words.retain(|_| {
            at += 1;
            !doubled[at - 1]
        });
    }
}

impl Open {
    fn continues(&self, run: &Run, from: (f64, f64)) -> bool {
        if run.turn != self.run.turn {
            return false;
        }
        let (dx, dy) = (from.0 - self.end.0, from.1 - self.end.1);
        let (ax, ay) = self.run.along;
        let gap = dx * ax + dy * ay;
        let off = (dy * ax - dx * ay).abs();
        let size = self.run.size;
        gap < WORD_GAP * size
            && gap > -BACK_STEP * size
            && off < 0.08 * size
            && (run.size - size).abs() < 0.05 * size
    }
}
