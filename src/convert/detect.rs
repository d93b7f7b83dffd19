//! Telling a type by magic number and structure, never by name.
//!
//! A file that begins as one of the types is of this type, however broken it is further on: the
//! conversion then says what is wrong with it. Text has no magic number; it is what reads as text.

use std::str;

const PDF_HEADER: &[u8] = b"%PDF-";

/// Readers look for a PDF's header this far into the file.
const PDF_HEADER_WITHIN: usize = 1024;

/// Where a PDF has junk before its header, its end or its first objects must be near.
const PDF_EVIDENCE_WITHIN: usize = 2048;

/// One byte in this many may be a control character that text does not use.
const CONTROLS_PER: usize = 100;

/// One byte in this many may be a control character of Latin-1, which Windows prints as quotes.
const HIGH_CONTROLS_PER: usize = 16;

/// A type that can be converted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SourceType {
    /// JPEG.
    Jpg,
    /// PNG.
    Png,
    /// WEBP.
    Webp,
    /// PDF.
    Pdf,
    /// Text in UTF-8, UTF-16 with a byte order mark, or Latin-1.
    Text,
}

impl SourceType {
    /// The name that people use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Jpg => "JPG",
            Self::Png => "PNG",
            Self::Webp => "WEBP",
            Self::Pdf => "PDF",
            Self::Text => "text",
        }
    }
}

/// The type of `input`, or `None` where it is none of ours.
///
/// An empty file is text. NULs that pad a text do not count.
#[must_use]
pub fn detect(input: &[u8]) -> Option<SourceType> {
    let known = infer::get(input);
    match known.map(|kind| kind.mime_type()) {
        Some("image/jpeg") if is_jpeg(input) => return Some(SourceType::Jpg),
        Some("image/png") if is_png(input) => return Some(SourceType::Png),
        Some("image/webp") if is_webp(input) => return Some(SourceType::Webp),
        _ if input.starts_with(PDF_HEADER) => return Some(SourceType::Pdf),
        _ => {}
    }
    // Some magic numbers are words that a text may begin with, so a text that is clean throughout
    // wins over them. Anything doubtful does not.
    let binary = known.is_some_and(|kind| {
        kind.matcher_type() != infer::MatcherType::Text && kind.mime_type() != "application/pdf"
    });
    if !binary && is_pdf_behind_junk(input) {
        return Some(SourceType::Pdf);
    }
    let text = match text_likeness(input) {
        Likeness::Clean => true,
        Likeness::Doubtful => !binary,
        Likeness::None => false,
    };
    text.then_some(SourceType::Text)
}

/// The start of image, then a marker: any but the stuffed zero and the reserved ones below SOF.
fn is_jpeg(input: &[u8]) -> bool {
    matches!(input, [0xff, 0xd8, 0xff] | [0xff, 0xd8, 0xff, 0xc0..=0xff, ..])
}

/// The signature, then the header chunk, as far as the file goes.
fn is_png(input: &[u8]) -> bool {
    const HEAD: &[u8; 16] = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR";
    let length = input.len().min(HEAD.len());
    input[..length] == HEAD[..length]
}

/// A RIFF container of type WEBP whose first chunk is one of the three pictures, as far as the file
/// goes.
fn is_webp(input: &[u8]) -> bool {
    let kind = input.get(12..).unwrap_or_default();
    let kind = &kind[..kind.len().min(4)];
    input.starts_with(b"RIFF")
        && input.get(8..12) == Some(b"WEBP")
        && [b"VP8 ", b"VP8L", b"VP8X"].iter().any(|known| known.starts_with(kind))
}

/// A header after the file's start, with a version, and more of a PDF around it: a text that only
/// speaks of PDF has the first but not the second.
fn is_pdf_behind_junk(input: &[u8]) -> bool {
    let head = &input[..input.len().min(PDF_HEADER_WITHIN + PDF_HEADER.len())];
    let Some(at) = find(head, PDF_HEADER) else { return false };
    let after = &input[at + PDF_HEADER.len()..];
    if !after.first().is_some_and(u8::is_ascii_digit) {
        return false;
    }
    let tail = &input[input.len().saturating_sub(PDF_EVIDENCE_WITHIN)..];
    find(tail, b"startxref").is_some()
        || find(&after[..after.len().min(PDF_EVIDENCE_WITHIN)], b" obj").is_some()
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Likeness {
    /// Valid in its encoding, without a byte that text does not use.
    Clean,
    /// Text as far as one can tell.
    Doubtful,
    None,
}

fn text_likeness(input: &[u8]) -> Likeness {
    match input {
        [] => return Likeness::Clean,
        [0xff, 0xfe, rest @ ..] => return utf16_likeness(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => return utf16_likeness(rest, u16::from_be_bytes),
        _ => {}
    }
    let padding = input.iter().rev().take_while(|&&byte| byte == 0).count();
    let body = &input[..input.len() - padding];
    if body.is_empty() {
        return Likeness::None;
    }
    let controls = count(body, is_odd_control);
    let few_controls = controls * CONTROLS_PER <= body.len();
    match str::from_utf8(body) {
        Ok(_) if controls == 0 && !body.contains(&0) => Likeness::Clean,
        Ok(_) if few_controls => Likeness::Doubtful,
        // A file that was cut inside of its last character.
        Err(error) if error.error_len().is_none() && error.valid_up_to() > 0 && few_controls => {
            Likeness::Doubtful
        }
        Err(_) if few_controls && is_latin1(body) => Likeness::Doubtful,
        _ => Likeness::None,
    }
}

/// Mostly ASCII, without NULs, and few of the control characters from 0x80 to 0x9f. Scripts that
/// have no letters in ASCII have other encodings, and would be misread as Latin-1 anyway.
fn is_latin1(body: &[u8]) -> bool {
    let printable = count(body, |byte| matches!(byte, 0x20..=0x7e | b'\t' | b'\n' | b'\r'));
    let high_controls = count(body, |byte| matches!(byte, 0x80..=0x9f));
    printable * 2 >= body.len()
        && high_controls * HIGH_CONTROLS_PER <= body.len()
        && !body.contains(&0)
}

/// Pairs that are characters or halves of them, with few control characters. A last odd byte is
/// what a cut leaves.
fn utf16_likeness(body: &[u8], unit: fn([u8; 2]) -> u16) -> Likeness {
    let units = body.as_chunks::<2>().0;
    let odd = units
        .iter()
        .filter(|&&pair| {
            let unit = unit(pair);
            unit >= 0xfffe || (unit != 0 && u8::try_from(unit).is_ok_and(is_odd_control))
        })
        .count();
    // Padding may follow, but a text begins with a character.
    let begins_well = units.first().is_none_or(|&pair| unit(pair) != 0);
    match odd {
        _ if !begins_well => Likeness::None,
        0 => Likeness::Clean,
        _ if odd * CONTROLS_PER <= units.len() => Likeness::Doubtful,
        _ => Likeness::None,
    }
}

/// Control characters that no text uses. Text does use tab, line feed, vertical tab, form feed,
/// return, backspace (overstriking), escape (colours), and the end mark of DOS; NUL pads.
fn is_odd_control(byte: u8) -> bool {
    let used = matches!(byte, 0 | 0x08..=0x0d | 0x1a | 0x1b);
    (byte < 0x20 && !used) || byte == 0x7f
}

/// Counts in blocks small enough for vector code with a byte for each lane's count.
fn count(bytes: &[u8], wanted: impl Fn(u8) -> bool) -> usize {
    bytes
        .chunks(255)
        .map(|block| {
            usize::from(block.iter().fold(0_u8, |sum, &byte| sum + u8::from(wanted(byte))))
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::SourceType::{Jpg, Pdf, Png, Text, Webp};
    use super::*;

    #[test]
    fn pictures_are_told_by_magic_and_structure() {
        let png = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\x01";
        let webp = b"RIFF\x1a\0\0\0WEBPVP8L\x0d\0\0\0";
        for length in 4..png.len() {
            assert_eq!(detect(&png[..length]), Some(Png), "{length}");
        }
        for length in 12..webp.len() {
            assert_eq!(detect(&webp[..length]), Some(Webp), "{length}");
        }
        assert_eq!(detect(b"\xff\xd8\xff"), Some(Jpg));
        assert_eq!(detect(b"\xff\xd8\xff\xe0\0\x10JFIF"), Some(Jpg));
        assert_eq!(detect(b"\xff\xd8\xff\xff\xdb"), Some(Jpg));

        assert_eq!(detect(b"\xff\xd8\xff\0\0\0\0\0"), None);
        assert_eq!(detect(b"\x89PNG\r\n\x1a\n\0\0\0\x0dCgBI"), None);
        assert_eq!(detect(b"\x89PNG\n\n\x1a\n\0\0\0\x0dIHDR"), None);
        assert_eq!(detect(b"RIFF\x1a\0\0\0WEBPJUNK\x0d\0\0\0"), None);
        assert_eq!(detect(b"RIFF\x1a\0\0\0WAVEfmt \x10\0\0\0"), None);
    }

    #[test]
    fn pdf_may_have_junk_before_its_header() {
        let pdf = b"%PDF-1.4\n1 0 obj\n<<>>\nendobj\nstartxref\n0\n%%EOF\n".as_slice();
        assert_eq!(detect(b"%PDF-"), Some(Pdf));
        assert_eq!(detect(pdf), Some(Pdf));
        for junk in [b"\n".as_slice(), b"\xef\xbb\xbf", b"HTTP/1.1 200 OK\r\n\r\n", &[0x80; 1024]] {
            assert_eq!(detect(&[junk, pdf].concat()), Some(Pdf), "{}", junk.len());
        }
        assert_ne!(detect(&[&[b' '; 1025], pdf].concat()), Some(Pdf));
        assert_eq!(detect(&[b"PK\x03\x04\x14\0\0\0", pdf].concat()), None);
        assert_eq!(detect(b"A PDF begins with %PDF-1.4 and a line feed.\n"), Some(Text));
    }

    #[test]
    fn text_is_told_in_each_encoding() {
        let padded = [b"hello".as_slice(), &[0; 300]].concat();
        let latin1 = b"Stra\xdfe in K\xf6ln, \x84Gr\xfc\xdfe\x93 aus M\xfcnchen und anderswo\n";
        let russian = "Просто текст по-русски, без единой латинской буквы";
        let texts: [&[u8]; 14] = [
            b"",
            b"x",
            b"\n",
            b"hello world\n",
            b"\xef\xbb\xbf",
            b"\xef\xbb\xbfhello",
            b"\xff\xfe",
            b"\xff\xfeh\0e\0l\0l\0o\0",
            b"\xfe\xff\0h\0e\0l\0l\0o",
            b"\x1b[31mred\x1b[0m\x0cnext page\x1a",
            &padded,
            latin1,
            russian.as_bytes(),
            &russian.as_bytes()[..russian.len() - 1],
        ];
        for text in texts {
            assert_eq!(detect(text), Some(Text), "{:?}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn text_that_looks_like_a_format_is_text() {
        let texts = [
            "#!/bin/sh\necho hello\n",
            "<!DOCTYPE html>\n<html></html>",
            "<?xml version=\"1.0\"?><a/>",
            "{\"a\": [1, 2]}",
            "From someone@example.org Mon Jan 1 00:00:00 2024\nSubject: x\n\nbody\n",
            "BM is how a bitmap begins, and how a sentence may\n",
            "GIF89a was a format\n",
            "ID3 tags are in music\n",
            "MZ said the executable\n",
            "%!PS-Adobe-3.0\nshowpage\n",
            "{\\rtf1 rich}",
            "BEGIN:VCARD\nVERSION:3.0\nEND:VCARD\n",
            "BZh9 is not a sentence, but it is text\n",
        ];
        for text in texts {
            assert_eq!(detect(text.as_bytes()), Some(Text), "{text}");
        }
    }

    #[test]
    fn binary_is_unknown() {
        let high: Vec<u8> = (0x80..=0xff).collect();
        let all: Vec<u8> = (0..=0xff).collect();
        let elf = [b"\x7fELF\x02\x01\x01\0".as_slice(), &[0; 56]].concat();
        let mut tar = vec![0; 1024];
        tar[..8].copy_from_slice(b"name.txt");
        tar[257..262].copy_from_slice(b"ustar");
        let files: [&[u8]; 12] = [
            &high,
            &all,
            &elf,
            &tar,
            b"PK\x03\x04\x14\0\x08\0",
            b"GIF89a\x01\0\x01\0\x80\0\0",
            b"\x1f\x8b\x08\0\0\0\0\0",
            b"\0\0\0\x18ftypmp42",
            b"\xff\xfe\0\0h\0\0\0",
            &[0; 100],
            b"\x01\x02\x03",
            b"\xff\xd8",
        ];
        for file in files {
            assert_eq!(detect(file), None, "{:?}", String::from_utf8_lossy(file));
        }
    }

    #[test]
    fn one_byte_is_text_where_ascii_has_a_use_for_it() {
        for byte in 0..=255_u8 {
            let used = matches!(byte, 0x20..=0x7e | 0x08..=0x0d | 0x1a | 0x1b);
            assert_eq!(detect(&[byte]), used.then_some(Text), "{byte:#x}");
        }
    }

    proptest! {
        #[test]
        fn printable_strings_are_text(text in "\\PC{1,200}") {
            prop_assume!(!text.starts_with("%PDF-"));
            prop_assert_eq!(detect(text.as_bytes()), Some(Text));
        }

        #[test]
        fn any_bytes_are_looked_at_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = detect(&bytes);
        }
    }
}
