//! PDF to text.
//!
//! Owns: opening a PDF, sound or broken, from memory ([`file`]); reading its pages' operators
//! ([`content`]); telling what their fonts show ([`font`]); putting the text in order ([`layout`]).
//! Must never: trust a number of the file before it is held against a limit, recurse without one,
//! or render anything: pictures, paths and colours are passed over.
//!
//! The text is UTF-8, pages in order, and each page ends with a form feed, also an empty one: so
//! pages can be counted and split, and the result is laid out as pdftotext's. Text that lies wholly
//! outside of a page's media box is left out, as nobody sees it; text that is drawn invisibly is
//! kept, as the recognised text of a scan is.

// Coordinates and code points cross between number types all over this room. Widths are checked
// where a value is used as an index, and a lost fraction of a point changes nothing.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::many_single_char_names
)]

mod annotation;
mod content;
mod file;
mod filters;
mod font;
mod fonts;
mod layout;
mod lexer;
mod line;
mod lzw;
mod marked;
mod matrix;
mod pages;
mod parse;
mod repair;
mod security;
mod state;
mod xref;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use super::{Error, ErrorKind, Options};
use crate::limits::ConvertLimits;
use content::Reader;
use file::File;

/// Converts a PDF to text.
///
/// # Errors
///
/// `Malformed` where no page can be found or a password is needed, `LimitExceeded` where the file
/// asks for more than `limits` allow, `NoText` where the pages hold no text.
pub(super) fn convert(
    input: &[u8],
    options: &Options,
    limits: &ConvertLimits,
) -> Result<Vec<u8>, Error> {
    let mut file = File::open(input, options.password.as_ref(), limits)?;
    if pages::pages(&file)?.is_empty() {
        // The table was sound enough to be taken, and led nowhere.
        file.rebuild()?;
    }
    let pages = pages::pages(&file)?;
    if pages.is_empty() {
        return Err(no_pages(&file));
    }
    let mut reader = Reader::new(&file);
    let mut out = String::new();
    let mut any_text = false;
    for page in &pages {
        reader.read(page)?;
        any_text |= !reader.page.is_empty();
        layout::write(&mut reader.page, options.text_layout, &mut out);
        out.push('\u{c}');
        if out.len() as u64 > limits.output_bytes_max {
            return Err(Error::limit("bytes of text", out.len(), limits.output_bytes_max));
        }
    }
    if any_text { Ok(out.into_bytes()) } else { Err(no_text(pages.len())) }
}

fn no_pages(file: &File<'_>) -> Error {
    let what = if file.object_count() == 0 { "no objects" } else { "no pages" };
    Error::malformed(format!("the PDF has {what} that can be read ({} bytes)", file.data.len()))
        .with_hint("check that the file arrived whole, for example with `qpdf --check`")
}

fn no_text(pages: usize) -> Error {
    let pages = if pages == 1 { "the page".to_owned() } else { format!("the {pages} pages") };
    Error::new(ErrorKind::NoText, format!("the PDF has no text on {pages}"))
        .with_hint("a scan holds only pictures: run optical character recognition (OCR) first")
}
