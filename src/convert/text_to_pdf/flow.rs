//! Joining wrapped lines into paragraphs.

use unicode_linebreak::{BreakClass, break_property};

use super::lines::{End, Lines};
use crate::convert::Error;

const BLANKS: [char; 2] = [' ', '\t'];

/// What comes next in a text that flows.
pub(super) enum Step<'a> {
    Paragraph(&'a str),
    PageBreak,
}

/// Calls `take` with every paragraph and page break of `text`, in order.
///
/// Blanks at both ends of a line are dropped. A blank line, a form feed and the end of the text end
/// a paragraph. Lines are joined by a space, and without one between ideographs or kana.
pub(super) fn paragraphs(
    text: &str,
    mut take: impl FnMut(Step<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut paragraph = String::new();
    for (line, end) in Lines::new(text) {
        let line = line.trim_matches(BLANKS);
        if !line.is_empty() {
            join(&mut paragraph, line);
        }
        if (line.is_empty() || end != End::Line) && !paragraph.is_empty() {
            take(Step::Paragraph(&paragraph))?;
            paragraph.clear();
        }
        if end == End::Page {
            take(Step::PageBreak)?;
        }
    }
    Ok(())
}

fn join(paragraph: &mut String, line: &str) {
    let (last, first) = (paragraph.chars().next_back(), line.chars().next());
    if let (Some(last), Some(first)) = (last, first)
        && !(is_unspaced(last) && is_unspaced(first))
    {
        paragraph.push(' ');
    }
    paragraph.push_str(line);
}

/// Whether a script is written without spaces around this character. By the classes of UAX 14, of
/// which `Ideographic` also holds emoji: those below U+3000 and above U+1F000 are spaced.
fn is_unspaced(character: char) -> bool {
    let class = break_property(character.into());
    matches!(character, '\u{3000}'..='\u{a4cf}' | '\u{f900}'..='\u{ffef}' | '\u{20000}'..)
        && matches!(
            class,
            BreakClass::Ideographic
                | BreakClass::ConditionalJapaneseStarter
                | BreakClass::NonStarter
                | BreakClass::ClosePunctuation
                | BreakClass::OpenPunctuation
                | BreakClass::Exclamation
        )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn joined(text: &str) -> Vec<String> {
        let mut steps = Vec::new();
        paragraphs(text, |step| {
            steps.push(match step {
                Step::Paragraph(paragraph) => paragraph.to_owned(),
                Step::PageBreak => "<page>".to_owned(),
            });
            Ok(())
        })
        .unwrap();
        steps
    }

    #[test]
    fn blank_lines_and_form_feeds_end_paragraphs() {
        assert_eq!(joined("a\n  b \n\n \n\nc\n"), ["a b", "c"]);
        assert_eq!(joined("a\nb\x0cc"), ["a b", "<page>", "c"]);
        assert_eq!(joined("a\n\x0c"), ["a", "<page>"]);
        assert!(joined("\n \n").is_empty());
    }

    #[test]
    fn ideographs_are_joined_without_a_space() {
        assert_eq!(joined("漢字\nかな\nlatin\n漢"), ["漢字かな latin 漢"]);
        assert_eq!(joined("😀\n😀"), ["😀 😀"]);
    }
}
