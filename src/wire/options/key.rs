//! The keys of an options block: what each takes, and which operations take it.

use super::super::text::quoted;
use super::super::{ChecksumKind, Failure, Operation};
use super::bad;
use crate::convert::{
    Background, Metadata, Orient, PageSize, Password, PdfLayout, Quality, Target, TextLayout,
};

/// More than the half of any page is no margin; this is beyond the longest side of all of them.
pub(super) const MARGIN_MM_MAX: f32 = 500.0;

/// Four inches: one letter still fits a page.
pub(super) const FONT_SIZE_PT_MAX: f32 = 288.0;

/// Below a point nobody reads anything.
pub(super) const FONT_SIZE_PT_MIN: f32 = 1.0;

const ID_BYTES_MAX: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Name,
    Checksum,
    Id,
    Quality,
    Lossless,
    Background,
    Metadata,
    Orient,
    Page,
    Margin,
    FontSize,
    Layout,
    Password,
}

/// The parsed value of a key.
#[derive(Debug)]
pub(super) enum Value {
    Name(String),
    Checksum(ChecksumKind),
    Id(String),
    Quality(Quality),
    Lossless(bool),
    Background(Background),
    Metadata(Metadata),
    Orient(Orient),
    Page(PageSize),
    Margin(f32),
    FontSize(f32),
    PdfLayout(PdfLayout),
    TextLayout(TextLayout),
    Password(Password),
}

impl Key {
    const ALL: [Self; 13] = [
        Self::Name,
        Self::Checksum,
        Self::Id,
        Self::Quality,
        Self::Lossless,
        Self::Background,
        Self::Metadata,
        Self::Orient,
        Self::Page,
        Self::Margin,
        Self::FontSize,
        Self::Layout,
        Self::Password,
    ];

    pub(super) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|key| key.name() == name)
    }

    /// All names, for a hint.
    pub(super) fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Checksum => "checksum",
            Self::Id => "id",
            Self::Quality => "quality",
            Self::Lossless => "lossless",
            Self::Background => "background",
            Self::Metadata => "metadata",
            Self::Orient => "orient",
            Self::Page => "page",
            Self::Margin => "margin",
            Self::FontSize => "font-size",
            Self::Layout => "layout",
            Self::Password => "password",
        }
    }

    /// This key's place in a set of keys.
    pub(super) fn bit(self) -> u16 {
        1 << self as u16
    }

    /// What the key takes, as the end of "option `x` takes ...".
    fn takes(self) -> &'static str {
        match self {
            Self::Name => "1 or more characters, none of them a control character",
            Self::Checksum => "md5, xxh3 or none",
            Self::Id => "1 to 64 visible ASCII characters",
            Self::Quality => "a whole number from 1 to 100",
            Self::Lossless => "0 or 1",
            Self::Background => "a colour as #rrggbb",
            Self::Metadata => "strip or keep",
            Self::Orient => "auto or keep",
            Self::Page => "a4, letter or legal",
            Self::Margin => "millimetres from 0 to 500",
            Self::FontSize => "points from 1 to 288",
            Self::Layout => "flow or plain for text to PDF, reading or physical for PDF to text",
            Self::Password => "1 to 127 bytes without control characters",
        }
    }

    pub(super) fn parse(self, text: &str) -> Result<Value, Failure> {
        self.value(text).ok_or_else(|| {
            let takes = format!("option `{}` takes {}", self.name(), self.takes());
            match self {
                // An answer is printed and logged: a secret does not belong there.
                Self::Password => bad(format!("{takes}, and has {}", text.len())),
                _ => bad(format!("{takes}, not {}", quoted(text))),
            }
        })
    }

    fn value(self, text: &str) -> Option<Value> {
        Some(match self {
            Self::Name => Value::Name(is_name(text).then(|| text.to_owned())?),
            Self::Checksum => Value::Checksum(ChecksumKind::from_name(text)?),
            Self::Id => Value::Id(is_id(text).then(|| text.to_owned())?),
            Self::Quality => Value::Quality(quality(text)?),
            Self::Lossless => Value::Lossless(one_of(text, [("0", false), ("1", true)])?),
            Self::Background => Value::Background(Background { rgb: colour(text)? }),
            Self::Metadata => Value::Metadata(one_of(
                text,
                [("strip", Metadata::Strip), ("keep", Metadata::Keep)],
            )?),
            Self::Orient => {
                Value::Orient(one_of(text, [("auto", Orient::Auto), ("keep", Orient::Keep)])?)
            }
            Self::Page => Value::Page(one_of(
                text,
                [("a4", PageSize::A4), ("letter", PageSize::Letter), ("legal", PageSize::Legal)],
            )?),
            Self::Margin => Value::Margin(number(text, 0.0, MARGIN_MM_MAX)?),
            Self::FontSize => Value::FontSize(number(text, FONT_SIZE_PT_MIN, FONT_SIZE_PT_MAX)?),
            Self::Layout => match text {
                "flow" => Value::PdfLayout(PdfLayout::Flow),
                "plain" => Value::PdfLayout(PdfLayout::Plain),
                "reading" => Value::TextLayout(TextLayout::Reading),
                "physical" => Value::TextLayout(TextLayout::Physical),
                _ => return None,
            },
            Self::Password => Value::Password(Password::new(text)?),
        })
    }

    /// Refuses a layout of the other direction between text and PDF: `layout` is one key with two
    /// meanings. Any other option may come with any operation, so that a caller with one set of
    /// options for many conversions need not sort them; what an operation has no use for, it ignores.
    pub(super) fn check_operation(
        self,
        value: &Value,
        operation: Operation,
    ) -> Result<(), Failure> {
        let takes = match (value, operation) {
            (Value::PdfLayout(_), Operation::Convert(Target::Text)) => "`reading` or `physical`",
            (Value::TextLayout(_), Operation::Convert(Target::Pdf)) => "`flow` or `plain`",
            _ => return Ok(()),
        };
        Err(bad(format!(
            "option `{}` takes {takes} in a conversion to {}",
            self.name(),
            operation.name()
        )))
    }
}

fn one_of<T, const N: usize>(text: &str, choices: [(&str, T); N]) -> Option<T> {
    choices.into_iter().find_map(|(name, value)| (name == text).then_some(value))
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(char::is_control)
}

fn is_id(text: &str) -> bool {
    (1..=ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// `str::parse` alone would take a plus sign.
fn quality(text: &str) -> Option<Quality> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten().and_then(Quality::new)
}

fn colour(text: &str) -> Option<[u8; 3]> {
    let digits = text.strip_prefix('#')?;
    if digits.len() != 6 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let [_, rgb @ ..] = u32::from_str_radix(digits, 16).ok()?.to_be_bytes();
    Some(rgb)
}

/// A decimal fraction. `str::parse` alone would take signs, exponents, `inf` and `nan`.
fn number(text: &str, min: f32, max: f32) -> Option<f32> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let value: f32 = plain.then(|| text.parse().ok()).flatten()?;
    (min..=max).contains(&value).then_some(value)
}
