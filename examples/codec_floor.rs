//! What a conversion costs beside the codecs that it consists of: decoding alone, encoding alone, and the
//! whole, in turns and in one process.
//!
//! `bench/codecs/overhead.py` drives it. Every line of stdin is a request, every line of stdout its answer;
//! both are fields between tabs:
//!
//! ```text
//! target  path  rounds
//! ok      decode-ns,encode-ns,whole-ns  ...
//! error   message
//! ```
//!
//! Decoding and encoding are calls of the libraries that the conversion uses, with its settings, as their
//! documentation shows them. PNG is encoded by code of our own, which has no door of its own: its time
//! is that of a conversion from a PNG without compression, less that of decoding such a file.
#![allow(clippy::print_stdout, reason = "stdout is the answer")]

mod common;

use std::error::Error;
use std::hint::black_box;
use std::io::{BufRead, Cursor, Write};

use fxsrv::convert::{Options, SourceType, Target, convert, detect};
use fxsrv::limits::ConvertLimits;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Qualities and methods of the conversion where nothing is asked for.
const JPG_QUALITY: u8 = 75;
const WEBP_QUALITY: f32 = 80.0;
const WEBP_METHOD: i32 = 2;
const WEBP_METHOD_NOISE: i32 = 1;

/// What takes less is done again, as often as this: a small picture alone says little.
const MEASURED_NS: u64 = 20_000_000;
const REPEATS_MAX: u64 = 50;

/// A decoded picture.
struct Pixels {
    width: u32,
    height: u32,
    /// Bytes of a pixel.
    bytes: usize,
    samples: Vec<u8>,
}

fn main() -> Outcome<()> {
    for line in std::io::stdin().lock().lines() {
        let answer = match measure(&line?) {
            Ok(rounds) => format!("ok\t{}", rounds.join("\t")),
            Err(error) => format!("error\t{error}").replace('\n', " "),
        };
        let mut out = std::io::stdout().lock();
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}

fn measure(line: &str) -> Outcome<Vec<String>> {
    let [target, path, rounds] = line.split('\t').collect::<Vec<_>>()[..] else {
        return Err("a request has a target, a path and a number of rounds".into());
    };
    let target = Target::from_extension(target).ok_or("there is no such target")?;
    let (input, rounds) = (std::fs::read(path)?, rounds.parse::<usize>()?);
    let method = if path.contains("noise") { WEBP_METHOD_NOISE } else { WEBP_METHOD };
    let (options, limits) = (Options::default(), ConvertLimits::default());
    let whole = |input: &[u8]| Ok(convert(input, target, &options, &limits)?.len());
    // What PNG holds in 16 bits stays so in a PNG alone.
    let keeps_depth = target == Target::Png;
    let pixels = decode(&input, keeps_depth)?;
    let start = common::cpu_ns();
    whole(&input)?;
    let repeats = (MEASURED_NS / (common::cpu_ns() - start).max(1)).clamp(1, REPEATS_MAX);
    let cpu_ns = |work: &dyn Fn() -> Outcome<usize>| cpu_ns(repeats, work);
    let stored = if target == Target::Png { stored_png(&pixels)? } else { Vec::new() };
    let mut lines = Vec::with_capacity(rounds);
    for turn in 0..rounds {
        let mut times = [0; 3];
        for at in 0..times.len() {
            let at = (at + turn) % times.len();
            times[at] = match at {
                0 => cpu_ns(&|| decode(&input, keeps_depth).map(|pixels| pixels.samples.len()))?,
                1 if target == Target::Png => {
                    let both = cpu_ns(&|| whole(&stored))?;
                    both.saturating_sub(cpu_ns(&|| decode(&stored, true).map(|p| p.samples.len()))?)
                }
                1 if target == Target::Jpg => cpu_ns(&|| jpeg::encode(&pixels))?,
                1 => cpu_ns(&|| webp::encode(&pixels, method))?,
                _ => cpu_ns(&|| whole(&input))?,
            };
        }
        lines.push(times.map(|time| time.to_string()).join(","));
    }
    Ok(lines)
}

fn decode(input: &[u8], keeps_depth: bool) -> Outcome<Pixels> {
    match detect(input) {
        Some(SourceType::Jpg) => jpeg::decode(input),
        Some(SourceType::Png) => decode_png(input, keeps_depth),
        Some(SourceType::Webp) => webp::decode(input),
        _ => Err("it is no picture".into()),
    }
}

fn decode_png(input: &[u8], keeps_depth: bool) -> Outcome<Pixels> {
    let mut decoder = png::Decoder::new(Cursor::new(input));
    let strip =
        if keeps_depth { png::Transformations::IDENTITY } else { png::Transformations::STRIP_16 };
    decoder.set_transformations(png::Transformations::EXPAND | strip);
    let mut reader = decoder.read_info()?;
    let mut samples = vec![0; reader.output_buffer_size().ok_or("it is too large")?];
    let info = reader.next_frame(&mut samples)?;
    let bytes = info.line_size / info.width as usize;
    Ok(Pixels { width: info.width, height: info.height, bytes, samples })
}

/// A PNG of the same pixels without filters and without compression.
fn stored_png(pixels: &Pixels) -> Outcome<Vec<u8>> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, pixels.width, pixels.height);
    let (colour, depth) = match pixels.bytes {
        1 => (png::ColorType::Grayscale, png::BitDepth::Eight),
        2 => (png::ColorType::GrayscaleAlpha, png::BitDepth::Eight),
        3 => (png::ColorType::Rgb, png::BitDepth::Eight),
        4 => (png::ColorType::Rgba, png::BitDepth::Eight),
        6 => (png::ColorType::Rgb, png::BitDepth::Sixteen),
        _ => (png::ColorType::Rgba, png::BitDepth::Sixteen),
    };
    encoder.set_color(colour);
    encoder.set_depth(depth);
    encoder.set_compression(png::Compression::NoCompression);
    encoder.set_filter(png::Filter::NoFilter);
    encoder.write_header()?.write_image_data(&pixels.samples)?;
    Ok(file)
}

#[cfg(not(feature = "turbo"))]
mod jpeg {
    use jpeg_encoder::{ChromaSubsamplingMethod, ColorType, Encoder, SamplingFactor};
    use zune_jpeg::JpegDecoder;
    use zune_jpeg::zune_core::bytestream::ZCursor;

    use super::{JPG_QUALITY, Outcome, Pixels};

    pub(super) fn decode(input: &[u8]) -> Outcome<Pixels> {
        let mut decoder = JpegDecoder::new(ZCursor::new(input));
        let samples = decoder.decode().map_err(|error| error.to_string())?;
        let (width, height) = decoder.dimensions().ok_or("it has no dimensions")?;
        let bytes = samples.len() / (width * height);
        Ok(Pixels { width: u32::try_from(width)?, height: u32::try_from(height)?, bytes, samples })
    }

    pub(super) fn encode(pixels: &Pixels) -> Outcome<usize> {
        let mut file = Vec::new();
        let mut encoder = Encoder::new(&mut file, JPG_QUALITY);
        encoder.set_sampling_factor(SamplingFactor::F_2_2);
        encoder.set_chroma_subsampling_method(ChromaSubsamplingMethod::Average);
        let colour = match pixels.bytes {
            1 => ColorType::Luma,
            4 => ColorType::Rgba,
            _ => ColorType::Rgb,
        };
        encoder.encode(
            &pixels.samples,
            u16::try_from(pixels.width)?,
            u16::try_from(pixels.height)?,
            colour,
        )?;
        Ok(file.len())
    }
}

#[cfg(feature = "turbo")]
mod jpeg {
    use turbojpeg::{Image, PixelFormat, Subsamp};

    use super::{JPG_QUALITY, Outcome, Pixels};

    pub(super) fn decode(input: &[u8]) -> Outcome<Pixels> {
        let image = turbojpeg::decompress(input, PixelFormat::RGB)?;
        let (width, height) = (u32::try_from(image.width)?, u32::try_from(image.height)?);
        Ok(Pixels { width, height, bytes: 3, samples: image.pixels })
    }

    pub(super) fn encode(pixels: &Pixels) -> Outcome<usize> {
        let (format, sampling) = match pixels.bytes {
            1 => (PixelFormat::GRAY, Subsamp::Gray),
            4 => (PixelFormat::RGBX, Subsamp::Sub2x2),
            _ => (PixelFormat::RGB, Subsamp::Sub2x2),
        };
        let (width, height) = (pixels.width as usize, pixels.height as usize);
        let (pitch, pixels) = (width * pixels.bytes, pixels.samples.as_slice());
        let image = Image { pixels, width, pitch, height, format };
        Ok(turbojpeg::compress(image, i32::from(JPG_QUALITY), sampling)?.len())
    }
}

#[allow(unsafe_code, reason = "libwebp is C")]
mod webp {
    use std::ffi::c_int;

    use libwebp_sys as ffi;

    use super::{Outcome, Pixels, WEBP_QUALITY};

    pub(super) fn decode(input: &[u8]) -> Outcome<Pixels> {
        let mut features = std::mem::MaybeUninit::zeroed();
        // SAFETY: pointer and length are those of a slice; the structure is of integers, and written by
        // the callee.
        let (status, features) = unsafe {
            let status = ffi::WebPGetFeatures(input.as_ptr(), input.len(), features.as_mut_ptr());
            (status, features.assume_init())
        };
        if status != ffi::VP8StatusCode::VP8_STATUS_OK {
            return Err("its header cannot be read".into());
        }
        let (width, height) = (u32::try_from(features.width)?, u32::try_from(features.height)?);
        let bytes = if features.has_alpha == 0 { 3 } else { 4 };
        let into = if bytes == 3 { ffi::WebPDecodeRGBInto } else { ffi::WebPDecodeRGBAInto };
        let mut samples = vec![0; width as usize * height as usize * bytes];
        let stride = c_int::try_from(width as usize * bytes)?;
        let (at, length) = (samples.as_mut_ptr(), samples.len());
        // SAFETY: both pointers go with the lengths of their slices.
        let done = unsafe { into(input.as_ptr(), input.len(), at, length, stride) };
        if done.is_null() {
            return Err("it cannot be decoded".into());
        }
        Ok(Pixels { width, height, bytes, samples })
    }

    pub(super) fn encode(pixels: &Pixels, method: c_int) -> Outcome<usize> {
        let other = |()| "libwebp is of another version than its headers";
        let mut config = ffi::WebPConfig::new().map_err(other)?;
        (config.quality, config.method) = (WEBP_QUALITY, method);
        let mut picture = ffi::WebPPicture::new().map_err(other)?;
        picture.width = c_int::try_from(pixels.width)?;
        picture.height = c_int::try_from(pixels.height)?;
        let stride = c_int::try_from(pixels.width as usize * pixels.bytes)?;
        let import = match pixels.bytes {
            3 => ffi::WebPPictureImportRGB,
            4 => ffi::WebPPictureImportRGBA,
            _ => return Err("it is not RGB or RGBA".into()),
        };
        let mut writer = std::mem::MaybeUninit::uninit();
        // SAFETY: the pixels are `height` rows of `stride` bytes; writer and picture are made, used and freed
        // by libwebp's own functions, within this block alone.
        unsafe {
            ffi::WebPMemoryWriterInit(writer.as_mut_ptr());
            picture.writer = Some(ffi::WebPMemoryWrite);
            picture.custom_ptr = writer.as_mut_ptr().cast();
            let done = import(&raw mut picture, pixels.samples.as_ptr(), stride) != 0
                && ffi::WebPEncode(&raw const config, &raw mut picture) != 0;
            let bytes = (*writer.as_ptr()).size;
            ffi::WebPPictureFree(&raw mut picture);
            ffi::WebPMemoryWriterClear(writer.as_mut_ptr());
            if done { Ok(bytes) } else { Err("it cannot be encoded".into()) }
        }
    }
}

/// CPU time of this process for `work`, the mean of so many times.
fn cpu_ns(repeats: u64, work: &dyn Fn() -> Outcome<usize>) -> Outcome<u64> {
    let start = common::cpu_ns();
    for _ in 0..repeats {
        black_box(work()?);
    }
    Ok((common::cpu_ns() - start) / repeats)
}
