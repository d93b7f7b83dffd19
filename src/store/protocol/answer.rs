//! Answers.

use super::super::name::{NAME_BYTES_MAX, Name};
use super::{OP_SHIFT, SIZE_BYTES};

/// What HELP answers with: its length must fit five bits.
pub const HELP_TEXT: &str = "bye change get help put summary";
const _: () = assert!(HELP_TEXT.len() <= NAME_BYTES_MAX);

/// An answer of one byte. A reader tests its upper three bits alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// PUT and CHANGE are done.
    Done = 0x00,
    /// There is no file of that name.
    NotFound = 0x60,
    /// There is no such operation.
    Unknown = 0x80,
    /// The request is understood, and not done.
    Refused = 0xa0,
}

/// The first byte of the answer to HELP, before its length.
const HELP: u8 = 0xc0;

/// What precedes the data of a file or a summary. GET and SUMMARY answer alike, each with its own
/// upper bits.
#[derive(Debug, Clone, Copy)]
pub struct FileHead {
    bytes: [u8; Self::BYTES_MAX],
    len: usize,
}

/// Upper three bits of an answer that has a file in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FileKind {
    /// The answer to GET.
    File = 1,
    /// The answer to SUMMARY.
    Summary = 2,
}

impl Answer {
    /// The byte of the wire.
    #[must_use]
    pub fn byte(self) -> u8 {
        self as u8
    }

    /// The answer to HELP.
    #[must_use]
    pub fn help() -> Vec<u8> {
        // The assertion above keeps the length within its five bits.
        let length = HELP_TEXT.len().to_le_bytes()[0];
        [&[HELP | length], HELP_TEXT.as_bytes()].concat()
    }

    /// The name in log lines.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Done => "DONE",
            Self::NotFound => "NOT_FOUND",
            Self::Unknown => "UNKNOWN",
            Self::Refused => "REFUSED",
        }
    }
}

impl FileHead {
    /// A byte, a name and a size.
    pub const BYTES_MAX: usize = 1 + NAME_BYTES_MAX + SIZE_BYTES;

    /// The head of a file's data.
    #[must_use]
    pub fn file(name: &Name, bytes: u32) -> Self {
        Self::new(FileKind::File, name, bytes)
    }

    /// The head of a summary's text.
    #[must_use]
    pub fn summary(name: &Name, bytes: u32) -> Self {
        Self::new(FileKind::Summary, name, bytes)
    }

    /// How many bytes it has with this name.
    #[must_use]
    pub fn bytes_with(name: &Name) -> usize {
        1 + name.as_str().len() + SIZE_BYTES
    }

    fn new(kind: FileKind, name: &Name, size: u32) -> Self {
        let (mut bytes, len) = ([0; Self::BYTES_MAX], Self::bytes_with(name));
        let name = name.as_str().as_bytes();
        // A name has no more than 31 bytes.
        bytes[0] = (kind as u8) << OP_SHIFT | name.len().to_le_bytes()[0];
        bytes[1..=name.len()].copy_from_slice(name);
        bytes[1 + name.len()..len].copy_from_slice(&size.to_be_bytes());
        Self { bytes, len }
    }

    /// The bytes of the wire.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn heads_have_name_and_size() {
        let name = Name::parse(b"file.txt").unwrap();
        assert_eq!(FileHead::file(&name, 12).bytes(), b"\x28file.txt\0\0\0\x0c");
        let longest = Name::parse(&[b'x'; 31]).unwrap();
        let head = FileHead::summary(&longest, u32::MAX);
        assert_eq!(head.bytes().len(), FileHead::BYTES_MAX);
        assert_eq!(head.bytes()[0], 0x5f);
        assert!(head.bytes().ends_with(b"x\xff\xff\xff\xff"));
    }

    #[test]
    fn help_is_one_byte_and_its_text() {
        assert_eq!(Answer::help(), b"\xdfbye change get help put summary");
    }
}
