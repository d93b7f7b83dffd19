//! PNG out.

use std::borrow::Cow;

use libdeflater::{Adler32, CompressionLvl, Compressor};
use png::{BitDepth, ColorType, Encoder, EncodingError, Info, Writer};

use super::deflate::Deflater;
use super::frame::{Channels, Depth, Frame, zeroed};
use super::png_chunks::XMP_KEYWORD;
use super::png_filter;
use super::side::SideData;
use super::sink::Sink;
use crate::convert::Error;
use crate::limits::ConvertLimits;

/// libdeflate's level where its time does not matter, or where it alone knows the content.
const LEVEL: i32 = 5;

/// Pixels up to which a picture is left to libdeflate: a few milliseconds at most.
const SMALL_PIXELS: u64 = 128 * 128;

/// How much larger than libdeflate's a result may be, in percent of it. Our deflate looks for fewer
/// repetitions, which dithered and patterned pictures consist of: there, libdeflate's time is well
/// spent. A sample shows more than the whole, where repetitions from before the sample are found too.
const LARGER_PERCENT_MAX: usize = 118;

/// Both are tried on bands of rows: 4, of a 64th of the picture or 16 KiB, which takes 1.5 ms at most.
const SAMPLE_BANDS: usize = 4;
const SAMPLE_BAND_BYTES: usize = 16 * 1024;

/// Filtered rows that are compressed at once: large enough that the codes of a block cost nothing,
/// small enough to stay in the second cache.
const BLOCK_BYTES: usize = 128 * 1024;

/// A zlib stream's first bytes: deflate, a window of 32 KiB, the fastest of four levels.
const ZLIB_HEADER: [u8; 2] = [0x78, 0x01];

/// A chunk's length has 31 bits; this is far below, and a power of two.
const IDAT_BYTES_MAX: usize = 1 << 30;

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

/// Writes a frame of any channels but `Cmyk`.
pub(super) fn encode(
    frame: &Frame,
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
    let info = info(frame.width, frame.height, color, depth, side);
    let small = u64::from(frame.width) * u64::from(frame.height) <= SMALL_PIXELS;
    if !small && own_is_close(frame)? {
        return write(info, side, limits, |writer| write_blocks(writer, frame));
    }
    let stream = deflated(&filtered(&frame.pixels, frame)?, LEVEL)?;
    write(info, side, limits, |writer| write_stream(writer, &stream))
}

/// Whether our own deflate comes close to libdeflate's size on a sample of the rows.
fn own_is_close(frame: &Frame) -> Result<bool, Error> {
    let height = frame.height as usize;
    let rows = (SAMPLE_BAND_BYTES / frame.row_bytes()).min(height / 16 / SAMPLE_BANDS).max(1);
    let bands = frame.pixels.chunks_exact(rows * frame.row_bytes());
    let every = (bands.len() / SAMPLE_BANDS).max(1);
    let sample: Vec<u8> = bands.skip(every / 2).step_by(every).flatten().copied().collect();
    let filtered = filtered(&sample, frame)?;
    let mut deflater = Deflater::new();
    deflater.block(filtered.len()).copy_from_slice(&filtered);
    let own = deflater.compress(true).len();
    Ok(own * 100 <= deflated(&filtered, LEVEL)?.len() * LARGER_PERCENT_MAX)
}

/// Rows of the frame's kind behind their filters, all at once.
fn filtered(rows: &[u8], frame: &Frame) -> Result<Vec<u8>, Error> {
    let row_bytes = frame.row_bytes();
    let mut filtered = zeroed((rows.len() + rows.len() / row_bytes) as u64)?;
    png_filter::adaptive(rows, &vec![0; row_bytes], frame.pixel_bytes(), &mut filtered);
    Ok(filtered)
}

/// Filters and compresses some rows at a time, each block its own chunk of the file.
fn write_blocks(writer: &mut Writer<&mut Sink>, frame: &Frame) -> Result<(), EncodingError> {
    let row_bytes = frame.row_bytes();
    let block_rows = (BLOCK_BYTES / row_bytes).max(1);
    let blocks = frame.pixels.chunks(block_rows * row_bytes);
    let count = blocks.len();
    let mut deflater = Deflater::new();
    let mut checksum = Adler32::new();
    let first = vec![0; row_bytes];
    let mut above = first.as_slice();
    for (number, rows) in (1..).zip(blocks) {
        let filtered = deflater.block(rows.len() + rows.len() / row_bytes);
        png_filter::adaptive(rows, above, frame.pixel_bytes(), filtered);
        checksum.update(filtered);
        let stream = deflater.compress(number == count);
        let mut chunk = Vec::with_capacity(stream.len() + ZLIB_HEADER.len() + 4);
        if number == 1 {
            chunk.extend(ZLIB_HEADER);
        }
        chunk.extend_from_slice(stream);
        if number == count {
            chunk.extend(checksum.sum().to_be_bytes());
        }
        writer.write_chunk(png::chunk::IDAT, &chunk)?;
        above = &rows[rows.len() - row_bytes..];
    }
    Ok(())
}

/// Writes rows in the packing that they have.
pub(super) fn encode_packed(
    packed: &PackedPng,
    side: &SideData,
    limits: &ConvertLimits,
) -> Result<Vec<u8>, Error> {
    let mut info = info(packed.width, packed.height, packed.color, packed.depth, side);
    info.palette = packed.palette.as_deref().map(Cow::Borrowed);
    info.trns = packed.transparency.as_deref().map(Cow::Borrowed);
    let row_bytes = packed.rows.len() / packed.height as usize;
    let mut filtered = zeroed((packed.rows.len() + packed.height as usize) as u64)?;
    png_filter::unfiltered(&packed.rows, row_bytes, &mut filtered);
    let stream = deflated(&filtered, LEVEL)?;
    write(info, side, limits, |writer| write_stream(writer, &stream))
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

fn write(
    info: Info,
    side: &SideData,
    limits: &ConvertLimits,
    pixels: impl FnOnce(&mut Writer<&mut Sink>) -> Result<(), EncodingError>,
) -> Result<Vec<u8>, Error> {
    let mut sink = Sink::new(0, limits);
    let outcome = Encoder::with_info(&mut sink, info).and_then(|mut encoder| {
        if let Some(xmp) = side.xmp.as_deref().and_then(|xmp| std::str::from_utf8(xmp).ok()) {
            encoder.add_itxt_chunk(XMP_KEYWORD.to_owned(), xmp.to_owned())?;
        }
        let mut writer = encoder.write_header()?;
        pixels(&mut writer)?;
        writer.finish()
    });
    sink.finish("PNG", outcome)
}

fn write_stream(writer: &mut Writer<&mut Sink>, stream: &[u8]) -> Result<(), EncodingError> {
    stream.chunks(IDAT_BYTES_MAX).try_for_each(|part| writer.write_chunk(png::chunk::IDAT, part))
}

fn deflated(filtered: &[u8], level: i32) -> Result<Vec<u8>, Error> {
    let level = CompressionLvl::new(level).unwrap_or_default();
    let mut compressor = Compressor::new(level);
    let mut stream = zeroed(compressor.zlib_compress_bound(filtered.len()) as u64)?;
    let length = compressor.zlib_compress(filtered, &mut stream).map_err(|_| {
        Error::new(crate::convert::ErrorKind::Internal, "deflate outgrew its bound")
    })?;
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
        assert!(!own_is_close(&tiles).unwrap());
        assert!(own_is_close(&tile).unwrap());
    }

    #[test]
    fn pixels_come_back_over_many_blocks() {
        let limits = ConvertLimits::default();
        for spread in [0, 1, 2, 8, 155] {
            let frame = picture(spread);
            let file = encode(&frame, &SideData::default(), &limits).unwrap();
            assert_eq!(super::super::png_read::decode(&file, &limits).unwrap().0, frame);
        }
    }
}
