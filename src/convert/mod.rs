//! Conversions, as pure functions of bytes and options.
//!
//! Owns: telling a type by its content, and turning one type into another in memory.
//! Must never: do I/O, know of sockets or of the wire, panic on what a file contains on purpose, or
//! take memory from a number in a header before it is held against [`ConvertLimits`].

mod bidi;
mod detect;
mod error;
mod estimate;
mod formats;
mod image;
mod options;
mod pdf_to_text;
#[cfg(test)]
mod tests;
mod text_to_pdf;

pub use detect::{SourceType, detect};
pub use error::{Error, ErrorKind};
pub use estimate::memory;
pub use options::{
    Background, Metadata, Options, Orient, PageSize, Password, PdfLayout, Quality, TextLayout,
};

pub use text_to_pdf::FontData;

use crate::limits::ConvertLimits;

/// The codecs that this build holds, one line each, for `fxsrv --version`.
#[must_use]
pub fn codecs() -> Vec<&'static str> {
    let mut lines = image::codecs();
    lines.extend([
        "text to PDF: own layout on printpdf, lopdf",
        "PDF to text: own text layer on lopdf",
    ]);
    lines
}

/// What a file is converted to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    /// JPEG, from a picture.
    Jpg,
    /// PNG, from a picture.
    Png,
    /// WEBP, from a picture.
    Webp,
    /// PDF, from text.
    Pdf,
    /// Text, from a PDF.
    Text,
}

/// Converts `input` to `target`. The source type is told by the content alone.
///
/// # Errors
///
/// Says what is wrong with the file, which limit it passes and by how much, or that the pair of
/// types has no conversion.
pub fn convert(
    input: &[u8],
    target: Target,
    options: &Options,
    limits: &ConvertLimits,
) -> Result<Vec<u8>, Error> {
    convert_with(input, target, options, limits, &[])
}

/// The same, with `fonts` for characters that the built-in ones lack: the first that has it is taken.
///
/// # Errors
///
/// As [`convert`].
pub fn convert_with(
    input: &[u8],
    target: Target,
    options: &Options,
    limits: &ConvertLimits,
    fonts: &[FontData<'_>],
) -> Result<Vec<u8>, Error> {
    let source = detect(input).ok_or_else(|| Error::unknown_type(input))?;
    match (source, target) {
        (
            SourceType::Jpg | SourceType::Png | SourceType::Webp,
            Target::Jpg | Target::Png | Target::Webp,
        ) => image::convert(input, source, target, options, limits),
        (SourceType::Text, Target::Pdf) => text_to_pdf::convert(input, options, limits, fonts),
        (SourceType::Pdf, Target::Text) => pdf_to_text::convert(input, options, limits),
        (source, target) => Err(Error::wrong_type(source, target)),
    }
}

/// What is to be known of a result beside it: characters of a text that no font has. Such a line is
/// within the file, and nowhere else.
#[must_use]
pub fn notice(result: &[u8], target: Target) -> Option<&str> {
    if target == Target::Pdf { text_to_pdf::notice(result) } else { None }
}
