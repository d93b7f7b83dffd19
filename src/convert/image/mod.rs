//! Pictures: JPG, PNG and WEBP into each other.
//!
//! A picture is decoded to a [`Frame`](frame::Frame) and its side data, turned upright, brought to
//! the colours that the target has, and encoded. Sizes are held against the limits from headers that
//! are read here, before a decoder sees the file.

mod colour;
mod deflate;
mod deflate_codes;
mod frame;
mod icc;
mod jpeg;
mod jpeg_header;
mod orient;
mod overlay;
mod png_chunks;
mod png_filter;
mod png_read;
mod png_write;
mod side;
mod sink;
mod webp;
mod webp_alpha;
mod webp_plane;
mod webp_sys;

#[cfg(test)]
mod tests;

use ::image::metadata::Orientation;

use super::{Error, Metadata, Options, Orient, SourceType, Target};
use crate::limits::ConvertLimits;
use frame::{Channels, Frame};
use icc::Model;
use side::SideData;

pub(super) fn codecs() -> Vec<&'static str> {
    vec![jpeg::CODEC, "PNG: png, own deflate, libdeflate", "WEBP: libwebp", "ICC: moxcms"]
}

pub(super) fn convert(
    input: &[u8],
    source: SourceType,
    target: Target,
    options: &Options,
    limits: &ConvertLimits,
) -> Result<Vec<u8>, Error> {
    if source == SourceType::Png
        && target == Target::Png
        && let Some(file) = repack(input, options, limits)?
    {
        return Ok(file);
    }
    #[cfg(feature = "turbo")]
    if (source, target) == (SourceType::Jpg, Target::Jpg)
        && let Some(file) = jpeg::recode(input, options, limits)?
    {
        return Ok(file);
    }
    let (frame, mut side) = match source {
        SourceType::Jpg => jpeg::decode(input, limits),
        SourceType::Png => png_read::decode(input, limits),
        SourceType::Webp => webp::decode(input, limits),
        SourceType::Pdf | SourceType::Text => Err(Error::wrong_type(source, target)),
    }?;
    let mut frame = turn(frame, &mut side, options)?;
    colour_for(target, &mut frame, &mut side, options)?;
    if options.metadata == Metadata::Strip {
        side = SideData::default();
    }
    match target {
        Target::Jpg => jpeg::encode(&frame, &side, options, limits),
        Target::Png => png_write::encode(frame, &side, limits),
        Target::Webp => webp::encode(frame, &side, options, limits),
        Target::Pdf | Target::Text => Err(Error::wrong_type(source, target)),
    }
}

/// PNG to PNG where samples are packed into bytes or refer to a palette, as long as the pixels stay
/// as they are: the file keeps its kind, and its size. `None` where the way over a frame is needed.
fn repack(
    input: &[u8],
    options: &Options,
    limits: &ConvertLimits,
) -> Result<Option<Vec<u8>>, Error> {
    let Some((packed, mut side)) = png_read::decode_packed(input, limits)? else {
        return Ok(None);
    };
    let turned = options.orient == Orient::Auto && side.orientation() != Orientation::NoTransforms;
    let recoloured = options.metadata == Metadata::Strip && side.icc.is_some();
    if turned || recoloured {
        return Ok(None);
    }
    if options.metadata == Metadata::Strip {
        side = SideData::default();
    }
    png_write::encode_packed(packed, &side, limits).map(Some)
}

fn turn(frame: Frame, side: &mut SideData, options: &Options) -> Result<Frame, Error> {
    let orientation = side.orientation();
    if options.orient == Orient::Keep || orientation == Orientation::NoTransforms {
        return Ok(frame);
    }
    let turned = orient::upright(frame, orientation)?;
    side.set_upright();
    Ok(turned)
}

/// Brings the pixels to what `target` holds. A profile stays with its picture only where it is
/// wanted, and where the target's numbers are still those that it describes.
fn colour_for(
    target: Target,
    frame: &mut Frame,
    side: &mut SideData,
    options: &Options,
) -> Result<(), Error> {
    let model = match (target, frame.channels.model()) {
        (Target::Webp, _) | (_, Model::Cmyk) => Model::Rgb,
        (Target::Jpg, _) if frame.channels == Channels::GreyAlpha => {
            let [red, green, blue] = options.background.rgb;
            if red == green && green == blue { Model::Grey } else { Model::Rgb }
        }
        (_, model) => model,
    };
    if let Some(icc) = &side.icc
        && (options.metadata == Metadata::Strip || icc::model(icc) != Some(model))
    {
        icc::to_srgb(frame, icc)?;
        side.icc = None;
    }
    if frame.channels == Channels::Cmyk {
        colour::cmyk_to_rgb(frame);
    }
    match target {
        Target::Jpg => {
            colour::to_eight_bits(frame);
            colour::flatten(frame, options.background)?;
        }
        Target::Webp => {
            colour::to_eight_bits(frame);
            colour::to_rgb(frame)?;
        }
        Target::Png | Target::Pdf | Target::Text => {}
    }
    Ok(())
}
