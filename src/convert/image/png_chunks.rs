//! A PNG's chunks, read before any decoder sees the file.
//!
//! The decoder is told to pass over text and profiles, since it would inflate them with its own idea
//! of a limit; they are found here, and inflated up to ours.

use std::borrow::Cow;

use super::frame::{check_size, zeroed};
use super::side::{SideData, tiff_part};
use crate::convert::Error;
use crate::limits::ConvertLimits;

pub(super) const SIGNATURE: &[u8; 8] = b"\x89PNG\r\n\x1a\n";

/// The keyword under which XMP travels in an `iTXt` chunk.
pub(super) const XMP_KEYWORD: &str = "XML:com.adobe.xmp";

/// The header's numbers and the side data.
#[derive(Debug)]
pub(super) struct PngHeader<'a> {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) side: SideData<'a>,
}

/// Reads the chunks of `input` up to its end, or to where it breaks off.
pub(super) fn read<'a>(input: &'a [u8], limits: &ConvertLimits) -> Result<PngHeader<'a>, Error> {
    let mut chunks = Chunks { rest: input.get(SIGNATURE.len()..).unwrap_or_default() };
    let (width, height) = match chunks.next().map(|chunk| (chunk.kind, chunk.body)) {
        Some((b"IHDR", &[w3, w2, w1, w0, h3, h2, h1, h0, _, _, _, _, _])) => {
            (u32::from_be_bytes([w3, w2, w1, w0]), u32::from_be_bytes([h3, h2, h1, h0]))
        }
        _ => return Err(Error::malformed("the PNG does not begin with a whole IHDR chunk")),
    };
    check_size(width, height, limits)?;
    let mut side = SideData::default();
    for chunk in chunks {
        let body = chunk.body;
        match chunk.kind {
            b"IEND" => break,
            b"PLTE" | b"tRNS" if !chunk.is_whole() => {
                return Err(Error::malformed("the PNG's palette does not match its checksum"));
            }
            // Side data that is damaged is no side data.
            b"eXIf" | b"iCCP" | b"iTXt" if !chunk.is_whole() => {}
            b"eXIf" => side.exif = Some(Cow::Borrowed(tiff_part(body))),
            b"iCCP" if side.icc.is_none() => side.icc = icc(body, limits)?.map(Cow::Owned),
            b"iTXt" if side.xmp.is_none() => side.xmp = xmp(body, limits)?,
            _ => {}
        }
    }
    side.check(limits)?;
    Ok(PngHeader { width, height, side })
}

struct Chunks<'a> {
    rest: &'a [u8],
}

struct Chunk<'a> {
    kind: &'a [u8; 4],
    body: &'a [u8],
    /// Type and body, which the checksum covers.
    covered: &'a [u8],
    checksum: Option<&'a [u8; 4]>,
}

impl Chunk<'_> {
    fn is_whole(&self) -> bool {
        self.checksum.is_some_and(|sum| *sum == libdeflater::crc32(self.covered).to_be_bytes())
    }
}

impl<'a> Iterator for Chunks<'a> {
    type Item = Chunk<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let (length, rest) = self.rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let covered = rest.get(..length.checked_add(4)?)?;
        let (kind, body) = covered.split_first_chunk::<4>()?;
        let rest = &rest[covered.len()..];
        let checksum = rest.first_chunk::<4>();
        self.rest = rest.get(4..).unwrap_or_default();
        Some(Chunk { kind, body, covered, checksum })
    }
}

/// Keyword, NUL, method 0, zlib stream. A profile that is damaged is no profile.
fn icc(body: &[u8], limits: &ConvertLimits) -> Result<Option<Vec<u8>>, Error> {
    match split_at_nul(body) {
        Some((_, [0, stream @ ..])) => inflate("ICC profile", stream, limits),
        _ => Ok(None),
    }
}

/// Keyword, NUL, compressed or not, method, language, NUL, translated keyword, NUL, text.
fn xmp<'a>(body: &'a [u8], limits: &ConvertLimits) -> Result<Option<Cow<'a, [u8]>>, Error> {
    let Some((keyword, [compressed, _method, rest @ ..])) = split_at_nul(body) else {
        return Ok(None);
    };
    if keyword != XMP_KEYWORD.as_bytes() {
        return Ok(None);
    }
    let text = split_at_nul(rest).and_then(|(_, rest)| split_at_nul(rest)).map(|(_, text)| text);
    match (text, compressed) {
        (Some(text), 0) => Ok(Some(Cow::Borrowed(text))),
        (Some(text), 1) => Ok(inflate("XMP data", text, limits)?.map(Cow::Owned)),
        _ => Ok(None),
    }
}

fn split_at_nul(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|&byte| byte == 0)?;
    Some((&bytes[..at], &bytes[at + 1..]))
}

/// Inflates a zlib stream of unknown length into a buffer that doubles up to the limit.
fn inflate(what: &str, stream: &[u8], limits: &ConvertLimits) -> Result<Option<Vec<u8>>, Error> {
    let max = limits.metadata_bytes_max;
    let mut room = (stream.len() as u64).saturating_mul(4).clamp(4096, max.max(4096)).min(max);
    loop {
        let mut plain = zeroed(room)?;
        match libdeflater::Decompressor::new().zlib_decompress(stream, &mut plain) {
            Ok(length) => {
                plain.truncate(length);
                return Ok(Some(plain));
            }
            Err(libdeflater::DecompressionError::BadData) => return Ok(None),
            Err(libdeflater::DecompressionError::InsufficientSpace) if room < max => {
                room = room.saturating_mul(2).min(max);
            }
            Err(libdeflater::DecompressionError::InsufficientSpace) => {
                return Err(Error::limit(
                    &format!("bytes of the {what}"),
                    format!("more than {max}"),
                    max,
                ));
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::convert::ErrorKind;

    fn chunk(kind: &[u8], body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        let checksum = libdeflater::crc32(&[kind, body].concat()).to_be_bytes();
        [length.as_slice(), kind, body, &checksum].concat()
    }

    fn file(width: u32, chunks: &[Vec<u8>]) -> Vec<u8> {
        let header = [width.to_be_bytes(), width.to_be_bytes()].concat();
        let header = chunk(b"IHDR", &[&header, [1, 0, 0, 0, 0].as_slice()].concat());
        [SIGNATURE.as_slice(), &header, &chunks.concat()].concat()
    }

    fn deflated(plain: &[u8]) -> Vec<u8> {
        let mut compressor = libdeflater::Compressor::new(libdeflater::CompressionLvl::fastest());
        let mut stream = vec![0; compressor.zlib_compress_bound(plain.len())];
        let length = compressor.zlib_compress(plain, &mut stream).unwrap();
        stream.truncate(length);
        stream
    }

    #[test]
    fn side_data_is_found_before_and_after_the_pixels() {
        let icc = chunk(b"iCCP", &[b"name\0\0".as_slice(), &deflated(b"profile")].concat());
        let text = [b"XML:com.adobe.xmp\0\x01\0en\0k\0".as_slice(), &deflated(b"<xmp/>")].concat();
        let file = file(
            9,
            &[icc, chunk(b"IDAT", b""), chunk(b"iTXt", &text), chunk(b"eXIf", b"Exif\0\0II*\0")],
        );
        let header = read(&file, &ConvertLimits::default()).unwrap();
        assert_eq!((header.width, header.height), (9, 9));
        assert_eq!(header.side.icc.as_deref(), Some(b"profile".as_slice()));
        assert_eq!(header.side.xmp.as_deref(), Some(b"<xmp/>".as_slice()));
        assert_eq!(header.side.exif.as_deref(), Some(b"II*\0".as_slice()));
    }

    #[test]
    fn a_picture_of_50000_by_50000_is_refused_from_its_header() {
        let error = read(&file(50_000, &[]), &ConvertLimits::default()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::LimitExceeded);
        assert_eq!(
            error.message,
            "pixels of the picture: 2500000000 (50000 x 50000), and the limit is 100000000"
        );
    }

    #[test]
    fn a_profile_or_xmp_that_inflates_past_the_limit_is_refused() {
        let limits = ConvertLimits { metadata_bytes_max: 100_000, ..ConvertLimits::default() };
        let fits = deflated(&vec![7; 100_000]);
        let bomb = deflated(&vec![7; 100_001]);
        for (kind, head) in [("iCCP", "name\0\0"), ("iTXt", "XML:com.adobe.xmp\0\x01\0\0\0")] {
            let with = |stream: &[u8]| {
                file(1, &[chunk(kind.as_bytes(), &[head.as_bytes(), stream].concat())])
            };
            assert!(read(&with(&fits), &limits).is_ok());
            let error = read(&with(&bomb), &limits).unwrap_err();
            assert_eq!(error.kind, ErrorKind::LimitExceeded);
        }
    }

    #[test]
    fn a_damaged_palette_is_malformed_and_damaged_side_data_is_none() {
        let mut damaged = chunk(b"PLTE", &[1, 2, 3]);
        damaged[9] ^= 1;
        let error = read(&file(1, &[damaged]), &ConvertLimits::default()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Malformed);
        let mut damaged = chunk(b"eXIf", b"II*\0");
        damaged[9] ^= 1;
        assert!(read(&file(1, &[damaged]), &ConvertLimits::default()).unwrap().side.exif.is_none());
    }

    #[test]
    fn a_damaged_profile_is_none() {
        let file = file(1, &[chunk(b"iCCP", b"name\0\0not zlib")]);
        assert!(read(&file, &ConvertLimits::default()).unwrap().side.icc.is_none());
    }
}
