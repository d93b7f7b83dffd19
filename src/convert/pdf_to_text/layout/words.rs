//! Words, made from glyphs in the order in which the page shows them.

use std::ops::Range;

use xxhash_rust::xxh3::xxh3_64;

/// A gap above this share of the font size parts two words. Kerning moves glyphs by less than a
/// twentieth, and a space is about a quarter, at least a seventh in tight setting. A little less than a
/// tenth, which files ask for and rounding would decide.
pub(super) const WORD_GAP: f64 = 0.0999;
/// A glyph that begins this far (of the font size) before the end of the one before starts anew.
const BACK_STEP: f64 = 0.2;
/// Two equal words this close together, of the font size, are one that was printed twice.
const OVERPRINT_ALONG: f64 = 0.1;
const OVERPRINT_ACROSS: f64 = 0.2;
/// Words of one hash that are looked at, from the last one back.
const OVERPRINT_LOOKS: usize = 16;

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

    /// How far `step` goes along the direction.
    pub(crate) fn along(&self, step: (f64, f64)) -> f64 {
        step.0 * self.along.0 + step.1 * self.along.1
    }

    /// Whether a gap along the direction parts no words.
    pub(crate) fn is_tight(&self, gap: f64) -> bool {
        gap < WORD_GAP * self.size && gap > -BACK_STEP * self.size
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
    last_of: Vec<u32>,
    before: Vec<u32>,
    doubled: Vec<bool>,
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

    /// Adds what `push` appends as one glyph from `from` to `to`; whether it is part of a word. Text off the
    /// page is left out, as nobody sees it there. `joined` says that it follows the one before within a word.
    pub(crate) fn glyph(
        &mut self,
        run: &Run,
        from: (f64, f64),
        to: (f64, f64),
        joined: bool,
        push: impl FnOnce(&mut String),
    ) -> bool {
        if !self.shows(from, to) {
            return false;
        }
        let text_start = self.text.len();
        push(&mut self.text);
        let chars = match &self.text.as_bytes()[text_start..] {
            [] => return false,
            [b'!'..=b'~'] => 1,
            _ => {
                let (before, added) = self.text.split_at(text_start);
                if added.chars().all(is_zero_width) && !before.ends_with(joins) {
                    self.text.truncate(text_start);
                    return false;
                }
                if added.chars().all(|one| one.is_whitespace() || one.is_control()) {
                    self.text.truncate(text_start);
                    self.finish();
                    self.space = true;
                    return false;
                }
                added.chars().count() as u32
            }
        };
        match &mut self.open {
            Some(open) if joined || open.continues(run, from) => {
                open.end = to;
                open.chars += chars;
            }
            _ => self.start_word(run, from, to, text_start, chars),
        }
        true
    }

    /// Whether something from `from` to `to` lies on the page in part.
    fn shows(&self, from: (f64, f64), to: (f64, f64)) -> bool {
        let (wide, high) = (self.width, self.height);
        if 0.0 <= from.0 && from.0 <= wide && 0.0 <= from.1 && from.1 <= high {
            return true;
        }
        let beyond = |a: f64, b: f64, max: f64| a.max(b) < 0.0 || a.min(b) > max;
        !beyond(from.0, to.0, wide) && !beyond(from.1, to.1, high)
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
        let words = &self.words;
        let doubled = &mut self.doubled;
        doubled.clear();
        // By a hash of their text: the last word, and for each the one before it, both plus one.
        let buckets = (2 * words.len()).next_power_of_two();
        self.last_of.clear();
        self.last_of.resize(buckets, 0);
        self.before.clear();
        for (at, word) in words.iter().enumerate() {
            let text = &self.text[word.text.clone()];
            let last = &mut self.last_of[xxh3_64(text.as_bytes()) as usize & (buckets - 1)];
            // An overprint follows soon; looking back over all equal words would be quadratic.
            let mut earlier = *last as usize;
            let mut is_doubled = false;
            for _ in 0..OVERPRINT_LOOKS {
                let Some(other) = earlier.checked_sub(1) else { break };
                earlier = self.before[other] as usize;
                is_doubled |=
                    word.overprints(&words[other]) && self.text[words[other].text.clone()] == *text;
            }
            self.before.push(*last);
            if !is_doubled {
                *last = at as u32 + 1;
            }
            doubled.push(is_doubled);
        }
        let mut doubled = doubled.iter();
        self.words.retain(|_| doubled.next() != Some(&true));
    }
}

impl Word {
    fn overprints(&self, other: &Self) -> bool {
        other.turn == self.turn
            && (other.start - self.start).abs() < OVERPRINT_ALONG * self.size
            && (other.base - self.base).abs() < OVERPRINT_ACROSS * self.size
    }
}

/// Characters without a width of their own that may part or join letters.
fn is_zero_width(character: char) -> bool {
    matches!(character, '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}')
}

/// Whether such a character may mean something behind this one: in scripts whose letters join.
fn joins(character: char) -> bool {
    matches!(character, '\u{590}'..='\u{109f}' | '\u{1780}'..='\u{18af}' | '\u{fb1d}'..='\u{fefc}')
}

impl Open {
    fn continues(&self, run: &Run, from: (f64, f64)) -> bool {
        if run.turn != self.run.turn {
            return false;
        }
        let (dx, dy) = (from.0 - self.end.0, from.1 - self.end.1);
        let (ax, ay) = self.run.along;
        let off = (dy * ax - dx * ay).abs();
        let size = self.run.size;
        self.run.is_tight(self.run.along((dx, dy)))
            && off < 0.08 * size
            && (run.size - size).abs() < 0.05 * size
    }
}
