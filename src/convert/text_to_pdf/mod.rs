//! Text to PDF.
//!
//! Owns: decoding ([`decode`]), lines and paragraphs ([`lines`], [`flow`]), the layout ([`layout`])
//! and the PDF it ends in ([`document`]). A text of characters in `WinAnsi` is set in the standard
//! Helvetica, with nothing embedded; any other in subsets of embedded fonts ([`embedded`]).
//! Must never: look for fonts or read files. Who has further fonts hands them in ([`FontData`]).
//!
//! What is done with characters that are not drawn:
//! - Trailing NULs are dropped, others are spaces.
//! - CR, LF, CRLF, VT, NEL, U+2028 and U+2029 end a line, a form feed also the page.
//! - Other controls are dropped.
//! - Joiners, directional marks, variation selectors and the soft hyphen take no space, and read
//!   back.
//! - A character that no font has is an empty box, and reads back as what it is. How many there are is
//!   said in the document information ([`notice`]).

mod decode;
mod document;
mod embedded;
mod flow;
mod font_file;
mod frame;
mod layout;
mod line_items;
mod lines;
mod notice;
mod standard;
#[cfg(test)]
mod tests;
mod tounicode;
mod typeface;

pub use self::font_file::FontData;
pub(super) use self::notice::notice;
use self::{
    document::PdfFile, embedded::Embedded, frame::Frame, layout::Layout, standard::Helvetica,
    typeface::Typeface,
};
use super::{Error, Options, PdfLayout};
use crate::limits::ConvertLimits;

/// Sets `input` as a PDF, in the built-in fonts and, for what they lack, in `fonts`. The same of all
/// these gives the same bytes.
///
/// # Errors
///
/// `BadOption` where no line fits the page; `LimitExceeded` where the PDF would have too many pages
/// or bytes.
pub(super) fn convert(
    input: &[u8],
    options: &Options,
    limits: &ConvertLimits,
    fonts: &[FontData<'_>],
) -> Result<Vec<u8>, Error> {
    let frame = Frame::new(options)?;
    let file = PdfFile::new(&frame, limits)?;
    let text = decode::decode(input);
    if standard::covers(&text) {
        lay_out(&text, options.pdf_layout, Layout::new(frame, Helvetica, file, false))
    } else {
        let face = Embedded::new(fonts)?;
        let bidi = text.chars().any(super::bidi::turns);
        lay_out(&text, options.pdf_layout, Layout::new(frame, face, file, bidi))
    }
}

fn lay_out<F: Typeface>(
    text: &str,
    how: PdfLayout,
    mut layout: Layout<F>,
) -> Result<Vec<u8>, Error> {
    match how {
        PdfLayout::Plain => layout.plain(text)?,
        PdfLayout::Flow => layout.flow(text)?,
    }
    layout.finish()
}
