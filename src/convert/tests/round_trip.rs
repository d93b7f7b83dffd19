//! Text to PDF and back is the identity, for every script that a font covers.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::select;
use ttf_parser::{Face, GlyphId};

use super::tiny_font::TinyFont;
use crate::convert::{FontData, Options, Target, convert_with, notice};
use crate::limits::ConvertLimits;

/// Chinese, Japanese, Korean and a plane beyond the first, which the built-in font lacks.
const FALLBACK: [(char, u16); 8] = [
    ('\u{2f08}', 1),
    ('\u{3042}', 2),
    ('\u{4e2d}', 3),
    // The same picture as the radical above: each must read back as itself.
    ('\u{4eba}', 1),
    ('\u{6587}', 4),
    ('\u{d55c}', 5),
    ('\u{ff01}', 6),
    ('\u{20000}', 7),
];

fn and_back(text: &str, fonts: &[FontData<'_>]) -> (Vec<u8>, String) {
    let (options, limits) = (Options::default(), ConvertLimits::default());
    let pdf = convert_with(text.as_bytes(), Target::Pdf, &options, &limits, fonts).unwrap();
    let back = convert_with(&pdf, Target::Text, &options, &limits, &[]).unwrap();
    (pdf, String::from_utf8(back).unwrap().replace('\u{c}', ""))
}

/// Printable characters of the built-in font that run from left to right, by blocks of 128.
fn scripts() -> Vec<Vec<char>> {
    let font = include_bytes!("../../../assets/fonts/DejaVuSans.ttf");
    let face = Face::parse(font, 0).unwrap();
    let is_drawn = |character: char| {
        let glyph = face.glyph_index(character).filter(|glyph| *glyph != GlyphId(0));
        glyph.is_some_and(|glyph| face.glyph_hor_advance(glyph).unwrap_or(0) > 0)
    };
    let turns =
        |character: char| matches!(character, '\u{590}'..='\u{8ff}' | '\u{fb1d}'..='\u{fefe}');
    let mut blocks: BTreeMap<u32, Vec<char>> = BTreeMap::new();
    for character in ('!'..=char::MAX).filter(|c| !c.is_control() && !c.is_whitespace()) {
        // A hyphen at the end of a line is where a word was divided: it is joined again.
        let divides = matches!(character, '-' | '\u{ad}' | '\u{2010}');
        if is_drawn(character) && !turns(character) && !divides {
            blocks.entry(u32::from(character) >> 7).or_default().push(character);
        }
    }
    let blocks: Vec<_> = blocks.into_values().collect();
    assert!(blocks.len() > 40, "Latin, Greek, Cyrillic, Georgian and more");
    blocks
}

/// Words of one script, as lines that need no breaks, with blank lines between some.
fn prose(characters: Vec<char>) -> impl Strategy<Value = String> {
    let word = prop::collection::vec(select(characters), 1..7).prop_map(String::from_iter);
    let line = prop::collection::vec(word, 1..5).prop_map(|words| words.join(" "));
    let lines = prop::collection::vec((line, any::<bool>()), 1..8);
    lines.prop_map(|lines| {
        let mut text = String::new();
        for (line, is_followed_by_blank) in &lines {
            text += line;
            text += if *is_followed_by_blank { "\n\n" } else { "\n" };
        }
        // Blank lines at the end are not seen.
        text.trim_end().to_owned() + "\n"
    })
}

#[test]
fn every_script_of_the_built_in_font_comes_back() {
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(12)
    });
    for script in scripts() {
        runner
            .run(&prose(script), |text| {
                let (pdf, back) = and_back(&text, &[]);
                prop_assert_eq!(notice(&pdf, Target::Pdf), None);
                prop_assert_eq!(back, text);
                Ok(())
            })
            .unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn every_script_of_a_further_font_comes_back(
        text in prose(FALLBACK.iter().map(|(character, _)| *character).chain("aЖω".chars()).collect()),
        is_cff: bool,
    ) {
        let font = TinyFont { is_cff, characters: &FALLBACK, fs_type: Some(0) }.bytes();
        let (pdf, back) = and_back(&text, &[FontData { bytes: &font, index: 0 }]);
        prop_assert_eq!(notice(&pdf, Target::Pdf), None);
        prop_assert_eq!(back, text);
    }
}

#[test]
fn words_that_run_from_right_to_left_come_back() {
    for text in ["שלום עולם\n", "مرحبا بالعالم\n", "אבגד abc def הוזח\n", "ab אבג דהו cdef gh\n"]
    {
        assert_eq!(and_back(text, &[]).1, text);
    }
}

#[test]
fn the_first_font_that_has_a_character_is_taken() {
    let [first, second] = [&FALLBACK[..3], &FALLBACK[2..]]
        .map(|characters| TinyFont { is_cff: false, characters, fs_type: None }.collection());
    let fonts = [FontData { bytes: &first, index: 1 }, FontData { bytes: &second, index: 0 }];
    let text: String = FALLBACK.iter().map(|(character, _)| *character).collect::<String>() + "\n";
    let (pdf, back) = and_back(&text, &fonts);
    assert_eq!((notice(&pdf, Target::Pdf), back), (None, text));
}

#[test]
fn characters_that_no_font_has_come_back_and_are_told() {
    let (pdf, back) = and_back("Ж 中文\n", &[]);
    assert_eq!(back, "Ж 中文\n");
    let told = "2 characters have no glyph in any font of the converter, and are drawn as an empty box: \
                U+4E2D U+6587";
    assert_eq!(notice(&pdf, Target::Pdf), Some(told));
    let many: String = ('\u{4e00}'..='\u{4eff}').collect();
    let (pdf, _) = and_back(&many, &[]);
    let told = notice(&pdf, Target::Pdf).unwrap();
    assert!(told.starts_with("256 characters") && told.ends_with("U+4E07 and 248 more"), "{told}");
    let (pdf, _) = and_back("plain (text)\n", &[]);
    assert_eq!(notice(&pdf, Target::Pdf), None);
}

#[test]
fn a_font_whose_licence_forbids_it_is_refused() {
    let check = |fs_type| {
        let font = TinyFont { is_cff: false, characters: &FALLBACK, fs_type }.bytes();
        FontData { bytes: &font, index: 0 }.check().map_err(|error| error.message)
    };
    // No table, installable, print and preview, editable.
    for allowed in [None, Some(0), Some(4), Some(8)] {
        assert_eq!(check(allowed), Ok(()));
    }
    for forbidden in [2, 0x100, 0x200] {
        let message = check(Some(forbidden)).unwrap_err();
        assert!(message.contains("licence"), "{message}");
    }
}
