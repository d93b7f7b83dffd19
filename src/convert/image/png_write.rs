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
/// Drawings and small pictures go to libdeflate behind an adaptive filter. Photographs go to the
/// library's own fast compressor: a tenth larger than zlib at its usual level, and 17 times as fast
/// or more; on drawings the same compressor makes files half as large again.
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
    if small || png_filter::is_flat(&frame.pixels, row_bytes, pixel_bytes) {
        let mut filtered = zeroed((frame.pixels.len() + frame.height as usize) as u64)?;
        png_filter::adaptive(&frame.pixels, row_bytes, pixel_bytes, &mut filtered);
        let stream = deflated(&filtered)?;
        write(info, side, limits, |writer| write_stream(writer, &stream))
    } else {
        write(info, side, limits, |writer| writer.write_image_data(&frame.pixels))
    }
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
    let stream = deflated(&filtered)?;
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

fn deflated(filtered: &[u8]) -> Result<Vec<u8>, Error> {
    let level = CompressionLvl::new(FLAT_LEVEL).unwrap_or_default();
    let mut compressor = Compressor::new(level);
    let mut stream = zeroed(compressor.zlib_compress_bound(filtered.len()) as u64)?;
    let length = compressor.zlib_compress(filtered, &mut stream).map_err(|_| {
        Error::new(crate::convert::ErrorKind::Internal, "deflate outgrew its bound")
    })?;
    stream.truncate(length);
    Ok(stream)
}
