//! Whole conversions, checked by decoding what comes out.
#![allow(clippy::unwrap_used)]

use std::borrow::Cow;

use jpeg_encoder::{ColorType, Encoder};
use moxcms::ColorProfile;
use proptest::prelude::*;

use super::frame::{Channels, Depth, Frame};
use super::side::SideData;
use super::*;
use crate::convert::{Background, ErrorKind, Quality, detect};

const KINDS: [Channels; 4] = [Channels::Grey, Channels::GreyAlpha, Channels::Rgb, Channels::Rgba];

fn limits() -> ConvertLimits {
    ConvertLimits::default()
}

fn to(input: &[u8], target: Target, options: &Options) -> Result<Vec<u8>, Error> {
    crate::convert::convert(input, target, options, &limits())
}

fn decoded(file: &[u8]) -> (Frame, SideData<'_>) {
    match detect(file).unwrap() {
        SourceType::Jpg => jpeg::decode(file, &limits()),
        SourceType::Png => png_read::decode(file, &limits()),
        _ => webp::decode(file, &limits()),
    }
    .unwrap()
}

fn frame(width: u32, height: u32, channels: Channels, depth: Depth, seed: u32) -> Frame {
    let mut frame = Frame::new(width, height, channels, depth).unwrap();
    let mut state = seed | 1;
    for byte in &mut frame.pixels {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *byte = state.to_be_bytes()[0];
    }
    frame
}

fn png(frame: &Frame, side: &SideData) -> Vec<u8> {
    png_write::encode(frame.clone(), side, &limits()).unwrap()
}

fn plain_png(frame: &Frame) -> Vec<u8> {
    png(frame, &SideData::default())
}

/// A smooth picture, which lossy codecs bring back closely.
fn gradient(width: u32, height: u32) -> Frame {
    let mut frame = Frame::new(width, height, Channels::Rgb, Depth::Eight).unwrap();
    for (at, pixel) in frame.pixels.as_chunks_mut::<3>().0.iter_mut().enumerate() {
        let (x, y) = (at % width as usize, at / width as usize);
        let share = |at: usize, all: u32| u8::try_from(at * 255 / all as usize).unwrap();
        *pixel = [share(x, width), share(y, height), 128];
    }
    frame
}

fn near(left: &[u8], right: &[u8], by: u8) -> bool {
    left.len() == right.len() && left.iter().zip(right).all(|(a, b)| a.abs_diff(*b) <= by)
}

#[test]
fn all_nine_pairs_keep_the_picture() {
    let original = gradient(50, 37);
    let start = plain_png(&original);
    for first in [Target::Jpg, Target::Png, Target::Webp] {
        let source = to(&start, first, &Options::default()).unwrap();
        for second in [Target::Jpg, Target::Png, Target::Webp] {
            let file = to(&source, second, &Options::default()).unwrap();
            assert_eq!(file, to(&source, second, &Options::default()).unwrap());
            let (back, _) = decoded(&file);
            assert_eq!((back.width, back.height), (50, 37));
            assert!(near(&back.pixels, &original.pixels, 24), "{first:?} to {second:?}");
        }
    }
}

#[test]
fn quality_is_honoured() {
    let start = plain_png(&frame(64, 64, Channels::Rgb, Depth::Eight, 9));
    for target in [Target::Jpg, Target::Webp] {
        let bytes = |quality| {
            let options = Options { quality: Quality::new(quality), ..Options::default() };
            to(&start, target, &options).unwrap().len()
        };
        assert!(bytes(10) < bytes(50) && bytes(50) < bytes(95), "{target:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn png_to_png_is_exact_for_all_kinds_of_whole_bytes(
        (width, height) in (1..70_u32, 1..70_u32),
        kind in 0..4_usize,
        sixteen in any::<bool>(),
        seed in any::<u32>(),
    ) {
        let depth = if sixteen { Depth::Sixteen } else { Depth::Eight };
        let original = frame(width, height, KINDS[kind], depth, seed);
        let file = to(&plain_png(&original), Target::Png, &Options::default()).unwrap();
        prop_assert_eq!(decoded(&file).0, original);
    }

    #[test]
    fn lossless_webp_is_exact(
        (width, height) in (1..40_u32, 1..40_u32),
        alpha in any::<bool>(),
        seed in any::<u32>(),
    ) {
        let channels = if alpha { Channels::Rgba } else { Channels::Rgb };
        let original = frame(width, height, channels, Depth::Eight, seed);
        let options = Options { lossless: true, ..Options::default() };
        let file = to(&plain_png(&original), Target::Webp, &options).unwrap();
        prop_assert_eq!(decoded(&file).0, original);
    }

    #[test]
    fn packed_png_keeps_its_kind_and_its_pixels(
        (width, height) in (1..40_u32, 1..20_u32),
        depth in prop::sample::select(vec![1_u8, 2, 4, 8]),
        indexed in any::<bool>(),
        seed in any::<u32>(),
    ) {
        prop_assume!(indexed || depth < 8);
        let original = packed_png(width, height, depth, indexed, seed);
        let file = to(&original, Target::Png, &Options::default()).unwrap();
        prop_assert_eq!(decoded(&file).0, decoded(&original).0);
        // Bit depth and colour type of the header.
        prop_assert_eq!(&file[24..26], &original[24..26]);
    }

    #[test]
    fn flipped_bits_never_panic(
        source in 0..5_usize,
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0..8_u8), 1..6),
    ) {
        let mut file = small_files().swap_remove(source);
        for (at, bit) in flips {
            let at = at.index(file.len());
            file[at] ^= 1 << bit;
        }
        let small = ConvertLimits { pixels_max: 1_000_000, ..limits() };
        for target in [Target::Jpg, Target::Png, Target::Webp] {
            let _ = crate::convert::convert(&file, target, &Options::default(), &small);
        }
    }
}

/// A PNG of less than a byte a sample, or with a palette and transparency.
fn packed_png(width: u32, height: u32, bits: u8, indexed: bool, seed: u32) -> Vec<u8> {
    let color = if indexed { png::ColorType::Indexed } else { png::ColorType::Grayscale };
    let row_bytes = (width as usize * usize::from(bits)).div_ceil(8);
    let noise_width = u32::try_from(row_bytes).unwrap();
    let rows = frame(noise_width, height, Channels::Grey, Depth::Eight, seed).pixels;
    let packed = png_write::PackedPng {
        width,
        height,
        color,
        depth: png::BitDepth::from_u8(bits).unwrap(),
        rows,
        palette: indexed
            .then(|| (0..=255_u8).flat_map(|n| [n, 255 - n, n / 2]).take(3 << bits).collect()),
        transparency: indexed.then(|| vec![0, 128]),
    };
    png_write::encode_packed(packed, &SideData::default(), &limits()).unwrap()
}

/// One small file of each way through the decoders.
fn small_files() -> Vec<Vec<u8>> {
    let rgb = frame(17, 11, Channels::Rgb, Depth::Eight, 5);
    let start = plain_png(&rgb);
    let profile = ColorProfile::new_display_p3().encode().unwrap();
    let exif = side::tests::exif(6);
    let side = SideData {
        icc: Some(Cow::Borrowed(&profile)),
        exif: Some(Cow::Borrowed(&exif)),
        xmp: None,
    };
    let mut progressive = Vec::new();
    let mut encoder = Encoder::new(&mut progressive, 80);
    encoder.set_progressive(true);
    encoder.encode(&rgb.pixels, 17, 11, ColorType::Rgb).unwrap();
    vec![
        to(&start, Target::Jpg, &Options::default()).unwrap(),
        progressive,
        png(&rgb, &side),
        packed_png(17, 11, 4, true, 3),
        to(&start, Target::Webp, &Options::default()).unwrap(),
    ]
}

#[test]
fn a_file_cut_at_any_length_is_an_error_or_a_picture_and_never_a_panic() {
    for file in small_files() {
        assert!(to(&file, Target::Png, &Options::default()).is_ok());
        for length in 0..file.len() {
            let outcome = to(&file[..length], Target::Png, &Options::default());
            if let Err(error) = outcome {
                assert_ne!(error.kind, ErrorKind::Internal, "{length}: {error}");
            }
        }
        let half = to(&file[..file.len() / 2], Target::Png, &Options::default());
        assert_eq!(half.unwrap_err().kind, ErrorKind::Malformed);
    }
}

#[test]
fn every_orientation_is_applied_from_every_container() {
    // Wide, with a bright left end: after turning, the bright end tells where the top left went.
    let mut upright = Frame::new(32, 16, Channels::Rgb, Depth::Eight).unwrap();
    for (at, pixel) in upright.pixels.as_chunks_mut::<3>().0.iter_mut().enumerate() {
        *pixel = if at % 32 < 16 && at / 32 < 8 { [250; 3] } else { [10; 3] };
    }
    for tag in 1..=8 {
        let exif = side::tests::exif(tag);
        let side = SideData { exif: Some(Cow::Borrowed(&exif)), ..SideData::default() };
        let orientation = Orientation::from_exif(tag).unwrap();
        let expected = orient::upright(upright.clone(), orientation).unwrap();
        let lossless = Options { lossless: true, ..Options::default() };
        let files = [
            png(&upright, &side),
            webp::encode(upright.clone(), &side, &lossless, &limits()).unwrap(),
            jpeg::encode(&upright, &side, &lossless, &limits()).unwrap(),
        ];
        for file in files {
            let turned = to(&file, Target::Png, &Options::default()).unwrap();
            let (frame, side) = decoded(&turned);
            assert_eq!((frame.width, frame.height), (expected.width, expected.height));
            assert!(near(&frame.pixels, &expected.pixels, 20), "tag {tag}");
            assert!(side.exif.is_none());

            let kept = Options { metadata: Metadata::Keep, ..Options::default() };
            let turned = to(&file, Target::Webp, &kept).unwrap();
            assert_eq!(decoded(&turned).1.orientation(), Orientation::NoTransforms);

            let untouched = Options { orient: Orient::Keep, ..kept };
            let same = to(&file, Target::Jpg, &untouched).unwrap();
            let (frame, side) = decoded(&same);
            assert_eq!((frame.width, side.orientation()), (32, orientation));
        }
    }
}

#[test]
fn transparent_pixels_take_the_background_in_a_jpg() {
    let mut clear = Frame::new(16, 16, Channels::Rgba, Depth::Eight).unwrap();
    clear.pixels.fill(0);
    let palette = packed_png(16, 16, 1, true, 0);
    let options = Options { background: Background { rgb: [200, 30, 60] }, ..Options::default() };
    let file = to(&plain_png(&clear), Target::Jpg, &options).unwrap();
    let (frame, _) = decoded(&file);
    assert!(frame.pixels.as_chunks::<3>().0.iter().all(|pixel| near(pixel, &[200, 30, 60], 4)));
    let white = to(&plain_png(&clear), Target::Jpg, &Options::default()).unwrap();
    assert!(decoded(&white).0.pixels.iter().all(|&sample| sample >= 253));
    // Index 0 is clear and index 1 half clear, so the colour is somewhere between.
    let file = to(&palette, Target::Jpg, &options).unwrap();
    let (frame, _) = decoded(&file);
    let reds = frame.pixels.iter().step_by(3).map(|&red| u32::from(red)).sum::<u32>() / 256;
    assert!((90..=200).contains(&reds), "{reds}");
}

#[test]
fn palettes_with_transparency_become_rgba() {
    let file = packed_png(9, 5, 2, true, 77);
    let (frame, _) = decoded(&file);
    assert_eq!(frame.channels, Channels::Rgba);
    let webp = to(&file, Target::Webp, &Options { lossless: true, ..Options::default() }).unwrap();
    assert_eq!(decoded(&webp).0, frame);
}

fn cmyk_jpeg(inks: [u8; 4], color: ColorType) -> Vec<u8> {
    let mut file = Vec::new();
    let encoder = Encoder::new(&mut file, 95);
    encoder.encode(&inks.repeat(16 * 16), 16, 16, color).unwrap();
    file
}

#[test]
fn cmyk_and_ycck_have_their_colours() {
    // Inks of 0 to 255, and what they print as without a profile.
    let cases = [
        ([0, 0, 0, 0], [255, 255, 255]),
        ([255, 0, 0, 0], [0, 255, 255]),
        ([0, 255, 255, 0], [255, 0, 0]),
        ([0, 0, 0, 255], [0, 0, 0]),
        ([100, 50, 0, 55], [122, 161, 200]),
    ];
    for (inks, rgb) in cases {
        let file = to(&cmyk_jpeg(inks, ColorType::Cmyk), Target::Png, &Options::default()).unwrap();
        let (frame, _) = decoded(&file);
        let pixel = &frame.pixels[..3];
        assert!(near(pixel, &rgb, 4), "CMYK {inks:?}: {pixel:?}");
    }
    for (inks, rgb) in cases {
        // YCCK by its definition: the inverted colours as YCbCr, and inverted black beside them.
        let [cyan, magenta, yellow, black] = inks.map(|ink| 255 - ink);
        let (luma, blue, red) = jpeg_encoder::rgb_to_ycbcr(255 - cyan, 255 - magenta, 255 - yellow);
        let file = cmyk_jpeg([luma, blue, red, black], ColorType::Ycck);
        let file = to(&file, Target::Png, &Options::default()).unwrap();
        let (frame, _) = decoded(&file);
        let pixel = &frame.pixels[..3];
        assert!(near(pixel, &rgb, 4), "YCCK {inks:?}: {pixel:?}");
    }
}

#[test]
fn adobe_transform_0_with_three_components_is_rgb() {
    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, 95);
    encoder.add_app_segment(14, b"Adobe\0\x64\0\0\0\0\0".to_vec()).unwrap();
    let pixels = [200, 100, 50].repeat(256);
    encoder.encode(&pixels, 16, 16, ColorType::Ycbcr).unwrap();
    // JFIF's segment, which would mean YCbCr.
    file.drain(2..20);
    let (frame, _) = decoded(&file);
    assert!(near(&frame.pixels, &pixels, 4), "{:?}", &frame.pixels[..3]);
}

#[test]
fn profiles_are_converted_when_stripped_and_carried_when_kept() {
    let profile = ColorProfile::new_display_p3().encode().unwrap();
    let side = SideData { icc: Some(Cow::Borrowed(&profile)), ..SideData::default() };
    let mut original = Frame::new(16, 16, Channels::Rgb, Depth::Eight).unwrap();
    original.pixels = [100, 150, 200].repeat(256);
    let file = png(&original, &side);
    let lossless = Options { lossless: true, ..Options::default() };
    for target in [Target::Jpg, Target::Png, Target::Webp] {
        let stripped = to(&file, target, &lossless).unwrap();
        let (frame, side) = decoded(&stripped);
        assert!(near(&frame.pixels[..3], &[82, 152, 204], 4), "{:?}", &frame.pixels[..3]);
        assert!(side.icc.is_none());

        let kept = to(&file, target, &Options { metadata: Metadata::Keep, ..lossless.clone() });
        let kept = kept.unwrap();
        let (frame, side) = decoded(&kept);
        assert!(near(&frame.pixels[..3], &[100, 150, 200], 4), "{:?}", &frame.pixels[..3]);
        assert_eq!(side.icc.as_deref(), Some(profile.as_slice()));
    }
}

#[test]
fn a_grey_profile_does_not_follow_into_a_webp_which_is_always_rgb() {
    let profile = ColorProfile::new_gray_with_gamma(1.0).encode().unwrap();
    let side = SideData { icc: Some(Cow::Borrowed(&profile)), ..SideData::default() };
    let mut original = Frame::new(4, 4, Channels::Grey, Depth::Eight).unwrap();
    original.pixels.fill(128);
    let keep = Options { metadata: Metadata::Keep, lossless: true, ..Options::default() };
    let file = to(&png(&original, &side), Target::Webp, &keep).unwrap();
    let (frame, side) = decoded(&file);
    assert!(near(&frame.pixels[..3], &[188; 3], 1), "{:?}", &frame.pixels[..3]);
    assert!(side.icc.is_none());
}

#[test]
fn a_large_profile_is_split_and_joined_in_a_jpg() {
    let profile: Vec<u8> = (0..150_000_u32).map(|at| at.to_le_bytes()[1]).collect();
    let side = SideData { icc: Some(Cow::Borrowed(&profile)), ..SideData::default() };
    let file = jpeg::encode(&gradient(8, 8), &side, &Options::default(), &limits()).unwrap();
    assert_eq!(decoded(&file).1.icc.as_deref(), Some(profile.as_slice()));
}

#[test]
fn limits_name_their_numbers() {
    let start = plain_png(&frame(200, 100, Channels::Rgb, Depth::Eight, 1));
    for first in [Target::Jpg, Target::Png, Target::Webp] {
        let file = to(&start, first, &Options::default()).unwrap();
        let tight = ConvertLimits { pixels_max: 19_999, ..limits() };
        let error = crate::convert::convert(&file, Target::Png, &Options::default(), &tight);
        let error = error.unwrap_err();
        assert_eq!(error.kind, ErrorKind::LimitExceeded);
        assert_eq!(
            error.message,
            "pixels of the picture: 20000 (200 x 100), and the limit is 19999"
        );
        let tight = ConvertLimits { output_bytes_max: 500, ..limits() };
        let error = crate::convert::convert(&file, first, &Options::default(), &tight);
        assert_eq!(error.unwrap_err().kind, ErrorKind::LimitExceeded, "{first:?}");
    }
}

#[test]
fn interlaced_pictures_are_read_whole() {
    // Adam7 by hand for 2 x 2: passes 1 (0,0), 6 (1,0), 7 (second row).
    let rows = [0, 10, 0, 20, 0, 30, 40];
    let mut compressor = libdeflater::Compressor::new(libdeflater::CompressionLvl::fastest());
    let mut stream = vec![0; 64];
    let length = compressor.zlib_compress(&rows, &mut stream).unwrap();
    let mut file = png_chunks::SIGNATURE.to_vec();
    let chunks: [(&[u8; 4], &[u8]); 3] = [
        (b"IHDR", &[0, 0, 0, 2, 0, 0, 0, 2, 8, 0, 0, 0, 1]),
        (b"IDAT", &stream[..length]),
        (b"IEND", &[]),
    ];
    for (kind, body) in chunks {
        file.extend(u32::try_from(body.len()).unwrap().to_be_bytes());
        let named = [kind, body].concat();
        file.extend(&named);
        file.extend(libdeflater::crc32(&named).to_be_bytes());
    }
    assert_eq!(decoded(&file).0.pixels, [10, 20, 30, 40]);
}
