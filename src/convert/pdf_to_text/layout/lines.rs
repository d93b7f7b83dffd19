//! Pieces of lines: words that follow one another on a baseline without a wide gap.

use super::words::{PageText, WORD_GAP, Word};
use crate::convert::bidi;

/// A wider gap, of the font size, parts two pieces: it may be the space between columns.
const PIECE_GAP: f64 = 1.5;
/// Baselines closer than this share of the font size are one line: superscripts stay in theirs.
const SAME_LINE: f64 = 0.5;
/// A word may begin this far, in font sizes, before the end of the one before it: the raised A of LaTeX's
/// logo lies above the arm of its L.
const OVERLAP_MAX: f64 = 0.5;
/// Letters set apart for emphasis: a gap above this multiple of the least one parts words.
const SPACED_LETTERS: f64 = 1.3;
/// Letters further apart than this, in font sizes, stand alone.
const SPACED_MAX: f64 = 0.4;

/// A piece of a line, its words from left to right.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    pub(super) words: Vec<usize>,
    pub(super) start: f64,
    pub(super) end: f64,
    pub(super) base: f64,
    pub(super) size: f64,
}

impl Piece {
    fn new(at: usize, word: &Word) -> Self {
        Self { words: vec![at], start: word.start, end: word.end, base: word.base, size: word.size }
    }

    pub(super) fn top(&self) -> f64 {
        self.base + 0.75 * self.size
    }

    pub(super) fn bottom(&self) -> f64 {
        self.base - 0.25 * self.size
    }

    /// Whether text of that size on that baseline can go on in this line: superscripts can.
    fn takes(&self, base: f64, size: f64) -> bool {
        (self.base - base).abs() < SAME_LINE * self.size.max(size)
    }

    /// Whether both are in one row, however far apart: here large text swallows no small lines.
    pub(super) fn in_row(&self, base: f64, size: f64) -> bool {
        (self.base - base).abs() < SAME_LINE * self.size.min(size)
    }

    fn add(&mut self, at: usize, word: &Word) {
        self.words.push(at);
        self.extend(word.start, word.end, word.base, word.size);
    }

    /// The largest text of a line sets its baseline.
    fn extend(&mut self, start: f64, end: f64, base: f64, size: f64) {
        self.start = self.start.min(start);
        self.end = self.end.max(end);
        if size > self.size * 1.01 {
            (self.base, self.size) = (base, size);
        }
    }

    /// Appends the text of the piece from left to right.
    pub(super) fn write(&self, page: &PageText, out: &mut String) {
        let threshold = self.threshold(page);
        let mut last: Option<&Word> = None;
        for &at in &self.words {
            let word = &page.words[at];
            if let Some(last) = last {
                let gap = word.start - last.end;
                let size = last.size.max(word.size);
                if gap >= threshold * size || (word.after_space && gap > -0.3 * size) {
                    out.push(' ');
                }
            }
            out.push_str(page.text_of(at));
            last = Some(word);
        }
    }

    /// The gap, of the font size, that is a space here.
    fn threshold(&self, page: &PageText) -> f64 {
        if self.words.len() < 3 || self.words.iter().any(|&at| page.words[at].chars > 1) {
            return WORD_GAP;
        }
        let pairs = self.words.windows(2).map(|pair| (&page.words[pair[0]], &page.words[pair[1]]));
        let gaps = pairs
            .filter(|(_, right)| !right.after_space)
            .map(|(left, right)| (right.start - left.end) / left.size.max(right.size));
        let least = gaps.fold(f64::INFINITY, f64::min);
        if least <= 0.0 { WORD_GAP } else { (least * SPACED_LETTERS).clamp(WORD_GAP, SPACED_MAX) }
    }
}

/// Pieces of the words `indices`, which share a direction.
pub(super) fn build(page: &PageText, indices: &[usize]) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut last_end = 0.0;
    for &at in indices {
        let word = &page.words[at];
        match pieces.last_mut() {
            Some(piece) if follows(piece, last_end, word) => piece.add(at, word),
            _ => pieces.push(Piece::new(at, word)),
        }
        last_end = word.end;
    }
    join(page, pieces)
}

fn follows(piece: &Piece, last_end: f64, word: &Word) -> bool {
    let size = piece.size.max(word.size);
    let gap = word.start - last_end;
    piece.takes(word.base, word.size) && gap < PIECE_GAP * size && gap > -OVERLAP_MAX * size
}

/// Joins pieces that lie side by side but were not shown one after the other.
fn join(page: &PageText, mut pieces: Vec<Piece>) -> Vec<Piece> {
    pieces.sort_by(|a, b| b.base.total_cmp(&a.base));
    let mut joined: Vec<Piece> = Vec::with_capacity(pieces.len());
    let mut from = 0;
    while from < pieces.len() {
        let (base, size) = (pieces[from].base, pieces[from].size);
        let row = pieces[from..].iter().take_while(|piece| piece.in_row(base, size)).count();
        let row = &mut pieces[from..from + row.max(1)];
        from += row.len();
        row.sort_by(|a, b| a.start.total_cmp(&b.start));
        for piece in row.iter_mut() {
            let piece = std::mem::replace(piece, Piece { words: Vec::new(), ..piece.clone() });
            match joined.last_mut() {
                Some(last) if adjoins(last, &piece) => {
                    last.extend(piece.start, piece.end, piece.base, piece.size);
                    last.words.extend(piece.words);
                }
                _ => joined.push(piece),
            }
        }
    }
    for piece in &mut joined {
        piece.words.sort_by(|&a, &b| page.words[a].start.total_cmp(&page.words[b].start));
    }
    joined
}

fn adjoins(left: &Piece, right: &Piece) -> bool {
    let gap = right.start - left.end;
    let size = left.size.max(right.size);
    left.takes(right.base, right.size) && gap > -OVERLAP_MAX * size && gap < size
}

/// Turns what `out` has from `begin` on, as it stands on a page, into the order in which it is read.
pub(super) fn put_in_order(out: &mut String, begin: usize) {
    let line = &out[begin..];
    if !line.is_ascii() && line.chars().any(bidi::turns) {
        let line = bidi::read_order(line);
        out.truncate(begin);
        out.push_str(&line);
    }
}
