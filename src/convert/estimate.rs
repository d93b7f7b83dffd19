//! What a conversion will take of memory, told by the file's own header before anything is decoded.
//!
//! The estimate is meant to be high rather than low, and costs under a microsecond: it looks at the
//! first segments of a picture and at the size of anything else. What a picture may have at most is
//! not its matter: the conversion holds sizes against the limits.

use super::Target;

/// A picture is decoded into one frame, and may be turned or brought to other colours by way of a
/// second. An encoder holds its result, and rows of its own.
const FRAMES: u64 = 2;

/// Working memory of any conversion: tables, windows of a deflate, fonts of a text.
const FIXED_BYTES: u64 = 2 * 1024 * 1024;

/// A text is laid out page by page; its PDF is about half of it, and twice that where it is compressed
/// badly. Decoding from UTF-16 or Latin-1 makes a copy of up to twice the size.
const TEXT_TIMES: u64 = 4;

/// The streams of a PDF are read one by one: objects and one stream, after decompression.
const PDF_TIMES: u64 = 6;

/// Bytes of memory that converting `input` to `target` takes beside `input` itself.
#[must_use]
pub fn memory(input: &[u8], target: Target) -> u64 {
    let bytes = input.len() as u64;
    let own = match target {
        Target::Pdf => bytes.saturating_mul(TEXT_TIMES),
        Target::Text => bytes.saturating_mul(PDF_TIMES),
        Target::Jpg | Target::Png | Target::Webp => {
            let frame = frame_bytes(input).unwrap_or(0);
            // The result of a lossy encoder is a fraction of the frame; a PNG may be as large.
            frame.saturating_mul(FRAMES).saturating_add(frame / 2)
        }
    };
    own.saturating_add(FIXED_BYTES)
}

/// Bytes of a picture's frame, as far as its header tells.
fn frame_bytes(input: &[u8]) -> Option<u64> {
    let (width, height, pixel_bytes) =
        png(input).or_else(|| webp(input)).or_else(|| jpeg(input))?;
    Some(u64::from(width).saturating_mul(height.into()).saturating_mul(pixel_bytes))
}

/// PNG, section 11.2.1: IHDR is the first chunk.
fn png(input: &[u8]) -> Option<(u32, u32, u64)> {
    let head = input.strip_prefix(b"\x89PNG\r\n\x1a\n")?.get(8..18)?;
    let &[w0, w1, w2, w3, h0, h1, h2, h3, depth, colour] = head else { return None };
    let channels = match colour {
        0 => 1,
        4 => 2,
        // RGBA; and a palette becomes RGB, or RGBA.
        _ => 4,
    };
    let pixel_bytes = if depth == 16 { 2 * channels } else { channels };
    Some((u32::from_be_bytes([w0, w1, w2, w3]), u32::from_be_bytes([h0, h1, h2, h3]), pixel_bytes))
}

/// WEBP, "Simple File Format" and "Extended File Format": VP8, VP8L and VP8X have the size in
/// different places.
fn webp(input: &[u8]) -> Option<(u32, u32, u64)> {
    let chunk = input.strip_prefix(b"RIFF")?.get(4..)?.strip_prefix(b"WEBP")?;
    let (kind, data) = (chunk.get(..4)?, chunk.get(8..)?);
    let (width, height) = match kind {
        b"VP8 " => {
            let sides = data.get(6..10)?;
            let side =
                |at: usize| u32::from(u16::from_le_bytes([sides[at], sides[at + 1]]) & 0x3fff);
            (side(0), side(2))
        }
        b"VP8L" => {
            let bits = u32::from_le_bytes(data.get(1..5)?.try_into().ok()?);
            ((bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1)
        }
        b"VP8X" => {
            let sides = data.get(4..10)?;
            let side =
                |at: usize| u32::from_le_bytes([sides[at], sides[at + 1], sides[at + 2], 0]) + 1;
            (side(0), side(3))
        }
        _ => return None,
    };
    Some((width, height, 4))
}

/// ITU T.81, annex B: segments with their lengths, until a frame header.
fn jpeg(input: &[u8]) -> Option<(u32, u32, u64)> {
    let mut rest = input.strip_prefix(&[0xff, 0xd8])?;
    loop {
        let &[0xff, marker, high, low, ..] = rest else { return None };
        let segment = rest.get(4..)?;
        match marker {
            // Fill bytes.
            0xff => rest = rest.get(1..)?,
            // Frame headers: all of C0 to CF but tables, and what is reserved.
            0xc0..=0xcf if !matches!(marker, 0xc4 | 0xc8 | 0xcc) => {
                let &[_, h0, h1, w0, w1, components, ..] = segment else { return None };
                let side = |high, low| u32::from(u16::from_be_bytes([high, low]));
                return Some((side(w0, w1), side(h0, h1), u64::from(components.clamp(1, 4))));
            }
            0xda => return None,
            _ => rest = rest.get(2 + usize::from(u16::from_be_bytes([high, low])).max(2)..)?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_stand_in_the_first_bytes_of_each_type() {
        let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
        png.extend([0, 0, 1, 0, 0, 0, 0, 16, 8, 2, 0, 0, 0]);
        assert_eq!(frame_bytes(&png), Some(256 * 16 * 4));
        let jpeg = [
            &[0xff, 0xd8, 0xff, 0xe0, 0, 4, 1, 2, 0xff, 0xff, 0xc2, 0, 11, 8][..],
            &[0, 32, 1, 0, 3, 0, 0, 0, 0],
        ];
        assert_eq!(frame_bytes(&jpeg.concat()), Some(32 * 256 * 3));
        let lossy = b"RIFF\0\0\0\0WEBPVP8 \0\0\0\0\0\0\0\x9d\x01\x2a\x10\x40\x20\x00";
        assert_eq!(frame_bytes(lossy), Some(16 * 32 * 4));
        let lossless = b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f\x0f\x00\x00\x00";
        assert_eq!(frame_bytes(lossless), Some(16 * 4));
        let extended = b"RIFF\0\0\0\0WEBPVP8X\0\0\0\0\0\0\0\0\x0f\0\0\x1f\0\0";
        assert_eq!(frame_bytes(extended), Some(16 * 32 * 4));
    }

    #[test]
    fn every_cut_and_every_byte_is_taken() {
        let whole = [&[0xff, 0xd8, 0xff, 0xe0, 0, 4, 1, 2, 0xff, 0xc0][..], &[0xff; 20]].concat();
        for at in 0..whole.len() {
            let _ = memory(&whole[..at], Target::Png);
        }
        for byte in 0..=255 {
            let _ = memory(&[&[0xff, 0xd8, 0xff, byte][..], &[0; 40]].concat(), Target::Jpg);
        }
        let huge = [&b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR"[..], &[0xff; 13]].concat();
        assert!(memory(&huge, Target::Png) > 1 << 60);
        assert_eq!(memory(b"", Target::Pdf), FIXED_BYTES);
    }
}
