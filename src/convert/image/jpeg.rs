//! JPEG in and out: the seam between the two codecs that a build can hold.
//!
//! Both sides of the seam are `decode(input, header)` and `encode(frame, quality, limits)`; colour,
//! side data and limits are the same for both and live outside.

#[cfg(not(feature = "turbo"))]
#[path = "jpeg_pure.rs"]
mod codec;
#[cfg(feature = "turbo")]
#[path = "jpeg_turbo.rs"]
mod codec;

use super::frame::{Frame, check_side, no_memory};
use super::jpeg_header::{self, JpegHeader, broken_off};
use super::side::{EXIF_PREFIX, SideData};
use crate::convert::{Error, Options, Quality};
use crate::limits::ConvertLimits;

pub(super) const CODEC: &str = codec::NAME;

/// The quality where none is asked for: what Pillow and libjpeg's own tools use.
const QUALITY_DEFAULT: u8 = 75;

/// The frame header's numbers have 16 bits; libjpeg stops 35 below their end, and so do we.
const SIDE_MAX: u32 = 65_500;

/// More than decoders read ahead, so that what they find there is this and not the end.
const FILLER_BYTES: usize = 64;

/// Bits that no two of them would be read as the same, with codes that most Huffman tables have.
const FILLERS: [u8; 4] = [0x00, 0x5a, 0xb6, 0x2d];

/// A segment counts its own two bytes of length.
const SEGMENT_BYTES_MAX: usize = 65_535 - 2;

/// SOI, then the JFIF segment of 18 bytes that both codecs write first.
const AFTER_JFIF: usize = 2 + 18;

pub(super) fn decode<'a>(
    input: &'a [u8],
    limits: &ConvertLimits,
) -> Result<(Frame, SideData<'a>), Error> {
    let header = jpeg_header::read(input, limits)?;
    let frame = if header.ended {
        codec::decode(input, &header)?
    } else {
        decode_without_end(input, &header)?
    };
    Ok((frame, header.side))
}

/// A file without its end marker is whole if its pixels do not depend on what comes after it.
///
/// Decoders do not say whether they ran out of data: they fill up. So the file is decoded with
/// several endings, and must come out the same. That costs several times the time, for few files.
fn decode_without_end(input: &[u8], header: &JpegHeader) -> Result<Frame, Error> {
    // Half a marker at the end would make one with the filler.
    let input = input.strip_suffix(b"\xff").unwrap_or(input);
    let decode = |filler: u8| {
        let mut ended = Vec::new();
        let ending = [[filler; FILLER_BYTES].as_slice(), &[0xff, 0xd9]].concat();
        ended
            .try_reserve_exact(input.len() + ending.len())
            .map_err(|_| no_memory((input.len() + ending.len()) as u64))?;
        ended.extend_from_slice(input);
        ended.extend(ending);
        codec::decode(&ended, header)
    };
    let frame = decode(FILLERS[0])?;
    for &filler in &FILLERS[1..] {
        if decode(filler)? != frame {
            return Err(broken_off(input));
        }
    }
    Ok(frame)
}

/// `frame` has 8 bits and is `Grey`, `Rgb`, or `Rgba` whose alpha no longer counts.
pub(super) fn encode(
    frame: &Frame,
    side: &SideData,
    options: &Options,
    limits: &ConvertLimits,
) -> Result<Vec<u8>, Error> {
    check_side("JPEG", frame, SIDE_MAX)?;
    let quality = options.quality.map_or(QUALITY_DEFAULT, Quality::value);
    let mut file = codec::encode(frame, quality, limits)?;
    let segments = side_segments(side);
    if !segments.is_empty() {
        let total = (file.len() + segments.len()) as u64;
        if total > limits.output_bytes_max {
            return Err(Error::limit("bytes of the result", total, limits.output_bytes_max));
        }
        file.splice(AFTER_JFIF..AFTER_JFIF, segments);
    }
    Ok(file)
}

/// EXIF, XMP and ICC as segments. A block that is too large for its segment is left out: only ICC
/// has a way to be split that readers know.
fn side_segments(side: &SideData) -> Vec<u8> {
    const XMP_PREFIX: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";
    let mut segments = Vec::new();
    for (prefix, block) in [(EXIF_PREFIX, &side.exif), (XMP_PREFIX, &side.xmp)] {
        if let Some(block) = block {
            push_segment(&mut segments, 0xe1, &[prefix, block]);
        }
    }
    if let Some(icc) = &side.icc {
        // Prefix of 12 bytes, number, count.
        let chunks = icc.chunks(SEGMENT_BYTES_MAX - 14);
        if let Ok(count) = u8::try_from(chunks.len()) {
            for (number, chunk) in (1..=count).zip(chunks) {
                push_segment(&mut segments, 0xe2, &[b"ICC_PROFILE\0", &[number, count], chunk]);
            }
        }
    }
    segments
}

fn push_segment(segments: &mut Vec<u8>, marker: u8, parts: &[&[u8]]) {
    let bytes: usize = parts.iter().map(|part| part.len()).sum();
    if let Ok(length) = u16::try_from(bytes + 2) {
        segments.extend([0xff, marker]);
        segments.extend(length.to_be_bytes());
        for part in parts {
            segments.extend_from_slice(part);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::frame::{Channels, Depth};
    use super::*;
    use crate::convert::ErrorKind;

    #[test]
    fn a_file_that_lacks_only_its_end_marker_is_read_and_one_that_lacks_pixels_is_not() {
        let limits = ConvertLimits::default();
        let mut frame = Frame::new(40, 40, Channels::Grey, Depth::Eight).unwrap();
        for (at, grey) in frame.pixels.iter_mut().enumerate() {
            *grey = u8::try_from(at * at % 251).unwrap();
        }
        let file = encode(&frame, &SideData::default(), &Options::default(), &limits).unwrap();
        let (whole, _) = decode(&file, &limits).unwrap();
        for missing in [1, 2] {
            let (frame, _) = decode(&file[..file.len() - missing], &limits).unwrap();
            assert_eq!(frame, whole, "without {missing} bytes");
        }
        for missing in 4..100 {
            let error = decode(&file[..file.len() - missing], &limits).err();
            let kind = error.map(|error| error.kind);
            assert_eq!(kind, Some(ErrorKind::Malformed), "without {missing} bytes");
        }
    }
}
