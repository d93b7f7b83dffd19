//! The part of a page that text may use, from the options.

use crate::convert::{Error, ErrorKind, Options, PageSize};

/// Points in a millimetre: 72 to the inch of 25.4 mm.
const PT_PER_MM: f32 = 72.0 / 25.4;
const MARGIN_MM_DEFAULT: f32 = 20.0;
const FONT_SIZE_PT_DEFAULT: f32 = 10.0;
/// Below 1 pt a line holds thousands of characters that no one can read; 288 pt is 4 inches, about
/// the largest that A4 can hold one letter of with the default margin.
const FONT_SIZE_PT: std::ops::RangeInclusive<f32> = 1.0..=288.0;
/// From one baseline to the next, in font sizes: the customary 120 %.
const LEADING_EM: f32 = 1.2;
/// From the top of a line to its baseline. The ascent of both faces with accents is at most 0.93 em
/// and their descent at most 0.24 em, so 0.95 of 1.2 em leaves room for both.
const BASELINE_EM: f32 = 0.95;

/// Geometry of every page of a document. Lengths are in points unless they say otherwise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Frame {
    pub(super) page_width: f32,
    pub(super) page_height: f32,
    pub(super) margin: f32,
    pub(super) font_size: f32,
    pub(super) leading: f32,
    /// Width for text in thousandths of the font size, the unit of glyph advances.
    pub(super) width_milli_em: u64,
    pub(super) lines_per_page: u32,
}

impl Frame {
    /// # Errors
    ///
    /// `BadOption` where a value is out of its range or no line fits the page.
    pub(super) fn new(options: &Options) -> Result<Self, Error> {
        let (page_width, page_height) = page_points(options.page);
        let font_size = options.font_size_pt.unwrap_or(FONT_SIZE_PT_DEFAULT);
        // `contains` is false for NaN too.
        if !FONT_SIZE_PT.contains(&font_size) {
            let (min, max) = (FONT_SIZE_PT.start(), FONT_SIZE_PT.end());
            return Err(bad(format!("font-size is {font_size} pt, and may be {min} to {max}"))
                .with_hint("leave font-size out for 10 pt"));
        }
        let margin_mm = options.margin_mm.unwrap_or(MARGIN_MM_DEFAULT);
        if !margin_mm.is_finite() || margin_mm < 0.0 {
            return Err(bad(format!("margin is {margin_mm} mm, and may be 0 or more"))
                .with_hint("leave margin out for 20 mm"));
        }
        let margin = margin_mm * PT_PER_MM;
        let leading = font_size * LEADING_EM;
        let width = page_width - 2.0 * margin;
        let height = page_height - 2.0 * margin;
        if width < font_size || height < leading {
            let largest = ((page_width - font_size).min(page_height - leading) / 2.0 / PT_PER_MM)
                .floor()
                .max(0.0);
            return Err(bad(format!(
                "a margin of {margin_mm} mm leaves {width:.0} x {height:.0} pt of a page of \
                 {page_width:.0} x {page_height:.0} pt, and one line of {font_size} pt needs \
                 {font_size:.0} x {leading:.0} pt"
            ))
            .with_hint(format!("use a margin of {largest} mm or less, or a smaller font-size")));
        }
        Ok(Self {
            page_width,
            page_height,
            margin,
            font_size,
            leading,
            width_milli_em: whole(width / font_size * 1000.0).into(),
            lines_per_page: whole(height / leading),
        })
    }

    /// Where the first baseline lies, from the left and bottom edges of the page.
    pub(super) fn origin(&self) -> (f32, f32) {
        (self.margin, self.page_height - self.margin - self.font_size * BASELINE_EM)
    }
}

/// Width and height in points.
fn page_points(page: PageSize) -> (f32, f32) {
    match page {
        PageSize::A4 => (210.0 * PT_PER_MM, 297.0 * PT_PER_MM),
        PageSize::Letter => (8.5 * 72.0, 11.0 * 72.0),
        PageSize::Legal => (8.5 * 72.0, 14.0 * 72.0),
    }
}

/// The whole part of a length that is known to be finite and not negative; the largest, a legal
/// page at 1 pt, is about 1,000,000.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn whole(value: f32) -> u32 {
    value as u32
}

fn bad(message: String) -> Error {
    Error::new(ErrorKind::BadOption, message)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_a4_with_ten_points() {
        let frame = Frame::new(&Options::default()).unwrap();
        // 170 mm of 10 pt are 48.189 em; 257 mm hold 60 lines of 12 pt.
        assert_eq!(frame.width_milli_em, 48_188);
        assert_eq!(frame.lines_per_page, 60);
    }

    #[test]
    fn impossible_combinations_are_named_with_numbers() {
        for (margin_mm, font_size_pt, says) in [
            (Some(200.0), None, "a margin of 200 mm leaves"),
            (Some(105.0), None, "leaves 0 x"),
            (Some(-1.0), None, "margin is -1 mm"),
            (Some(f32::NAN), None, "margin is NaN mm"),
            (Some(f32::INFINITY), None, "margin is inf mm"),
            (None, Some(0.5), "font-size is 0.5 pt, and may be 1 to 288"),
            (None, Some(289.0), "font-size is 289 pt"),
            (None, Some(f32::NAN), "font-size is NaN pt"),
            (Some(80.0), Some(288.0), "one line of 288 pt needs 288 x 346 pt"),
        ] {
            let options = Options { margin_mm, font_size_pt, ..Options::default() };
            let error = Frame::new(&options).unwrap_err();
            assert_eq!(error.kind, ErrorKind::BadOption);
            assert!(error.message.contains(says), "{}", error.message);
            assert!(error.hint.is_some());
        }
    }

    #[test]
    fn extremes_that_fit_are_taken() {
        for (margin_mm, font_size_pt) in [(0.0, 288.0), (0.0, 1.0), (20.0, 288.0), (103.0, 10.0)] {
            let options = Options {
                margin_mm: Some(margin_mm),
                font_size_pt: Some(font_size_pt),
                ..Options::default()
            };
            assert!(Frame::new(&options).unwrap().lines_per_page >= 1);
        }
    }
}
