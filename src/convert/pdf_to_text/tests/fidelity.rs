//! What other readers read of files that say little of their text.

use super::*;

#[test]
fn glyphs_whose_names_say_nothing_are_their_numbers_or_their_codes() {
    let encoding = "/Encoding<</Differences[65/a233/.notdef/squiggle 97/a177]>>";
    let type1 = format!("<</Type/Font/Subtype/Type1/BaseFont/X{encoding}>>");
    let shown = b"BT /F1 9 Tf 9 9 Td (ABCaz) Tj ET";
    assert_eq!(text(&page_with(shown, &type1, "", "", &[])), "é C±z\n\u{c}");
    // A bitmap font as old TeX files have: a box of 70 units, and a matrix that leaves them as they are.
    let type3 = "<</Type/Font/Subtype/Type3/FontBBox[0 -14 64 58]/FontMatrix[1 0 0 1 0 0]\
        /FirstChar 97/LastChar 98/Widths[35 35]/Encoding<</Differences[97/A0/A1]>>/CharProcs<<>>>>";
    let shown = b"BT /F1 .2 Tf 9 9 Td (ab) Tj 15 0 Td (ba) Tj 17 0 Td (a) Tj ET";
    assert_eq!(text(&page_with(shown, type3, "", "", &[])), "abba a\n\u{c}");
}

#[test]
fn identifiers_without_a_map_are_characters_or_glyphs_in_the_usual_order() {
    let font = |ordering: &str, widths: &str| {
        format!(
            "<</Type/Font/Subtype/Type0/BaseFont/X/Encoding/Identity-H/ToUnicode/Identity-H\
             /DescendantFonts[<</Type/Font/Subtype/CIDFontType2/BaseFont/X/DW 500\
             /CIDSystemInfo<</Registry(Adobe)/Ordering({ordering})/Supplement 0>>/W[{widths}]>>]>>"
        )
    };
    let content = b"BT /F1 9 Tf 9 9 Td <0056004100DF0003> Tj ET";
    let shown = |font: &str| run(&page_with(content, font, "", "", &[]));
    assert_eq!(shown(&font("Identity", "65[500]")).unwrap(), "VAß\n\u{c}");
    assert_eq!(shown(&font("Identity", "3[500]")).unwrap(), "s^˝\n\u{c}");
    // A collection whose table is not here.
    assert_eq!(shown(&font("Japan1", "65[500]")).unwrap_err().kind, ErrorKind::NoText);
}

#[test]
fn fields_without_an_appearance_show_their_value() {
    let annotations = "/Annots[6 0 R 8 0 R]";
    let parent = b"<</FT/Tx/T(name)/V(Jane Doe\rsecond line)/Kids[6 0 R]>>".to_vec();
    let child = b"<</Type/Annot/Subtype/Widget/Parent 7 0 R/Rect[100 100 300 160]>>".to_vec();
    let check = b"<</Type/Annot/Subtype/Widget/FT/Btn/V/Yes/Rect[100 200 110 210]>>".to_vec();
    let input = page_with(
        b"BT /F1 12 Tf 72 700 Td (Form) Tj ET",
        HELVETICA,
        annotations,
        "",
        &[child, parent, check],
    );
    assert_eq!(text(&input), "Form\n\nJane Doe\nsecond line\n\u{c}");
}

#[test]
fn characters_without_a_width_stay_where_letters_join() {
    let to_unicode = "1 beginbfrange <41> <43> [<200C> <0061> <06CC>] endbfrange";
    let font = "<</Type/Font/Subtype/TrueType/BaseFont/X/ToUnicode 6 0 R>>";
    let shown = |codes: &str| {
        let content = format!("BT /F1 9 Tf 9 9 Td ({codes}) Tj ET");
        text(&page_with(content.as_bytes(), font, "", "", &[stream("", to_unicode.as_bytes())]))
    };
    assert_eq!(shown("ABBA"), "aa\n\u{c}");
    assert_eq!(shown("CA").chars().count(), "\u{6cc}\u{200c}\n\u{c}".chars().count());
}

#[test]
fn the_raised_letter_of_a_logo_belongs_to_its_word() {
    let content =
        "BT /F1 10 Tf 72 700 Td (L) Tj 2.2 2 Td /F1 7 Tf (A) Tj 3.2 -2 Td /F1 10 Tf (TEX) Tj ET";
    assert_eq!(text(&page(content)), "LATEX\n\u{c}");
}
