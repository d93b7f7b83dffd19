//! Telling a type by magic number and structure, never by name.

/// A type that can be converted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SourceType {
    /// JPEG.
    Jpg,
    /// PNG.
    Png,
    /// WEBP.
    Webp,
    /// PDF.
    Pdf,
    /// Text in UTF-8, UTF-16 with a byte order mark, or Latin-1.
    Text,
}

impl SourceType {
    /// The name that people use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Jpg => "JPG",
            Self::Png => "PNG",
            Self::Webp => "WEBP",
            Self::Pdf => "PDF",
            Self::Text => "text",
        }
    }
}

/// The type of `input`, or `None` where it is none of ours.
#[must_use]
pub fn detect(input: &[u8]) -> Option<SourceType> {
    match infer::get(input).map(|kind| kind.mime_type()) {
        Some("image/jpeg") => Some(SourceType::Jpg),
        Some("image/png") => Some(SourceType::Png),
        Some("image/webp") => Some(SourceType::Webp),
        Some("application/pdf") => Some(SourceType::Pdf),
        _ => None,
    }
}
