//! The options block of a v1.1 request: UTF-8 lines `key=value\n`, at most 4096 bytes.
//!
//! Strict, because an option that is passed over in silence is a result that nobody asked for:
//! a key may come once, an unknown one is refused by name, an empty line or a last line without its
//! line feed is refused. A known option may come with any operation; one that has no use for it
//! ignores it.

mod describe;
mod key;
#[cfg(test)]
mod tests;

pub use self::describe::{OPTIONS, OptionInfo, OptionKind};
use self::key::{Key, Value};
use super::request::options_too_long;
use super::text::quoted;
use super::{ChecksumKind, Code, Failure, OPTIONS_BYTES_MAX, Operation};
use crate::convert::{self, Background, Metadata, Orient, PageSize, PdfLayout, TextLayout};

/// All that the options block of a request may say.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RequestOptions {
    /// The full name of the file; informative, never a path.
    pub name: Option<String>,
    /// The kind of the request's checksum, and so of the answer's.
    pub checksum: ChecksumKind,
    /// The caller's own id of the request, for log lines: 1 to 64 visible ASCII characters.
    pub id: Option<String>,
    /// What the conversion is to do.
    pub convert: convert::Options,
}

impl RequestOptions {
    /// Reads a block that belongs to a request for `operation`. An empty block is all defaults.
    ///
    /// # Errors
    ///
    /// `BAD_OPTION`, with the key and the values that it takes.
    pub fn parse(block: &[u8], operation: Operation) -> Result<Self, Failure> {
        if block.len() > OPTIONS_BYTES_MAX {
            return Err(options_too_long(block.len()));
        }
        let text = std::str::from_utf8(block).map_err(|error| {
            bad(format!("the options are not UTF-8 at byte {}", error.valid_up_to()))
        })?;
        let mut options = Self::default();
        let mut seen = 0_u16;
        for line in text.split_inclusive('\n') {
            let (key, value) = split(line)?;
            if seen & key.bit() != 0 {
                return Err(bad(format!("option `{}` is given twice", key.name())));
            }
            seen |= key.bit();
            let value = key.parse(value)?;
            key.check_operation(&value, operation)?;
            options.set(value);
        }
        Ok(options)
    }

    /// The block that says the same, in a fixed order and without what is the default.
    ///
    /// # Errors
    ///
    /// `BAD_OPTION` where a field holds what [`Self::parse`] would refuse, where both layouts are
    /// set, which no one operation takes, or where the block is too long.
    pub fn encode(&self) -> Result<Vec<u8>, Failure> {
        let mut block = Vec::new();
        let mut seen = 0_u16;
        for (key, value) in self.set_values() {
            if seen & key.bit() != 0 {
                return Err(bad(format!("option `{}` is given twice", key.name())));
            }
            seen |= key.bit();
            key.parse(&value)?;
            block.extend_from_slice(key.name().as_bytes());
            block.push(b'=');
            block.extend_from_slice(value.as_bytes());
            block.push(b'\n');
        }
        if block.len() > OPTIONS_BYTES_MAX {
            return Err(options_too_long(block.len()));
        }
        Ok(block)
    }

    fn set(&mut self, value: Value) {
        let convert = &mut self.convert;
        match value {
            Value::Name(name) => self.name = Some(name),
            Value::Checksum(kind) => self.checksum = kind,
            Value::Id(id) => self.id = Some(id),
            Value::Quality(quality) => convert.quality = Some(quality),
            Value::Lossless(lossless) => convert.lossless = lossless,
            Value::Background(background) => convert.background = background,
            Value::Metadata(metadata) => convert.metadata = metadata,
            Value::Orient(orient) => convert.orient = orient,
            Value::Page(page) => convert.page = page,
            Value::Margin(mm) => convert.margin_mm = Some(mm),
            Value::FontSize(pt) => convert.font_size_pt = Some(pt),
            Value::PdfLayout(layout) => convert.pdf_layout = layout,
            Value::TextLayout(layout) => convert.text_layout = layout,
            Value::Password(password) => convert.password = Some(password),
        }
    }

    /// The keys that are not at their default, with their values, in the order of the block.
    fn set_values(&self) -> impl Iterator<Item = (Key, String)> {
        let convert = &self.convert;
        let [r, g, b] = convert.background.rgb;
        let page = match convert.page {
            PageSize::A4 => None,
            PageSize::Letter => Some("letter"),
            PageSize::Legal => Some("legal"),
        };
        let checksum = self.checksum != ChecksumKind::default();
        let background = convert.background != Background::default();
        let keep_metadata = convert.metadata == Metadata::Keep;
        let keep_orient = convert.orient == Orient::Keep;
        let flow = convert.pdf_layout == PdfLayout::Flow;
        let physical = convert.text_layout == TextLayout::Physical;
        [
            (Key::Name, self.name.clone()),
            (Key::Checksum, checksum.then(|| self.checksum.name().to_owned())),
            (Key::Id, self.id.clone()),
            (Key::Quality, convert.quality.map(|quality| quality.value().to_string())),
            (Key::Lossless, convert.lossless.then(|| "1".to_owned())),
            (Key::Background, background.then(|| format!("#{r:02x}{g:02x}{b:02x}"))),
            (Key::Metadata, keep_metadata.then(|| "keep".to_owned())),
            (Key::Orient, keep_orient.then(|| "keep".to_owned())),
            (Key::Page, page.map(str::to_owned)),
            (Key::Margin, convert.margin_mm.map(|mm| mm.to_string())),
            (Key::FontSize, convert.font_size_pt.map(|pt| pt.to_string())),
            (Key::Layout, flow.then(|| "flow".to_owned())),
            (Key::Layout, physical.then(|| "physical".to_owned())),
            (Key::Password, convert.password.as_ref().map(|own| own.reveal().to_owned())),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)))
    }
}

/// One line, with its line feed, as key and value.
fn split(line: &str) -> Result<(Key, &str), Failure> {
    let Some(line) = line.strip_suffix('\n') else {
        return Err(bad(format!("the options end without a line feed, in {}", quoted(line))));
    };
    let Some((key, value)) = line.split_once('=') else {
        return Err(bad(format!("{} is not of the form `key=value`", quoted(line))));
    };
    match Key::from_name(key) {
        Some(key) => Ok((key, value)),
        None => Err(bad(format!("unknown option {}", quoted(key)))
            .with_hint(format!("the options are {}", Key::names()))),
    }
}

fn bad(message: String) -> Failure {
    Failure::new(Code::BadOption, message)
}
