//! Prose and numbers.

use std::fmt::Write as _;

use crate::rng::Rng;

/// A vocabulary with letters beyond ASCII, as real texts have. The first words are drawn the most.
const WORDS: [&str; 64] = [
    "the",
    "of",
    "and",
    "to",
    "in",
    "a",
    "is",
    "that",
    "for",
    "it",
    "was",
    "on",
    "with",
    "as",
    "be",
    "at",
    "by",
    "file",
    "server",
    "from",
    "this",
    "which",
    "or",
    "an",
    "were",
    "are",
    "not",
    "their",
    "page",
    "letter",
    "measure",
    "record",
    "window",
    "answer",
    "request",
    "connection",
    "between",
    "während",
    "Größe",
    "Straße",
    "café",
    "naïve",
    "château",
    "über",
    "mañana",
    "данные",
    "сервер",
    "measured",
    "throughput",
    "percentile",
    "afterwards",
    "conversion",
    "certificate",
    "distribution",
    "handshake",
    "backpressure",
    "admission",
    "calibration",
    "eventually",
    "documentation",
    "reproducible",
    "interleaved",
    "coordinated",
    "omission",
];

const LINE_CHARS: usize = 78;
const PARAGRAPH_LINES: usize = 7;

/// Paragraphs of `bytes` in all.
pub(super) fn prose(seed: u64, bytes: usize) -> Vec<u8> {
    let (mut rng, mut text) = (Rng::new(seed), String::with_capacity(bytes + 64));
    let (mut line_chars, mut lines) = (0, 0);
    while text.len() < bytes {
        // The square of a uniform number prefers small ones, about as Zipf's law does.
        let word = WORDS[rng.below(rng.clone().below(WORDS.len()) + 1)];
        let chars = word.chars().count();
        if line_chars + chars + 1 > LINE_CHARS {
            lines += 1;
            text.push_str(if lines % PARAGRAPH_LINES == 0 { ".\n\n" } else { "\n" });
            line_chars = 0;
        } else if line_chars > 0 {
            text.push(' ');
            line_chars += 1;
        }
        text.push_str(word);
        line_chars += chars;
    }
    cut(text, bytes)
}

/// Decimal numbers, one a line, of `bytes` in all.
pub(super) fn numbers(seed: u64, bytes: usize) -> Vec<u8> {
    let (mut rng, mut text) = (Rng::new(seed), String::with_capacity(bytes + 64));
    while text.len() < bytes {
        let value = (rng.unit() - 0.5) * 2e6;
        // Writing to a string does not fail.
        let _ = writeln!(text, "{value:.3}");
    }
    cut(text, bytes)
}

/// Exactly `bytes`, without half a character or half a line's meaning at the end.
fn cut(mut text: String, bytes: usize) -> Vec<u8> {
    let mut end = bytes.saturating_sub(1).min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    let mut text = text.into_bytes();
    text.resize(bytes, b'\n');
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn texts_have_their_size_and_are_text() {
        for bytes in [1, 2, 77, 10_000] {
            let prose = prose(1, bytes);
            assert_eq!(prose.len(), bytes);
            assert!(std::str::from_utf8(&prose).is_ok());
        }
        let prose = String::from_utf8(prose(1, 10_000)).unwrap();
        assert!(prose.lines().all(|line| line.chars().count() <= LINE_CHARS + 1));
        assert!(prose.contains("\n\n") && prose.contains("ß"));
    }

    #[test]
    fn every_line_of_numbers_is_one() {
        let text = String::from_utf8(numbers(1, 5_000)).unwrap();
        assert_eq!(text.len(), 5_000);
        let whole = text.lines().filter(|line| !line.is_empty() && *line != "-");
        assert!(whole.clone().count() > 400);
        assert!(whole.clone().all(|line| line.parse::<f64>().is_ok()));
    }
}
