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

#[cfg(feature = "turbo")]
use ::image::metadata::Orientation;

use super::frame::{Frame, check_side, no_memory};
#[cfg(feature = "turbo")]
use super::icc::{self, Model};
use super::jpeg_header::{self, JpegHeader, broken_off};
use super::side::{EXIF_PREFIX, SideData};
use crate::convert::{Error, Options, Quality};
#[cfg(feature = "turbo")]
use crate::convert::{Metadata, Orient};
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

/// JPEG to JPEG as it is stored, without pixels in between. `None` where the pixels are needed: to be turned or
/// to get other colours, or because the file has broken off.
#[cfg(feature = "turbo")]
pub(super) fn recode(
    input: &[u8],
    options: &Options,
    limits: &ConvertLimits,
) -> Result<Option<Vec<u8>>, Error> {
    let header = jpeg_header::read(input, limits)?;
    let strip = options.metadata == Metadata::Strip;
    let turned =
        options.orient == Orient::Auto && header.side.orientation() != Orientation::NoTransforms;
    let recoloured = header.side.icc.as_deref().is_some_and(|icc| {
        if strip { icc::changes_rgb(icc) } else { icc::model(icc) != Some(Model::Rgb) }
    });
    // A picture that is too large is told so by `encode`.
    let too_large = header.width.max(header.height) > SIDE_MAX;
    if turned || recoloured || too_large || !header.ended || header.components != 3 {
        return Ok(None);
    }
    let quality = options.quality.map_or(QUALITY_DEFAULT, Quality::value);
    let Some(file) = codec::recode(input, &header, quality, limits)? else { return Ok(None) };
    let side = if strip { SideData::default() } else { header.side };
    with_side_data(file, &side, limits).map(Some)
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
    with_side_data(codec::encode(frame, quality, limits)?, side, limits)
}

fn with_side_data(
    mut file: Vec<u8>,
    side: &SideData,
    limits: &ConvertLimits,
) -> Result<Vec<u8>, Error> {
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

    /// Waves in three colours, so that each plane has its own.
    #[cfg(feature = "turbo")]
    fn waves(width: u32, height: u32) -> Frame {
        let mut frame = Frame::new(width, height, Channels::Rgb, Depth::Eight).unwrap();
        for (at, pixel) in (0..).zip(frame.pixels.as_chunks_mut::<3>().0) {
            let (x, y) = (at % width, at / width);
            *pixel = [x * 3, y * 2, x + y].map(|value| (100 + value % 120).to_le_bytes()[0]);
        }
        frame
    }

    #[cfg(feature = "turbo")]
    #[test]
    fn what_is_recoded_is_what_pixels_would_have_made_of_it() {
        let limits = ConvertLimits::default();
        let low = Options { quality: Quality::new(60), ..Options::default() };
        for (width, height) in [(64, 48), (33, 17), (1, 1), (2, 31), (500, 3)] {
            let frame = waves(width, height);
            let file = encode(&frame, &SideData::default(), &Options::default(), &limits).unwrap();
            let recoded = recode(&file, &low, &limits).unwrap().unwrap();
            let (pixels, _) = decode(&file, &limits).unwrap();
            let over_pixels = encode(&pixels, &SideData::default(), &low, &limits).unwrap();
            let [one, other] =
                [&recoded, &over_pixels].map(|file| decode(file, &limits).unwrap().0);
            assert_eq!((one.width, one.height), (width, height));
            let far = one.pixels.iter().zip(&other.pixels).map(|(a, b)| a.abs_diff(*b));
            let far: usize = far.map(usize::from).sum();
            assert!(far < 4 * one.pixels.len(), "{width} x {height}: {far} apart in all");
            assert_eq!(recode(&file, &low, &limits).unwrap().unwrap(), recoded);
        }
    }

    #[cfg(feature = "turbo")]
    #[test]
    fn what_needs_its_pixels_is_not_recoded() {
        let limits = ConvertLimits::default();
        let options = Options::default();
        let whole =
            |frame: &Frame, side: &SideData| encode(frame, side, &options, &limits).unwrap();
        let recode = |file: &[u8]| recode(file, &options, &limits).unwrap();
        let file = whole(&waves(40, 40), &SideData::default());
        assert!(recode(&file).is_some());
        assert!(recode(&file[..file.len() - 2]).is_none(), "it lacks its end");
        let grey = Frame::new(8, 8, Channels::Grey, Depth::Eight).unwrap();
        assert!(recode(&whole(&grey, &SideData::default())).is_none());
        // TIFF header, one entry: orientation, one number, 6.
        let exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
        let turned = SideData { exif: Some(exif.into()), ..SideData::default() };
        let turned = whole(&waves(40, 40), &turned);
        assert!(recode(&turned).is_none());
        let keep = Options { orient: Orient::Keep, ..Options::default() };
        assert!(super::recode(&turned, &keep, &limits).unwrap().is_some());
        let profile = moxcms::ColorProfile::new_display_p3().encode().unwrap();
        let wide = SideData { icc: Some(profile.into()), ..SideData::default() };
        assert!(recode(&whole(&waves(40, 40), &wide)).is_none());
        // Colours at full width and height.
        let image = turbojpeg::Image {
            pixels: waves(40, 40).pixels,
            width: 40,
            pitch: 120,
            height: 40,
            format: turbojpeg::PixelFormat::RGB,
        };
        let full = turbojpeg::compress(image.as_deref(), 75, turbojpeg::Subsamp::None).unwrap();
        assert!(recode(&full).is_none());
    }
}
