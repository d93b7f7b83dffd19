//! What the types are called, and which becomes which.

use super::{SourceType, Target};

impl SourceType {
    /// Every type that can be converted.
    pub const ALL: [Self; 5] = [Self::Jpg, Self::Png, Self::Webp, Self::Pdf, Self::Text];

    /// What it can become.
    #[must_use]
    pub fn targets(self) -> &'static [Target] {
        match self {
            Self::Jpg | Self::Png | Self::Webp => &[Target::Jpg, Target::Png, Target::Webp],
            Self::Pdf => &[Target::Text],
            Self::Text => &[Target::Pdf],
        }
    }

    /// The target that makes this type.
    #[must_use]
    pub fn as_target(self) -> Target {
        match self {
            Self::Jpg => Target::Jpg,
            Self::Png => Target::Png,
            Self::Webp => Target::Webp,
            Self::Pdf => Target::Pdf,
            Self::Text => Target::Text,
        }
    }
}

impl Target {
    /// Everything that a file can become.
    pub const ALL: [Self; 5] = [Self::Jpg, Self::Png, Self::Webp, Self::Pdf, Self::Text];

    /// The target of an extension, whatever its case.
    #[must_use]
    pub fn from_extension(extension: &str) -> Option<Self> {
        let is = |known: &str| known.eq_ignore_ascii_case(extension);
        Self::ALL.into_iter().find(|target| target.extensions().iter().any(|known| is(known)))
    }

    /// Extensions of its files, without the dot; the first is the one that a result gets.
    #[must_use]
    pub fn extensions(self) -> &'static [&'static str] {
        match self {
            Self::Jpg => &["jpg", "jpeg", "jpe", "jfif"],
            Self::Png => &["png"],
            Self::Webp => &["webp"],
            Self::Pdf => &["pdf"],
            Self::Text => &["txt", "text", "md", "log", "csv"],
        }
    }

    /// The media type of a result.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Jpg => "image/jpeg",
            Self::Png => "image/png",
            Self::Webp => "image/webp",
            Self::Pdf => "application/pdf",
            Self::Text => "text/plain",
        }
    }

    /// What a person calls it, in full.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Jpg => "JPEG image",
            Self::Png => "PNG image",
            Self::Webp => "WebP image",
            Self::Pdf => "PDF document",
            Self::Text => "Text",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::{ErrorKind, Options, convert};
    use crate::limits::ConvertLimits;

    /// The start of a file of each type, enough for it to be told.
    fn sample(source: SourceType) -> &'static [u8] {
        match source {
            SourceType::Jpg => b"\xff\xd8\xff\xe0\0\x10JFIF",
            SourceType::Png => b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR",
            SourceType::Webp => b"RIFF\x1a\0\0\0WEBPVP8L\x0d\0\0\0",
            SourceType::Pdf => b"%PDF-1.4\n",
            SourceType::Text => b"text\n",
        }
    }

    #[test]
    fn a_type_becomes_its_targets_and_no_other() {
        let (options, limits) = (Options::default(), ConvertLimits::default());
        for source in SourceType::ALL {
            for target in Target::ALL {
                let outcome = convert(sample(source), target, &options, &limits);
                let is_wrong = matches!(outcome, Err(error) if error.kind == ErrorKind::WrongType);
                assert_eq!(is_wrong, !source.targets().contains(&target), "{source:?} {target:?}");
            }
        }
    }

    #[test]
    fn a_target_is_found_by_each_of_its_extensions() {
        for target in Target::ALL {
            for extension in target.extensions() {
                assert_eq!(Target::from_extension(extension), Some(target));
                assert_eq!(Target::from_extension(&extension.to_uppercase()), Some(target));
            }
        }
        assert_eq!(Target::from_extension("gif"), None);
    }
}
