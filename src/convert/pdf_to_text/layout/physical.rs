//! Text as it lies on the page: positions become columns of characters.

use super::lines::{Piece, put_in_order};
use super::words::PageText;

/// More columns than this would be blank paper: a page of 8 pt text has about 200.
const COLUMNS_MAX: usize = 1000;
const BLANK_LINES_MAX: usize = 3;

pub(super) fn write(page: &PageText, mut pieces: Vec<Piece>, out: &mut String) {
    pieces.sort_by(|a, b| b.base.total_cmp(&a.base));
    let left = pieces.iter().fold(f64::INFINITY, |left, piece| left.min(piece.start));
    let column_width = typical_width(page, &pieces);
    let mut from = 0;
    let mut above: Option<f64> = None;
    let mut text = String::new();
    while from < pieces.len() {
        let (base, size) = (pieces[from].base, pieces[from].size);
        let row = pieces[from..].iter().take_while(|piece| piece.in_row(base, size)).count();
        let row = &mut pieces[from..from + row.max(1)];
        from += row.len();
        row.sort_by(|a, b| a.start.total_cmp(&b.start));
        if let Some(last) = above {
            let lines = ((last - base) / (1.4 * size)).round() as usize;
            (1..lines.min(BLANK_LINES_MAX + 1)).for_each(|_| out.push('\n'));
        }
        above = Some(base);
        write_row(page, row, left, column_width, &mut text, out);
    }
}

fn write_row(
    page: &PageText,
    row: &[Piece],
    left: f64,
    column_width: f64,
    text: &mut String,
    out: &mut String,
) {
    let mut column = 0;
    for (at, piece) in row.iter().enumerate() {
        let target = ((piece.start - left) / column_width).round().max(0.0) as usize;
        // Pieces are kept apart by two spaces at least, so that columns can be told.
        let least = if at > 0 { column + 2 } else { 0 };
        let target = target.min(COLUMNS_MAX).max(least);
        (column..target).for_each(|_| out.push(' '));
        text.clear();
        piece.write(page, text);
        put_in_order(text, 0);
        out.push_str(text);
        column = target + text.chars().count();
    }
    out.push('\n');
}

/// The median width of a character, so that most text lies where it lay.
fn typical_width(page: &PageText, pieces: &[Piece]) -> f64 {
    let words = pieces.iter().flat_map(|piece| &piece.words).map(|&at| &page.words[at]);
    let mut widths: Vec<f64> = words
        .map(|word| (word.end - word.start) / f64::from(word.chars.max(1)))
        .filter(|&width| width > 0.1)
        .collect();
    if widths.is_empty() {
        return 6.0;
    }
    let middle = widths.len() / 2;
    *widths.select_nth_unstable_by(middle, f64::total_cmp).1
}
