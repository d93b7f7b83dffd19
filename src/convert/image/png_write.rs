//! PNG out.

use std::borrow::Cow;

use libdeflater::{Adler32, CompressionLvl, Compressor, Crc};
use png::{BitDepth, ColorType, Encoder, EncodingError, Info};

use super::deflate::Deflater;
use super::frame::{Channels, Depth, Frame, no_memory, zeroed};
use super::overlay::Overlay;
use super::png_chunks::XMP_KEYWORD;
use super::png_filter::{Adaptive, plain_line};
use super::side::SideData;
use super::sink::Sink;
use crate::convert::{Error, ErrorKind};
use crate::limits::ConvertLimits;

/// libdeflate's level where its time does not matter, or where it alone knows the content.
const LEVEL: i32 = 5;

/// Pixels up to which a picture is small: libdeflate takes a few milliseconds, and some tens.
const TINY_PIXELS: u64 = 128 * 128;
const SMALL_PIXELS: u64 = 1024 * 1024;

/// How much larger than libdeflate's a result may be, in percent of it. Our deflate looks for fewer
/// repetitions, which drawings and patterns consist of: there, libdeflate's time is well
/// spent. A sample shows more than the whole, where repetitions from before the sample are found too.
const LARGER_PERCENT_MAX: usize = 118;
/// The same of drawings, by their size: libdeflate takes three times as long for a large one.
const LARGER_PERCENT_MAX_SMALL: usize = 105;
const LARGER_PERCENT_MAX_LARGE: usize = 150;

/// A photograph or noise is left with more of its bytes than this by our deflate, in percent, and hardly less by any.
const DRAWING_PERCENT_MAX: usize = 40;

/// All are tried on bands of rows: 4, of a 64th of the picture or so many bytes at most.
const SAMPLE_BANDS: usize = 4;
const SAMPLE_BAND_BYTES: usize = 16 * 1024;
const SAMPLE_BAND_BYTES_DRAWING: usize = 48 * 1024;

/// Filtered rows that are compressed at once: large enough that the codes of a block cost nothing,
/// small enough to stay in the second cache.
const BLOCK_BYTES: usize = 128 * 1024;

/// A zlib stream's first bytes: deflate, a window of 32 KiB, the fastest of four levels.
const ZLIB_HEADER: [u8; 2] = [0x78, 0x01];

/// A chunk's length has 31 bits; this is far below, and a power of two.
const IDAT_BYTES_MAX: usize = 1 << 30;

/// A chunk's length, type and checksum.
const CHUNK_EXTRA_BYTES: usize = 12;

/// Rows of samples that are packed into bytes, or of palette indices.
#[derive(Debug)]
pub(super) struct PackedPng {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) color: ColorType,
    pub(super) depth: BitDepth,
    pub(super) rows: Vec<u8>,
    pub(super) palette: Option<Vec<u8>>,
    pub(super) transparency: Option<Vec<u8>>,
}

/// Writes a frame of any channels but `Cmyk`, in the memory that it has.
pub(super) fn encode(
    frame: Frame,
    side: &SideData,
    limits: &ConvertLimits,
) -> Result<Vec<u8>, Error> {
    let color = match frame.channels {
        Channels::Grey => ColorType::Grayscale,
        Channels::GreyAlpha => ColorType::GrayscaleAlpha,
        Channels::Rgb => ColorType::Rgb,
        Channels::Rgba | Channels::Cmyk => ColorType::Rgba,
    };
    let depth = match frame.depth {
        Depth::Eight => BitDepth::Eight,
        Depth::Sixteen => BitDepth::Sixteen,
    };
    let around = Surroundings::new(info(frame.width, frame.height, color, depth, side), side)?;
    let packing = packing(&frame)?;
    let (row_bytes, pixel_bytes) = (frame.row_bytes(), frame.pixel_bytes());
    let mut filter = Adaptive::new(row_bytes, pixel_bytes);
    let filtered = match packing {
        Packing::Blocks => return encode_blocks(&around, frame, limits),
        Packing::Filtered => filtered_in_place(frame.pixels, row_bytes, |row, above, line| {
            filter.filter(row, above, line);
        }),
        Packing::Plain => filtered_in_place(frame.pixels, row_bytes, |row, _, line| {
            plain_line(row, line);
        }),
    }?;
    encode_at_once(&around, filtered, limits)
}

/// Writes rows in the packing that they have.
pub(super) fn encode_packed(
    packed: PackedPng,
    side: &SideData,
    limits: &ConvertLimits,
) -> Result<Vec<u8>, Error> {
    let mut info = info(packed.width, packed.height, packed.color, packed.depth, side);
    info.palette = packed.palette.map(Cow::Owned);
    info.trns = packed.transparency.map(Cow::Owned);
    let around = Surroundings::new(info, side)?;
    let row_bytes = packed.rows.len() / packed.height as usize;
    let filtered = filtered_in_place(packed.rows, row_bytes, |row, _, line| {
        plain_line(row, line);
    })?;
    encode_at_once(&around, filtered, limits)
}

/// How rows are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packing {
    /// Filtered, by our own deflate, some at a time.
    Blocks,
    /// Filtered, by libdeflate.
    Filtered,
    /// As they are, by libdeflate: shapes and letters repeat in themselves, and less in what a filter leaves.
    Plain,
}

/// The packing that is the smallest, as far as its time is worth it.
fn packing(frame: &Frame) -> Result<Packing, Error> {
    let pixels = u64::from(frame.width) * u64::from(frame.height);
    if pixels <= TINY_PIXELS {
        return by_libdeflate(&frame.pixels, frame).map(|(packing, _)| packing);
    }
    let rows = bands(frame, SAMPLE_BAND_BYTES);
    let lines = filtered(&rows, frame);
    let own = own_bytes(&lines);
    if own * 100 > rows.len() * DRAWING_PERCENT_MAX {
        let close = own * 100 <= deflated(&lines)?.len() * LARGER_PERCENT_MAX;
        return Ok(if close { Packing::Blocks } else { Packing::Filtered });
    }
    let rows = bands(frame, SAMPLE_BAND_BYTES_DRAWING);
    let (packing, bytes) = by_libdeflate(&rows, frame)?;
    let small = pixels <= SMALL_PIXELS;
    let percent_max = if small { LARGER_PERCENT_MAX_SMALL } else { LARGER_PERCENT_MAX_LARGE };
    let close = own_bytes(&filtered(&rows, frame)) * 100 <= bytes * percent_max;
    Ok(if close { Packing::Blocks } else { packing })
}

/// Which way libdeflate makes less of the rows, and how much that is.
fn by_libdeflate(rows: &[u8], frame: &Frame) -> Result<(Packing, usize), Error> {
    let plain = deflated(&unfiltered(rows, frame))?.len();
    let filtered = deflated(&filtered(rows, frame))?.len();
    let is_plain = plain < filtered;
    Ok(if is_plain { (Packing::Plain, plain) } else { (Packing::Filtered, filtered) })
}

/// Some rows of the picture, evenly over it.
fn bands(frame: &Frame, band_bytes: usize) -> Vec<u8> {
    let height = frame.height as usize;
    let row_bytes = frame.row_bytes();
    let rows = (band_bytes / row_bytes).min(height / 16 / SAMPLE_BANDS).max(1);
    let bands = frame.pixels.chunks_exact(rows * row_bytes);
    let every = (bands.len() / SAMPLE_BANDS).max(1);
    bands.skip(every / 2).step_by(every).flatten().copied().collect()
}

/// Rows behind their filters.
fn filtered(rows: &[u8], frame: &Frame) -> Vec<u8> {
    let row_bytes = frame.row_bytes();
    let mut lines = vec![0; rows.len() + rows.len() / row_bytes];
    Adaptive::new(row_bytes, frame.pixel_bytes()).filter(rows, &vec![0; row_bytes], &mut lines);
    lines
}

/// Rows behind none.
fn unfiltered(rows: &[u8], frame: &Frame) -> Vec<u8> {
    let row_bytes = frame.row_bytes();
    let mut lines = vec![0; rows.len() + rows.len() / row_bytes];
    for (row, line) in rows.chunks_exact(row_bytes).zip(lines.chunks_exact_mut(row_bytes + 1)) {
        plain_line(row, line);
    }
    lines
}

/// What our own deflate makes of filtered rows.
fn own_bytes(filtered: &[u8]) -> usize {
    let mut deflater = Deflater::new();
    deflater.block(filtered.len()).copy_from_slice(filtered);
    deflater.compress(true).len()
}

/// Filters and compresses some rows at a time, each block its own chunk of the file.
fn encode_blocks(
    around: &Surroundings,
    frame: Frame,
    limits: &ConvertLimits,
) -> Result<Vec<u8>, Error> {
    let (row_bytes, pixel_bytes) = (frame.row_bytes(), frame.pixel_bytes());
    let total = frame.pixels.len();
    let block_bytes = (BLOCK_BYTES / row_bytes).max(1) * row_bytes;
    let mut filter = Adaptive::new(row_bytes, pixel_bytes);
    let mut deflater = Deflater::new();
    let mut checksum = Adler32::new();
    let first = vec![0; row_bytes];
    let mut file = Overlay::new(frame.pixels, limits);
    file.push(around.head())?;
    for start in (0..total).step_by(block_bytes) {
        let end = total.min(start + block_bytes);
        let rows = &file.pixels()[start..end];
        let above = match start.checked_sub(row_bytes) {
            Some(above) => &file.pixels()[above..start],
            None => &first,
        };
        let filtered = deflater.block(rows.len() + rows.len() / row_bytes);
        filter.filter(rows, above, filtered);
        checksum.update(filtered);
        // The last row of a block is the one above the next.
        file.release(end - row_bytes);
        let (first, last) = (start == 0, end == total);
        let header: &[u8] = if first { &ZLIB_HEADER } else { &[] };
        let sum = checksum.sum().to_be_bytes();
        let trailer: &[u8] = if last { &sum } else { &[] };
        let stream = deflater.compress(last);
        push_chunk(&[header, stream, trailer], |bytes| file.push(bytes))?;
    }
    file.push(around.tail())?;
    file.finish()
}

/// Compresses all rows, which are behind their filters.
fn encode_at_once(
    around: &Surroundings,
    filtered: Vec<u8>,
    limits: &ConvertLimits,
) -> Result<Vec<u8>, Error> {
    let stream = deflated(&filtered)?;
    drop(filtered);
    let chunks = stream.len().div_ceil(IDAT_BYTES_MAX);
    let bytes = around.bytes.len() + stream.len() + chunks * CHUNK_EXTRA_BYTES;
    let mut sink = Sink::new(bytes, limits);
    let mut push = |bytes: &[u8]| if sink.push(bytes) { Ok(()) } else { Err("it did not fit") };
    let outcome = push(around.head())
        .and_then(|()| {
            stream.chunks(IDAT_BYTES_MAX).try_for_each(|part| push_chunk(&[part], &mut push))
        })
        .and_then(|()| push(around.tail()));
    sink.finish("PNG", outcome)
}

/// An `IDAT` chunk of the parts one after the other.
fn push_chunk<E>(parts: &[&[u8]], mut push: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
    const KIND: &[u8] = b"IDAT";
    let bytes: usize = parts.iter().map(|part| part.len()).sum();
    let mut checksum = Crc::new();
    push(&u32::try_from(bytes).unwrap_or(u32::MAX).to_be_bytes())?;
    for part in [KIND].iter().chain(parts) {
        checksum.update(part);
        push(part)?;
    }
    push(&checksum.sum().to_be_bytes())
}

/// What the file has before its pixels, and behind them.
struct Surroundings {
    bytes: Vec<u8>,
}

impl Surroundings {
    /// An empty chunk, whose length and checksum are all that it has.
    const TAIL_BYTES: usize = CHUNK_EXTRA_BYTES;

    fn new(info: Info, side: &SideData) -> Result<Self, Error> {
        let mut bytes = Vec::new();
        let write = || {
            let mut encoder = Encoder::with_info(&mut bytes, info)?;
            if let Some(xmp) = side.xmp.as_deref().and_then(|xmp| std::str::from_utf8(xmp).ok()) {
                encoder.add_itxt_chunk(XMP_KEYWORD.to_owned(), xmp.to_owned())?;
            }
            // It ends the file without asking for pixels, which are put in between.
            encoder.write_header()?.finish()
        };
        write().map_err(|error: EncodingError| {
            Error::new(ErrorKind::Internal, format!("the PNG encoder failed: {error}"))
        })?;
        Ok(Self { bytes })
    }

    fn head(&self) -> &[u8] {
        &self.bytes[..self.bytes.len() - Self::TAIL_BYTES]
    }

    fn tail(&self) -> &[u8] {
        &self.bytes[self.bytes.len() - Self::TAIL_BYTES..]
    }
}

fn info<'a>(
    width: u32,
    height: u32,
    color: ColorType,
    depth: BitDepth,
    side: &'a SideData,
) -> Info<'a> {
    let mut info = Info::with_size(width, height);
    info.color_type = color;
    info.bit_depth = depth;
    info.icc_profile = side.icc.as_deref().map(Cow::Borrowed);
    info.exif_metadata = side.exif.as_deref().map(Cow::Borrowed);
    info
}

/// Puts rows behind their filters, in the memory that they have: from the last one up, each goes to where
/// nothing is wanted any more. `filter` gets a row, the one above it, and room for the line.
fn filtered_in_place(
    mut rows: Vec<u8>,
    row_bytes: usize,
    mut filter: impl FnMut(&[u8], &[u8], &mut [u8]),
) -> Result<Vec<u8>, Error> {
    let height = rows.len() / row_bytes;
    let line_bytes = row_bytes + 1;
    let total = height * line_bytes;
    rows.try_reserve_exact(height).map_err(|_| no_memory(total as u64))?;
    rows.resize(total, 0);
    let mut line = vec![0; line_bytes];
    let first = vec![0; row_bytes];
    for number in (0..height).rev() {
        let start = number * row_bytes;
        let above = match start.checked_sub(row_bytes) {
            Some(above) => &rows[above..start],
            None => &first,
        };
        filter(&rows[start..start + row_bytes], above, &mut line);
        rows[number * line_bytes..][..line_bytes].copy_from_slice(&line);
    }
    Ok(rows)
}

/// A zlib stream by libdeflate.
fn deflated(filtered: &[u8]) -> Result<Vec<u8>, Error> {
    let mut compressor = Compressor::new(CompressionLvl::new(LEVEL).unwrap_or_default());
    let mut stream = zeroed(compressor.zlib_compress_bound(filtered.len()) as u64)?;
    let length = compressor
        .zlib_compress(filtered, &mut stream)
        .map_err(|_| Error::new(ErrorKind::Internal, "deflate outgrew its bound"))?;
    stream.truncate(length);
    Ok(stream)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Rows of 300 pixels, three blocks, whose values differ from their neighbours by `spread` at most.
    fn picture(spread: u32) -> Frame {
        let mut frame = Frame::new(300, 400, Channels::Rgb, Depth::Eight).unwrap();
        let mut state = 1_u32;
        for byte in &mut frame.pixels {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = u8::try_from(100 + (state >> 16) % (spread + 1)).unwrap();
        }
        frame
    }

    #[test]
    fn patterns_are_left_to_libdeflate_and_noise_is_not() {
        let mut tiles = picture(0);
        let tile = picture(155);
        let row_bytes = tiles.row_bytes();
        for (at, byte) in tiles.pixels.iter_mut().enumerate() {
            // Pieces of 7 bytes, too short for our deflate, in an order of their own.
            let (row, x) = (at / row_bytes, at % row_bytes);
            let piece = tile.pixels[row * 131 + x / 7 * 17] % 8;
            *byte = tile.pixels[usize::from(piece) * 7 + x % 7];
        }
        assert_ne!(packing(&tiles).unwrap(), Packing::Blocks);
        assert_eq!(packing(&tile).unwrap(), Packing::Blocks);
    }

    #[test]
    fn letters_are_left_as_they_are_and_gradients_are_not() {
        // The same few shapes over and over, which differ within, on white.
        let shape = picture(155);
        let mut letters = picture(0);
        let row_bytes = letters.row_bytes();
        for (at, byte) in letters.pixels.iter_mut().enumerate() {
            let (y, x) = (at / row_bytes, at % row_bytes);
            let letter = (x / 24 + y / 12 * 7) % 5;
            let inside = x % 24 < 18 && y % 12 < 8;
            *byte = if inside { shape.pixels[letter * 300 + y % 12 * 18 + x % 24] } else { 255 };
        }
        assert_eq!(packing(&letters).unwrap(), Packing::Plain);
        let mut gradient = picture(0);
        for (at, byte) in gradient.pixels.iter_mut().enumerate() {
            *byte = u8::try_from((at / row_bytes + at % row_bytes / 3) * 255 / 700).unwrap();
        }
        assert_ne!(packing(&gradient).unwrap(), Packing::Plain);
    }

    #[test]
    fn pixels_come_back_over_many_blocks() {
        let limits = ConvertLimits::default();
        for spread in [0, 1, 2, 8, 155] {
            let frame = picture(spread);
            let file = encode(frame.clone(), &SideData::default(), &limits).unwrap();
            assert_eq!(super::super::png_read::decode(&file, &limits).unwrap().0, frame);
        }
    }
}
