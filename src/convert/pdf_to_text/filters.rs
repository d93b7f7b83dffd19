//! Stream filters, each with a cap on its output as it grows.

use lopdf::{Dictionary, Object};

use super::lexer::{hex_digit, is_white};
use super::lzw;

/// The output passed the cap that was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooLong;

/// One filter of a chain with its parameters.
#[derive(Debug, Clone)]
pub(super) struct Filter {
    pub(super) name: Vec<u8>,
    pub(super) parms: Option<Dictionary>,
}

/// Applies one filter. `Ok(None)` is a filter that yields pictures or is unknown: no text there.
/// A stream that breaks midway yields what came before the break.
pub(super) fn apply(filter: &Filter, data: &[u8], cap: usize) -> Result<Option<Vec<u8>>, TooLong> {
    let parms = filter.parms.as_ref();
    let out = match filter.name.as_slice() {
        b"FlateDecode" | b"Fl" => unpredict(inflate(data, cap)?, parms),
        b"LZWDecode" | b"LZW" => {
            let early = integer(parms, b"EarlyChange").unwrap_or(1) != 0;
            unpredict(lzw::decode(data, early, cap)?, parms)
        }
        b"ASCII85Decode" | b"A85" => ascii85(data, cap)?,
        b"ASCIIHexDecode" | b"AHx" => ascii_hex(data),
        b"RunLengthDecode" | b"RL" => run_length(data, cap)?,
        b"Crypt" => data.to_vec(),
        _ => return Ok(None),
    };
    Ok(Some(out))
}

fn integer(parms: Option<&Dictionary>, key: &[u8]) -> Option<i64> {
    parms?.get(key).ok().and_then(|value| value.as_i64().ok())
}

/// Whole streams go through libdeflate, which is several times faster; what it refuses (a bad
/// checksum, a cut or damaged stream) is read again piece by piece, to keep all up to the damage.
fn inflate(data: &[u8], cap: usize) -> Result<Vec<u8>, TooLong> {
    let mut decompressor = libdeflater::Decompressor::new();
    let mut size = data.len().saturating_mul(5).max(1024).min(cap);
    loop {
        let mut out = vec![0; size];
        match decompressor.zlib_decompress(data, &mut out) {
            Ok(length) => {
                out.truncate(length);
                return Ok(out);
            }
            Err(libdeflater::DecompressionError::InsufficientSpace) if size < cap => {
                size = size.saturating_mul(4).min(cap);
            }
            Err(libdeflater::DecompressionError::InsufficientSpace) => return Err(TooLong),
            Err(libdeflater::DecompressionError::BadData) => return salvage(data, cap),
        }
    }
}

/// Reads past the zlib header, and never looks at the checksum.
fn salvage(data: &[u8], cap: usize) -> Result<Vec<u8>, TooLong> {
    let start = data.iter().position(|&byte| !is_white(byte)).unwrap_or(0);
    let body = data.get(start + 2..).unwrap_or_default();
    let out = inflate_raw(body, cap)?;
    // Some writers leave the two bytes of the zlib header out.
    if out.is_empty() { inflate_raw(data, cap) } else { Ok(out) }
}

fn inflate_raw(data: &[u8], cap: usize) -> Result<Vec<u8>, TooLong> {
    let mut state = flate2::Decompress::new(false);
    let (mut out, mut piece) = (Vec::new(), [0; 16 * 1024]);
    loop {
        let before = (state.total_in(), state.total_out());
        let rest = &data[(before.0 as usize).min(data.len())..];
        let status = state.decompress(rest, &mut piece, flate2::FlushDecompress::None);
        // What came before an error counts.
        let length = (state.total_out() - before.1) as usize;
        if out.len() + length > cap {
            return Err(TooLong);
        }
        out.extend_from_slice(&piece[..length]);
        let stuck = before == (state.total_in(), state.total_out());
        if stuck || !matches!(status, Ok(flate2::Status::Ok | flate2::Status::BufError)) {
            return Ok(out);
        }
    }
}

/// Undoes a PNG (10..=15) or TIFF (2, at 8 bits) predictor.
fn unpredict(data: Vec<u8>, parms: Option<&Dictionary>) -> Vec<u8> {
    let predictor = integer(parms, b"Predictor").unwrap_or(1);
    let size = |key, default, max| integer(parms, key).unwrap_or(default).clamp(1, max) as usize;
    if predictor < 2 {
        return data;
    }
    let colors = size(b"Colors", 1, 32);
    let bits = size(b"BitsPerComponent", 8, 16);
    let columns = size(b"Columns", 1, 1 << 24);
    let pixel = (colors * bits).div_ceil(8);
    let row = (colors * bits * columns).div_ceil(8);
    if predictor == 2 { tiff(data, row, pixel, bits) } else { png(&data, row, pixel) }
}

fn tiff(mut data: Vec<u8>, row: usize, pixel: usize, bits: usize) -> Vec<u8> {
    if bits == 8 {
        for line in data.chunks_mut(row) {
            for at in pixel..line.len() {
                line[at] = line[at].wrapping_add(line[at - pixel]);
            }
        }
    }
    data
}

fn png(data: &[u8], row: usize, pixel: usize) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::with_capacity(data.len());
    for line in data.chunks(row + 1) {
        let start = out.len();
        let (kind, line) = (line[0], &line[1..]);
        out.extend_from_slice(line);
        for at in 0..line.len() {
            let here = start + at;
            let left = if at >= pixel { out[here - pixel] } else { 0 };
            let up = if start >= row { out[here - row] } else { 0 };
            let corner = if at >= pixel && start >= row { out[here - row - pixel] } else { 0 };
            let guess = match kind {
                1 => left,
                2 => up,
                3 => u8::midpoint(left, up),
                4 => paeth(left, up, corner),
                _ => 0,
            };
            out[here] = out[here].wrapping_add(guess);
        }
    }
    out
}

fn paeth(left: u8, up: u8, corner: u8) -> u8 {
    let estimate = i16::from(left) + i16::from(up) - i16::from(corner);
    let distance = |value: u8| (estimate - i16::from(value)).abs();
    if distance(left) <= distance(up) && distance(left) <= distance(corner) {
        left
    } else if distance(up) <= distance(corner) {
        up
    } else {
        corner
    }
}

fn ascii_hex(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len() / 2);
    let mut high: Option<u8> = None;
    for &byte in data.iter().take_while(|&&byte| byte != b'>') {
        let Some(digit) = hex_digit(byte) else { continue };
        match high.take() {
            Some(first) => out.push(first << 4 | digit),
            None => high = Some(digit),
        }
    }
    out.extend(high.map(|first| first << 4));
    out
}

fn ascii85(data: &[u8], cap: usize) -> Result<Vec<u8>, TooLong> {
    let data = data.strip_prefix(b"<~").unwrap_or(data);
    let mut out = Vec::with_capacity(data.len().min(cap));
    let (mut group, mut count) = (0_u32, 0_usize);
    for &byte in data {
        match byte {
            b'~' => break,
            b'z' if count == 0 => out.extend_from_slice(&[0; 4]),
            b'!'..=b'u' => {
                group = group.wrapping_mul(85).wrapping_add(u32::from(byte - b'!'));
                count += 1;
                if count == 5 {
                    out.extend_from_slice(&group.to_be_bytes());
                    (group, count) = (0, 0);
                }
            }
            _ => {}
        }
        if out.len() > cap {
            return Err(TooLong);
        }
    }
    if count > 1 {
        for _ in count..5 {
            group = group.wrapping_mul(85).wrapping_add(84);
        }
        out.extend_from_slice(&group.to_be_bytes()[..count - 1]);
    }
    Ok(out)
}

fn run_length(data: &[u8], cap: usize) -> Result<Vec<u8>, TooLong> {
    let mut out = Vec::new();
    let mut rest = data;
    while let [length, tail @ ..] = rest {
        match *length {
            128 => break,
            literal @ ..=127 => {
                let count = (usize::from(literal) + 1).min(tail.len());
                out.extend_from_slice(&tail[..count]);
                rest = &tail[count..];
            }
            repeat => {
                let Some((&byte, tail)) = tail.split_first() else { break };
                out.resize(out.len() + 257 - usize::from(repeat), byte);
                rest = tail;
            }
        }
        if out.len() > cap {
            return Err(TooLong);
        }
    }
    Ok(out)
}

/// The filters that a stream dictionary names, in the order in which they are undone. `resolve`
/// follows references.
pub(super) fn chain<'a>(
    dict: &'a Dictionary,
    resolve: impl Fn(&'a Object) -> &'a Object,
) -> Vec<Filter> {
    let entry = |long: &[u8], short: &[u8]| dict.get(long).or_else(|_| dict.get(short)).ok();
    let Some(names) = entry(b"Filter", b"F").map(&resolve) else { return Vec::new() };
    let parms = entry(b"DecodeParms", b"DP").map(&resolve);
    let filter = |name: &'a Object, parms: Option<&'a Object>| {
        let name = resolve(name).as_name().ok()?.to_vec();
        let parms = parms.and_then(|parms| resolve(parms).as_dict().ok()).map(|parms| {
            parms.iter().map(|(key, value)| (key.clone(), resolve(value).clone())).collect()
        });
        Some(Filter { name, parms })
    };
    match names {
        // Real streams have at most three filters; each is a whole pass over the data.
        Object::Array(names) => (names.iter().take(8).enumerate())
            .filter_map(|(at, name)| {
                let own = parms.and_then(|parms| parms.as_array().ok()?.get(at));
                filter(name, own.or(parms.filter(|parms| parms.as_dict().is_ok())))
            })
            .collect(),
        name => {
            let own = parms.and_then(|parms| match parms {
                Object::Array(all) => all.first(),
                other => Some(other),
            });
            filter(name, own).into_iter().collect()
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write;

    use super::*;

    fn run(name: &str, data: &[u8], cap: usize) -> Result<Option<Vec<u8>>, TooLong> {
        apply(&Filter { name: name.into(), parms: None }, data, cap)
    }

    fn deflate(data: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn ascii_filters() {
        assert_eq!(run("AHx", b"48 65 6C6c 6f7>zz", 99).unwrap().unwrap(), b"Hellop");
        assert_eq!(run("A85", b"87cURD]i,\"Ebo80~>", 99).unwrap().unwrap(), b"Hello World!");
        assert_eq!(run("A85", b"z!!~>", 99).unwrap().unwrap(), [0, 0, 0, 0, 0]);
    }

    #[test]
    fn run_length_and_unknown() {
        assert_eq!(
            run("RL", &[2, b'a', b'b', b'c', 254, b'x', 128, 9], 99).unwrap().unwrap(),
            b"abcxxx"
        );
        assert_eq!(run("DCTDecode", b"x", 99).unwrap(), None);
    }

    #[test]
    fn flate_whole_cut_and_without_header() {
        let text = b"the same words again and again, ".repeat(200);
        let packed = deflate(&text);
        assert_eq!(run("FlateDecode", &packed, 1 << 20).unwrap().unwrap(), text);
        assert_eq!(run("FlateDecode", &packed[2..], 1 << 20).unwrap().unwrap(), text);
        let cut = run("FlateDecode", &packed[..packed.len() / 2], 1 << 20).unwrap().unwrap();
        assert!(text.starts_with(&cut));
        let mut wrong_sum = packed;
        *wrong_sum.last_mut().unwrap() ^= 1;
        assert_eq!(run("FlateDecode", &wrong_sum, 1 << 20).unwrap().unwrap(), text);
    }

    #[test]
    fn bombs_stop_at_the_cap() {
        let packed = deflate(&vec![0; 4 << 20]);
        assert_eq!(run("FlateDecode", &packed, 1 << 20), Err(TooLong));
        assert_eq!(run("A85", &b"z".repeat(1000), 100), Err(TooLong));
        assert_eq!(run("RL", &[129, 0].repeat(1000), 100), Err(TooLong));
    }

    #[test]
    fn predictors() {
        let mut parms = Dictionary::new();
        parms.set("Predictor", 12);
        parms.set("Columns", 3);
        let rows = [2, 1, 2, 3, 2, 1, 1, 1, 1, 5, 1, 1, 4, 1, 0, 0, 3, 2, 2, 2];
        let filter = Filter { name: b"FlateDecode".to_vec(), parms: Some(parms) };
        let out = apply(&filter, &deflate(&rows), 999).unwrap().unwrap();
        assert_eq!(out, [1, 2, 3, 2, 3, 4, 5, 6, 7, 6, 6, 7, 5, 7, 9]);
    }
}
