//! ICC profiles: from what a file says its numbers mean, to sRGB.

use moxcms::{ColorProfile, DataColorSpace, Layout, TransformOptions};

use super::frame::{Channels, Depth, Frame};
use crate::convert::Error;

/// Steps on each axis of the grid of colours that tells whether a profile is sRGB in effect.
const GRID_STEPS: u8 = 9;

/// What the numbers of a profile's device side are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Model {
    Grey,
    Rgb,
    Cmyk,
}

/// The model from the profile's header; `None` for other models and for what is no profile.
pub(super) fn model(icc: &[u8]) -> Option<Model> {
    match icc.get(16..20)? {
        b"GRAY" => Some(Model::Grey),
        b"RGB " => Some(Model::Rgb),
        b"CMYK" => Some(Model::Cmyk),
        _ => None,
    }
}

impl Channels {
    pub(super) fn model(self) -> Model {
        match self {
            Self::Grey | Self::GreyAlpha => Model::Grey,
            Self::Rgb | Self::Rgba => Model::Rgb,
            Self::Cmyk => Model::Cmyk,
        }
    }
}

/// Whether `to_srgb` would change a frame of 8 bits and RGB.
#[cfg(feature = "turbo")]
pub(super) fn changes_rgb(icc: &[u8]) -> bool {
    model(icc) == Some(Model::Rgb)
        && ColorProfile::new_from_slice(icc)
            .is_ok_and(|profile| profile.color_space == DataColorSpace::Rgb && !is_srgb(&profile))
}

/// Converts `frame` to sRGB as `icc` describes its numbers. Grey stays grey; CMYK becomes RGB.
///
/// A profile that cannot be used, because it is damaged or of another model than the pixels, changes
/// nothing: other readers show such a file as if it had none.
pub(super) fn to_srgb(frame: &mut Frame, icc: &[u8]) -> Result<(), Error> {
    if model(icc) != Some(frame.channels.model()) {
        return Ok(());
    }
    let Ok(profile) = ColorProfile::new_from_slice(icc) else { return Ok(()) };
    match profile.color_space {
        DataColorSpace::Gray => grey(frame, &profile),
        DataColorSpace::Rgb if is_srgb(&profile) => {}
        DataColorSpace::Rgb if frame.depth == Depth::Eight => rgb8(frame, &profile),
        DataColorSpace::Rgb => rgb16(frame, &profile),
        DataColorSpace::Cmyk => cmyk(frame, &profile)?,
        _ => {}
    }
    Ok(())
}

/// Whether the profile maps a grid of colours to themselves, give or take one step. Names and tags
/// of the many sRGB profiles differ; what they do does not.
fn is_srgb(profile: &ColorProfile) -> bool {
    let steps = || (0..GRID_STEPS).map(|step| step * (255 / (GRID_STEPS - 1)));
    let grid: Vec<u8> = steps()
        .flat_map(|red| steps().map(move |green| (red, green)))
        .flat_map(|(red, green)| steps().flat_map(move |blue| [red, green, blue]))
        .collect();
    let mut mapped = vec![0; grid.len()];
    let srgb = ColorProfile::new_srgb();
    profile
        .create_transform_8bit(Layout::Rgb, &srgb, Layout::Rgb, TransformOptions::default())
        .and_then(|transform| transform.transform(&grid, &mut mapped))
        .is_ok_and(|()| grid.iter().zip(&mapped).all(|(from, to)| from.abs_diff(*to) <= 1))
}

fn rgb_layout(frame: &Frame) -> Layout {
    if frame.channels == Channels::Rgba { Layout::Rgba } else { Layout::Rgb }
}

fn rgb8(frame: &mut Frame, profile: &ColorProfile) {
    let layout = rgb_layout(frame);
    let srgb = ColorProfile::new_srgb();
    let Ok(transform) =
        profile.create_transform_8bit(layout, &srgb, layout, TransformOptions::default())
    else {
        return;
    };
    let row_bytes = frame.row_bytes();
    let mut before = vec![0; row_bytes];
    for row in frame.pixels.chunks_exact_mut(row_bytes) {
        before.copy_from_slice(row);
        if transform.transform(&before, row).is_err() {
            row.copy_from_slice(&before);
        }
    }
}

fn rgb16(frame: &mut Frame, profile: &ColorProfile) {
    let layout = rgb_layout(frame);
    let srgb = ColorProfile::new_srgb();
    let Ok(transform) =
        profile.create_transform_16bit(layout, &srgb, layout, TransformOptions::default())
    else {
        return;
    };
    let row_bytes = frame.row_bytes();
    let (mut before, mut after) = (vec![0; row_bytes / 2], vec![0; row_bytes / 2]);
    for row in frame.pixels.chunks_exact_mut(row_bytes) {
        let samples = row.as_chunks_mut::<2>().0;
        for (wide, bytes) in before.iter_mut().zip(samples.iter()) {
            *wide = u16::from_be_bytes(*bytes);
        }
        if transform.transform(&before, &mut after).is_ok() {
            for (bytes, wide) in samples.iter_mut().zip(&after) {
                *bytes = wide.to_be_bytes();
            }
        }
    }
}

/// Grey has one curve, so every value is mapped once and the pixels are looked up.
fn grey(frame: &mut Frame, profile: &ColorProfile) {
    let ramp: Vec<u16> = (0..=u16::MAX).collect();
    let mut mapped = vec![0; ramp.len() * 3];
    let srgb = ColorProfile::new_srgb();
    let done = profile
        .create_transform_16bit(Layout::Gray, &srgb, Layout::Rgb, TransformOptions::default())
        .and_then(|transform| transform.transform(&ramp, &mut mapped));
    if done.is_err() {
        return;
    }
    let look_up = |grey: u16| mapped[usize::from(grey) * 3 + 1];
    let pixel_bytes = frame.pixel_bytes();
    for pixel in frame.pixels.chunks_exact_mut(pixel_bytes) {
        match (frame.depth, &mut *pixel) {
            (Depth::Eight, [grey, ..]) => *grey = high_byte(look_up(u16::from(*grey) * 257)),
            (Depth::Sixteen, [high, low, ..]) => {
                [*high, *low] = look_up(u16::from_be_bytes([*high, *low])).to_be_bytes();
            }
            _ => {}
        }
    }
}

/// 16 bits to 8, rounded.
fn high_byte(wide: u16) -> u8 {
    let [.., byte] = ((u32::from(wide) + 128) / 257).to_be_bytes();
    byte
}

fn cmyk(frame: &mut Frame, profile: &ColorProfile) -> Result<(), Error> {
    let srgb = ColorProfile::new_srgb();
    let Ok(transform) = profile.create_transform_8bit(
        Layout::Rgba,
        &srgb,
        Layout::Rgb,
        TransformOptions::default(),
    ) else {
        return Ok(());
    };
    let mut rgb = Frame::new(frame.width, frame.height, Channels::Rgb, Depth::Eight)?;
    let (ink_bytes, row_bytes) = (frame.row_bytes(), rgb.row_bytes());
    let mut inks = vec![0; ink_bytes];
    for (stored, row) in
        frame.pixels.chunks_exact(ink_bytes).zip(rgb.pixels.chunks_exact_mut(row_bytes))
    {
        for (ink, stored) in inks.iter_mut().zip(stored) {
            *ink = 255 - stored;
        }
        if transform.transform(&inks, row).is_err() {
            return Ok(());
        }
    }
    *frame = rgb;
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn frame(channels: Channels, depth: Depth, pixels: &[u8]) -> Frame {
        let width = u32::try_from(pixels.len() / channels.count() / depth.bytes()).unwrap();
        Frame { width, height: 1, channels, depth, pixels: pixels.to_vec() }
    }

    fn converted(channels: Channels, depth: Depth, pixels: &[u8], icc: &[u8]) -> Vec<u8> {
        let mut frame = frame(channels, depth, pixels);
        to_srgb(&mut frame, icc).unwrap();
        frame.pixels
    }

    #[test]
    fn srgb_profiles_change_nothing() {
        let icc = ColorProfile::new_srgb().encode().unwrap();
        let pixels = [1, 2, 3, 100, 150, 200, 255, 254, 253];
        assert_eq!(converted(Channels::Rgb, Depth::Eight, &pixels, &icc), pixels);
    }

    #[test]
    fn display_p3_is_brought_to_srgb_in_8_and_16_bits_with_its_alpha() {
        let icc = ColorProfile::new_display_p3().encode().unwrap();
        // Computed from the two colour spaces' definitions: P3 (100, 150, 200) is sRGB (82, 152, 204).
        let eight = converted(Channels::Rgba, Depth::Eight, &[100, 150, 200, 77], &icc);
        for (got, want) in eight.iter().zip([82_u8, 152, 204, 77]) {
            assert!(got.abs_diff(want) <= 2, "{eight:?}");
        }
        let wide = [100, 100, 150, 150, 200, 200, 77, 78];
        let sixteen = converted(Channels::Rgba, Depth::Sixteen, &wide, &icc);
        for (got, want) in sixteen.iter().step_by(2).zip([82_u8, 152, 204, 77]) {
            assert!(got.abs_diff(want) <= 2, "{sixteen:?}");
        }
        assert_eq!(sixteen[6..], [77, 78]);
    }

    #[test]
    fn grey_with_a_linear_profile_becomes_brighter_and_stays_grey() {
        let icc = ColorProfile::new_gray_with_gamma(1.0).encode().unwrap();
        // Linear 128/255 is 188 in sRGB.
        let mapped = converted(Channels::GreyAlpha, Depth::Eight, &[0, 9, 128, 9, 255, 9], &icc);
        assert_eq!((mapped[0], mapped[4]), (0, 255));
        assert!(mapped[2].abs_diff(188) <= 1, "{mapped:?}");
        assert_eq!([mapped[1], mapped[3], mapped[5]], [9; 3]);
        let wide = converted(Channels::Grey, Depth::Sixteen, &[128, 128], &icc);
        assert!(wide[0].abs_diff(188) <= 1, "{wide:?}");
    }

    #[test]
    fn a_profile_of_another_model_or_damaged_changes_nothing() {
        let icc = ColorProfile::new_display_p3().encode().unwrap();
        assert_eq!(converted(Channels::Grey, Depth::Eight, &[1, 2], &icc), [1, 2]);
        for length in (0..icc.len()).step_by(7) {
            converted(Channels::Rgb, Depth::Eight, &[100, 150, 200], &icc[..length]);
        }
    }
}
