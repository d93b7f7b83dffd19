//! PNG out.

use std::borrow::Cow;

use libdeflater::{CompressionLvl, Compressor};
use png::{BitDepth, ColorType, Compression, Encoder, EncodingError, Filter, Info, Writer};

use super::frame::{Channels, Depth, Frame, zeroed};
use super::png_chunks::XMP_KEYWORD;
use super::png_filter;
use super::side::SideData;
use super::sink::Sink;
use crate::convert::Error;
use crate::limits::ConvertLimits;

/// libdeflate's level for drawings: smaller than zlib's usual 6, in less time than its level 1.
const FLAT_LEVEL: i32 = 5;

/// libdeflate's level for photographs that the fast compressor does badly.
const PHOTO_LEVEL: i32 = 1;

/// How much larger than at `PHOTO_LEVEL` the fast compressor's file may be, in percent. That level
/// is at most 4 percent above Pillow's files, so all stay within 20 percent of these.
const FAST_PERCENT_MAX: usize = 115;

/// The compressors are tried on bands of rows: one band of 16 in 16 bands.
const BAND_ROWS: usize = 16;
const BAND_EVERY: usize = 16;

/// Pixels from which on a picture pays for its compressor's time; a smaller one is compressed well.
const SMALL_PIXELS: u64 = 64 * 64;

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
///
/// Drawings and small pictures go to libdeflate behind an adaptive filter. For photographs there is
/// the library's own fast compressor: half of libdeflate's time, and a few percent larger on most;
/// but its codes are fixed, and on soft or drawn pictures a third or a half larger. So both are
/// tried on a sample of the rows.
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
    let (row_bytes, pixel_bytes) = (frame.row_bytes(), frame.pixel_bytes());
    let small = u64::from(frame.width) * u64::from(frame.height) <= SMALL_PIXELS;
    let level = if small || png_filter::is_flat(&frame.pixels, row_bytes, pixel_bytes) {
        Some(FLAT_LEVEL)
    } else if fast_is_close(frame, color, depth, limits)? {
        None
    } else {
        Some(PHOTO_LEVEL)
    };
    let Some(level) = level else {
        return write(info, side, limits, |writer| writer.write_image_data(&frame.pixels));
    };
    let stream = filtered_stream(&frame.pixels, row_bytes, pixel_bytes, level)?;
    write(info, side, limits, |writer| write_stream(writer, &stream))
}

/// Whether the fast compressor's result on a sample is close enough to libdeflate's.
fn fast_is_close(
    frame: &Frame,
    color: ColorType,
    depth: BitDepth,
    limits: &ConvertLimits,
) -> Result<bool, Error> {
    let (row_bytes, pixel_bytes) = (frame.row_bytes(), frame.pixel_bytes());
    let bands = frame.pixels.chunks_exact(row_bytes * BAND_ROWS).step_by(BAND_EVERY);
    let sample: Vec<u8> = bands.flatten().copied().collect();
    let Ok(rows) = u32::try_from(sample.len() / row_bytes) else { return Ok(true) };
    if rows == 0 {
        return Ok(true);
    }
    let side = SideData::default();
    let fast = write(info(frame.width, rows, color, depth, &side), &side, limits, |writer| {
        writer.write_image_data(&sample)
    })?;
    let stream = filtered_stream(&sample, row_bytes, pixel_bytes, PHOTO_LEVEL)?;
    Ok(fast.len() * 100 <= stream.len() * FAST_PERCENT_MAX)
}

fn filtered_stream(
    rows: &[u8],
    row_bytes: usize,
    pixel_bytes: usize,
    level: i32,
) -> Result<Vec<u8>, Error> {
    let mut filtered = zeroed((rows.len() + rows.len() / row_bytes) as u64)?;
    png_filter::adaptive(rows, row_bytes, pixel_bytes, &mut filtered);
    deflated(&filtered, level)
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
    let stream = deflated(&filtered, FLAT_LEVEL)?;
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
        encoder.set_compression(Compression::Fast);
        encoder.set_filter(Filter::Adaptive);
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

    /// Rows of 96 pixels whose values differ from their neighbours by `spread` at most.
    fn picture(spread: u32) -> Frame {
        let mut frame = Frame::new(96, 96, Channels::Rgb, Depth::Eight).unwrap();
        let mut state = 1_u32;
        for byte in &mut frame.pixels {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = u8::try_from(100 + (state >> 16) % (spread + 1)).unwrap();
        }
        frame
    }

    #[test]
    fn whichever_compressor_is_chosen_the_pixels_come_back() {
        let limits = ConvertLimits::default();
        let mut chosen = Vec::new();
        for spread in [0, 1, 2, 8, 155] {
            let frame = picture(spread);
            let file = encode(&frame, &SideData::default(), &limits).unwrap();
            assert_eq!(super::super::png_read::decode(&file, &limits).unwrap().0, frame);
            let fast = fast_is_close(&frame, ColorType::Rgb, BitDepth::Eight, &limits).unwrap();
            chosen.push(fast);
        }
        // Noise is as large either way; residuals of two values are not.
        assert_eq!((chosen[1], chosen[4]), (false, true), "{chosen:?}");
    }
}
