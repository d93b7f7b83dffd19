//! Order of characters on a line that runs from right to left in whole or in part: of a text on its way to the page, and
//! of what is read off one.
//!
//! The base direction of a line of the text is that of its first strong character. After wrapping,
//! every line on the page goes through the Unicode Bidirectional Algorithm (UAX 9, by
//! `unicode-bidi`) with that base, and its characters are written in visual order, as PDF has it
//! and as extractors expect. So a combining mark comes before its base, which is where the marks of
//! Hebrew and Arabic are drawn right. Brackets are mirrored (rule L4), as far as [`mirrored`] knows
//! them. There is no shaping: Arabic letters stand alone.

use std::ops::Range;

use unicode_bidi::{Direction, Level, ParagraphBidiInfo, get_base_direction};

/// A part of a line that runs in one direction, in bytes of the line.
pub(in crate::convert) struct Run {
    pub(in crate::convert) range: Range<usize>,
    pub(in crate::convert) rtl: bool,
}

/// Whether a text with this character needs the algorithm: the blocks of right-to-left scripts, and
/// the marks, embeddings, overrides and isolates that turn the direction.
pub(in crate::convert) fn turns(character: char) -> bool {
    matches!(character,
        '\u{590}'..='\u{8ff}'
        | '\u{200f}' | '\u{202b}' | '\u{202e}' | '\u{2067}'
        | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{fefe}'
        | '\u{10800}'..='\u{10fff}' | '\u{1e800}'..='\u{1efff}')
}

/// The mirror image of a bracket: the pairs that people type, from `BidiMirroring.txt` of Unicode.
pub(in crate::convert) fn mirrored(character: char) -> Option<char> {
    const PAIRS: [(char, char); 6] =
        [('(', ')'), ('[', ']'), ('{', '}'), ('<', '>'), ('«', '»'), ('‹', '›')];
    PAIRS.iter().find_map(|&(left, right)| match character {
        _ if character == left => Some(right),
        _ if character == right => Some(left),
        _ => None,
    })
}

/// Whether a line of the text has right to left as its base direction.
pub(in crate::convert) fn base_is_rtl(line: &str) -> bool {
    get_base_direction(line) == Direction::Rtl
}

/// Turns what stands on a page from left to right into the order in which it is read. The algorithm
/// undoes itself but for what it cannot know: which way a line ran that is of both kinds. Here most of its
/// letters say so. Brackets are expected as what they mean, not as what is drawn, which is up to the file.
pub(in crate::convert) fn read_order(line: &str) -> String {
    let mut letters = [0_usize; 2];
    for letter in line.chars().filter(|letter| letter.is_alphabetic()) {
        letters[usize::from(turns(letter))] += 1;
    }
    let mut out = String::with_capacity(line.len());
    for run in visual_runs(line, letters[1] > letters[0]) {
        let text = &line[run.range];
        if run.rtl {
            out.extend(text.chars().rev());
        } else {
            out.push_str(text);
        }
    }
    out
}

/// The runs of a line on the page, from left to right.
pub(in crate::convert) fn visual_runs(line: &str, base_rtl: bool) -> Vec<Run> {
    let base = if base_rtl { Level::rtl() } else { Level::ltr() };
    let info = ParagraphBidiInfo::new(line, Some(base));
    let (levels, runs) = info.visual_runs(0..line.len());
    runs.into_iter().map(|range| Run { rtl: levels[range.start].is_rtl(), range }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_direction() {
        let line = "אב 12 ab";
        let runs: Vec<_> = visual_runs(line, base_is_rtl(line))
            .into_iter()
            .map(|r| (&line[r.range], r.rtl))
            .collect();
        assert_eq!(runs, [("ab", false), (" ", true), ("12", false), ("אב ", true)]);
    }

    #[test]
    fn what_stands_on_a_page_is_read_as_it_was_written() {
        for (page, text) in [
            ("12 דג )בא(", "(אב) גד 12"),
            ("ab (בא) 34", "ab (אב) 34"),
            ("2024 :בא", "אב: 2024"),
            ("١٤٣٤ לירפא", "אפריל ١٤٣٤"),
            ("plain", "plain"),
        ] {
            assert_eq!(read_order(page), text, "{page}");
        }
    }

    #[test]
    fn the_first_strong_character_is_the_base() {
        assert!(base_is_rtl("12 אב ab"));
        assert!(!base_is_rtl("12 ab אב"));
        assert!(!base_is_rtl("12"));
    }
}
