//! PNG in.

use std::io::Cursor;

use png::{
    BitDepth, ColorType, DecodeOptions, Decoder, DecodingError, InterlaceInfo, Reader,
    Transformations,
};

use super::frame::{Channels, Depth, Frame, zeroed_with_room};
use super::png_chunks::{self, PngHeader};
use super::png_write::PackedPng;
use super::side::SideData;
use crate::convert::{Error, ErrorKind};
use crate::limits::ConvertLimits;

/// What the decoder may take for itself beside the frame: rows, and chunks that it insists on.
const DECODER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Decodes to 8 or 16 bits a sample; palettes become colours, and transparent colours alpha.
pub(super) fn decode<'a>(
    input: &'a [u8],
    limits: &ConvertLimits,
) -> Result<(Frame, SideData<'a>), Error> {
    let header = png_chunks::read(input, limits)?;
    let mut reader = open(input, &header, Transformations::EXPAND)?;
    let (color, depth) = reader.output_color_type();
    let channels = match color {
        ColorType::Grayscale => Channels::Grey,
        ColorType::GrayscaleAlpha => Channels::GreyAlpha,
        ColorType::Rgba => Channels::Rgba,
        ColorType::Rgb | ColorType::Indexed => Channels::Rgb,
    };
    let depth = if depth == BitDepth::Sixteen { Depth::Sixteen } else { Depth::Eight };
    let mut frame = Frame::new(header.width, header.height, channels, depth)?;
    read_rows(&mut reader, &mut frame.pixels)?;
    Ok((frame, header.side))
}

/// The samples as they are packed in the file, with the palette: for writing the same kind again.
/// `None` where samples have whole bytes, which [`decode`] hands over as well.
pub(super) fn decode_packed<'a>(
    input: &'a [u8],
    limits: &ConvertLimits,
) -> Result<Option<(PackedPng, SideData<'a>)>, Error> {
    let header = png_chunks::read(input, limits)?;
    let mut reader = open(input, &header, Transformations::IDENTITY)?;
    let info = reader.info();
    let (color, depth) = (info.color_type, info.bit_depth);
    if color != ColorType::Indexed && matches!(depth, BitDepth::Eight | BitDepth::Sixteen) {
        return Ok(None);
    }
    let mut palette = info.palette.as_deref().map(<[u8]>::to_vec);
    let transparency = match (color, info.trns.as_deref()) {
        // The decoder has dropped the upper byte of the clear grey, which the format wants.
        (ColorType::Grayscale, Some(&[grey])) => Some(vec![0, grey]),
        (_, transparency) => transparency.map(<[u8]>::to_vec),
    };
    let bytes = reader
        .output_buffer_size()
        .ok_or_else(|| Error::malformed("the PNG's rows are longer than memory"))?;
    let mut rows = zeroed_with_room(bytes as u64, header.height.into())?;
    read_rows(&mut reader, &mut rows)?;
    if let Some(palette) = &mut palette {
        // Indices past the palette are black to this decoder, and an error to others.
        let colours = usize::from(index_max(&rows, depth)) + 1;
        palette.resize(palette.len().max(colours * 3), 0);
    }
    let (width, height) = (header.width, header.height);
    let raw = PackedPng { width, height, color, depth, rows, palette, transparency };
    Ok(Some((raw, header.side)))
}

/// The largest index; unused bits at the end of a row count too, which does no harm.
fn index_max(rows: &[u8], depth: BitDepth) -> u8 {
    let bits = depth as u8;
    if bits == 8 {
        return rows.iter().copied().fold(0, u8::max);
    }
    let mask = (1 << bits) - 1;
    let shifts = || (0..8).step_by(usize::from(bits));
    rows.iter().flat_map(|&byte| shifts().map(move |shift| byte >> shift & mask)).fold(0, u8::max)
}

fn open<'a>(
    input: &'a [u8],
    header: &PngHeader,
    transformations: Transformations,
) -> Result<Reader<Cursor<&'a [u8]>>, Error> {
    let mut options = DecodeOptions::default();
    options.set_ignore_text_chunk(true);
    options.set_ignore_iccp_chunk(true);
    // The zlib stream's own sum covers the pixels; the chunks around it are checked by our walk.
    // Other readers do not look at the sums of pixel chunks either, and open files with wrong ones.
    options.set_ignore_crc(true);
    options.set_ignore_adler32(false);
    let mut decoder = Decoder::new_with_options(Cursor::new(input), options);
    decoder.set_limits(png::Limits { bytes: DECODER_BYTES_MAX });
    decoder.set_transformations(transformations);
    let reader = decoder.read_info().map_err(|error| refused(&error))?;
    let info = reader.info();
    // An animation's first frame is what the plain picture shows, and has its size.
    let frame_size = info.frame_control.map_or(info.size(), |frame| (frame.width, frame.height));
    if frame_size != (header.width, header.height) || info.size() != frame_size {
        return Err(Error::malformed(format!(
            "the PNG's first frame has {} x {} pixels in a picture of {} x {}",
            frame_size.0, frame_size.1, header.width, header.height
        )));
    }
    if info.color_type == ColorType::Indexed && info.palette.is_none() {
        return Err(Error::malformed("the PNG's pixels refer to a palette that it lacks"));
    }
    Ok(reader)
}

/// Reads rows into their places. A file that lacks nothing but its end is read, as by other readers.
fn read_rows(reader: &mut Reader<Cursor<&[u8]>>, rows: &mut [u8]) -> Result<(), Error> {
    let (width, _) = reader.info().size();
    let row_bytes = reader
        .output_line_size(width)
        .ok_or_else(|| Error::malformed("the PNG's rows are longer than memory"))?;
    if !reader.info().interlaced {
        for row in rows.chunks_exact_mut(row_bytes) {
            reader.read_row(row).map_err(|error| refused(&error))?;
        }
        return check_end(reader, &mut vec![0; row_bytes]);
    }
    let (color, depth) = reader.output_color_type();
    let Ok(pixel_bits) = u8::try_from(color.samples() * depth as usize) else {
        return Err(Error::new(ErrorKind::Internal, "a PNG's pixel has at most 64 bits"));
    };
    let mut pass_row = vec![0; row_bytes];
    let (width, height) = reader.info().size();
    for _ in 0..pass_rows(width, height) {
        let place = reader.read_row(&mut pass_row).map_err(|error| refused(&error))?;
        if let Some(InterlaceInfo::Adam7(place)) = place {
            png::expand_interlaced_row(rows, row_bytes, &pass_row, &place, pixel_bits);
        }
    }
    check_end(reader, &mut pass_row)
}

/// Rows of all seven passes: those that hold at least a pixel.
fn pass_rows(width: u32, height: u32) -> u32 {
    // Left, top, and distance between rows, as the format has them.
    const PASSES: [(u32, u32, u32); 7] =
        [(0, 0, 8), (4, 0, 8), (0, 4, 8), (2, 0, 4), (0, 2, 4), (1, 0, 2), (0, 1, 2)];
    let rows = |(left, top, step): (u32, u32, u32)| {
        if left < width { height.saturating_sub(top).div_ceil(step) } else { 0 }
    };
    PASSES.into_iter().map(rows).sum()
}

/// After the last row: the sum over the pixels is right, or the file ends before it.
fn check_end(reader: &mut Reader<Cursor<&[u8]>>, row: &mut [u8]) -> Result<(), Error> {
    match reader.read_row(row) {
        Err(error @ DecodingError::Format(_)) => Err(refused(&error)),
        _ => Ok(()),
    }
}

fn refused(error: &DecodingError) -> Error {
    match error {
        DecodingError::LimitsExceeded => Error::limit(
            "bytes of the PNG's chunks",
            "more than the decoder takes",
            DECODER_BYTES_MAX,
        ),
        _ => Error::malformed(format!("the PNG cannot be decoded: {error}")),
    }
}
