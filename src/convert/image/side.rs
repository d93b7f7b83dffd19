//! What travels beside the pixels: ICC profile, EXIF, XMP.

use std::borrow::Cow;

use image::metadata::Orientation;

use crate::convert::Error;
use crate::limits::ConvertLimits;

/// How an EXIF block begins where a container does not name it; the TIFF header follows.
pub(super) const EXIF_PREFIX: &[u8] = b"Exif\0\0";

/// The side data of one picture. EXIF starts at its TIFF header.
#[derive(Debug, Default, Clone)]
pub(super) struct SideData<'a> {
    pub(super) icc: Option<Cow<'a, [u8]>>,
    pub(super) exif: Option<Cow<'a, [u8]>>,
    pub(super) xmp: Option<Cow<'a, [u8]>>,
}

impl SideData<'_> {
    /// Holds each part against the limit.
    pub(super) fn check(&self, limits: &ConvertLimits) -> Result<(), Error> {
        let parts =
            [("ICC profile", &self.icc), ("EXIF data", &self.exif), ("XMP data", &self.xmp)];
        for (name, part) in parts {
            let bytes = part.as_ref().map_or(0, |part| part.len() as u64);
            if bytes > limits.metadata_bytes_max {
                return Err(Error::limit(
                    &format!("bytes of the {name}"),
                    bytes,
                    limits.metadata_bytes_max,
                ));
            }
        }
        Ok(())
    }

    /// EXIF decides; XMP is asked where EXIF says nothing.
    pub(super) fn orientation(&self) -> Orientation {
        let exif = || {
            let exif = self.exif.as_deref()?;
            Orientation::from_exif(exif[exif_orientation_at(exif)?])
        };
        let xmp = || {
            let xmp = self.xmp.as_deref()?;
            Orientation::from_exif(xmp[xmp_orientation_at(xmp)?].wrapping_sub(b'0'))
        };
        exif().or_else(xmp).unwrap_or(Orientation::NoTransforms)
    }

    /// Says "upright" from now on: the pixels were turned.
    pub(super) fn set_upright(&mut self) {
        if let Some(exif) = &mut self.exif
            && let Some(at) = exif_orientation_at(exif)
        {
            exif.to_mut()[at] = 1;
        }
        if let Some(xmp) = &mut self.xmp
            && let Some(at) = xmp_orientation_at(xmp)
        {
            xmp.to_mut()[at] = b'1';
        }
    }
}

/// An EXIF block without the prefix that some writers put before the TIFF header.
pub(super) fn tiff_part(exif: &[u8]) -> &[u8] {
    exif.strip_prefix(EXIF_PREFIX).unwrap_or(exif)
}

/// Where the lowest byte of the orientation stands: TIFF 6.0, section 2, tag 274 of the first directory.
/// It is to be a SHORT, and some cameras write another integer, which readers take as well.
fn exif_orientation_at(exif: &[u8]) -> Option<usize> {
    let little = match exif.first_chunk()? {
        b"II*\0" => true,
        b"MM\0*" => false,
        _ => return None,
    };
    let number = |at: usize, bytes: usize| {
        let digits = exif.get(at..at.checked_add(bytes)?)?.iter();
        let append = |value: usize, &byte: &u8| value << 8 | usize::from(byte);
        Some(if little { digits.rev().fold(0, append) } else { digits.fold(0, append) })
    };
    let directory = number(4, 4)?;
    let mut entries = (0..number(directory, 2)?).map(|entry| directory + 2 + 12 * entry);
    let entry = entries.find(|&entry| number(entry, 2) == Some(0x112))?;
    let bytes = match number(entry + 2, 2)? {
        1 | 6 => 1,
        3 | 8 => 2,
        4 | 9 => 4,
        _ => return None,
    };
    // What is no orientation is not one whose lowest byte happens to be.
    let at = entry + 8;
    (number(at, bytes)? <= 8).then(|| if little { at } else { at + bytes - 1 })
}

/// Where the digit of `tiff:Orientation` stands, written as an attribute or as an element.
fn xmp_orientation_at(xmp: &[u8]) -> Option<usize> {
    const NAME: &[u8] = b"tiff:Orientation";
    let after = xmp.windows(NAME.len()).position(|window| window == NAME)? + NAME.len();
    let rest = &xmp[after..];
    let skip = if rest.starts_with(b"=\"") || rest.starts_with(b"='") {
        2
    } else if rest.starts_with(b">") {
        1
    } else {
        return None;
    };
    rest.get(skip)?.is_ascii_digit().then_some(after + skip)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests {
    use super::*;

    /// A little-endian EXIF block whose only entry is the orientation.
    pub(in super::super) fn exif(orientation: u8) -> Vec<u8> {
        let mut block = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
        block.extend([orientation, 0, 0, 0, 0, 0, 0, 0]);
        block
    }

    #[test]
    fn orientation_comes_from_exif_then_from_xmp() {
        let exif = exif(6);
        let xmp = b"<x tiff:Orientation=\"3\"/>".as_slice();
        let mut side =
            SideData { exif: Some(Cow::Borrowed(&exif)), xmp: Some(Cow::Borrowed(xmp)), icc: None };
        assert_eq!(side.orientation(), Orientation::Rotate90);
        side.set_upright();
        assert_eq!(side.orientation(), Orientation::NoTransforms);
        side.exif = None;
        side.xmp = Some(Cow::Borrowed(b"<tiff:Orientation>8</tiff:Orientation>"));
        assert_eq!(side.orientation(), Orientation::Rotate270);
        side.set_upright();
        assert_eq!(side.orientation(), Orientation::NoTransforms);
    }

    #[test]
    fn an_orientation_may_be_any_integer_in_either_order_of_bytes() {
        let little = |kind, value: [u8; 4]| {
            let entry = [[0x12, 1, kind, 0, 1, 0, 0, 0].as_slice(), &value].concat();
            [b"II*\0\x08\0\0\0\x01\0".as_slice(), &entry, &[0; 4]].concat()
        };
        let big = |kind, value: [u8; 4]| {
            let entry = [[1, 0x12, 0, kind, 0, 0, 0, 1].as_slice(), &value].concat();
            [b"MM\0*\0\0\0\x08\0\x01".as_slice(), &entry, &[0; 4]].concat()
        };
        for exif in [
            little(3, [6, 0, 0, 0]),
            little(9, [6, 0, 0, 0]),
            little(1, [6, 0, 0, 0]),
            big(3, [0, 6, 0, 0]),
            big(4, [0, 0, 0, 6]),
        ] {
            let mut side = SideData { exif: Some(exif.into()), ..SideData::default() };
            assert_eq!(side.orientation(), Orientation::Rotate90);
            side.set_upright();
            assert_eq!(side.orientation(), Orientation::NoTransforms);
        }
        for exif in [little(5, [6, 0, 0, 0]), little(4, [6, 0, 1, 0]), big(3, [6, 0, 0, 0])] {
            for length in 0..=exif.len() {
                let side = SideData { exif: Some(exif[..length].into()), ..SideData::default() };
                assert_eq!(side.orientation(), Orientation::NoTransforms);
            }
        }
    }

    #[test]
    fn an_orientation_that_makes_no_sense_is_none() {
        for digit in [0, 9, 255] {
            let exif = exif(digit);
            let side = SideData { exif: Some(Cow::Borrowed(&exif)), ..SideData::default() };
            assert_eq!(side.orientation(), Orientation::NoTransforms);
        }
    }
}
