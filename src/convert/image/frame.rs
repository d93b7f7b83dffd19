//! A decoded picture in memory.

use crate::convert::{Error, ErrorKind};
use crate::limits::ConvertLimits;

/// What the samples of one pixel mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Channels {
    Grey,
    GreyAlpha,
    Rgb,
    Rgba,
    /// As JPEG stores it by Adobe's convention: 255 is no ink. ICC profiles count the other way.
    Cmyk,
}

impl Channels {
    pub(super) fn count(self) -> usize {
        match self {
            Self::Grey => 1,
            Self::GreyAlpha => 2,
            Self::Rgb => 3,
            Self::Rgba | Self::Cmyk => 4,
        }
    }
}

/// Bits of one sample. Samples of 16 bits are big-endian, as PNG has them on both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    Eight,
    Sixteen,
}

impl Depth {
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::Eight => 1,
            Self::Sixteen => 2,
        }
    }
}

/// One picture: rows from top to bottom without padding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) channels: Channels,
    pub(super) depth: Depth,
    pub(super) pixels: Vec<u8>,
}

impl Frame {
    /// A black frame whose memory the caller fills.
    pub(super) fn new(
        width: u32,
        height: u32,
        channels: Channels,
        depth: Depth,
    ) -> Result<Self, Error> {
        let bytes = u64::from(width)
            .checked_mul(u64::from(height))
            .and_then(|pixels| pixels.checked_mul((channels.count() * depth.bytes()) as u64));
        let pixels = match bytes {
            // Room for a byte more a row, which PNG's filters take.
            Some(bytes) => zeroed_with_room(bytes, height.into())?,
            None => return Err(no_memory(u64::MAX)),
        };
        Ok(Self { width, height, channels, depth, pixels })
    }

    pub(super) fn pixel_bytes(&self) -> usize {
        self.channels.count() * self.depth.bytes()
    }

    pub(super) fn row_bytes(&self) -> usize {
        self.width as usize * self.pixel_bytes()
    }
}

/// Zeroed memory, or an error where there is none.
///
/// The standard library has no zeroed allocation that may fail, and filling a reserved buffer would
/// write all its pages once for nothing. So the room is asked for first, and given back to be taken
/// again as zero pages. Another thread may take it in between: a benign race, since the question is
/// there for sizes that no machine has.
pub(super) fn zeroed(bytes: u64) -> Result<Vec<u8>, Error> {
    let length = usize::try_from(bytes).map_err(|_| no_memory(bytes))?;
    Vec::<u8>::new().try_reserve_exact(length).map_err(|_| no_memory(bytes))?;
    Ok(vec![0; length])
}

/// The same with capacity for `room` bytes more.
pub(super) fn zeroed_with_room(bytes: u64, room: u64) -> Result<Vec<u8>, Error> {
    let mut all = zeroed(bytes.saturating_add(room))?;
    all.truncate(usize::try_from(bytes).unwrap_or(0));
    Ok(all)
}

pub(super) fn no_memory(bytes: u64) -> Error {
    Error::new(ErrorKind::LimitExceeded, format!("no memory for {bytes} bytes of a picture"))
        .with_hint("send a smaller picture, or try again where others are converted too")
}

/// Holds a header's size against the limit; a picture without pixels is malformed.
pub(super) fn check_size(width: u32, height: u32, limits: &ConvertLimits) -> Result<(), Error> {
    if width == 0 || height == 0 {
        return Err(Error::malformed(format!("the picture has no pixels: {width} x {height}")));
    }
    let pixels = u64::from(width) * u64::from(height);
    if pixels > limits.pixels_max {
        return Err(Error::limit(
            "pixels of the picture",
            format!("{pixels} ({width} x {height})"),
            limits.pixels_max,
        ));
    }
    Ok(())
}

/// Refuses a picture that the target's header has no numbers for.
pub(super) fn check_side(target: &str, frame: &Frame, side_max: u32) -> Result<(), Error> {
    if frame.width > side_max || frame.height > side_max {
        return Err(Error::limit(
            &format!("width and height of a {target}"),
            format!("{} x {}", frame.width, frame.height),
            format!("{side_max} a side"),
        )
        .with_hint("PNG holds larger pictures"));
    }
    Ok(())
}
