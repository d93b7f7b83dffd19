//! Marked content: text that stands for glyphs, and layers that are switched off.

use std::collections::HashSet;

use lopdf::{Dictionary, Object};

use super::file::File;
use super::layout::Run;

/// Marked content nested deeper is counted, not kept.
const OPEN_MAX: usize = 256;

/// A replaced stretch of glyphs: how it runs, where it begins and ends, and its text.
pub(super) type Replacement = (Run, (f64, f64), (f64, f64), String);

/// Where a span lies: the run of its first glyph, where that begins and the last one ends.
type Extent = (Run, (f64, f64), (f64, f64));

#[derive(Debug)]
struct Span {
    replacement: Option<String>,
    place: Option<Extent>,
    hidden: bool,
}

/// The marked content that is open, and the layers of the file.
#[derive(Debug)]
pub(super) struct Marked {
    open: Vec<Span>,
    beyond: u32,
    hidden: u32,
    replacing: u32,
    /// Layers that the file shows by default as off.
    off: HashSet<u32>,
}

impl Marked {
    pub(super) fn new(file: &File<'_>) -> Self {
        let mut off = HashSet::new();
        let root =
            file.trailer.get(b"Root").ok().and_then(|root| file.resolve(root).as_dict().ok());
        let default = root
            .and_then(|root| file.dict(root, b"OCProperties"))
            .and_then(|properties| file.dict(properties, b"D"));
        let list = default.and_then(|default| file.entry(default, b"OFF")?.as_array().ok());
        for group in list.into_iter().flatten() {
            off.extend(group.as_reference().map(|(id, _)| id));
        }
        Self { open: Vec::new(), beyond: 0, hidden: 0, replacing: 0, off }
    }

    pub(super) fn clear(&mut self) {
        self.open.clear();
        (self.beyond, self.hidden, self.replacing) = (0, 0, 0);
    }

    /// Whether `dict` (a form, an annotation) belongs to a layer that is off.
    pub(super) fn is_off(&self, file: &File<'_>, dict: &Dictionary) -> bool {
        dict.get(b"OC").is_ok_and(|group| self.group_is_off(file, group))
    }

    /// Whether a layer is off; of a membership dictionary, whether all its layers are.
    pub(super) fn group_is_off(&self, file: &File<'_>, group: &Object) -> bool {
        if self.off.is_empty() {
            return false;
        }
        let listed =
            |object: &Object| object.as_reference().is_ok_and(|(id, _)| self.off.contains(&id));
        if listed(group) {
            return true;
        }
        let Ok(dict) = file.resolve(group).as_dict() else { return false };
        match dict.get(b"OCGs") {
            Ok(Object::Array(groups)) => !groups.is_empty() && groups.iter().all(listed),
            Ok(group) => listed(group),
            Err(_) => false,
        }
    }

    pub(super) fn open(&mut self, replacement: Option<String>, hidden: bool) {
        if self.open.len() >= OPEN_MAX {
            self.beyond += 1;
            return;
        }
        self.hidden += u32::from(hidden);
        self.replacing += u32::from(replacement.is_some());
        self.open.push(Span { replacement, place: None, hidden });
    }

    /// Ends the innermost span; the text that stands for its glyphs, if there is one.
    pub(super) fn close(&mut self) -> Option<Replacement> {
        if self.beyond > 0 {
            self.beyond -= 1;
            return None;
        }
        let span = self.open.pop()?;
        self.hidden -= u32::from(span.hidden);
        let text = span.replacement?;
        self.replacing -= 1;
        // Inside another replaced span the outer one speaks.
        let (run, from, to) = span.place.filter(|_| self.replacing == 0 && self.hidden == 0)?;
        Some((run, from, to, text))
    }

    /// Whether a glyph is shown as itself. One that is replaced leaves its place behind.
    pub(super) fn shows(&mut self, run: &Run, from: (f64, f64), to: (f64, f64)) -> bool {
        if self.hidden > 0 {
            return false;
        }
        if self.replacing == 0 {
            return true;
        }
        for span in self.open.iter_mut().filter(|span| span.replacement.is_some()) {
            let place = span.place.get_or_insert((*run, from, to));
            place.2 = to;
        }
        false
    }
}

/// A text string: UTF-16 or UTF-8 by its byte order mark, else Latin-1 as a close relative of
/// `PDFDocEncoding`.
pub(super) fn text_string(bytes: &[u8]) -> String {
    match bytes {
        [0xfe, 0xff, rest @ ..] => {
            let units = rest.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            char::decode_utf16(units).filter_map(Result::ok).collect()
        }
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8_lossy(rest).into_owned(),
        _ => bytes.iter().map(|&byte| char::from(byte)).collect(),
    }
}
