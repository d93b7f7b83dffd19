//! Finding objects where the cross-reference table is missing, cut off or wrong.

use std::collections::HashMap;

use lopdf::{Dictionary, Object};

use super::file::{File, Place};
use super::lexer::{Lexer, find, is_white};
use super::parse;
use crate::convert::Error;

/// Offsets of everything that looks like `id generation obj`; of several with one number the last,
/// which is the newest in a file that was updated by appending.
pub(super) fn scan(data: &[u8]) -> HashMap<u32, usize> {
    let mut found = HashMap::new();
    let mut at = 0;
    while let Some(word) = find(data, b"obj", at) {
        at = word + 3;
        if let Some((id, offset)) = header_before(data, word) {
            found.insert(id, offset);
        }
    }
    found
}

/// The number before `generation` before `word`, and where it begins.
fn header_before(data: &[u8], word: usize) -> Option<(u32, usize)> {
    let generation_end = skip_back(data, word, is_white);
    let generation = skip_back(data, generation_end, |byte| byte.is_ascii_digit());
    let id_end = skip_back(data, generation, is_white);
    let id = skip_back(data, id_end, |byte| byte.is_ascii_digit());
    // Ten digits are more than any object number has, and bound the walk backwards.
    let sane = generation < generation_end && id_end < generation && id < id_end;
    let digits = data.get(id..id_end).filter(|digits| sane && digits.len() <= 10)?;
    Some((std::str::from_utf8(digits).ok()?.parse().ok()?, id))
}

fn skip_back(data: &[u8], from: usize, skip: impl Fn(u8) -> bool) -> usize {
    let floor = from.saturating_sub(16);
    let mut at = from;
    while at > floor && skip(data[at - 1]) {
        at -= 1;
    }
    at
}

/// Fills `file` from a scan: objects, trailers, cross-reference streams' dictionaries and the objects
/// in object streams; failing a trailer, any catalog.
pub(super) fn rebuild(file: &mut File<'_>) -> Result<(), Error> {
    let mut found: Vec<(u32, usize)> = scan(file.data).into_iter().collect();
    found.sort_unstable_by_key(|&(_, offset)| offset);
    let mut trailer = trailers(file);
    for &(id, offset) in &found {
        // A number beyond the limit in a damaged file is damage, not a reason to refuse it.
        if id < file.limits.objects_max {
            file.place(id, Place::Offset(offset))?;
        }
    }
    for &(id, _) in &found {
        let Some(dict) = file.node(id).and_then(|node| node.dict()) else { continue };
        if dict.has_type(b"XRef") {
            merge(&mut trailer, dict);
        }
    }
    file.trailer = trailer;
    add_contained(file)
}

/// Adds the objects of all object streams, and a catalog where the trailer has none. Does the latter
/// again once a file is decrypted.
pub(super) fn add_contained(file: &mut File<'_>) -> Result<(), Error> {
    let is_type = |file: &File<'_>, id: u32, name: &[u8]| {
        file.node(id).and_then(|node| node.dict()).is_some_and(|dict| dict.has_type(name))
    };
    for id in 0..file.object_count() {
        if is_type(file, id, b"ObjStm") {
            for inner in file.contained(id) {
                if inner < file.limits.objects_max && !file.knows(inner) {
                    file.place(inner, Place::Inside(id))?;
                }
            }
        }
    }
    let root = file.trailer.get(b"Root").and_then(Object::as_reference).ok();
    if root.is_none_or(|(id, _)| file.node(id).is_none_or(|node| node.dict().is_none()))
        && let Some(id) = (0..file.object_count()).rev().find(|&id| is_type(file, id, b"Catalog"))
    {
        file.trailer.set("Root", Object::Reference((id, 0)));
    }
    Ok(())
}

/// All `trailer` dictionaries as one, where later entries win.
fn trailers(file: &File<'_>) -> Dictionary {
    let (mut all, mut at) = (Dictionary::new(), 0);
    while let Some(word) = find(file.data, b"trailer", at) {
        at = word + b"trailer".len();
        let mut lexer = Lexer::new(file.data, at);
        let object = parse::object(&mut lexer, file.limits.nesting_max);
        if let Some(dict) = object.as_ref().and_then(|object| object.as_dict().ok()) {
            merge(&mut all, dict);
            at = lexer.pos.max(at);
        }
    }
    all
}

fn merge(all: &mut Dictionary, newer: &Dictionary) {
    for key in [b"Root".as_slice(), b"Encrypt", b"ID", b"Info"] {
        if let Ok(value) = newer.get(key) {
            all.set(key, value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scan_takes_the_last_of_one_number() {
        let data = b"1 0 obj<<>>endobj\n12 0\nobj 5 endobj 1 0 obj(new)endobj obj x obj";
        let found = scan(data);
        assert_eq!(found.len(), 2);
        assert_eq!(found.get(&1), find(data, b"1 0 obj(new", 0).as_ref());
        assert_eq!(found.get(&12), Some(&18));
    }
}
