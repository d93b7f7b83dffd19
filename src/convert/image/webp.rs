//! WEBP in and out: the container is read and written here, the pixels by libwebp.

use std::borrow::Cow;

use super::frame::{Channels, Depth, Frame, check_side, check_size, no_memory};
use super::side::{SideData, tiff_part};
use super::sink::Sink;
use super::webp_alpha;
use super::webp_sys::{self, Undecoded};
use crate::convert::{Error, Options, Quality};
use crate::limits::ConvertLimits;

/// libwebp's own default is 75; 80 is what Pillow and sharp write.
const QUALITY_DEFAULT: u8 = 80;

/// The knee of the curve: twice as fast as the default 4, for 3 percent more bytes.
const LOSSY_METHOD: i32 = 2;

/// For noise, method 2 is at times larger by two thirds, as it decides by distortion alone. Method 1 is
/// not larger than 4 there, and even faster.
const NOISE_METHOD: i32 = 1;

/// Rows that are looked at to tell noise: at most so many, evenly over the picture.
const NOISE_ROWS: usize = 64;

/// The fastest level is larger by a tenth or more; above this one, time grows faster than bytes fall.
const LOSSLESS_LEVEL: i32 = 1;

/// The bitstream's numbers have 14 bits.
const SIDE_MAX: u32 = 16_383;

/// "RIFF", the size, "WEBP".
const RIFF_HEADER_BYTES: usize = 12;

const FLAG_ANIMATION: u8 = 0x02;
const FLAG_XMP: u8 = 0x04;
const FLAG_EXIF: u8 = 0x08;
const FLAG_ALPHA: u8 = 0x10;
const FLAG_ICC: u8 = 0x20;

/// The still picture, or the first frame of an animation on its canvas.
pub(super) fn decode<'a>(
    input: &'a [u8],
    limits: &ConvertLimits,
) -> Result<(Frame, SideData<'a>), Error> {
    let container = Container::read(input);
    container.side.check(limits)?;
    if let Some((width, height)) = container.canvas {
        check_size(width, height, limits)?;
        if container.animated {
            let frame = first_frame(&container, width, height, limits)?;
            return Ok((frame, container.side));
        }
    }
    let features = webp_sys::features(input)
        .ok_or_else(|| Error::malformed("the WEBP has no picture whose header can be read"))?;
    check_size(features.width, features.height, limits)?;
    let channels = if features.has_alpha { Channels::Rgba } else { Channels::Rgb };
    let mut frame = Frame::new(features.width, features.height, channels, Depth::Eight)?;
    let stride = frame.row_bytes();
    webp_sys::decode_into(input, features.has_alpha, &mut frame.pixels, stride)
        .map_err(|why| undecoded(why, input, &frame))?;
    Ok((frame, container.side))
}

/// `frame` has 8 bits and is `Rgb` or `Rgba`. It is spent: encoders work in its memory.
pub(super) fn encode(
    frame: Frame,
    side: &SideData,
    options: &Options,
    limits: &ConvertLimits,
) -> Result<Vec<u8>, Error> {
    check_side("WEBP", &frame, SIDE_MAX)?;
    let canvas = (frame.width, frame.height);
    let mut sink = Sink::new(frame.width as usize * frame.height as usize / 8, limits);
    let (outcome, alpha) = if options.lossless {
        (webp_sys::encode_lossless(frame, LOSSLESS_LEVEL, &mut sink), None)
    } else {
        let quality = options.quality.map_or(QUALITY_DEFAULT, Quality::value);
        let method = if is_noise(&frame) { NOISE_METHOD } else { LOSSY_METHOD };
        let alpha = webp_alpha::chunk(&frame, limits)?;
        (webp_sys::encode_lossy(frame, quality, method, alpha.is_some(), &mut sink), alpha)
    };
    let file = sink.finish("WEBP", outcome)?;
    if side.icc.is_none() && side.exif.is_none() && side.xmp.is_none() && alpha.is_none() {
        return Ok(file);
    }
    extended(&file, alpha.as_deref(), canvas, side, limits)
}

/// Whether most pixels differ much from the one beside them, in green: in more than 55 of 100 by 32
/// to 223. It is 76 of 100 in uniform noise and 67 where that went through a JPEG; photographs and
/// screenshots have 5 at most. Larger steps do not count, for they are those of black on white.
fn is_noise(frame: &Frame) -> bool {
    let pixel_bytes = frame.pixel_bytes();
    let every = (frame.height as usize / NOISE_ROWS).max(1);
    let (mut rough, mut all) = (0, 0);
    for row in frame.pixels.chunks_exact(frame.row_bytes()).step_by(every) {
        let green = || row.iter().skip(1).step_by(pixel_bytes);
        let steps = green().zip(green().skip(1)).map(|(left, here)| left.abs_diff(*here));
        rough += steps.filter(|step| (32..224).contains(step)).count();
        all += frame.width as usize - 1;
    }
    rough * 100 > all * 55
}

/// The first frame of an animation, where the canvas is transparent before it: it is put in its
/// place as it is, for there is nothing to blend it with.
fn first_frame(
    container: &Container,
    width: u32,
    height: u32,
    limits: &ConvertLimits,
) -> Result<Frame, Error> {
    let part = container
        .first_frame
        .ok_or_else(|| Error::malformed("the WEBP animation has no whole first frame"))?;
    let features = webp_sys::features(part.data)
        .ok_or_else(|| Error::malformed("the first frame of the WEBP has no readable header"))?;
    check_size(features.width, features.height, limits)?;
    let inside = |offset: u32, length: u32, all: u32| {
        offset.checked_add(length).is_some_and(|end| end <= all)
    };
    if !inside(part.x, features.width, width) || !inside(part.y, features.height, height) {
        return Err(Error::malformed(format!(
            "the first frame of the WEBP, {} x {} at {}, {}, lies outside of the canvas of {width} x {height}",
            features.width, features.height, part.x, part.y
        )));
    }
    let covers = (features.width, features.height) == (width, height);
    let alpha = features.has_alpha || !covers;
    let channels = if alpha { Channels::Rgba } else { Channels::Rgb };
    let mut frame = Frame::new(width, height, channels, Depth::Eight)?;
    let stride = frame.row_bytes();
    let start = part.y as usize * stride + part.x as usize * frame.pixel_bytes();
    webp_sys::decode_into(part.data, alpha, &mut frame.pixels[start..], stride)
        .map_err(|why| undecoded(why, part.data, &frame))?;
    Ok(frame)
}

fn undecoded(why: Undecoded, data: &[u8], frame: &Frame) -> Error {
    match why {
        Undecoded::OutOfMemory => no_memory(frame.pixels.len() as u64),
        Undecoded::Damaged => Error::malformed(format!(
            "the WEBP picture breaks off or is damaged within its {} bytes",
            data.len()
        )),
    }
}

/// The chunks of a file up to its end, or to where it breaks off.
#[derive(Default)]
struct Container<'a> {
    /// Width and height of an extended file.
    canvas: Option<(u32, u32)>,
    animated: bool,
    first_frame: Option<FramePart<'a>>,
    side: SideData<'a>,
}

#[derive(Clone, Copy)]
struct FramePart<'a> {
    x: u32,
    y: u32,
    /// The frame's own chunks.
    data: &'a [u8],
}

impl<'a> Container<'a> {
    fn read(input: &'a [u8]) -> Self {
        let mut container = Self::default();
        let chunks = Chunks { rest: input.get(RIFF_HEADER_BYTES..).unwrap_or_default() };
        for (kind, body) in chunks {
            let side = &mut container.side;
            match kind {
                b"VP8X" if container.canvas.is_none() => {
                    if let &[flags, _, _, _, w0, w1, w2, h0, h1, h2, ..] = body {
                        container.animated = flags & FLAG_ANIMATION != 0;
                        container.canvas = Some((u24(w0, w1, w2) + 1, u24(h0, h1, h2) + 1));
                    }
                }
                b"ANMF" if container.first_frame.is_none() => {
                    // Offsets, sizes, duration, flags: 16 bytes, then the frame's chunks.
                    if let &[x0, x1, x2, y0, y1, y2, ..] = body
                        && let Some(data) = body.get(16..)
                    {
                        let (x, y) = (u24(x0, x1, x2) * 2, u24(y0, y1, y2) * 2);
                        container.first_frame = Some(FramePart { x, y, data });
                    }
                }
                b"ICCP" => side.icc = Some(Cow::Borrowed(body)),
                b"EXIF" => side.exif = Some(Cow::Borrowed(tiff_part(body))),
                b"XMP " => side.xmp = Some(Cow::Borrowed(body)),
                _ => {}
            }
        }
        container
    }
}

fn u24(low: u8, middle: u8, high: u8) -> u32 {
    u32::from_le_bytes([low, middle, high, 0])
}

struct Chunks<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Chunks<'a> {
    type Item = (&'a [u8; 4], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (kind, rest) = self.rest.split_first_chunk::<4>()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let body = rest.get(..length)?;
        // Bodies of odd length are followed by a byte of padding.
        self.rest = rest.get(length.checked_add(length % 2)?..).unwrap_or_default();
        Some((kind, body))
    }
}

/// The same picture in an extended file: header, profile, alpha, picture, EXIF, XMP, in the order that the
/// format asks for.
fn extended(
    file: &[u8],
    alpha: Option<&[u8]>,
    (width, height): (u32, u32),
    side: &SideData,
    limits: &ConvertLimits,
) -> Result<Vec<u8>, Error> {
    let has_alpha =
        alpha.is_some() || webp_sys::features(file).is_some_and(|features| features.has_alpha);
    let mut flags = if has_alpha { FLAG_ALPHA } else { 0 };
    for (part, flag) in [(&side.icc, FLAG_ICC), (&side.exif, FLAG_EXIF), (&side.xmp, FLAG_XMP)] {
        flags |= if part.is_some() { flag } else { 0 };
    }
    let [w0, w1, w2, _] = (width - 1).to_le_bytes();
    let [h0, h1, h2, _] = (height - 1).to_le_bytes();
    let mut chunks: Vec<(&[u8; 4], &[u8])> = Vec::new();
    let header = [flags, 0, 0, 0, w0, w1, w2, h0, h1, h2];
    chunks.push((b"VP8X", &header));
    chunks.extend(side.icc.as_deref().map(|icc| (b"ICCP", icc)));
    chunks.extend(alpha.map(|alpha| (b"ALPH", alpha)));
    let picture = Chunks { rest: &file[RIFF_HEADER_BYTES..] };
    chunks.extend(picture.filter(|(kind, _)| matches!(*kind, b"ALPH" | b"VP8 " | b"VP8L")));
    chunks.extend(side.exif.as_deref().map(|exif| (b"EXIF", exif)));
    chunks.extend(side.xmp.as_deref().map(|xmp| (b"XMP ", xmp)));

    let bytes: usize = chunks.iter().map(|(_, body)| 8 + body.len().next_multiple_of(2)).sum();
    let mut sink = Sink::new(RIFF_HEADER_BYTES + bytes, limits);
    let length = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes();
    let whole = sink.push(b"RIFF")
        && sink.push(&length(4 + bytes))
        && sink.push(b"WEBP")
        && chunks.iter().all(|(kind, body)| {
            sink.push(*kind)
                && sink.push(&length(body.len()))
                && sink.push(body)
                && (body.len() % 2 == 0 || sink.push(&[0]))
        });
    sink.finish("WEBP", if whole { Ok(()) } else { Err("the container did not fit") })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::convert::ErrorKind;

    fn chunk(kind: &[u8], body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len()).unwrap().to_le_bytes();
        let padding = vec![0; body.len() % 2];
        [kind, length.as_slice(), body, &padding].concat()
    }

    fn riff(chunks: &[Vec<u8>]) -> Vec<u8> {
        let body = [b"WEBP".as_slice(), &chunks.concat()].concat();
        chunk(b"RIFF", &body)
    }

    fn picture(width: u32, height: u32, channels: Channels) -> Frame {
        let mut frame = Frame::new(width, height, channels, Depth::Eight).unwrap();
        for (at, byte) in frame.pixels.iter_mut().enumerate() {
            *byte = u8::try_from(at * 37 % 251).unwrap();
        }
        frame
    }

    fn lossless(frame: &Frame, side: &SideData) -> Vec<u8> {
        let options = Options { lossless: true, ..Options::default() };
        encode(frame.clone(), side, &options, &ConvertLimits::default()).unwrap()
    }

    /// An animation of one frame whose corner is at (2, 4) of a canvas of 9 x 8.
    fn animation(frame: &Frame) -> Vec<u8> {
        let still = lossless(frame, &SideData::default());
        let [wide, ..] = (frame.width - 1).to_le_bytes();
        let [high, ..] = (frame.height - 1).to_le_bytes();
        let mut part = vec![1, 0, 0, 2, 0, 0, wide, 0, 0, high, 0, 0, 100, 0, 0, 0];
        part.extend(&still[RIFF_HEADER_BYTES..]);
        riff(&[
            chunk(b"VP8X", &[FLAG_ANIMATION | FLAG_ALPHA, 0, 0, 0, 8, 0, 0, 7, 0, 0]),
            chunk(b"ANIM", &[255, 255, 255, 255, 0, 0]),
            chunk(b"ANMF", &part),
        ])
    }

    #[test]
    fn the_first_frame_of_an_animation_is_put_in_its_place_on_a_clear_canvas() {
        let part = picture(5, 3, Channels::Rgba);
        let (frame, _) = decode(&animation(&part), &ConvertLimits::default()).unwrap();
        assert_eq!((frame.width, frame.height, frame.channels), (9, 8, Channels::Rgba));
        for y in 0..8_usize {
            for x in 0..9_usize {
                let pixel = &frame.pixels[(y * 9 + x) * 4..][..4];
                if (2..7).contains(&x) && (4..7).contains(&y) {
                    assert_eq!(pixel, &part.pixels[((y - 4) * 5 + x - 2) * 4..][..4]);
                } else {
                    assert_eq!(pixel, [0; 4]);
                }
            }
        }
    }

    #[test]
    fn alpha_of_a_lossy_file_is_exact_whatever_predicts_it() {
        for (width, height) in [(64, 48), (1, 40), (40, 1)] {
            for shape in 0..5_u32 {
                let mut frame = picture(width, height, Channels::Rgba);
                for (at, pixel) in (0..).zip(frame.pixels.as_chunks_mut::<4>().0) {
                    let (x, y) = (at % width, at / width);
                    let alpha = [x + y, y * 5, x * 4, x * y % 251, 255 * (x & 1)][shape as usize];
                    pixel[3] = u8::try_from(alpha.min(255)).unwrap();
                }
                let options = Options::default();
                let limits = ConvertLimits::default();
                let side = SideData::default();
                let file = encode(frame.clone(), &side, &options, &limits).unwrap();
                let (back, _) = decode(&file, &limits).unwrap();
                assert_eq!(back.channels, Channels::Rgba);
                let alpha = |frame: &Frame| {
                    frame.pixels.iter().skip(3).step_by(4).copied().collect::<Vec<_>>()
                };
                assert_eq!(alpha(&back), alpha(&frame), "{width} x {height}, shape {shape}");
            }
        }
    }

    #[test]
    fn a_first_frame_outside_of_its_canvas_is_malformed() {
        let file = animation(&picture(8, 3, Channels::Rgba));
        let error = decode(&file, &ConvertLimits::default()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Malformed);
    }

    #[test]
    fn a_canvas_of_16_million_a_side_is_refused_from_its_header() {
        let file = riff(&[chunk(b"VP8X", &[0, 0, 0, 0, 255, 255, 255, 255, 255, 255])]);
        let error = decode(&file, &ConvertLimits::default()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::LimitExceeded);
    }

    #[test]
    fn side_data_travels_and_the_pixels_stay_exact() {
        for channels in [Channels::Rgb, Channels::Rgba] {
            let frame = picture(7, 5, channels);
            let side = SideData {
                icc: Some(Cow::Borrowed(b"odd")),
                exif: Some(Cow::Borrowed(b"II*\0")),
                xmp: Some(Cow::Borrowed(b"<xmp/>")),
            };
            let file = lossless(&frame, &side);
            let (back, back_side) = decode(&file, &ConvertLimits::default()).unwrap();
            assert_eq!(back, frame);
            assert_eq!(back_side.icc, side.icc);
            assert_eq!(back_side.exif, side.exif);
            assert_eq!(back_side.xmp, side.xmp);
        }
    }

    #[test]
    fn noise_is_told_from_pictures_and_from_black_on_white() {
        let mut noise = Frame::new(300, 200, Channels::Rgb, Depth::Eight).unwrap();
        let mut state = 1_u32;
        for byte in &mut noise.pixels {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = state.to_be_bytes()[0];
        }
        assert!(is_noise(&noise));
        let mut halves = noise.clone();
        halves.pixels.iter_mut().for_each(|byte| *byte = if *byte < 128 { 0 } else { 255 });
        assert!(!is_noise(&halves));
        let mut soft = noise;
        soft.pixels.iter_mut().for_each(|byte| *byte = 100 + *byte / 8);
        assert!(!is_noise(&soft));
        assert!(!is_noise(&Frame::new(1, 1, Channels::Rgba, Depth::Eight).unwrap()));
    }

    #[test]
    fn a_side_above_16383_is_refused_with_its_size() {
        let frame = Frame::new(16_384, 1, Channels::Rgb, Depth::Eight).unwrap();
        let error =
            encode(frame, &SideData::default(), &Options::default(), &ConvertLimits::default())
                .unwrap_err();
        assert_eq!(
            error.message,
            "width and height of a WEBP: 16384 x 1, and the limit is 16383 a side"
        );
    }
}
