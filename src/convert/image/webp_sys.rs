//! The calls into libwebp, and nothing else.
//!
//! There is no decoder for lossy WEBP without C that is as fast, and no encoder at all.
#![allow(unsafe_code, reason = "libwebp is C; every block says why it is sound")]

use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;

use libwebp_sys as ffi;

use super::frame::{Channels, Frame};
use super::sink::Sink;

/// What the head of a bitstream says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Features {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) has_alpha: bool,
}

/// How to encode.
#[derive(Debug, Clone, Copy)]
enum Effort {
    /// Quality 0 to 100 and method 0 to 6.
    Lossy { quality: u8, method: c_int },
    /// Level 0 to 9.
    Lossless { level: c_int },
}

/// Reads the head of a file or of a bare bitstream; `None` where it is damaged or incomplete.
pub(super) fn features(data: &[u8]) -> Option<Features> {
    let mut features = MaybeUninit::<ffi::WebPBitstreamFeatures>::zeroed();
    // SAFETY: the pointer and the length are those of a slice, and the structure is written by the
    // callee. All of its fields are plain integers, for which zero is a value.
    let (status, features) = unsafe {
        let status = ffi::WebPGetFeatures(data.as_ptr(), data.len(), features.as_mut_ptr());
        (status, features.assume_init())
    };
    (status == ffi::VP8StatusCode::VP8_STATUS_OK).then_some(Features {
        width: u32::try_from(features.width).ok()?,
        height: u32::try_from(features.height).ok()?,
        has_alpha: features.has_alpha != 0,
    })
}

/// Why there is no picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Undecoded {
    /// The data is damaged or incomplete, or the picture larger than its rows.
    Damaged,
    /// libwebp had no memory for a copy of its own.
    OutOfMemory,
}

/// Decodes into `rows`, each `stride` bytes after the one before: RGBA, or RGB without `alpha`.
pub(super) fn decode_into(
    data: &[u8],
    alpha: bool,
    rows: &mut [u8],
    stride: usize,
) -> Result<(), Undecoded> {
    let mut config = ffi::WebPDecoderConfig::new().map_err(|()| Undecoded::Damaged)?;
    let stride = c_int::try_from(stride).map_err(|_| Undecoded::Damaged)?;
    config.output.colorspace =
        if alpha { ffi::WEBP_CSP_MODE::MODE_RGBA } else { ffi::WEBP_CSP_MODE::MODE_RGB };
    config.output.is_external_memory = 1;
    config.output.u.RGBA =
        ffi::WebPRGBABuffer { rgba: rows.as_mut_ptr(), stride, size: rows.len() };
    // SAFETY: both pointers go with the lengths of their slices, which are borrowed for this whole function.
    // The callee holds the picture's size against length and stride before it writes, and never frees memory
    // that it was told is another's.
    let status = unsafe { ffi::WebPDecode(data.as_ptr(), data.len(), &raw mut config) };
    match status {
        ffi::VP8StatusCode::VP8_STATUS_OK => Ok(()),
        ffi::VP8StatusCode::VP8_STATUS_OUT_OF_MEMORY => Err(Undecoded::OutOfMemory),
        _ => Err(Undecoded::Damaged),
    }
}

/// Encodes a frame of 8-bit `Rgb` or `Rgba` into `sink`, its colours alone. With `has_alpha` its alpha tells
/// which pixels nobody sees. The frame is spent: its memory is the encoder's.
pub(super) fn encode_lossy(
    mut frame: Frame,
    quality: u8,
    method: c_int,
    has_alpha: bool,
    sink: &mut Sink,
) -> Result<(), String> {
    let config = config(Effort::Lossy { quality, method })?;
    let planes = Planes::of(&frame, has_alpha)?;
    if !planes.import(&mut frame)? {
        sink.lacks_memory(u64::from(frame.width) * u64::from(frame.height));
        return Err("no memory for some rows".to_owned());
    }
    let mut picture = Picture::new(frame.width, frame.height, 0)?;
    picture.0.colorspace = ffi::WebPEncCSP::WEBP_YUV420;
    let stride = |rows: usize| c_int::try_from(rows * planes.row_bytes);
    picture.0.y_stride = stride(1).map_err(|error| error.to_string())?;
    picture.0.uv_stride = stride(2).map_err(|error| error.to_string())?;
    let pixels = frame.pixels.as_mut_ptr();
    // SAFETY: the places of all planes lie within the first row, and the rows within the pixels: both were checked
    // when `planes` was made. The frame outlives the picture, which frees no memory that is not its own.
    unsafe {
        picture.0.y = pixels;
        picture.0.u = pixels.add(planes.u_at);
        picture.0.v = pixels.add(planes.v_at);
        if has_alpha {
            picture.0.a = pixels.add(planes.a_at);
            picture.0.a_stride = picture.0.y_stride;
            ffi::WebPCleanupTransparentArea(&raw mut picture.0);
            picture.0.a = std::ptr::null_mut();
        }
    }
    picture.encode(true, &config, sink)
}

/// Encodes a frame of 8-bit `Rgb` or `Rgba` into `sink` as it is.
pub(super) fn encode_lossless(frame: Frame, level: c_int, sink: &mut Sink) -> Result<(), String> {
    let config = config(Effort::Lossless { level })?;
    let mut picture = Picture::new(frame.width, frame.height, 1)?;
    let imported = picture.import(&frame.pixels, frame.row_bytes(), frame.channels)?;
    // The picture has it all.
    drop(frame);
    picture.encode(imported, &config, sink)
}

/// Where the planes of a picture lie in the memory of its pixels: each row in the place of the row that it comes
/// from, luma first, and the chroma of two rows in that of the upper one. So a picture takes no memory beside its
/// frame.
struct Planes {
    row_bytes: usize,
    width: usize,
    a_at: usize,
    u_at: usize,
    v_at: usize,
    has_alpha: bool,
}

/// Rows that are turned into planes at once: an even number, since chroma is that of two.
const BAND_ROWS: usize = 16;

impl Planes {
    fn of(frame: &Frame, has_alpha: bool) -> Result<Self, String> {
        let (row_bytes, width) = (frame.row_bytes(), frame.width as usize);
        let u_at = if has_alpha { 2 * width } else { width };
        let v_at = u_at + width.div_ceil(2);
        let end = v_at + width.div_ceil(2);
        if end > row_bytes || frame.pixels.len() < row_bytes * frame.height as usize {
            return Err("the frame is smaller than it says".to_owned());
        }
        Ok(Self { row_bytes, width, a_at: width, u_at, v_at, has_alpha })
    }

    /// Puts the planes into the place of the pixels, by libwebp's own conversion of some rows at a time.
    /// `false` where it has no memory for them.
    fn import(&self, frame: &mut Frame) -> Result<bool, String> {
        let channels = frame.channels;
        let rows = &mut frame.pixels[..self.row_bytes * frame.height as usize];
        for band in rows.chunks_mut(BAND_ROWS * self.row_bytes) {
            let height = u32::try_from(band.len() / self.row_bytes).unwrap_or_default();
            let mut picture = Picture::new(frame.width, height, 0)?;
            if !picture.import(band, self.row_bytes, channels)? {
                return Ok(false);
            }
            self.copy(&picture, band);
        }
        Ok(true)
    }

    /// Copies the planes of a picture, which was imported from these rows, to their places in them.
    fn copy(&self, picture: &Picture, band: &mut [u8]) {
        let chroma = self.v_at - self.u_at;
        let ffi::WebPPicture { y, u, v, a, y_stride, uv_stride, a_stride, .. } = picture.0;
        for (at, row) in band.chunks_exact_mut(self.row_bytes).enumerate() {
            let (alpha, rest) = row.split_at_mut(self.u_at);
            let (luma, alpha) = alpha.split_at_mut(self.width);
            // SAFETY: the picture has as many rows as there are here, half as many of chroma, and each as wide as
            // these places are. It is there, and nobody writes to it.
            unsafe {
                luma.copy_from_slice(row_of(y, y_stride, at, self.width));
                if a.is_null() {
                    // Nothing of the band is transparent, or there is no alpha at all and no place for it.
                    alpha.fill(u8::MAX);
                } else if self.has_alpha {
                    alpha.copy_from_slice(row_of(a, a_stride, at, self.width));
                }
                if at % 2 == 0 {
                    let (first, second) = rest.split_at_mut(chroma);
                    first.copy_from_slice(row_of(u, uv_stride, at / 2, chroma));
                    second[..chroma].copy_from_slice(row_of(v, uv_stride, at / 2, chroma));
                }
            }
        }
    }
}

/// The first `bytes` of row `y` of a plane.
///
/// # Safety
///
/// The plane has that row, and so many bytes in it, and stays as it is for as long as the slice is there.
unsafe fn row_of<'a>(plane: *const u8, stride: c_int, y: usize, bytes: usize) -> &'a [u8] {
    let start = y * stride.unsigned_abs() as usize;
    // SAFETY: the caller's promise.
    unsafe { std::slice::from_raw_parts(plane.add(start), bytes) }
}

fn config(effort: Effort) -> Result<ffi::WebPConfig, String> {
    let mut config = ffi::WebPConfig::new().map_err(|()| mismatch())?;
    match effort {
        Effort::Lossy { quality, method } => {
            config.quality = f32::from(quality);
            config.method = method;
        }
        Effort::Lossless { level } => {
            // SAFETY: the structure is a local one that libwebp has filled.
            let known = unsafe { ffi::WebPConfigLosslessPreset(&raw mut config, level) };
            if known == 0 {
                return Err(format!("there is no lossless level {level}"));
            }
            // The colour under transparent pixels counts as well.
            config.exact = 1;
        }
    }
    Ok(config)
}

fn mismatch() -> String {
    "libwebp is of another version than its headers".to_owned()
}

/// How libwebp takes pixels over.
type Import = unsafe extern "C" fn(*mut ffi::WebPPicture, *const u8, c_int) -> c_int;

/// A picture whose planes are freed on drop.
struct Picture(ffi::WebPPicture);

impl Picture {
    fn new(width: u32, height: u32, use_argb: c_int) -> Result<Self, String> {
        let mut picture = Self(ffi::WebPPicture::new().map_err(|()| mismatch())?);
        let side = |pixels: u32| c_int::try_from(pixels).map_err(|error| error.to_string());
        (picture.0.width, picture.0.height) = (side(width)?, side(height)?);
        picture.0.use_argb = use_argb;
        Ok(picture)
    }

    /// Has libwebp take `rows` of pixels over, in the form that the picture was made for. `false` where it has no
    /// memory.
    fn import(&mut self, rows: &[u8], stride: usize, channels: Channels) -> Result<bool, String> {
        let (import, pixel_bytes): (Import, _) = match channels {
            Channels::Rgb => (ffi::WebPPictureImportRGB, 3),
            Channels::Rgba => (ffi::WebPPictureImportRGBA, 4),
            _ => return Err("the frame is neither RGB nor RGBA".to_owned()),
        };
        let [width, height] =
            [self.0.width, self.0.height].map(|side| side.unsigned_abs() as usize);
        if stride < width * pixel_bytes || rows.len() < stride * height {
            return Err("the frame is smaller than it says".to_owned());
        }
        let stride = c_int::try_from(stride).map_err(|error| error.to_string())?;
        // SAFETY: there are `height` rows of `stride` bytes, each with `width` pixels, checked above; the picture
        // was made by libwebp.
        Ok(unsafe { import(&raw mut self.0, rows.as_ptr(), stride) != 0 })
    }

    /// Encodes the picture where it is there, and says why there is no result.
    fn encode(
        mut self,
        is_there: bool,
        config: &ffi::WebPConfig,
        sink: &mut Sink,
    ) -> Result<(), String> {
        self.0.writer = Some(write);
        self.0.custom_ptr = std::ptr::from_mut(sink).cast();
        // SAFETY: the picture has its planes. `sink` is borrowed for this whole function, and only the writer
        // reaches it while `WebPEncode` runs.
        if is_there && unsafe { ffi::WebPEncode(config, &raw mut self.0) != 0 } {
            return Ok(());
        }
        let error = self.0.error_code;
        if matches!(
            error,
            ffi::WebPEncodingError::VP8_ENC_ERROR_OUT_OF_MEMORY
                | ffi::WebPEncodingError::VP8_ENC_ERROR_BITSTREAM_OUT_OF_MEMORY
        ) {
            // Neither side is negative: they were made from what is not.
            let [width, height] =
                [self.0.width, self.0.height].map(|side| u64::from(side.unsigned_abs()));
            sink.lacks_memory(width * height);
        }
        Err(format!("{error:?}"))
    }
}

impl Drop for Picture {
    fn drop(&mut self) {
        // SAFETY: the structure was initialised by libwebp; freeing one without planes is allowed.
        unsafe { ffi::WebPPictureFree(&raw mut self.0) };
    }
}

/// Hands encoded bytes to the sink; zero stops the encoder.
extern "C" fn write(data: *const u8, bytes: usize, picture: *const ffi::WebPPicture) -> c_int {
    if bytes == 0 {
        return 1;
    }
    // SAFETY: libwebp calls this from within `WebPEncode` with its own bytes and the picture that it
    // was given, whose `custom_ptr` is the sink that `encode` holds exclusively. The sink does not
    // panic, so nothing unwinds into C.
    let (data, sink) = unsafe {
        let sink: *mut c_void = (*picture).custom_ptr;
        (std::slice::from_raw_parts(data, bytes), &mut *sink.cast::<Sink>())
    };
    c_int::from(sink.push(data))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::frame::Depth;
    use super::*;
    use crate::limits::ConvertLimits;

    /// The way over planes of libwebp's own.
    fn encoded_aside(frame: &Frame, leaves_alpha: bool) -> Vec<u8> {
        let mut sink = Sink::new(0, &ConvertLimits::default());
        let mut picture = Picture::new(frame.width, frame.height, 0).unwrap();
        assert!(picture.import(&frame.pixels, frame.row_bytes(), frame.channels).unwrap());
        if leaves_alpha {
            // SAFETY: the picture has the planes of the import, which are one allocation of its own.
            unsafe { ffi::WebPCleanupTransparentArea(&raw mut picture.0) };
            picture.0.a = std::ptr::null_mut();
            picture.0.colorspace = ffi::WebPEncCSP::WEBP_YUV420;
        }
        let config = config(Effort::Lossy { quality: 80, method: 2 }).unwrap();
        let outcome = picture.encode(true, &config, &mut sink);
        sink.finish("WEBP", outcome).unwrap()
    }

    #[test]
    fn planes_in_the_place_of_the_pixels_are_those_of_libwebp() {
        for (width, height) in [(1, 1), (1, 40), (40, 1), (2, 2), (64, 48), (33, 35), (131, 97)] {
            for (channels, has_alpha) in
                [(Channels::Rgb, false), (Channels::Rgba, false), (Channels::Rgba, true)]
            {
                let mut frame = Frame::new(width, height, channels, Depth::Eight).unwrap();
                for (at, byte) in frame.pixels.iter_mut().enumerate() {
                    *byte = u8::try_from(at * 37 % 251 / 3).unwrap();
                }
                if channels == Channels::Rgba {
                    let middle = frame.pixels.len() / 8;
                    for (at, pixel) in frame.pixels.as_chunks_mut::<4>().0.iter_mut().enumerate() {
                        // A half that is opaque, and in the other all kinds, clear blocks among them.
                        let clear = if at / 9 % 5 < 3 { 0 } else { pixel[0] };
                        pixel[3] = if has_alpha && at >= middle { clear } else { 255 };
                    }
                }
                let aside = encoded_aside(&frame, has_alpha);
                let mut sink = Sink::new(0, &ConvertLimits::default());
                let outcome = encode_lossy(frame, 80, 2, has_alpha, &mut sink);
                let inside = sink.finish("WEBP", outcome).unwrap();
                assert!(inside == aside, "{width} x {height}, {channels:?}, alpha {has_alpha}");
            }
        }
    }
}
