//! Tests of the options block.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::convert::{Password, Quality, Target};

const JPG: Operation = Operation::Convert(Target::Jpg);
const PNG: Operation = Operation::Convert(Target::Png);
const WEBP: Operation = Operation::Convert(Target::Webp);
const PDF: Operation = Operation::Convert(Target::Pdf);
const TEXT: Operation = Operation::Convert(Target::Text);

fn parse(block: &str, operation: Operation) -> RequestOptions {
    RequestOptions::parse(block.as_bytes(), operation).unwrap()
}

fn refused(block: impl AsRef<[u8]>, operation: Operation) -> String {
    let failure = RequestOptions::parse(block.as_ref(), operation).unwrap_err();
    assert_eq!(failure.code, Code::BadOption);
    failure.message
}

#[test]
fn no_options_are_all_defaults() {
    assert_eq!(parse("", JPG), RequestOptions::default());
    assert_eq!(RequestOptions::default().encode().unwrap(), b"");
}

#[test]
fn the_keys_of_every_request_are_read() {
    for operation in [Operation::Status, JPG, PNG, WEBP, PDF, TEXT] {
        let options = parse("id=a-1~!\nname=Mein Bild=1.jpg\nchecksum=xxh3\n", operation);
        assert_eq!(options.name.as_deref(), Some("Mein Bild=1.jpg"));
        assert_eq!(options.checksum, ChecksumKind::Xxh3);
        assert_eq!(options.id.as_deref(), Some("a-1~!"));
    }
    assert_eq!(parse("checksum=md5\n", JPG).checksum, ChecksumKind::Md5);
    assert_eq!(parse("checksum=none\n", JPG).checksum, ChecksumKind::None);
}

#[test]
fn the_keys_of_pictures_are_read() {
    let convert = parse("quality=1\nbackground=#0aFf80\nmetadata=keep\norient=keep\n", JPG).convert;
    assert_eq!(convert.quality, Quality::new(1));
    assert_eq!(convert.background.rgb, [10, 255, 128]);
    assert_eq!(convert.metadata, Metadata::Keep);
    assert_eq!(convert.orient, Orient::Keep);
    let convert = parse("metadata=strip\norient=auto\n", PNG).convert;
    assert_eq!(convert, convert::Options::default());
    assert_eq!(parse("quality=100\n", WEBP).convert.quality, Quality::new(100));
    assert!(parse("lossless=1\n", WEBP).convert.lossless);
    assert!(!parse("lossless=0\n", WEBP).convert.lossless);
}

#[test]
fn the_keys_of_documents_are_read() {
    let convert = parse("page=legal\nmargin=12.5\nfont-size=288\nlayout=flow\n", PDF).convert;
    assert_eq!(convert.page, PageSize::Legal);
    assert_eq!(convert.margin_mm, Some(12.5));
    assert_eq!(convert.font_size_pt, Some(288.0));
    assert_eq!(convert.pdf_layout, PdfLayout::Flow);
    assert_eq!(parse("page=a4\n", PDF).convert.page, PageSize::A4);
    assert_eq!(parse("page=letter\n", PDF).convert.page, PageSize::Letter);
    assert_eq!(parse("layout=plain\n", PDF).convert.pdf_layout, PdfLayout::Plain);
    assert_eq!(parse("layout=reading\n", TEXT).convert.text_layout, TextLayout::Reading);
    assert_eq!(parse("layout=physical\n", TEXT).convert.text_layout, TextLayout::Physical);
}

#[test]
fn a_wrong_value_is_answered_with_the_right_ones() {
    let cases: &[(&str, &str, &[&str])] = &[
        ("name", "1 or more characters, none of them a control character", &["", "a\tb", "a\r"]),
        ("checksum", "md5, xxh3 or none", &["", "MD5", "sha1"]),
        ("id", "1 to 64 visible ASCII characters", &["", "a b", "ä", "\x7f"]),
        ("quality", "a whole number from 1 to 100", &["", "0", "101", "256", "+5", "-1", "8.5"]),
        ("lossless", "0 or 1", &["", "2", "true", "01"]),
        (
            "background",
            "a colour as #rrggbb",
            &["", "ffffff", "#fff", "#+fffff", "#gggggg", "#ääa"],
        ),
        ("metadata", "strip or keep", &["", "Keep"]),
        ("orient", "auto or keep", &["", "90"]),
        ("page", "a4, letter or legal", &["", "A4", "a3"]),
        (
            "margin",
            "millimetres from 0 to 500",
            &["", ".", "500.1", "-1", "-0", "nan", "inf", "1e2"],
        ),
        ("font-size", "points from 1 to 288", &["", "0.9", "288.5", "+9", "1 2", "infinity"]),
        (
            "layout",
            "flow or plain for text to PDF, reading or physical for PDF to text",
            &["", "Flow", "columns"],
        ),
    ];
    for (key, takes, values) in cases {
        for value in *values {
            let shown = value.escape_debug();
            // Where no operation takes the value, the operation is not what is wrong.
            for operation in [JPG, PDF, Operation::Status] {
                let message = refused(format!("{key}={value}\n"), operation);
                assert_eq!(message, format!("option `{key}` takes {takes}, not `{shown}`"));
            }
        }
    }
}

#[test]
fn a_password_is_taken_and_never_echoed() {
    let options = parse("password=a b=ä\n", TEXT);
    assert_eq!(options.convert.password.as_ref().map(Password::reveal), Some("a b=ä"));
    assert_eq!(options.encode().unwrap(), "password=a b=ä\n".as_bytes());
    assert!(!format!("{options:?}").contains("a b"));
    let long = "secret".repeat(22);
    for (wrong, bytes) in [("", 0), ("secr\tet", 7), (long.as_str(), 132)] {
        let message = refused(format!("password={wrong}\n"), TEXT);
        let takes = "1 to 127 bytes without control characters";
        assert_eq!(message, format!("option `password` takes {takes}, and has {bytes}"));
    }
}

#[test]
fn the_ends_of_ranges_are_inside() {
    for margin in ["0", "500", "0.0", "500.0"] {
        assert!(parse(&format!("margin={margin}\n"), PDF).convert.margin_mm.is_some());
    }
    for size in ["1", "288", "1.0"] {
        assert!(parse(&format!("font-size={size}\n"), PDF).convert.font_size_pt.is_some());
    }
    let id = "x".repeat(64);
    assert_eq!(parse(&format!("id={id}\n"), PDF).id, Some(id));
    assert!(refused(format!("id={}\n", "x".repeat(65)), PDF).contains("1 to 64"));
}

#[test]
fn a_known_option_may_come_with_any_operation() {
    let block = "quality=80\nlossless=1\nbackground=#000000\nmetadata=keep\norient=keep\n\
                 page=legal\nmargin=1\nfont-size=9\n";
    for operation in [Operation::Status, JPG, PNG, WEBP, PDF, TEXT] {
        let options = parse(block, operation);
        assert_eq!(options.convert.quality.map(Quality::value), Some(80), "{operation:?}");
    }
}

#[test]
fn a_layout_of_the_other_direction_is_refused() {
    assert!(refused("layout=flow\n", TEXT).contains("takes `reading` or `physical`"));
    assert!(refused("layout=physical\n", PDF).contains("takes `flow` or `plain`"));
    assert_eq!(parse("layout=flow\n", PDF).convert.pdf_layout, PdfLayout::Flow);
    assert_eq!(parse("layout=physical\n", TEXT).convert.text_layout, TextLayout::Physical);
}

#[test]
fn an_unknown_key_is_refused_by_name() {
    let failure = RequestOptions::parse(b"id=1\nspeed=9\n", JPG).unwrap_err();
    assert_eq!(failure.message, "unknown option `speed`");
    assert_eq!(
        failure.hint.as_deref(),
        Some(
            "the options are name, checksum, id, quality, lossless, background, metadata, orient, \
             page, margin, font-size, layout, password"
        )
    );
    for key in ["", "Quality", " quality", "quality ", "fontsize", "\x1b[2J"] {
        let message = refused(format!("{key}=1\n"), JPG);
        assert_eq!(message, format!("unknown option `{}`", key.escape_debug()));
    }
}

#[test]
fn a_key_comes_once() {
    assert_eq!(refused("quality=80\nquality=80\n", JPG), "option `quality` is given twice");
    assert_eq!(refused("layout=flow\nid=1\nlayout=flow\n", PDF), "option `layout` is given twice");
}

#[test]
fn a_block_is_whole_lines() {
    assert_eq!(
        refused("id=1\nquality=8", JPG),
        "the options end without a line feed, in `quality=8`"
    );
    assert_eq!(refused("\n", JPG), "`` is not of the form `key=value`");
    assert_eq!(refused("id=1\n\n", JPG), "`` is not of the form `key=value`");
    assert_eq!(refused("quality\n", JPG), "`quality` is not of the form `key=value`");
    assert_eq!(
        refused("quality=80\r\n", JPG),
        "option `quality` takes a whole number from 1 to 100, not `80\\r`"
    );
}

#[test]
fn a_block_is_utf_8() {
    assert_eq!(refused(b"name=\xff\n", JPG), "the options are not UTF-8 at byte 5");
    assert_eq!(refused(b"name=a\xc3", JPG), "the options are not UTF-8 at byte 6");
}

#[test]
fn a_block_has_4096_bytes_and_not_one_more() {
    let block = |bytes: usize| format!("name={}\n", "x".repeat(bytes - 6));
    assert_eq!(parse(&block(4096), JPG).name.unwrap().len(), 4090);
    let too_long = "the options have 4097 bytes, 1 over the limit of 4096";
    assert_eq!(refused(block(4097), JPG), too_long);

    let name =
        |chars: usize| RequestOptions { name: Some("x".repeat(chars)), ..Default::default() };
    assert_eq!(name(4090).encode().unwrap().len(), 4096);
    assert_eq!(name(4091).encode().unwrap_err().message, too_long);
}

#[test]
fn a_block_is_written_in_a_fixed_order() {
    let convert = convert::Options {
        quality: Quality::new(80),
        lossless: true,
        background: Background { rgb: [1, 2, 255] },
        metadata: Metadata::Keep,
        orient: Orient::Keep,
        page: PageSize::Letter,
        margin_mm: Some(12.7),
        font_size_pt: Some(11.0),
        pdf_layout: PdfLayout::Flow,
        text_layout: TextLayout::Reading,
        password: Password::new("p"),
    };
    let options = RequestOptions {
        name: Some("ä.txt".to_owned()),
        checksum: ChecksumKind::Xxh3,
        id: Some("7".to_owned()),
        convert,
    };
    let golden = "name=ä.txt\nchecksum=xxh3\nid=7\nquality=80\nlossless=1\nbackground=#0102ff\n\
        metadata=keep\norient=keep\npage=letter\nmargin=12.7\nfont-size=11\nlayout=flow\npassword=p\n";
    assert_eq!(options.encode().unwrap(), golden.as_bytes());
}

#[test]
fn what_would_be_refused_is_not_written() {
    let refused = |options: RequestOptions| options.encode().unwrap_err().message;
    let name = RequestOptions { name: Some("a\nquality=1".to_owned()), ..Default::default() };
    assert!(refused(name).starts_with("option `name` takes"));
    let id = RequestOptions { id: Some(String::new()), ..Default::default() };
    assert!(refused(id).starts_with("option `id` takes"));
    let convert = convert::Options { margin_mm: Some(f32::NAN), ..Default::default() };
    assert_eq!(
        refused(RequestOptions { convert, ..Default::default() }),
        "option `margin` takes millimetres from 0 to 500, not `NaN`"
    );
    let convert = convert::Options {
        pdf_layout: PdfLayout::Flow,
        text_layout: TextLayout::Physical,
        ..Default::default()
    };
    assert_eq!(
        refused(RequestOptions { convert, ..Default::default() }),
        "option `layout` is given twice"
    );
}

/// Options that a request for the target may carry.
fn any_options() -> impl Strategy<Value = (Operation, RequestOptions)> {
    let common = (
        proptest::option::of("[a-zA-Zä€=. ]{1,20}"),
        prop::sample::select(vec![ChecksumKind::Md5, ChecksumKind::Xxh3, ChecksumKind::None]),
        proptest::option::of("[!-~]{1,64}"),
    );
    let pictures = (
        proptest::option::of(1..=100_u8),
        any::<[u8; 3]>(),
        prop::sample::select(vec![Metadata::Strip, Metadata::Keep]),
        prop::sample::select(vec![Orient::Auto, Orient::Keep]),
    )
        .prop_map(|(quality, rgb, metadata, orient)| convert::Options {
            quality: quality.and_then(Quality::new),
            background: Background { rgb },
            metadata,
            orient,
            ..Default::default()
        });
    let documents = (
        prop::sample::select(vec![PageSize::A4, PageSize::Letter, PageSize::Legal]),
        proptest::option::of(0.0..=500.0_f32),
        proptest::option::of(1.0..=288.0_f32),
        prop::sample::select(vec![PdfLayout::Plain, PdfLayout::Flow]),
    )
        .prop_map(|(page, margin_mm, font_size_pt, pdf_layout)| convert::Options {
            page,
            margin_mm,
            font_size_pt,
            pdf_layout,
            ..Default::default()
        });
    let convert = prop_oneof![
        pictures.prop_map(|convert| (JPG, convert)),
        documents.prop_map(|convert| (PDF, convert)),
    ];
    (common, convert).prop_map(|((name, checksum, id), (operation, convert))| {
        (operation, RequestOptions { name, checksum, id, convert })
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read((operation, options) in any_options()) {
        let block = options.encode().unwrap();
        prop_assert_eq!(RequestOptions::parse(&block, operation), Ok(options));
    }

    #[test]
    fn any_block_is_read_or_refused_and_what_is_read_can_be_written(
        block in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..200),
            "((name|quality|margin|layout|background|id)=[0-9a-z#.]{0,7}\n){0,4}"
                .prop_map(String::into_bytes),
        ],
        operation in prop::sample::select(vec![Operation::Status, JPG, PNG, WEBP, PDF, TEXT]),
    ) {
        if let Ok(options) = RequestOptions::parse(&block, operation) {
            let block = options.encode().unwrap();
            prop_assert_eq!(RequestOptions::parse(&block, operation), Ok(options));
        }
    }
}

#[test]
fn the_description_says_what_is_taken_and_nothing_more() {
    for info in OPTIONS {
        for &target in info.targets {
            let takes = |value: &str| {
                let line = format!("{}={value}\n", info.name);
                RequestOptions::parse(line.as_bytes(), Operation::Convert(target)).is_ok()
            };
            let (good, bad): (Vec<String>, Vec<String>) = match info.kind {
                OptionKind::Integer(min, max) => (
                    vec![min.to_string(), max.to_string()],
                    vec![(min - 1).to_string(), (max + 1).to_string(), "1.5".into()],
                ),
                OptionKind::Number(min, max) => (
                    vec![min.to_string(), max.to_string(), "1.5".into()],
                    vec![(min - 0.1).to_string(), (max + 0.1).to_string()],
                ),
                OptionKind::Boolean => (vec!["0".into(), "1".into()], vec!["2".into()]),
                OptionKind::Colour => (vec!["#000fff".into()], vec!["#000ff".into()]),
                OptionKind::Choice(choices) => {
                    (choices.iter().map(|&choice| choice.to_owned()).collect(), vec![String::new()])
                }
            };
            assert!(takes(info.default), "{info:?}");
            assert!(good.iter().all(|value| takes(value)), "{info:?} {good:?}");
            assert!(!bad.iter().any(|value| takes(value)), "{info:?} {bad:?}");
        }
    }
}
