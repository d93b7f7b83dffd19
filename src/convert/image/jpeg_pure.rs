//! JPEG without C: zune-jpeg reads, jpeg-encoder writes.

use std::borrow::Cow;

use jpeg_encoder::{ChromaSubsamplingMethod, ColorType, Encoder, SamplingFactor};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::super::frame::{Channels, Depth, Frame};
use super::super::jpeg_header::JpegHeader;
use super::super::sink::Sink;
use crate::convert::{Error, ErrorKind};
use crate::limits::ConvertLimits;

pub(super) const NAME: &str = "JPEG: zune-jpeg, jpeg-encoder";

/// Decodes to `Grey`, `Rgb` or `Cmyk`.
pub(super) fn decode(input: &[u8], header: &JpegHeader) -> Result<Frame, Error> {
    let (input, plain_rgb) = readable(input, header);
    let (channels, wanted) = match header.components {
        1 => (Channels::Grey, ColorSpace::Luma),
        // Asking for what the file claims to hold hands its samples over as they are.
        3 if plain_rgb => (Channels::Rgb, ColorSpace::YCbCr),
        3 => (Channels::Rgb, ColorSpace::RGB),
        _ => (Channels::Cmyk, ColorSpace::CMYK),
    };
    let options = DecoderOptions::default()
        .set_strict_mode(false)
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX))
        .jpeg_set_max_scans(header.scans as usize + 1)
        .jpeg_set_out_colorspace(wanted);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(&input), options);
    decoder.decode_headers().map_err(|error| malformed(&error))?;
    let ycck = decoder.input_colorspace() == Some(ColorSpace::YCCK);
    if ycck && channels == Channels::Cmyk {
        let options = decoder.options().jpeg_set_out_colorspace(ColorSpace::YCCK);
        decoder.set_options(options);
    }
    let mut frame = Frame::new(header.width, header.height, channels, Depth::Eight)?;
    if decoder.output_buffer_size() != Some(frame.pixels.len()) {
        return Err(Error::malformed("the JPEG's frame header is not the one that is decoded"));
    }
    decoder.decode_into(&mut frame.pixels).map_err(|error| malformed(&error))?;
    if ycck && channels == Channels::Cmyk {
        ycck_to_cmyk(&mut frame.pixels);
    }
    Ok(frame)
}

/// 4:2:0 with averaged chroma, as libjpeg writes at every quality.
pub(super) fn encode(frame: &Frame, quality: u8, limits: &ConvertLimits) -> Result<Vec<u8>, Error> {
    let color = match frame.channels {
        Channels::Grey => ColorType::Luma,
        Channels::Rgba => ColorType::Rgba,
        _ => ColorType::Rgb,
    };
    let side = |pixels: u32| {
        u16::try_from(pixels)
            .map_err(|_| Error::new(ErrorKind::Internal, "a JPEG's side passed its check"))
    };
    let (width, height) = (side(frame.width)?, side(frame.height)?);
    // A photo at the default quality takes about a tenth of its pixels in bytes.
    let mut sink = Sink::new(frame.width as usize * frame.height as usize / 8, limits);
    let mut encoder = Encoder::new(&mut sink, quality);
    encoder.set_sampling_factor(SamplingFactor::F_2_2);
    encoder.set_chroma_subsampling_method(ChromaSubsamplingMethod::Average);
    let outcome = encoder.encode(&frame.pixels, width, height, color);
    sink.finish("JPEG", outcome)
}

/// The input as this decoder can read it, and whether its three components are plain RGB.
///
/// Adobe's transform 0 means RGB for three components, which the decoder refuses, as it does
/// transforms that nobody has defined (libjpeg takes those for the usual ones). A changed copy of
/// these rare files says what the decoder knows.
fn readable<'a>(input: &'a [u8], header: &JpegHeader) -> (Cow<'a, [u8]>, bool) {
    let Some(adobe) = header.adobe else { return (Cow::Borrowed(input), false) };
    let (value, plain_rgb) = match (header.components, adobe.value) {
        (3, 0) => (1, !header.jfif),
        (3, 1) | (4, 0 | 2) => return (Cow::Borrowed(input), false),
        (4, _) => (2, false),
        _ => (1, false),
    };
    let mut changed = input.to_vec();
    changed[adobe.offset] = value;
    (Cow::Owned(changed), plain_rgb)
}

/// YCCK is CMY turned into `YCbCr` as if it were inverted RGB, with K beside it: JFIF's equations.
fn ycck_to_cmyk(pixels: &mut [u8]) {
    for [first, second, third, _black] in pixels.as_chunks_mut::<4>().0 {
        let luma = i32::from(*first);
        let (blue, red) = (i32::from(*second) - 128, i32::from(*third) - 128);
        // 1.402, 0.344136, 0.714136 and 1.772 in 16 bits of fraction, rounded.
        *first = inverted(luma + ((91_881 * red + 32_768) >> 16));
        *second = inverted(luma - ((22_554 * blue + 46_802 * red + 32_767) >> 16));
        *third = inverted(luma + ((116_130 * blue + 32_768) >> 16));
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to a byte")]
fn inverted(sample: i32) -> u8 {
    255 - sample.clamp(0, 255) as u8
}

fn malformed(error: &zune_jpeg::errors::DecodeErrors) -> Error {
    Error::malformed(format!("the JPEG cannot be decoded: {error}"))
}
