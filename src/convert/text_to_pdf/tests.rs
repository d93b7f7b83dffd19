//! Texts through the whole module and back, by a reader of our own.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod reader;

use proptest::{char::range, prelude::*};

use self::reader::{Page, read};
use super::{FontData, frame::Frame};
use crate::{
    convert::{Error, ErrorKind, Options, PageSize, PdfLayout},
    limits::ConvertLimits,
};

fn convert(input: &[u8], options: &Options, limits: &ConvertLimits) -> Result<Vec<u8>, Error> {
    super::convert(input, options, limits, &[])
}

fn pages_of(input: &[u8], options: &Options) -> Vec<Page> {
    let pdf = convert(input, options, &ConvertLimits::default()).unwrap();
    read(&pdf)
}

fn pages(text: &str) -> Vec<Page> {
    pages_of(text.as_bytes(), &Options::default())
}

fn lines(text: &str) -> Vec<String> {
    pages(text).into_iter().flatten().map(|line| line.text).collect()
}

fn flowing() -> Options {
    Options { pdf_layout: PdfLayout::Flow, ..Options::default() }
}

fn squeezed(text: impl IntoIterator<Item = char>) -> String {
    text.into_iter().filter(|c| !c.is_whitespace() && !c.is_control()).collect()
}

#[test]
fn lines_stay_lines() {
    let text = "First (line) \\ of text\n\n  indented £5 “quoted”\rthird";
    assert_eq!(lines(text), ["First (line) \\ of text", "", "  indented £5 “quoted”", "third"]);
}

#[test]
fn scripts_beyond_winansi_read_back() {
    let text =
        "Žluťoučký кіт, ωραία μέρα\nTiếng Việt\n漢字 かな 한국어 😀\ne\u{301} Ж\u{301} so\u{ad}ft";
    assert_eq!(lines(text).join("\n"), text);
}

#[test]
fn every_way_of_encoding_gives_the_same_pdf() {
    let limits = ConvertLimits::default();
    let pdf = |input: &[u8]| convert(input, &Options::default(), &limits).unwrap();
    let expected = pdf("né 5€".as_bytes());
    assert_eq!(pdf(b"\xef\xbb\xbfn\xc3\xa9 5\xe2\x82\xac\0\0"), expected);
    assert_eq!(pdf(b"\xff\xfen\0\xe9\0 \x005\0\xac\x20\0\0"), expected);
    assert_eq!(pdf(b"\xfe\xff\0n\0\xe9\0 \x005\x20\xac"), expected);
    assert_eq!(pdf(b"n\xe9 5\x80"), expected);
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let limits = ConvertLimits::default();
    for text in ["plain", "кириллица"] {
        let [first, second] =
            [0, 1].map(|_| convert(text.as_bytes(), &Options::default(), &limits).unwrap());
        assert_eq!(first, second);
        assert!(!String::from_utf8_lossy(&first).contains("Date"));
    }
}

#[test]
fn an_empty_text_is_one_blank_page() {
    for input in [&b""[..], b"\0\0\0", b"\xef\xbb\xbf", b"\xff\xfe"] {
        assert_eq!(pages_of(input, &Options::default()), [vec![]]);
        assert_eq!(pages_of(input, &flowing()), [vec![]]);
    }
}

#[test]
fn form_feeds_end_pages() {
    let texts = |text: &str| -> Vec<Vec<String>> {
        pages(text).into_iter().map(|page| page.into_iter().map(|l| l.text).collect()).collect()
    };
    assert_eq!(texts("a\x0cb\n\x0c"), [["a"], ["b"]]);
    assert_eq!(texts("a\n\x0c\x0cc"), [vec!["a"], vec![], vec!["c"]]);
    assert_eq!(texts("\x0cb"), [vec![], vec!["b"]]);
}

#[test]
fn pages_hold_sixty_lines_by_default() {
    let counts: Vec<_> = pages(&"x\n".repeat(121)).iter().map(Vec::len).collect();
    assert_eq!(counts, [60, 60, 1]);
}

#[test]
fn tabs_lead_to_stops_of_eight_digits() {
    let page = &pages("12345678\tx\n1\tx\n\tx\n123456789\tx")[0];
    // An x is 500 wide; a stop is 8 digits of 556.
    let ends: Vec<_> = page.iter().map(|line| line.width - 500).collect();
    assert_eq!(ends, [2 * 4448, 4448, 4448, 2 * 4448]);
    assert_eq!(page[1].text, "1 x");
}

#[test]
fn words_wrap_and_stay_apart() {
    let text = "lorem ipsum dolor sit amet ".repeat(40);
    let lines = lines(&text);
    assert!(lines.len() > 5);
    assert_eq!(lines.concat(), text.trim_end());
}

#[test]
fn hyphens_and_ideographs_are_opportunities() {
    let hyphens = lines(&"well-known-".repeat(50));
    assert!(hyphens.len() > 1 && hyphens.iter().all(|line| line.ends_with('-')));
    // Rule LB13: no line begins with an ideographic full stop.
    let kanji = lines(&"漢字。".repeat(300));
    assert!(kanji.len() > 1 && kanji.iter().all(|line| !line.starts_with('。')));
}

#[test]
fn flow_joins_lines_and_parts_paragraphs() {
    let page = &pages_of(b"one\ntwo  \n\n\n three\nfour", &flowing())[0];
    let lines: Vec<_> = page.iter().map(|line| line.text.as_str()).collect();
    assert_eq!(lines, ["one two", "", "three four"]);
}

#[test]
fn right_to_left_lines_are_in_visual_order_at_the_right_edge() {
    let page = &pages("אבג (1) ab")[0];
    assert_eq!(
        page[0].text,
        "ab (1) גבא".replace('(', "\u{1}").replace(')', "(").replace('\u{1}', ")")
    );
    let frame = Frame::new(&Options::default()).unwrap();
    assert_eq!(page[0].width, frame.width_milli_em);
    for line in &pages(&"שלום עולם ".repeat(40))[0] {
        assert_eq!(line.width, frame.width_milli_em);
    }
}

#[test]
fn every_code_point_has_a_code_of_its_own() {
    let text: String = ('\u{20000}'..='\u{2ffff}').chain('\u{400}'..='\u{4ff}').collect();
    assert_eq!(lines(&text).concat(), text);
}

#[test]
fn hostile_lengths_are_quick() {
    // Each takes some 20 ms; what grows with the square of its length takes minutes.
    let mut texts = vec![vec![b'x'; 1 << 20], vec![b' '; 1 << 20], vec![b'\t'; 1 << 20]];
    let mut nuls = vec![0; 10_000_000];
    nuls.push(b'x');
    texts.push(nuls);
    texts.push("( \u{301}".repeat(200_000).into_bytes());
    texts.push(format!("e{}", "\u{301}".repeat(500_000)).into_bytes());
    texts.push("א1 ".repeat(100_000).into_bytes());
    let start = std::time::Instant::now();
    for text in texts {
        convert(&text, &Options::default(), &ConvertLimits::default()).unwrap();
        convert(&text, &flowing(), &ConvertLimits::default()).unwrap();
    }
    assert!(start.elapsed().as_secs() < 60);
}

#[test]
fn page_size_and_margin_are_as_asked() {
    let options = Options {
        page: PageSize::Letter,
        margin_mm: Some(0.0),
        font_size_pt: Some(72.0),
        ..Options::default()
    };
    // 792 pt hold 9 lines of 86.4 pt.
    let counts: Vec<_> = pages_of(&b"x\n".repeat(10), &options).iter().map(Vec::len).collect();
    assert_eq!(counts, [9, 1]);
    let pdf = convert(b"x", &options, &ConvertLimits::default()).unwrap();
    let document = lopdf::Document::load_mem(&pdf).unwrap();
    let pages = document.catalog().unwrap().get(b"Pages").unwrap().as_reference().unwrap();
    let sizes = document.get_dictionary(pages).unwrap().get(b"MediaBox").unwrap();
    let size = |index: usize| sizes.as_array().unwrap()[index].as_float().unwrap();
    assert_eq!((size(2), size(3)), (612.0, 792.0));
}

#[test]
fn limits_are_held_while_producing() {
    let pages_max = ConvertLimits { pages_max: 2, ..ConvertLimits::default() };
    let error = convert(&b"x\n".repeat(1000), &Options::default(), &pages_max).unwrap_err();
    assert_eq!(error.kind, ErrorKind::LimitExceeded);
    assert_eq!(error.message, "pages of the PDF: at least 3, and the limit is 2");
    let output_bytes_max = ConvertLimits { output_bytes_max: 500, ..ConvertLimits::default() };
    let error = convert(b"x", &Options::default(), &output_bytes_max).unwrap_err();
    assert_eq!(error.kind, ErrorKind::LimitExceeded);
    assert!(error.message.starts_with("bytes of the PDF: "), "{}", error.message);
}

/// `DejaVu` Sans with its last group of characters moved to U+2A000.
fn moved_font() -> (Vec<u8>, u32) {
    let mut font = include_bytes!("../../../assets/fonts/DejaVuSans.ttf").to_vec();
    let face = ttf_parser::Face::parse(&font, 0).unwrap();
    let cmap = face.raw_face().table(ttf_parser::Tag::from_bytes(b"cmap")).unwrap();
    let offset = cmap.as_ptr() as usize - font.as_ptr() as usize;
    let word = |at: usize| u32::from_be_bytes(font[at..at + 4].try_into().unwrap());
    // The subtable of format 12: format and reserved (4 bytes), length, language, groups of 12.
    let tables = usize::from(u16::from_be_bytes([cmap[2], cmap[3]]));
    let table = (0..tables)
        .map(|index| offset + word(offset + 4 + index * 8 + 4) as usize)
        .find(|&table| word(table) >> 16 == 12)
        .unwrap();
    let group = table + 16 + (word(table + 12) as usize - 1) * 12;
    let characters = word(group + 4) - word(group) + 1;
    font[group..group + 4].copy_from_slice(&0x2_a000_u32.to_be_bytes());
    font[group + 4..group + 8].copy_from_slice(&(0x2_a000 + characters - 1).to_be_bytes());
    (font, characters)
}

#[test]
fn a_fallback_font_takes_what_the_first_lacks() {
    let (font, characters) = moved_font();
    assert!(characters > 0);
    let text = "Ж \u{2a000} д";
    let fonts = [FontData { bytes: &font, index: 0 }];
    let limits = ConvertLimits::default();
    let pdf = super::convert(text.as_bytes(), &Options::default(), &limits, &fonts).unwrap();
    let page = &read(&pdf)[0];
    assert_eq!(page[0].text, text);
    assert_eq!(page[0].fonts, ["F1", "F2"]);
}

#[test]
fn a_fallback_that_is_no_font_is_named() {
    let fonts = [FontData { bytes: b"no font", index: 0 }];
    let limits = ConvertLimits::default();
    let error = super::convert("Ж".as_bytes(), &Options::default(), &limits, &fonts).unwrap_err();
    assert!(error.message.contains("it cannot be read: "), "{}", error.message);
}

/// Characters that run from left to right, of scripts with and without spaces, and some that no
/// built-in font has.
fn character() -> impl Strategy<Value = char> {
    prop_oneof![
        4 => range(' ', '~'),
        2 => range('\u{a0}', '\u{17f}'),
        2 => range('\u{370}', '\u{52f}'),
        1 => range('\u{300}', '\u{36f}'),
        1 => range('\u{1e00}', '\u{2060}'),
        1 => range('\u{3040}', '\u{30ff}'),
        1 => range('\u{4e00}', '\u{4eff}'),
        1 => range('\u{1f600}', '\u{1f64f}'),
        1 => prop::sample::select(vec!['\n', '\t', '\r', '\u{c}', '\u{2028}', '\0', '\u{1b}']),
    ]
    .prop_filter("marks that turn the direction", |c| !crate::convert::bidi::turns(*c))
}

proptest! {
    #[test]
    fn any_text_reads_back_and_stays_inside_the_frame(
        text in prop::collection::vec(character(), 0..2000),
        flow in any::<bool>(),
        margin_mm in 0.0f32..90.0,
        font_size_pt in 4.0f32..60.0,
    ) {
        let text: String = text.into_iter().collect();
        let options = Options {
            pdf_layout: if flow { PdfLayout::Flow } else { PdfLayout::Plain },
            margin_mm: Some(margin_mm),
            font_size_pt: Some(font_size_pt),
            ..Options::default()
        };
        // Wide enough for the widest character, which would stand alone and cross the edge.
        let Ok(frame @ Frame { width_milli_em: 2000.., .. }) = Frame::new(&options) else {
            return Ok(());
        };
        let pages = pages_of(text.as_bytes(), &options);
        let read: String = pages.iter().flatten().map(|line| line.text.as_str()).collect();
        prop_assert_eq!(squeezed(read.chars()), squeezed(text.chars()));
        for page in &pages {
            prop_assert!(page.len() <= frame.lines_per_page as usize);
            for line in page {
                prop_assert!(line.width <= frame.width_milli_em, "{:?}", line);
            }
        }
    }

    #[test]
    fn any_bytes_make_a_pdf_that_loads(input in prop::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert!(!pages_of(&input, &Options::default()).is_empty());
        prop_assert!(!pages_of(&input, &flowing()).is_empty());
    }
}
