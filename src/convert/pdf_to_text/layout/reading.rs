//! Reading order: the page is cut along its white space, columns before rows.

use super::lines::{Piece, put_in_order};
use super::words::PageText;

/// White space between columns is at least this wide, in font sizes.
const GUTTER: f64 = 0.9;
/// Cuts within cuts. Real pages need fewer than ten; a page of dots must not go on for ever.
const DEPTH_MAX: u32 = 24;
/// Baselines further apart than this, in font sizes, part two paragraphs.
const PARAGRAPH: f64 = 1.7;

pub(super) fn write(page: &PageText, mut pieces: Vec<Piece>, out: &mut String) {
    Writer { page, above: None, out }.cut(&mut pieces, DEPTH_MAX);
}

struct Writer<'p, 'o> {
    page: &'p PageText,
    /// Baseline and size of the line that was written last.
    above: Option<(f64, f64)>,
    out: &'o mut String,
}

impl Writer<'_, '_> {
    fn cut(&mut self, pieces: &mut [Piece], depth: u32) {
        if pieces.len() > 1 && depth > 0 {
            let columns = gutters(pieces);
            if !columns.is_empty() {
                return self.parts(pieces, &columns, depth);
            }
            let rows = widest_rows(pieces);
            if !rows.is_empty() {
                return self.parts(pieces, &rows, depth);
            }
        }
        self.lines(pieces);
    }

    fn parts(&mut self, pieces: &mut [Piece], cuts: &[usize], depth: u32) {
        let mut rest = pieces;
        let mut from = 0;
        for &at in cuts {
            let (part, tail) = rest.split_at_mut(at - from);
            self.cut(part, depth - 1);
            (rest, from) = (tail, at);
        }
        self.cut(rest, depth - 1);
    }

    /// Writes pieces that are no columns: one line for each baseline.
    fn lines(&mut self, pieces: &mut [Piece]) {
        pieces.sort_by(|a, b| b.base.total_cmp(&a.base));
        let mut from = 0;
        while from < pieces.len() {
            let (base, size) = (pieces[from].base, pieces[from].size);
            let row = pieces[from..].iter().take_while(|piece| piece.in_row(base, size)).count();
            let row = &mut pieces[from..from + row.max(1)];
            from += row.len();
            row.sort_by(|a, b| a.start.total_cmp(&b.start));
            // A line that lies higher than the last one begins another column.
            let parted = self.above.is_some_and(|(last, last_size)| {
                last - base > PARAGRAPH * size.max(last_size) || base > last
            });
            if parted {
                self.out.push('\n');
            }
            self.above = Some((base, size));
            let line_start = self.out.len();
            for (at, piece) in row.iter().enumerate() {
                if at > 0 {
                    self.out.push(' ');
                }
                piece.write(self.page, self.out);
            }
            put_in_order(self.out, line_start);
            if !parted && let Some(end) = before_hyphen(self.out, line_start) {
                self.out.replace_range(end..line_start, "");
            }
            self.out.push('\n');
        }
    }
}

/// Where a word ends that a hyphen divides between the line before `line_start` and the one from it.
///
/// A small letter on both sides is what tells it from a dash or a number. It may be a word that always
/// has a hyphen ("well-known"): which one cannot be told without a dictionary, and divided words are
/// far more frequent.
fn before_hyphen(text: &str, line_start: usize) -> Option<usize> {
    let above = text.get(..line_start)?.strip_suffix('\n')?;
    let above = above.strip_suffix(['-', '\u{ad}', '\u{2010}'])?;
    let mut letters = above.chars().rev();
    let divided = letters.next()?.is_lowercase()
        && letters.next()?.is_alphabetic()
        && text.get(line_start..)?.starts_with(char::is_lowercase);
    divided.then_some(above.len())
}

/// Sorts by `start` and says before which pieces a column begins.
fn gutters(pieces: &mut [Piece]) -> Vec<usize> {
    pieces.sort_by(|a, b| a.start.total_cmp(&b.start));
    let size = typical_size(pieces);
    let mut right: Vec<Extent> = vec![Extent::NONE; pieces.len() + 1];
    for (at, piece) in pieces.iter().enumerate().rev() {
        right[at] = right[at + 1].with(piece);
    }
    let (mut cuts, mut reach, mut left) = (Vec::new(), f64::NEG_INFINITY, Extent::NONE);
    for (at, piece) in pieces.iter().enumerate() {
        if at > 0 && piece.start - reach > GUTTER * size && left.beside(&right[at], size) {
            cuts.push(at);
            left = Extent::NONE;
        }
        reach = reach.max(piece.end);
        left = left.with(piece);
    }
    cuts
}

/// What a group of pieces covers from top to bottom.
#[derive(Clone, Copy)]
struct Extent {
    top: f64,
    bottom: f64,
}

impl Extent {
    const NONE: Self = Self { top: f64::NEG_INFINITY, bottom: f64::INFINITY };

    fn with(self, piece: &Piece) -> Self {
        Self { top: self.top.max(piece.top()), bottom: self.bottom.min(piece.bottom()) }
    }

    /// Both have several lines, and share more than one line's height: columns, not the ends of one
    /// line.
    fn beside(&self, other: &Self, size: f64) -> bool {
        let shared = self.top.min(other.top) - self.bottom.max(other.bottom);
        let least = (self.top - self.bottom).min(other.top - other.bottom);
        least > 1.9 * size && shared > 1.2 * size
    }
}

/// Sorts from top to bottom and says before which pieces the widest white rows end.
fn widest_rows(pieces: &mut [Piece]) -> Vec<usize> {
    pieces.sort_by(|a, b| b.top().total_cmp(&a.top()));
    let mut gaps: Vec<(usize, f64)> = Vec::new();
    let mut reach = f64::INFINITY;
    for (at, piece) in pieces.iter().enumerate() {
        if at > 0 && reach - piece.top() > 0.0 {
            gaps.push((at, reach - piece.top()));
        }
        reach = reach.min(piece.bottom());
    }
    let widest = gaps.iter().fold(0.0_f64, |widest, &(_, gap)| widest.max(gap));
    gaps.retain(|&(_, gap)| gap >= 0.7 * widest);
    gaps.into_iter().map(|(at, _)| at).collect()
}

fn typical_size(pieces: &[Piece]) -> f64 {
    let mut sizes: Vec<f64> = pieces.iter().map(|piece| piece.size).collect();
    let middle = sizes.len() / 2;
    *sizes.select_nth_unstable_by(middle, f64::total_cmp).1
}

#[cfg(test)]
mod tests {
    use super::before_hyphen;

    #[test]
    fn only_divided_words_are_joined() {
        let end = |above: &str, below: &str| before_hyphen(&format!("{above}{below}"), above.len());
        assert_eq!(end("a di-\n", "vided word"), Some(4));
        assert_eq!(end("\u{e9}t\u{e9}\u{2010}\n", "rn"), Some(5));
        for (above, below) in [
            ("a dash -\n", "here"),
            ("pages 3-\n", "4"),
            ("vitamin C-\n", "rich"),
            ("Saint-\n", "Denis"),
            ("x-\n", "axis"),
            ("whole\n", "word"),
            ("", "first"),
        ] {
            assert_eq!(end(above, below), None, "{above}{below}");
        }
    }
}
