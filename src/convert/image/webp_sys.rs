//! The calls into libwebp, and nothing else.
//!
//! There is no decoder for lossy WEBP without C that is as fast, and no encoder at all.
#![allow(unsafe_code, reason = "libwebp is C; every block says why it is sound")]

use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;

use libwebp_sys as ffi;

use super::frame::{Channels, Frame};
use super::sink::Sink;

/// Effort for a plane, 0 to 6: that of the picture beside it. libwebp's own quality for alpha is eight times as much.
const PLANE_METHOD: c_int = 2;
const PLANE_QUALITY: f32 = 16.0;

/// What the head of a bitstream says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Features {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) has_alpha: bool,
}

/// How to encode.
#[derive(Debug, Clone, Copy)]
pub(super) enum Effort {
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

/// Encodes a frame of 8-bit `Rgb` or `Rgba` into `sink`; lossy and with `leaves_alpha` its alpha only tells
/// which pixels nobody sees.
pub(super) fn encode(
    frame: &Frame,
    effort: Effort,
    leaves_alpha: bool,
    sink: &mut Sink,
) -> Result<(), String> {
    let config = config(effort)?;
    let mut picture = Picture::new(frame.width, frame.height, config.lossless)?;
    let stride = c_int::try_from(frame.row_bytes()).map_err(|error| error.to_string())?;
    let import = if frame.channels == Channels::Rgba {
        ffi::WebPPictureImportRGBA
    } else {
        ffi::WebPPictureImportRGB
    };
    if frame.pixels.len() < frame.row_bytes() * frame.height as usize || frame.pixel_bytes() < 3 {
        return Err("the frame is smaller than it says".to_owned());
    }
    // SAFETY: the pixels are `height` rows of `stride` bytes, checked above; the picture was made by
    // libwebp.
    let imported = unsafe { import(&raw mut picture.0, frame.pixels.as_ptr(), stride) != 0 };
    if imported && leaves_alpha && config.lossless == 0 {
        // SAFETY: the picture has the planes that it was given by the import.
        unsafe { ffi::WebPCleanupTransparentArea(&raw mut picture.0) };
        // All planes are one allocation, which the picture keeps and frees.
        picture.0.a = std::ptr::null_mut();
        picture.0.colorspace = ffi::WebPEncCSP::WEBP_YUV420;
    }
    picture.encode(imported, &config, sink)
}

/// Encodes one plane of samples without loss, as the green of a picture, into `sink`.
pub(super) fn encode_plane(
    plane: &[u8],
    width: u32,
    height: u32,
    sink: &mut Sink,
) -> Result<(), String> {
    let mut config = config(Effort::Lossless { level: 0 })?;
    (config.method, config.quality) = (PLANE_METHOD, PLANE_QUALITY);
    let mut picture = Picture::new(width, height, 1)?;
    // SAFETY: the picture was made by libwebp, and its size is set.
    let has_memory = unsafe { ffi::WebPPictureAlloc(&raw mut picture.0) != 0 };
    let (width, height) = (width as usize, height as usize);
    if has_memory {
        let stride = usize::try_from(picture.0.argb_stride).map_err(|error| error.to_string())?;
        for (y, row) in plane.chunks_exact(width).take(height).enumerate() {
            for (x, sample) in row.iter().enumerate() {
                // SAFETY: the picture has `height` rows of `stride` pixels, and `width` is no more.
                unsafe { picture.0.argb.add(y * stride + x).write(u32::from(*sample) << 8) };
            }
        }
    }
    picture.encode(has_memory, &config, sink)
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
