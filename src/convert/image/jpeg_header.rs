//! A JPEG's markers, read before any decoder sees the file.
//!
//! The walk goes from segment to segment to the end-of-image marker. It finds the size before memory
//! is taken, counts the scans, collects side data without copying it, and tells a file that may have
//! broken off from one that is merely damaged: decoders fill up what is missing in both.

use std::borrow::Cow;

use super::frame::check_size;
use super::side::{EXIF_PREFIX, SideData};
use crate::convert::Error;
use crate::limits::ConvertLimits;

const XMP_PREFIX: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";
const ICC_PREFIX: &[u8] = b"ICC_PROFILE\0";

/// Work on one picture, in passes over a picture of the largest size. A scan costs a pass, so a
/// picture of a twentieth of the pixel limit may have 400, and the largest 20: twice what is usual.
const FULL_PASSES_MAX: u64 = 20;

const SOI: u8 = 0xd8;
const EOI: u8 = 0xd9;
const SOS: u8 = 0xda;

/// What Adobe's marker says of the colours, and where it says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AdobeTransform {
    /// 0 is RGB or CMYK, 1 `YCbCr`, 2 YCCK.
    pub(super) value: u8,
    /// Offset of the value in the file.
    pub(super) offset: usize,
}

/// The frame header and all that stands around it.
#[derive(Debug)]
#[cfg_attr(
    feature = "turbo",
    allow(dead_code, reason = "libjpeg-turbo reads Adobe's marker itself")
)]
pub(super) struct JpegHeader<'a> {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) components: u8,
    /// With JFIF's marker, three components are `YCbCr` whatever Adobe's says.
    pub(super) jfif: bool,
    pub(super) adobe: Option<AdobeTransform>,
    pub(super) scans: u32,
    /// Whether the end-of-image marker is there. Without it, a file of one sequential scan may still
    /// have all its pixels; others are refused here.
    pub(super) ended: bool,
    pub(super) side: SideData<'a>,
}

/// Reads the markers of `input` and holds sizes and counts against the limits.
pub(super) fn read<'a>(input: &'a [u8], limits: &ConvertLimits) -> Result<JpegHeader<'a>, Error> {
    let mut walk = Walk::default();
    walk.segments(input)?;
    let Some((width, height, components)) = walk.frame else {
        return Err(Error::malformed("the JPEG has no frame header before its first scan"));
    };
    check_size(width, height, limits)?;
    let pixels = u64::from(width) * u64::from(height);
    let scans_max =
        u64::from(limits.scans_max).min((FULL_PASSES_MAX * limits.pixels_max / pixels).max(1));
    if u64::from(walk.scans) > scans_max {
        return Err(Error::limit(
            &format!("scans of a JPEG of {width} x {height}"),
            walk.scans,
            scans_max,
        ));
    }
    if !walk.ended && (walk.scans != 1 || !walk.sequential) {
        return Err(broken_off(input));
    }
    let side = SideData {
        icc: assemble_icc(&mut walk.icc_chunks, limits)?,
        exif: walk.exif.map(Cow::Borrowed),
        xmp: walk.xmp.map(Cow::Borrowed),
    };
    side.check(limits)?;
    let Walk { jfif, adobe, scans, ended, .. } = walk;
    Ok(JpegHeader { width, height, components, jfif, adobe, scans, ended, side })
}

pub(super) fn broken_off(input: &[u8]) -> Error {
    Error::malformed(format!(
        "the JPEG breaks off: no end-of-image marker in {} bytes",
        input.len()
    ))
}

#[derive(Default)]
struct Walk<'a> {
    frame: Option<(u32, u32, u8)>,
    sequential: bool,
    jfif: bool,
    adobe: Option<AdobeTransform>,
    exif: Option<&'a [u8]>,
    xmp: Option<&'a [u8]>,
    /// Sequence number, number of chunks, bytes.
    icc_chunks: Vec<(u8, u8, &'a [u8])>,
    scans: u32,
    ended: bool,
}

impl<'a> Walk<'a> {
    fn segments(&mut self, input: &'a [u8]) -> Result<(), Error> {
        let mut at = 2;
        while let Some(marker_at) = next_marker(input, at) {
            let marker = input[marker_at];
            at = marker_at + 1;
            match marker {
                EOI => {
                    self.ended = true;
                    return Ok(());
                }
                // Markers without a length: restarts, a second SOI, TEM.
                0x01 | SOI | 0xd0..=0xd7 => continue,
                _ => {}
            }
            let Some(&[high, low]) = input.get(at..at + 2) else { return Ok(()) };
            let length = usize::from(u16::from_be_bytes([high, low]));
            let Some(body) = input.get(at + 2..at + length.max(2)) else { return Ok(()) };
            self.segment(marker, body, at + 2)?;
            at += length.max(2);
        }
        Ok(())
    }

    fn segment(&mut self, marker: u8, body: &'a [u8], offset: usize) -> Result<(), Error> {
        match marker {
            // All frame headers: C0 to CF but for DHT, JPG and DAC.
            0xc0..=0xcf if !matches!(marker, 0xc4 | 0xc8 | 0xcc) => {
                self.frame_header(body)?;
                // Baseline and extended sequential.
                self.sequential = matches!(marker, 0xc0 | 0xc1);
            }
            SOS => {
                if self.frame.is_none() {
                    return Err(Error::malformed("the JPEG has a scan before its frame header"));
                }
                self.scans = self.scans.saturating_add(1);
            }
            // Side data after the first scan belongs to something else.
            0xe0 if self.scans == 0 => self.jfif |= body.starts_with(b"JFIF\0"),
            0xe1 if self.scans == 0 => {
                if let Some(exif) = body.strip_prefix(EXIF_PREFIX) {
                    self.exif.get_or_insert(exif);
                } else if let Some(xmp) = body.strip_prefix(XMP_PREFIX) {
                    self.xmp.get_or_insert(xmp);
                }
            }
            0xe2 if self.scans == 0 => {
                if let Some([number, count, bytes @ ..]) = body.strip_prefix(ICC_PREFIX) {
                    self.icc_chunks.push((*number, *count, bytes));
                }
            }
            0xee if self.scans == 0 && body.starts_with(b"Adobe") => {
                if let Some(&value) = body.get(11) {
                    self.adobe = Some(AdobeTransform { value, offset: offset + 11 });
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn frame_header(&mut self, body: &[u8]) -> Result<(), Error> {
        let &[precision, y1, y0, x1, x0, components, ..] = body else {
            return Err(Error::malformed(format!(
                "the JPEG's frame header has {} bytes and needs 6",
                body.len()
            )));
        };
        if self.frame.is_some() {
            return Err(Error::malformed("the JPEG has two frame headers"));
        }
        if precision != 8 {
            return Err(Error::malformed(format!(
                "the JPEG has {precision} bits a sample, and only 8 can be read"
            )));
        }
        if !matches!(components, 1 | 3 | 4) {
            return Err(Error::malformed(format!(
                "the JPEG has {components} colour components, and only 1, 3 and 4 have a meaning"
            )));
        }
        let width = u32::from(u16::from_be_bytes([x1, x0]));
        let height = u32::from(u16::from_be_bytes([y1, y0]));
        self.frame = Some((width, height, components));
        Ok(())
    }
}

/// The offset of the next marker's second byte. Stuffed zeros and fill bytes are passed over, and so
/// is what lies between segments: decoders skip it too.
fn next_marker(input: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        at += find_ff(input.get(at..)?)? + 1;
        while input.get(at) == Some(&0xff) {
            at += 1;
        }
        if *input.get(at)? != 0 {
            return Some(at);
        }
    }
}

/// Where the first 0xff stands. Written for whole chunks so that it becomes vector code: this runs
/// over every byte of every JPEG.
fn find_ff(bytes: &[u8]) -> Option<usize> {
    let (chunks, rest) = bytes.as_chunks::<32>();
    for (index, chunk) in chunks.iter().enumerate() {
        if chunk.iter().fold(0, |any, &byte| any | u8::from(byte == 0xff)) != 0 {
            return chunk.iter().position(|&byte| byte == 0xff).map(|at| index * 32 + at);
        }
    }
    rest.iter().position(|&byte| byte == 0xff).map(|at| chunks.len() * 32 + at)
}

/// Joins the profile's chunks by their numbers; `None` where some are missing, as other readers do.
fn assemble_icc<'a>(
    chunks: &mut [(u8, u8, &'a [u8])],
    limits: &ConvertLimits,
) -> Result<Option<Cow<'a, [u8]>>, Error> {
    chunks.sort_by_key(|&(number, ..)| number);
    let complete = chunks.iter().enumerate().all(|(index, &(number, count, _))| {
        usize::from(number) == index + 1 && usize::from(count) == chunks.len()
    });
    match chunks {
        [] => Ok(None),
        _ if !complete => Ok(None),
        [(_, _, only)] => Ok(Some(Cow::Borrowed(only))),
        _ => {
            let bytes: u64 = chunks.iter().map(|&(_, _, part)| part.len() as u64).sum();
            if bytes > limits.metadata_bytes_max {
                return Err(Error::limit(
                    "bytes of the ICC profile",
                    bytes,
                    limits.metadata_bytes_max,
                ));
            }
            let parts: Vec<&[u8]> = chunks.iter().map(|&(_, _, part)| part).collect();
            Ok(Some(Cow::Owned(parts.concat())))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::convert::ErrorKind;

    fn segment(marker: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len() + 2).unwrap().to_be_bytes();
        [&[0xff, marker], length.as_slice(), body].concat()
    }

    fn frame_header(width: u16, height: u16) -> Vec<u8> {
        let [x1, x0] = width.to_be_bytes();
        let [y1, y0] = height.to_be_bytes();
        segment(0xc2, &[8, y1, y0, x1, x0, 1, 1, 0x11, 0])
    }

    fn scan() -> Vec<u8> {
        let mut scan = segment(SOS, &[1, 1, 0, 0, 63, 0]);
        scan.extend([0x12, 0xff, 0x00, 0xff, 0xd0, 0x34]);
        scan
    }

    fn file(parts: &[Vec<u8>]) -> Vec<u8> {
        let mut file = vec![0xff, SOI];
        file.extend(parts.concat());
        file.extend([0xff, EOI]);
        file
    }

    #[test]
    fn sizes_side_data_and_scans_are_found() {
        let file = file(&[
            segment(0xe1, b"Exif\0\0II*\0"),
            segment(0xe1, &[XMP_PREFIX, b"<xmp/>"].concat()),
            segment(0xe2, &[ICC_PREFIX, &[2, 2], b"file"].concat()),
            segment(0xe2, &[ICC_PREFIX, &[1, 2], b"pro"].concat()),
            segment(0xee, b"Adobe\0\x64\0\0\0\0\x02"),
            frame_header(300, 200),
            scan(),
            scan(),
        ]);
        let header = read(&file, &ConvertLimits::default()).unwrap();
        assert_eq!((header.width, header.height, header.scans), (300, 200, 2));
        assert_eq!(header.side.exif.as_deref(), Some(b"II*\0".as_slice()));
        assert_eq!(header.side.xmp.as_deref(), Some(b"<xmp/>".as_slice()));
        assert_eq!(header.side.icc.as_deref(), Some(b"profile".as_slice()));
        let adobe = header.adobe.unwrap();
        assert_eq!((adobe.value, file[adobe.offset]), (2, 2));
    }

    #[test]
    fn a_profile_with_a_missing_chunk_is_none() {
        let parts = [segment(0xe2, &[ICC_PREFIX, &[2, 2], b"file"].concat()), frame_header(1, 1)];
        let file = file(&[parts.concat(), scan()]);
        assert!(read(&file, &ConvertLimits::default()).unwrap().side.icc.is_none());
    }

    #[test]
    fn a_progressive_file_that_breaks_off_is_malformed_at_every_length() {
        let whole = file(&[frame_header(8, 8), scan()]);
        assert!(read(&whole, &ConvertLimits::default()).is_ok());
        for length in 2..whole.len() {
            let error = read(&whole[..length], &ConvertLimits::default()).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Malformed, "{length} bytes");
        }
    }

    #[test]
    fn pixels_and_scans_have_limits() {
        let limits = ConvertLimits::default();
        let error = read(&file(&[frame_header(65_500, 65_500)]), &limits).unwrap_err();
        assert_eq!(error.kind, ErrorKind::LimitExceeded);
        assert!(error.message.contains("4290250000 (65500 x 65500)"), "{}", error.message);

        let many = |width, scans: usize| {
            file(&[
                frame_header(width, width),
                std::iter::repeat_n(scan(), scans).flatten().collect(),
            ])
        };
        assert!(read(&many(8, 500), &limits).is_ok());
        let error = read(&many(8, 501), &limits).unwrap_err();
        assert_eq!(error.message, "scans of a JPEG of 8 x 8: 501, and the limit is 500");
        assert!(read(&many(10_000, 20), &limits).is_ok());
        assert_eq!(read(&many(10_000, 21), &limits).unwrap_err().kind, ErrorKind::LimitExceeded);
    }

    #[test]
    fn the_search_for_markers_finds_each_position() {
        for at in 0..100 {
            let mut bytes = [0_u8; 100];
            bytes[at] = 0xff;
            assert_eq!(find_ff(&bytes), Some(at));
        }
        assert_eq!(find_ff(&[0xfe; 100]), None);
    }
}
