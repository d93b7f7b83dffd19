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

use super::frame::{Frame, check_side};
use super::jpeg_header;
use super::side::{EXIF_PREFIX, SideData};
use crate::convert::{Error, Options, Quality};
use crate::limits::ConvertLimits;

pub(super) const CODEC: &str = codec::NAME;

/// The quality where none is asked for: what Pillow and libjpeg's own tools use.
const QUALITY_DEFAULT: u8 = 75;

/// The frame header's numbers have 16 bits; libjpeg stops 35 below their end, and so do we.
const SIDE_MAX: u32 = 65_500;

/// A segment counts its own two bytes of length.
const SEGMENT_BYTES_MAX: usize = 65_535 - 2;

/// SOI, then the JFIF segment of 18 bytes that both codecs write first.
const AFTER_JFIF: usize = 2 + 18;

pub(super) fn decode<'a>(
    input: &'a [u8],
    limits: &ConvertLimits,
) -> Result<(Frame, SideData<'a>), Error> {
    let header = jpeg_header::read(input, limits)?;
    let frame = codec::decode(input, &header)?;
    Ok((frame, header.side))
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
