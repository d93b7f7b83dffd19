//! Turning pixels upright.

use image::metadata::Orientation;

use super::frame::Frame;
use crate::convert::Error;

/// A tile of 32 x 32 pixels of 8 bytes is 8 KiB on each side, and both stay in the first cache.
const TILE: usize = 32;

/// Turns `frame` so that what `orientation` describes stands upright.
///
/// The flips work in place; the turns by 90 degrees need a second frame.
pub(super) fn upright(frame: Frame, orientation: Orientation) -> Result<Frame, Error> {
    if orientation == Orientation::NoTransforms {
        return Ok(frame);
    }
    match frame.pixel_bytes() {
        1 => upright_pixels::<1>(frame, orientation),
        2 => upright_pixels::<2>(frame, orientation),
        3 => upright_pixels::<3>(frame, orientation),
        4 => upright_pixels::<4>(frame, orientation),
        6 => upright_pixels::<6>(frame, orientation),
        _ => upright_pixels::<8>(frame, orientation),
    }
}

fn upright_pixels<const N: usize>(
    mut frame: Frame,
    orientation: Orientation,
) -> Result<Frame, Error> {
    match orientation {
        Orientation::NoTransforms => Ok(frame),
        Orientation::Rotate180 => {
            frame.pixels.as_chunks_mut::<N>().0.reverse();
            Ok(frame)
        }
        Orientation::FlipHorizontal => {
            let row_bytes = frame.row_bytes();
            for row in frame.pixels.chunks_exact_mut(row_bytes) {
                row.as_chunks_mut::<N>().0.reverse();
            }
            Ok(frame)
        }
        Orientation::FlipVertical => {
            flip_vertical(&mut frame);
            Ok(frame)
        }
        Orientation::Rotate90 => transpose::<N>(&frame, false, true),
        Orientation::Rotate270 => transpose::<N>(&frame, true, false),
        Orientation::Rotate90FlipH => transpose::<N>(&frame, false, false),
        Orientation::Rotate270FlipH => transpose::<N>(&frame, true, true),
    }
}

fn flip_vertical(frame: &mut Frame) {
    let row_bytes = frame.row_bytes();
    let half = frame.height as usize / 2 * row_bytes;
    let middle = frame.pixels.len() - half;
    let (upper, rest) = frame.pixels.split_at_mut(half);
    let lower = &mut rest[middle - half..];
    for (above, below) in
        upper.chunks_exact_mut(row_bytes).zip(lower.chunks_exact_mut(row_bytes).rev())
    {
        above.swap_with_slice(below);
    }
}

/// Swaps the axes; `mirror_x` and `mirror_y` count the source's columns and rows from their end.
fn transpose<const N: usize>(
    frame: &Frame,
    mirror_x: bool,
    mirror_y: bool,
) -> Result<Frame, Error> {
    let mut turned = Frame::new(frame.height, frame.width, frame.channels, frame.depth)?;
    let (width, height) = (frame.width as usize, frame.height as usize);
    let source = frame.pixels.as_chunks::<N>().0;
    let target = turned.pixels.as_chunks_mut::<N>().0;
    for top in (0..width).step_by(TILE) {
        for left in (0..height).step_by(TILE) {
            for y in top..width.min(top + TILE) {
                let column = if mirror_x { width - 1 - y } else { y };
                for x in left..height.min(left + TILE) {
                    let row = if mirror_y { height - 1 - x } else { x };
                    target[y * height + x] = source[row * width + column];
                }
            }
        }
    }
    Ok(turned)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::frame::{Channels, Depth};
    use super::*;

    /// `F` is 2 wide and 3 high: "12", "34", "56".
    fn picture(channels: Channels, depth: Depth) -> Frame {
        let bytes = channels.count() * depth.bytes();
        let pixels = b"123456".iter().flat_map(|&digit| vec![digit; bytes]).collect();
        Frame { width: 2, height: 3, channels, depth, pixels }
    }

    #[test]
    fn every_orientation_and_every_pixel_size_is_turned_upright() {
        let expected = [
            (1, 2, "123456"),
            (2, 2, "214365"),
            (3, 2, "654321"),
            (4, 2, "563412"),
            (5, 3, "135246"),
            (6, 3, "531642"),
            (7, 3, "642531"),
            (8, 3, "246135"),
        ];
        for channels in [Channels::Grey, Channels::GreyAlpha, Channels::Rgb, Channels::Rgba] {
            for depth in [Depth::Eight, Depth::Sixteen] {
                for (tag, width, digits) in expected {
                    let orientation = Orientation::from_exif(tag).unwrap();
                    let turned = upright(picture(channels, depth), orientation).unwrap();
                    let first: String = turned
                        .pixels
                        .chunks(turned.pixel_bytes())
                        .map(|pixel| char::from(pixel[0]))
                        .collect();
                    assert_eq!((turned.width, first.as_str()), (width, digits), "tag {tag}");
                }
            }
        }
    }

    #[test]
    fn pictures_larger_than_a_tile_come_back_after_four_quarter_turns() {
        let pixels = (0..67_u32 * 41 * 3).map(|at| at.to_le_bytes()[0]).collect();
        let frame =
            Frame { width: 67, height: 41, channels: Channels::Rgb, depth: Depth::Eight, pixels };
        let mut turned = frame.clone();
        for _ in 0..4 {
            turned = upright(turned, Orientation::Rotate90).unwrap();
        }
        assert_eq!(turned, frame);
    }
}
