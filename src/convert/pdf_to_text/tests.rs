//! Whole documents, made here byte by byte.

mod fidelity;

use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;
use crate::convert::TextLayout;

const HELVETICA: &str = "<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>";

/// A file of objects numbered from 1, with a sound table. Object 1 is the catalog.
fn file(objects: &[Vec<u8>], trailer: &str) -> Vec<u8> {
    let mut out = b"%PDF-1.7\n".to_vec();
    let mut table = String::new();
    for (at, object) in objects.iter().enumerate() {
        let _ = writeln!(table, "{:010} 00000 n ", out.len());
        out.extend_from_slice(format!("{} 0 obj\n", at + 1).as_bytes());
        out.extend_from_slice(object);
        out.extend_from_slice(b"\nendobj\n");
    }
    let start = out.len();
    let count = objects.len() + 1;
    let tail = format!(
        "xref\n0 {count}\n0000000000 65535 f \n{table}trailer\n<</Size {count}/Root 1 0 R{trailer}>>\n\
         startxref\n{start}\n%%EOF\n"
    );
    out.extend_from_slice(tail.as_bytes());
    out
}

fn stream(dict: &str, data: &[u8]) -> Vec<u8> {
    let mut out = format!("<<{dict}/Length {}>>stream\n", data.len()).into_bytes();
    out.extend_from_slice(data);
    out.extend_from_slice(b"\nendstream");
    out
}

/// One page: `content` is object 4, the font F1 object 5, `more` objects from 6 on. `page` is added
/// to the page's dictionary, `resources` to its resources.
fn page_with(content: &[u8], font: &str, page: &str, resources: &str, more: &[Vec<u8>]) -> Vec<u8> {
    let mut objects = vec![
        b"<</Type/Catalog/Pages 2 0 R>>".to_vec(),
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>".to_vec(),
        format!(
            "<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents 4 0 R{page}\
             /Resources<</Font<</F1 5 0 R>>{resources}>>>>"
        )
        .into_bytes(),
        stream("", content),
        font.as_bytes().to_vec(),
    ];
    objects.extend_from_slice(more);
    file(&objects, "")
}

fn page(content: &str) -> Vec<u8> {
    page_with(content.as_bytes(), HELVETICA, "", "", &[])
}

fn run(input: &[u8]) -> Result<String, Error> {
    let out = convert(input, &Options::default(), &ConvertLimits::default())?;
    Ok(String::from_utf8(out).unwrap())
}

fn text(input: &[u8]) -> String {
    run(input).unwrap()
}

fn kind(input: &[u8]) -> ErrorKind {
    run(input).unwrap_err().kind
}

#[test]
fn a_page_ends_with_a_form_feed() {
    assert_eq!(text(&page("BT /F1 12 Tf 72 700 Td (Hello World) Tj ET")), "Hello World\n\u{c}");
}

#[test]
fn every_operator_that_shows_text() {
    let content = "BT /F1 12 Tf 14 TL 72 700 Td (one) Tj T* (two) Tj (three) ' 1 0 (four) \" \
         0 -14 TD [(fi) 20 (ve)] TJ 1 0 0 1 72 600 Tm [(six) -600 (seven)] TJ ET";
    assert_eq!(text(&page(content)), "one\ntwo\nthree\nfour\nfive\n\nsix seven\n\u{c}");
}

#[test]
fn spacing_moves_what_follows() {
    let words = "BT /F1 10 Tf 9 Tw 72 700 Td (a b) Tj 4 Ts (c) Tj ET";
    assert_eq!(text(&page(words)), "a bc\n\u{c}");
    let letters = "BT /F1 10 Tf 3 Tc 72 700 Td (spaced out) Tj ET";
    assert_eq!(text(&page(letters)), "spaced out\n\u{c}");
    let stretched = "BT /F1 10 Tf 50 Tz 72 700 Td (ab) Tj 6 0 Td (cd) Tj ET";
    assert_eq!(text(&page(stretched)), "abcd\n\u{c}");
}

#[test]
fn q_restores_the_font_and_the_matrix() {
    let content = "/F1 10 Tf q 2 0 0 2 0 0 cm /F1 5 Tf BT 100 300 Td (up) Tj ET Q \
        BT 200 500 Td (down) Tj ET";
    assert_eq!(text(&page(content)), "up\n\ndown\n\u{c}");
}

#[test]
fn encodings_and_differences() {
    let font = "<</Type/Font/Subtype/Type1/BaseFont/X/Encoding<</BaseEncoding/MacRomanEncoding\
        /Differences[65/eacute/uni20AC 67/f_i/.notdef/Cyrillic.x/afii10017]>>>>";
    let input = page_with(b"BT /F1 9 Tf 9 9 Td (\x80ABCDF) Tj ET", font, "", "", &[]);
    assert_eq!(text(&input), "Äé€fi А\n\u{c}");
    let symbol = "<</Type/Font/Subtype/Type1/BaseFont/Symbol>>";
    assert_eq!(
        text(&page_with(b"BT /F1 9 Tf 9 9 Td (abg) Tj ET", symbol, "", "", &[])),
        "αβγ\n\u{c}"
    );
}

#[test]
fn to_unicode_goes_before_the_encoding() {
    let font = "<</Type/Font/Subtype/Type1/BaseFont/X/ToUnicode 6 0 R>>";
    let map = b"1 beginbfchar <41> <03A9> endbfchar 1 beginbfrange <42><43><0078> endbfrange";
    let input = page_with(b"BT /F1 9 Tf 9 9 Td (ABCD) Tj ET", font, "", "", &[stream("", map)]);
    assert_eq!(text(&input), "ΩxyD\n\u{c}");
}

#[test]
fn an_embedded_type_1_font_tells_its_encoding() {
    let font = "<</Type/Font/Subtype/Type1/BaseFont/X/FontDescriptor<</Flags 4/FontFile 6 0 R>>>>";
    let program =
        b"%!\n/Encoding 256 array\ndup 1 /alpha put\ndup 2 /summation put\nreadonly def eexec";
    let input = page_with(b"BT /F1 9 Tf 9 9 Td <0102> Tj ET", font, "", "", &[stream("", program)]);
    assert_eq!(text(&input), "α∑\n\u{c}");
}

#[test]
fn type_0_fonts() {
    let font = "<</Type/Font/Subtype/Type0/Encoding/Identity-H/ToUnicode 6 0 R/DescendantFonts[\
        <</Subtype/CIDFontType2/DW 500/W[1[600 600] 3 4 250]>>]>>";
    let map = b"1 begincodespacerange <0000><ffff> endcodespacerange \
        2 beginbfrange <0001> <0002> <4E00> <0003> <0004> [<0041> <00660066>] endbfrange";
    let content = b"BT /F1 9 Tf 9 9 Td <00010002> Tj <00030004> Tj ET";
    assert_eq!(text(&page_with(content, font, "", "", &[stream("", map)])), "一丁Aff\n\u{c}");
    for (encoding, string, shown) in [
        ("UniGB-UCS2-H", "<4E2D6587>", "中文"),
        ("90ms-RKSJ-H", "<93FA967B>", "日本"),
        ("GBK-EUC-H", "<D6D0CEC4>", "中文"),
        ("ETen-B5-H", "<A4A4A4E5>", "中文"),
        ("KSCms-UHC-H", "<C7D1B1DB>", "한글"),
        ("H", "<467C4B5C>", "日本"),
    ] {
        let font = format!(
            "<</Type/Font/Subtype/Type0/Encoding/{encoding}/DescendantFonts[<</Subtype/CIDFontType0>>]>>"
        );
        let content = format!("BT /F1 9 Tf 9 9 Td {string} Tj ET");
        let input = page_with(content.as_bytes(), &font, "", "", &[]);
        assert_eq!(text(&input), format!("{shown}\n\u{c}"), "{encoding}");
    }
}

#[test]
fn vertical_writing_reads_from_the_right() {
    let font = "<</Type/Font/Subtype/Type0/Encoding/UniJIS-UCS2-V/DescendantFonts[\
        <</Subtype/CIDFontType0>>]>>";
    let content = b"BT /F1 10 Tf 100 500 Td <65E5672C> Tj 1 0 0 1 85 500 Tm <8A9E> Tj ET";
    assert_eq!(text(&page_with(content, font, "", "", &[])), "日本\n語\n\u{c}");
}

#[test]
fn type_3_fonts_use_their_own_matrix() {
    let font = "<</Type/Font/Subtype/Type3/FontMatrix[0.01 0 0 0.01 0 0]/FontBBox[0 0 100 100]\
        /FirstChar 97/Widths[60 60]/Encoding<</Differences[97/A/B]>>/CharProcs<<>>>>";
    let content = b"BT /F1 10 Tf 9 9 Td (ab) Tj [(a) -50 (b)] TJ ET";
    assert_eq!(text(&page_with(content, font, "", "", &[])), "ABAB\n\u{c}");
}

#[test]
fn forms_with_matrix_and_without_resources() {
    let inner = stream("/Subtype/Form/BBox[0 0 9 9]", b"BT /F1 10 Tf 0 0 Td (inner) Tj ET");
    let form = stream(
        "/Subtype/Form/BBox[0 0 9 9]/Matrix[1 0 0 1 50 300]/Resources<</XObject<</In 7 0 R>>>>",
        b"/In Do",
    );
    let content = b"BT /F1 10 Tf 50 600 Td (outer) Tj ET /Fm Do BT 50 100 Td (last) Tj ET";
    let input = page_with(content, HELVETICA, "", "/XObject<</Fm 6 0 R>>", &[form, inner]);
    assert_eq!(text(&input), "outer\n\ninner\n\nlast\n\u{c}");
}

#[test]
fn a_form_inside_itself_is_left_out() {
    let form = stream(
        "/Subtype/Form/Resources<</XObject<</Fm 6 0 R>>>>",
        b"BT /F1 9 Tf 9 9 Td (x) Tj ET /Fm Do",
    );
    let input = page_with(b"/Fm Do", HELVETICA, "", "/XObject<</Fm 6 0 R>>", &[form]);
    assert_eq!(text(&input), "x\n\u{c}");
}

#[test]
fn inline_images_are_skipped() {
    let content = b"BT /F1 9 Tf 9 90 Td (a) Tj ET BI /W 4 /H 1 /BPC 8 /CS /G ID \x00EI\xff EI BT 9 50 Td (b) Tj ET";
    assert_eq!(text(&page_with(content, HELVETICA, "", "", &[])), "a\n\nb\n\u{c}");
}

#[test]
fn actual_text_stands_for_its_glyphs() {
    let content = "BT /F1 9 Tf 9 9 Td (a) Tj /Span <</ActualText(bc)>> BDC (xyz) Tj EMC (d) Tj ET";
    assert_eq!(text(&page(content)), "abcd\n\u{c}");
}

#[test]
fn layers_that_are_off_are_not_read() {
    let objects = [
        b"<</Type/Catalog/Pages 2 0 R/OCProperties<</OCGs[6 0 R]/D<</OFF[6 0 R]>>>>>>".to_vec(),
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>".to_vec(),
        b"<</Type/Page/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>/Properties<</L 6 0 R>>>>>>"
            .to_vec(),
        stream("", b"BT /F1 9 Tf 9 9 Td (seen) Tj /OC /L BDC 0 20 Td (hidden) Tj EMC ET"),
        HELVETICA.as_bytes().to_vec(),
        b"<</Type/OCG/Name(x)>>".to_vec(),
    ];
    assert_eq!(text(&file(&objects, "")), "seen\n\u{c}");
}

#[test]
fn annotations_show_their_appearance() {
    let form = stream("/Subtype/Form/BBox[0 0 100 20]", b"BT /F1 9 Tf 2 5 Td (field) Tj ET");
    let annots = "/Annots[<</Subtype/Widget/Rect[50 50 150 70]/AP<</N 6 0 R>>>>\
        <</Subtype/Widget/F 2/Rect[50 90 150 110]/AP<</N 6 0 R>>>>]";
    let input = page_with(b"", HELVETICA, annots, "", &[form]);
    assert_eq!(text(&input), "field\n\u{c}");
}

#[test]
fn turned_pages_and_turned_text() {
    for (rotate, matrix) in [
        (0, "1 0 0 1 100 100"),
        (90, "0 1 -1 0 300 100"),
        (180, "-1 0 0 -1 300 300"),
        (270, "0 -1 1 0 100 300"),
    ] {
        let content = format!("BT /F1 9 Tf 12 TL {matrix} Tm (first line) Tj T* (second) Tj ET");
        let turned =
            page_with(content.as_bytes(), HELVETICA, &format!("/Rotate {rotate}"), "", &[]);
        assert_eq!(text(&turned), "first line\nsecond\n\u{c}", "page turned by {rotate}");
        assert_eq!(text(&page(&content)), "first line\nsecond\n\u{c}", "text turned by {rotate}");
    }
}

#[test]
fn slanted_text_keeps_its_words() {
    let content = "BT /F1 20 Tf 0.8 0.6 -0.6 0.8 100 100 Tm (top secret) Tj ET";
    assert_eq!(text(&page(content)), "top secret\n\u{c}");
}

fn two_columns() -> Vec<u8> {
    let mut content = String::from(
        "BT /F1 10 Tf 1 0 0 1 50 760 Tm (A title over both columns of the page here) Tj ",
    );
    for line in 0..6 {
        let y = 700 - 12 * line;
        let _ = write!(content, "1 0 0 1 50 {y} Tm (left {line} with words) Tj ");
        let _ = write!(content, "1 0 0 1 320 {y} Tm (right {line} with words) Tj ");
    }
    page(&(content + "ET"))
}

#[test]
fn columns_are_read_one_after_the_other() {
    let out = text(&two_columns());
    let at = |words: &str| out.find(words).unwrap();
    assert!(at("A title") < at("left 0"));
    assert!(at("left 5") < at("right 0"), "{out}");
}

#[test]
fn physical_layout_keeps_columns_side_by_side() {
    let options = Options { text_layout: TextLayout::Physical, ..Options::default() };
    let out = convert(&two_columns(), &options, &ConvertLimits::default()).unwrap();
    let out = String::from_utf8(out).unwrap();
    let line = out.lines().find(|line| line.contains("left 3")).unwrap();
    let (left, right) = line.split_once("right 3").unwrap();
    assert!(left.ends_with("    ") && right == " with words", "{line:?}");
}

#[test]
fn superscripts_overprints_and_kerning() {
    let content =
        "BT /F1 10 Tf 72 700 Td (E = mc) Tj /F1 6 Tf 4 Ts (2) Tj 0 Ts /F1 10 Tf ( holds) Tj ET";
    assert_eq!(text(&page(content)), "E = mc2 holds\n\u{c}");
    let bold = "BT /F1 10 Tf 72 700 Td (bold) Tj 0.3 0 Td (bold) Tj ET";
    assert_eq!(text(&page(bold)), "bold\n\u{c}");
    let kerned = "BT /F1 10 Tf 72 700 Td [(W) 80 (A) 90 (VE) -250 (foam)] TJ ET";
    assert_eq!(text(&page(kerned)), "WAVE foam\n\u{c}");
}

#[test]
fn invisible_text_is_kept_and_text_off_the_page_is_not() {
    let content = "BT /F1 10 Tf 3 Tr 72 700 Td (scanned) Tj 900 0 Td (beyond) Tj ET";
    assert_eq!(text(&page(content)), "scanned\n\u{c}");
}

#[test]
fn several_content_streams_are_one() {
    let objects = [
        b"<</Type/Catalog/Pages 2 0 R>>".to_vec(),
        b"<</Type/Pages/Kids[3 0 R 3 0 R]/Count 2/MediaBox[0 0 99 99]/Resources<</Font<</F1 6 0 R>>>>>>".to_vec(),
        b"<</Type/Page/Parent 2 0 R/Contents[4 0 R 5 0 R]>>".to_vec(),
        stream("", b"BT /F1 9 Tf 9 9"),
        stream("/Filter[/AHx/A85]", b"36643a3c4e385057214046756065>"),
        HELVETICA.as_bytes().to_vec(),
    ];
    // The second stream decodes to something else than text: the first alone shows nothing.
    assert_eq!(kind(&file(&objects, "")), ErrorKind::NoText);
    let mut objects = objects;
    objects[4] = stream("/Filter/AHx", b"5464202868692920546a204554>");
    assert_eq!(text(&file(&objects, "")), "hi\n\u{c}hi\n\u{c}");
}

#[test]
fn a_scan_says_so() {
    let error = run(&page("q 100 0 0 100 0 0 cm /Im Do Q")).unwrap_err();
    assert_eq!(error.kind, ErrorKind::NoText);
    assert!(error.hint.unwrap().contains("OCR"));
}

#[test]
fn garbage_is_malformed() {
    for input in
        [&b"%PDF-1.4"[..], b"%PDF-1.4\n1 0 obj\n<<>>\nendobj", b"%PDF-1.4 trailer<</Root 1 0 R>>"]
    {
        assert_eq!(kind(input), ErrorKind::Malformed);
    }
}

#[test]
fn broken_tables_are_repaired() {
    let content = "BT /F1 12 Tf 72 700 Td (found) Tj ET";
    let sound = page(content);
    let length = format!("/Length {}", content.len());
    let replaced = |from: &str, to: &str| {
        let text = String::from_utf8(sound.clone()).unwrap();
        assert!(text.contains(from));
        text.replace(from, to).into_bytes()
    };
    let mut padded = [b"junk before\n", sound.as_slice()].concat();
    padded.resize(padded.len() + 10_000_000, 0);
    for broken in [
        replaced("startxref", "startxxxx"),
        replaced("xref\n0 6", "xrfe\n0 6"),
        replaced("%PDF-1.7\n", "%PDF-1.7\n%a line that moves all objects\n"),
        replaced(&length, "/Length 99999999999"),
        replaced(&length, "/Length 3"),
        replaced(&length, "/Length 4 0 R"),
        replaced("trailer", "tailer"),
        padded,
    ] {
        assert_eq!(text(&broken), "found\n\u{c}");
    }
}

/// lopdf writes the encryption that the reader undoes; the standard's handlers are its own.
fn encrypted(user: &str) -> Vec<u8> {
    let input = page("BT /F1 12 Tf 72 700 Td (secret) Tj ET");
    let mut document = lopdf::Document::load_mem(&input).unwrap();
    let id = || lopdf::Object::string_literal("0123456789abcdef");
    document.trailer.set("ID", vec![id(), id()]);
    let version = lopdf::EncryptionVersion::V2 {
        document: &document,
        owner_password: "owner",
        user_password: user,
        key_length: 128,
        permissions: lopdf::Permissions::all(),
    };
    let state = lopdf::EncryptionState::try_from(version).unwrap();
    document.encrypt(&state).unwrap();
    let mut out = Vec::new();
    document.save_to(&mut out).unwrap();
    out
}

#[test]
fn an_empty_password_opens_and_another_is_asked_for() {
    assert_eq!(text(&encrypted("")), "secret\n\u{c}");
    let error = run(&encrypted("user")).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Malformed);
    assert!(error.message.contains("password"), "{}", error.message);
}

#[test]
fn a_password_opens_what_it_was_made_for() {
    let with = |password: &str| {
        let password = crate::convert::Password::new(password);
        let options = Options { password, ..Options::default() };
        convert(&encrypted("user"), &options, &ConvertLimits::default())
    };
    assert_eq!(with("user").unwrap(), b"secret\n\x0c");
    for wrong in ["User", "user ", "other"] {
        let error = with(wrong).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Malformed);
        assert!(error.message.contains("does not open"), "{}", error.message);
        let hint = error.hint.unwrap_or_default();
        assert!(!format!("{}{hint}", error.message).contains(wrong));
    }
}

#[test]
fn bombs_meet_their_limits() {
    let limits = ConvertLimits { stream_bytes_max: 1 << 20, ..ConvertLimits::default() };
    let kind =
        |input: &[u8]| convert(input, &Options::default(), &limits).map_err(|error| error.kind);
    let mut packer = libdeflater::Compressor::new(libdeflater::CompressionLvl::best());
    let mut bomb = vec![0; 64 << 10];
    let length = packer.zlib_compress(&vec![b' '; 8 << 20], &mut bomb).unwrap();
    let mut objects = vec![
        b"<</Type/Catalog/Pages 2 0 R>>".to_vec(),
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>".to_vec(),
        b"<</Type/Page/Contents 4 0 R>>".to_vec(),
        stream("/Filter/FlateDecode", &bomb[..length]),
    ];
    assert_eq!(kind(&file(&objects, "")), Err(ErrorKind::LimitExceeded));
    objects[1] = b"<</Type/Pages/Kids[2 0 R 2 0 R]/Count 1>>".to_vec();
    objects.truncate(2);
    assert_eq!(kind(&file(&objects, "")), Err(ErrorKind::Malformed), "a tree that holds itself");
    objects[1] = [&b"<</Type/Pages/Kids"[..], &b"[".repeat(100_000)].concat();
    assert_eq!(kind(&file(&objects, "")), Err(ErrorKind::Malformed), "deep arrays");
    // Forms that draw the next one ten times, thirty deep.
    let forms: Vec<Vec<u8>> = (7..37)
        .map(|next| {
            let dict = format!("/Subtype/Form/Resources<</XObject<</X {next} 0 R>>>>");
            stream(&dict, &b"/X Do ".repeat(10))
        })
        .collect();
    let nested = page_with(b"/X Do", HELVETICA, "", "/XObject<</X 6 0 R>>", &forms);
    assert_eq!(kind(&nested), Err(ErrorKind::LimitExceeded));
}

#[test]
fn pages_and_output_are_limited() {
    let input = page("BT /F1 12 Tf 72 700 Td (found) Tj ET");
    for limits in [
        ConvertLimits { pages_max: 0, ..ConvertLimits::default() },
        ConvertLimits { output_bytes_max: 3, ..ConvertLimits::default() },
        ConvertLimits { objects_max: 3, ..ConvertLimits::default() },
        ConvertLimits { streams_total_bytes_max: 9, ..ConvertLimits::default() },
    ] {
        let error = convert(&input, &Options::default(), &limits).unwrap_err();
        assert_eq!(error.kind, ErrorKind::LimitExceeded, "{}", error.message);
    }
}

#[test]
fn a_cut_at_any_place_is_answered() {
    let input = two_columns();
    for length in (0..input.len()).step_by(7) {
        let _ = run(&input[..length]);
    }
    let input = encrypted("");
    for length in (0..input.len()).step_by(7) {
        let _ = run(&input[..length]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn flipped_bits_never_panic(flips in prop::collection::vec((any::<prop::sample::Index>(), 0..8_u8), 1..12)) {
        let mut input = page("BT /F1 12 Tf 72 700 Td [(some) -300 (text)] TJ (more) ' ET q 1 0 0 1 0 0 cm Q");
        for (at, bit) in flips {
            let at = at.index(input.len());
            input[at] ^= 1 << bit;
        }
        let _ = run(&input);
    }

    #[test]
    fn any_content_never_panics(content in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = run(&page_with(&content, HELVETICA, "", "", &[]));
    }

    #[test]
    fn any_map_never_panics(map in "(begin|end)(bf|cid)(char|range) ([<>\\[\\]0-9a-f ]{0,8} ){0,30}") {
        let font = "<</Type/Font/Subtype/Type0/Encoding 6 0 R/ToUnicode 6 0 R/DescendantFonts[<<>>]>>";
        let _ = run(&page_with(b"BT /F1 9 Tf 9 9 Td (abc) Tj ET", font, "", "", &[stream("", map.as_bytes())]));
    }
}
