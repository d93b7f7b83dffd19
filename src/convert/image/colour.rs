//! Bringing pixels into the form that a target takes: 8 bits, no CMYK, no alpha.

use super::frame::{Channels, Depth, Frame};
use crate::convert::{Background, Error};

/// 16 bits to 8, rounded: 257 steps of the one are a step of the other.
pub(super) fn to_eight_bits(frame: &mut Frame) {
    if frame.depth == Depth::Eight {
        return;
    }
    let samples = frame.pixels.len() / 2;
    for at in 0..samples {
        let wide = u32::from(u16::from_be_bytes([frame.pixels[2 * at], frame.pixels[2 * at + 1]]));
        frame.pixels[at] = byte((wide + 128) / 257);
    }
    frame.pixels.truncate(samples);
    frame.depth = Depth::Eight;
}

/// CMYK without a profile: each colour is dimmed by black, as Pillow and browsers do it.
pub(super) fn cmyk_to_rgb(frame: &mut Frame) {
    let pixels = frame.pixels.len() / 4;
    for at in 0..pixels {
        let [cyan, magenta, yellow, black] = [0, 1, 2, 3].map(|c| frame.pixels[4 * at + c]);
        let dimmed = [cyan, magenta, yellow].map(|colour| scaled(colour, black));
        frame.pixels[3 * at..3 * at + 3].copy_from_slice(&dimmed);
    }
    frame.pixels.truncate(3 * pixels);
    frame.channels = Channels::Rgb;
}

/// Lays 8-bit pixels over `background`. `Rgba` stays as it is packed, with an alpha that no longer
/// counts: encoders skip the fourth byte faster than it could be removed.
pub(super) fn flatten(frame: &mut Frame, background: Background) -> Result<(), Error> {
    let [red, green, blue] = background.rgb;
    if frame.channels == Channels::GreyAlpha {
        if red == green && green == blue {
            flatten_grey(frame, red);
            return Ok(());
        }
        to_rgb(frame)?;
    }
    if frame.channels == Channels::Rgba {
        for pixel in frame.pixels.as_chunks_mut::<4>().0 {
            let alpha = pixel[3];
            if alpha != 255 {
                for (sample, under) in pixel.iter_mut().zip(background.rgb) {
                    *sample = blended(*sample, alpha, under);
                }
                pixel[3] = 255;
            }
        }
    }
    Ok(())
}

fn flatten_grey(frame: &mut Frame, under: u8) {
    let pixels = frame.pixels.len() / 2;
    for at in 0..pixels {
        let (grey, alpha) = (frame.pixels[2 * at], frame.pixels[2 * at + 1]);
        frame.pixels[at] = blended(grey, alpha, under);
    }
    frame.pixels.truncate(pixels);
    frame.channels = Channels::Grey;
}

/// `Grey` to `Rgb` and `GreyAlpha` to `Rgba`, in 8 bits; others stay.
pub(super) fn to_rgb(frame: &mut Frame) -> Result<(), Error> {
    let channels = match frame.channels {
        Channels::Grey => Channels::Rgb,
        Channels::GreyAlpha => Channels::Rgba,
        Channels::Rgb | Channels::Rgba | Channels::Cmyk => return Ok(()),
    };
    let mut wide = Frame::new(frame.width, frame.height, channels, Depth::Eight)?;
    if channels == Channels::Rgb {
        for (pixel, &grey) in wide.pixels.as_chunks_mut::<3>().0.iter_mut().zip(&frame.pixels) {
            *pixel = [grey; 3];
        }
    } else {
        let narrow = frame.pixels.as_chunks::<2>().0;
        for (pixel, &[grey, alpha]) in wide.pixels.as_chunks_mut::<4>().0.iter_mut().zip(narrow) {
            *pixel = [grey, grey, grey, alpha];
        }
    }
    *frame = wide;
    Ok(())
}

fn blended(over: u8, alpha: u8, under: u8) -> u8 {
    let alpha = u32::from(alpha);
    byte((u32::from(over) * alpha + u32::from(under) * (255 - alpha) + 127) / 255)
}

/// The product of two fractions of 255.
fn scaled(sample: u8, by: u8) -> u8 {
    byte((u32::from(sample) * u32::from(by) + 127) / 255)
}

#[allow(clippy::cast_possible_truncation, reason = "every caller's quotient is at most 255")]
fn byte(value: u32) -> u8 {
    value as u8
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn frame(channels: Channels, depth: Depth, pixels: &[u8]) -> Frame {
        let width = u32::try_from(pixels.len() / channels.count() / depth.bytes()).unwrap();
        Frame { width, height: 1, channels, depth, pixels: pixels.to_vec() }
    }

    #[test]
    fn sixteen_bits_are_rounded_to_eight() {
        let wide = [0, 0, 0, 128, 0, 129, 0xff, 0x7e, 0xff, 0x7f, 0xff, 0xff];
        let mut frame = frame(Channels::Grey, Depth::Sixteen, &wide);
        to_eight_bits(&mut frame);
        assert_eq!(frame.pixels, [0, 0, 1, 254, 255, 255]);
        for eight in 0..=255_u8 {
            let mut exact = super::tests::frame(Channels::Grey, Depth::Sixteen, &[eight, eight]);
            to_eight_bits(&mut exact);
            assert_eq!(exact.pixels, [eight]);
        }
    }

    #[test]
    fn alpha_is_laid_over_the_background() {
        let background = Background { rgb: [0, 100, 200] };
        let pixels = [10, 20, 30, 255, 10, 20, 30, 0, 100, 100, 100, 128];
        let mut rgba = frame(Channels::Rgba, Depth::Eight, &pixels);
        flatten(&mut rgba, background).unwrap();
        assert_eq!(rgba.pixels, [10, 20, 30, 255, 0, 100, 200, 255, 50, 100, 150, 255]);

        let mut grey = frame(Channels::GreyAlpha, Depth::Eight, &[7, 255, 7, 0]);
        flatten(&mut grey, background).unwrap();
        assert_eq!((grey.channels, &grey.pixels[4..7]), (Channels::Rgba, [0, 100, 200].as_slice()));

        let mut grey = frame(Channels::GreyAlpha, Depth::Eight, &[7, 255, 7, 0]);
        flatten(&mut grey, Background::default()).unwrap();
        assert_eq!((grey.channels, grey.pixels), (Channels::Grey, vec![7, 255]));
    }

    #[test]
    fn inks_become_colours() {
        // No ink, all black, pure cyan, half black, in Adobe's counting.
        let inks = [255, 255, 255, 255, 255, 255, 255, 0, 0, 255, 255, 255, 255, 255, 255, 128];
        let mut cmyk = frame(Channels::Cmyk, Depth::Eight, &inks);
        cmyk_to_rgb(&mut cmyk);
        assert_eq!(cmyk.pixels, [255, 255, 255, 0, 0, 0, 0, 255, 255, 128, 128, 128]);
    }
}
