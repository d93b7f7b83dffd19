//! JPEG by libjpeg-turbo.
//!
//! From JPEG to JPEG pixels are not needed: brightness and colours go over as they are stored, colours
//! at half the width and height in both, without the way to RGB and back.
//!
//! The safe wrapper encodes. It does not decode, for it cannot tell a warning, after which the
//! picture is whole, from an error: the handle whose code says so is its own.
#![allow(unsafe_code, reason = "libjpeg-turbo is C; every block says why it is sound")]

use std::ffi::{CStr, c_int};

use turbojpeg::{Compressor, Image, OwnedBuf, PixelFormat, Subsamp, YuvPlanesImage, raw};

use super::super::frame::{Channels, Depth, Frame, no_memory, zeroed};
use super::super::jpeg_header::JpegHeader;
use super::super::sink::Sink;
use crate::convert::{Error, ErrorKind};
use crate::limits::ConvertLimits;

pub(super) const NAME: &str = "JPEG: libjpeg-turbo";

/// How libjpeg's message begins where malloc has refused it (`JERR_OUT_OF_MEMORY`).
const NO_MEMORY: &str = "Insufficient memory";

/// Decodes to `Grey`, `Rgb` or `Cmyk`.
pub(super) fn decode(input: &[u8], header: &JpegHeader) -> Result<Frame, Error> {
    let (channels, format) = match header.components {
        1 => (Channels::Grey, raw::TJPF_TJPF_GRAY),
        3 => (Channels::Rgb, raw::TJPF_TJPF_RGB),
        _ => (Channels::Cmyk, raw::TJPF_TJPF_CMYK),
    };
    let mut decoder = Decoder::new()?;
    decoder.read_header(input)?;
    decoder.check_size(header)?;
    let mut frame = Frame::new(header.width, header.height, channels, Depth::Eight)?;
    decoder.decode(input, &mut frame, format)?;
    Ok(frame)
}

/// 4:2:0 at every quality, which is libjpeg's default.
pub(super) fn encode(frame: &Frame, quality: u8, limits: &ConvertLimits) -> Result<Vec<u8>, Error> {
    let (format, sampling) = match frame.channels {
        Channels::Grey => (PixelFormat::GRAY, Subsamp::Gray),
        Channels::Rgba => (PixelFormat::RGBX, Subsamp::Sub2x2),
        _ => (PixelFormat::RGB, Subsamp::Sub2x2),
    };
    let image = Image {
        pixels: frame.pixels.as_slice(),
        width: frame.width as usize,
        pitch: frame.row_bytes(),
        height: frame.height as usize,
        format,
    };
    let mut encoder = encoder(quality)?;
    encoder.set_subsamp(sampling).map_err(|error| failed(&error))?;
    // The library's own buffer grows with the result. A slice of ours would have to be zeroed up to the
    // bound, which is about the frame's size: a tenth of the time of JPEG to JPEG.
    take(&encoder.compress_to_owned(image).map_err(|error| failed(&error))?, limits)
}

/// The same picture at another quality, never as pixels: `None` where its colours are not stored as `encode`
/// would store them.
pub(super) fn recode(
    input: &[u8],
    header: &JpegHeader,
    quality: u8,
    limits: &ConvertLimits,
) -> Result<Option<Vec<u8>>, Error> {
    let mut decoder = Decoder::new()?;
    decoder.read_header(input)?;
    decoder.check_size(header)?;
    let stored_as = (
        decoder.parameter(raw::TJPARAM_TJPARAM_COLORSPACE),
        decoder.parameter(raw::TJPARAM_TJPARAM_SUBSAMP),
    );
    if stored_as != (i64::from(raw::TJCS_TJCS_YCbCr), i64::from(raw::TJSAMP_TJSAMP_420)) {
        return Ok(None);
    }
    let (width, height) = (header.width as usize, header.height as usize);
    let (half_width, half_height) = (width.div_ceil(2), height.div_ceil(2));
    // Brightness has an even number of columns and rows: two for each of the colours'.
    let (full_bytes, half_bytes) = (4 * half_width * half_height, half_width * half_height);
    let mut planes = zeroed((full_bytes + 2 * half_bytes) as u64)?;
    let strides = [2 * half_width, half_width, half_width];
    let (brightness, colours) = planes.split_at_mut(full_bytes);
    let (blue, red) = colours.split_at_mut(half_bytes);
    decoder.decode_planes(input, [&mut *brightness, &mut *blue, &mut *red], strides)?;
    let image = YuvPlanesImage {
        y_plane: &*brightness,
        u_plane: &*blue,
        v_plane: &*red,
        width,
        height,
        y_stride: strides[0],
        u_stride: strides[1],
        v_stride: strides[2],
        subsamp: Subsamp::Sub2x2,
    };
    let file =
        encoder(quality)?.compress_yuv_planes_to_owned(&image).map_err(|error| failed(&error))?;
    take(&file, limits).map(Some)
}

fn encoder(quality: u8) -> Result<Compressor, Error> {
    let mut encoder = Compressor::new().map_err(|error| failed(&error))?;
    encoder.set_quality(i32::from(quality)).map_err(|error| failed(&error))?;
    Ok(encoder)
}

fn take(file: &OwnedBuf, limits: &ConvertLimits) -> Result<Vec<u8>, Error> {
    let mut sink = Sink::new(file.len(), limits);
    sink.push(file);
    sink.finish("JPEG", Ok::<(), turbojpeg::Error>(()))
}

fn failed(error: &turbojpeg::Error) -> Error {
    Error::new(ErrorKind::Internal, format!("the JPEG encoder failed: {error}"))
}

/// A decompressor, destroyed on drop.
struct Decoder(raw::tjhandle);

impl Decoder {
    fn new() -> Result<Self, Error> {
        // SAFETY: no pointers go in; null comes out where there is no memory, and is refused.
        let handle = unsafe { raw::tj3Init(raw::TJINIT_TJINIT_DECOMPRESS.cast_signed()) };
        if handle.is_null() {
            return Err(Error::new(ErrorKind::Internal, "no memory for a JPEG decoder"));
        }
        Ok(Self(handle))
    }

    fn read_header(&mut self, input: &[u8]) -> Result<(), Error> {
        // SAFETY: the handle is live, and the pointer goes with the length of its slice.
        let status =
            unsafe { raw::tj3DecompressHeader(self.0, input.as_ptr(), input.len() as raw::size_t) };
        self.check(status, input.len() as u64)
    }

    fn parameter(&self, parameter: raw::TJPARAM) -> i64 {
        // SAFETY: the handle is live.
        i64::from(unsafe { raw::tj3Get(self.0, parameter.cast_signed()) })
    }

    fn decode(&mut self, input: &[u8], frame: &mut Frame, format: raw::TJPF) -> Result<(), Error> {
        let pitch = c_int::try_from(frame.row_bytes())
            .map_err(|_| Error::new(ErrorKind::Internal, "a JPEG's row passed its check"))?;
        // SAFETY: the handle is live, and has read the header of this same input, whose size is the
        // frame's; so all rows of `pitch` bytes lie inside of the frame's pixels, which hold
        // `height` times `pitch` bytes in the format that was asked for.
        let status = unsafe {
            raw::tj3Decompress8(
                self.0,
                input.as_ptr(),
                input.len() as raw::size_t,
                frame.pixels.as_mut_ptr(),
                pitch,
                format,
            )
        };
        self.check(status, frame.pixels.len() as u64)
    }

    /// Holds the header that was read against the one that was found by ourselves, whose size was checked.
    fn check_size(&self, header: &JpegHeader) -> Result<(), Error> {
        let size = (
            self.parameter(raw::TJPARAM_TJPARAM_JPEGWIDTH),
            self.parameter(raw::TJPARAM_TJPARAM_JPEGHEIGHT),
        );
        if size == (i64::from(header.width), i64::from(header.height)) {
            return Ok(());
        }
        Err(Error::malformed("the JPEG's frame header is not the one that is decoded"))
    }

    /// Decodes to brightness and the two colours, each with the bytes of its rows.
    fn decode_planes(
        &mut self,
        input: &[u8],
        planes: [&mut [u8]; 3],
        strides: [usize; 3],
    ) -> Result<(), Error> {
        let side = |parameter| c_int::try_from(self.parameter(parameter)).unwrap_or(0);
        let height = side(raw::TJPARAM_TJPARAM_JPEGHEIGHT);
        let sampling = side(raw::TJPARAM_TJPARAM_SUBSAMP);
        let width = side(raw::TJPARAM_TJPARAM_JPEGWIDTH);
        let mut pitches = strides.map(|stride| c_int::try_from(stride).unwrap_or(0));
        for ((component, plane), &pitch) in (0..).zip(&planes).zip(&pitches) {
            // SAFETY: only numbers go in; 0 or less comes out for those that mean nothing.
            let (needed, columns) = unsafe {
                (
                    raw::tj3YUVPlaneSize(component, width, pitch, height, sampling),
                    raw::tj3YUVPlaneWidth(component, width, sampling),
                )
            };
            if needed == 0 || needed > plane.len() as raw::size_t || columns > pitch {
                return Err(Error::new(
                    ErrorKind::Internal,
                    "a plane of a JPEG is smaller than its size says",
                ));
            }
        }
        let bytes = planes.iter().map(|plane| plane.len() as u64).sum();
        let mut starts = planes.map(<[u8]>::as_mut_ptr);
        // SAFETY: the handle is live, and has read the header of this same input. By what was just asked of the
        // library, the planes hold what it writes at these sizes, and so do their rows.
        let status = unsafe {
            raw::tj3DecompressToYUVPlanes8(
                self.0,
                input.as_ptr(),
                input.len() as raw::size_t,
                starts.as_mut_ptr(),
                pitches.as_mut_ptr(),
            )
        };
        self.check(status, bytes)
    }

    /// Damage that the decoder could go on after is a warning, and fine.
    fn check(&self, status: c_int, wanted_bytes: u64) -> Result<(), Error> {
        // SAFETY: the handle is live, and the message is a string of its own that ends with a NUL
        // and is copied before the handle is used again.
        let (code, message) = unsafe {
            let message = CStr::from_ptr(raw::tj3GetErrorStr(self.0)).to_string_lossy();
            (raw::tj3GetErrorCode(self.0), message.into_owned())
        };
        if status == 0 || i64::from(code) == i64::from(raw::TJERR_TJERR_WARNING) {
            return Ok(());
        }
        if message.starts_with(NO_MEMORY) {
            return Err(no_memory(wanted_bytes));
        }
        Err(Error::malformed(format!("the JPEG cannot be decoded: {message}")))
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        // SAFETY: the handle is live, and this is its last use.
        unsafe { raw::tj3Destroy(self.0) };
    }
}
