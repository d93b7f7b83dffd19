//! What a caller may ask of a conversion, as types that hold only what is allowed.

use std::fmt;

use zeroize::Zeroizing;

/// Quality of a lossy picture, 1 to 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quality(u8);

impl Quality {
    /// `None` outside 1..=100.
    #[must_use]
    pub fn new(value: u8) -> Option<Self> {
        (1..=100).contains(&value).then_some(Self(value))
    }

    /// The number, 1 to 100.
    #[must_use]
    pub fn value(self) -> u8 {
        self.0
    }
}

/// The colour under what was transparent, where the target has no alpha. White by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Background {
    /// Red, green, blue in sRGB.
    pub rgb: [u8; 3],
}

impl Default for Background {
    fn default() -> Self {
        Self { rgb: [255; 3] }
    }
}

/// Whether EXIF, XMP and ICC travel with the picture.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Metadata {
    /// Nothing but the pixels, converted to sRGB where a profile says otherwise.
    #[default]
    Strip,
    /// ICC, EXIF and XMP are carried over as far as the target can hold them.
    Keep,
}

/// What is done with an EXIF orientation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Orient {
    /// The pixels are turned upright.
    #[default]
    Auto,
    /// The pixels stay as they are stored; with [`Metadata::Keep`] the tag stays too.
    Keep,
}

/// The page of a PDF that is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PageSize {
    /// 210 x 297 mm.
    #[default]
    A4,
    /// 8.5 x 11 in.
    Letter,
    /// 8.5 x 14 in.
    Legal,
}

/// How text is laid out on pages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PdfLayout {
    /// Every line of the text begins a line on the page.
    #[default]
    Plain,
    /// Wrapped lines are joined into paragraphs; a blank line ends one.
    Flow,
}

/// How the text of a PDF is put in order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TextLayout {
    /// As a person reads: column by column.
    #[default]
    Reading,
    /// As it lies on the page: columns side by side, kept apart by spaces.
    Physical,
}

/// What opens an encrypted document. It is wiped when it is dropped, and never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// The longest that the PDF standard counts, in bytes (ISO 32000-2, 7.6.4.3.3).
    pub const BYTES_MAX: usize = 127;

    /// `None` where it is empty, longer than [`Self::BYTES_MAX`], or has a control character.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let fits = (1..=Self::BYTES_MAX).contains(&text.len());
        (fits && !text.chars().any(char::is_control)).then(|| Self(Zeroizing::new(text.to_owned())))
    }

    /// The password itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Password(..)")
    }
}

/// All that a request may set; every field has the default of the wire specification.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Options {
    /// Quality of a lossy target; the codec's own default where it is not set.
    pub quality: Option<Quality>,
    /// WEBP without loss.
    pub lossless: bool,
    /// The colour under alpha.
    pub background: Background,
    /// EXIF, XMP, ICC.
    pub metadata: Metadata,
    /// EXIF orientation.
    pub orient: Orient,
    /// Page size of a PDF that is written.
    pub page: PageSize,
    /// Margin on all four sides in millimetres; 20 where it is not set.
    pub margin_mm: Option<f32>,
    /// Font size in points; 10 where it is not set.
    pub font_size_pt: Option<f32>,
    /// Layout of text on pages.
    pub pdf_layout: PdfLayout,
    /// Order of the text of a PDF.
    pub text_layout: TextLayout,
    /// Opens an encrypted PDF.
    pub password: Option<Password>,
}
