//! Cross-reference tables and streams, with their chain of earlier ones.

use std::collections::HashSet;

use lopdf::Dictionary;

use super::file::{File, Place};
use super::lexer::{Lexer, Token, find};
use super::parse;
use crate::convert::Error;

/// Reads all tables from the last `startxref` on. `None` where the chain is broken at its start or
/// names no catalog: a scan does better then.
pub(super) fn read(file: &mut File<'_>) -> Result<Option<()>, Error> {
    let Some(start) = last_startxref(file.data) else { return Ok(None) };
    let (mut seen, mut next) = (HashSet::new(), vec![start]);
    while let Some(offset) = next.pop() {
        if !seen.insert(offset) {
            continue;
        }
        let Some(trailer) = section(file, offset)? else {
            // An earlier table that cannot be read leaves objects out: better to scan.
            return Ok(None);
        };
        let offset_of = |key: &[u8]| {
            let value = trailer.get(key).ok().and_then(|value| value.as_i64().ok());
            value.and_then(|value| usize::try_from(value).ok())
        };
        // Popped in the order of the standard: the hybrid stream, then the table before.
        next.extend(offset_of(b"Prev"));
        next.extend(offset_of(b"XRefStm"));
        for (key, value) in &trailer {
            if !file.trailer.has(key) {
                file.trailer.set(key.clone(), value.clone());
            }
        }
    }
    Ok(file.trailer.has(b"Root").then_some(()))
}

fn last_startxref(data: &[u8]) -> Option<usize> {
    let from = data.len().saturating_sub(2048);
    let mut last = None;
    let mut at = from;
    while let Some(found) = find(data, b"startxref", at) {
        last = Some(found);
        at = found + 1;
    }
    let mut lexer = Lexer::new(data, last? + b"startxref".len());
    match lexer.next(&mut Vec::new()) {
        Token::Int(offset) => usize::try_from(offset).ok().filter(|&offset| offset < data.len()),
        _ => None,
    }
}

fn section(file: &mut File<'_>, offset: usize) -> Result<Option<Dictionary>, Error> {
    let mut lexer = Lexer::new(file.data, offset);
    lexer.skip_white();
    if file.data[lexer.pos..].starts_with(b"xref") {
        lexer.pos += b"xref".len();
        table(file, &mut lexer)
    } else {
        stream(file, lexer.pos)
    }
}

fn table(file: &mut File<'_>, lexer: &mut Lexer<'_>) -> Result<Option<Dictionary>, Error> {
    let mut unused = Vec::new();
    loop {
        let first = match lexer.next(&mut unused) {
            Token::Keyword(b"trailer") => break,
            Token::Int(first) => first,
            _ => return Ok(None),
        };
        let Token::Int(count) = lexer.next(&mut unused) else { return Ok(None) };
        let mut first = u32::try_from(first).unwrap_or(u32::MAX);
        for at in 0..u32::try_from(count).unwrap_or(0) {
            let before = lexer.pos;
            let (Token::Int(offset), Token::Int(generation)) =
                (lexer.next(&mut unused), lexer.next(&mut unused))
            else {
                // Fewer entries than were promised.
                lexer.pos = before;
                break;
            };
            match lexer.next(&mut unused) {
                Token::Keyword(b"n") => {
                    let offset = usize::try_from(offset).unwrap_or(usize::MAX);
                    file.place(first.saturating_add(at), Place::Offset(offset))?;
                }
                Token::Keyword(b"f") => {
                    // Some writers number the table from 1 though its first entry is object 0's.
                    if at == 0 && first == 1 && offset == 0 && generation == 65535 {
                        first = 0;
                    }
                }
                _ => return Ok(None),
            }
        }
    }
    let trailer = parse::object(lexer, file.limits.nesting_max);
    Ok(trailer.and_then(|trailer| trailer.as_dict().ok().cloned()))
}

fn stream(file: &mut File<'_>, offset: usize) -> Result<Option<Dictionary>, Error> {
    let Some(node) = file.parse_at(offset) else { return Ok(None) };
    let Some(dict) = node.dict().filter(|dict| dict.has_type(b"XRef")) else { return Ok(None) };
    let Some(data) = file.decode(&node)? else { return Ok(None) };
    let widths: Vec<usize> = match file.numbers(dict, b"W") {
        Some(widths) if widths.len() >= 3 => widths.iter().map(|&width| width as usize).collect(),
        _ => return Ok(None),
    };
    let record = widths[0].saturating_add(widths[1]).saturating_add(widths[2]);
    if record == 0 || widths.iter().any(|&width| width > 8) {
        return Ok(None);
    }
    let size = file.integer(dict, b"Size").unwrap_or(0) as f64;
    let index = file.numbers(dict, b"Index").unwrap_or_else(|| vec![0.0, size]);
    let mut records = data.chunks_exact(record);
    for range in index.chunks_exact(2) {
        let (first, count) = (range[0] as u32, range[1] as u32);
        for (at, record) in records.by_ref().take(count as usize).enumerate() {
            let id = first.saturating_add(at as u32);
            if let Some(place) = entry(record, &widths) {
                file.place(id, place)?;
            }
        }
    }
    Ok(Some(dict.clone()))
}

fn entry(record: &[u8], widths: &[usize]) -> Option<Place> {
    let (kind, rest) = record.split_at(widths[0]);
    let (second, _) = rest.split_at(widths[1]);
    let value = |bytes: &[u8]| bytes.iter().fold(0_u64, |all, &byte| all << 8 | u64::from(byte));
    match if kind.is_empty() { 1 } else { value(kind) } {
        1 => Some(Place::Offset(usize::try_from(value(second)).ok()?)),
        2 => Some(Place::Inside(u32::try_from(value(second)).ok()?)),
        _ => None,
    }
}
