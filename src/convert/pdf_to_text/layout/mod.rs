//! From glyphs with positions to text in order.
//!
//! Glyphs become words while a page is read ([`words`]); words become pieces of lines ([`lines`]);
//! pieces are put in order as a person reads ([`reading`]) or as they lie ([`physical`]).

mod lines;
mod physical;
mod reading;
mod words;

pub(super) use words::{PageText, Run};

use crate::convert::TextLayout;

/// Appends the text of a page to `out`: lines end with a newline.
pub(super) fn write(page: &mut PageText, layout: TextLayout, out: &mut String) {
    page.drop_overprints();
    let mut by_turn: [Vec<usize>; words::TURNS] = Default::default();
    for (at, word) in page.words.iter().enumerate() {
        by_turn[usize::from(word.turn)].push(at);
    }
    // The direction that most words have comes first: the page was made to be read that way.
    by_turn.sort_by_key(|words| std::cmp::Reverse(words.len()));
    for indices in by_turn.into_iter().filter(|indices| !indices.is_empty()) {
        let lines = lines::build(page, &indices);
        match layout {
            TextLayout::Reading => reading::write(page, lines, out),
            TextLayout::Physical => physical::write(page, lines, out),
        }
    }
}
