//! JPEG by libjpeg-turbo.
//!
//! The safe wrapper encodes. It does not decode, for it cannot tell a warning, after which the
//! picture is whole, from an error: the handle whose code says so is its own.
#![allow(unsafe_code, reason = "libjpeg-turbo is C; every block says why it is sound")]

use std::ffi::{CStr, c_int};

use turbojpeg::{Compressor, Image, PixelFormat, Subsamp, raw};

use super::super::frame::{Channels, Depth, Frame, no_memory};
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
    let size = (
        decoder.parameter(raw::TJPARAM_TJPARAM_JPEGWIDTH),
        decoder.parameter(raw::TJPARAM_TJPARAM_JPEGHEIGHT),
    );
    if size != (i64::from(header.width), i64::from(header.height)) {
        return Err(Error::malformed("the JPEG's frame header is not the one that is decoded"));
    }
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
    let mut encoder = Compressor::new().map_err(|error| failed(&error))?;
    encoder.set_quality(i32::from(quality)).map_err(|error| failed(&error))?;
    encoder.set_subsamp(sampling).map_err(|error| failed(&error))?;
    // The library's own buffer grows with the result. A slice of ours would have to be zeroed up to the
    // bound, which is about the frame's size: a tenth of the time of JPEG to JPEG.
    let file = encoder.compress_to_owned(image).map_err(|error| failed(&error))?;
    let mut sink = Sink::new(file.len(), limits);
    sink.push(&file);
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
