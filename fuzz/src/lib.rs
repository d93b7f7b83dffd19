//! What the targets share: one conversion under narrow limits, and what must hold of its result.

use fxsrv::convert::{
    Background, Metadata, Options, Orient, PageSize, PdfLayout, Quality, SourceType, Target,
    TextLayout, convert, detect,
};
use fxsrv::limits::ConvertLimits;

/// Small enough that an input at every limit still ends within a second.
pub fn limits() -> ConvertLimits {
    ConvertLimits {
        pixels_max: 1 << 20,
        metadata_bytes_max: 1 << 20,
        scans_max: 20,
        pages_max: 200,
        objects_max: 10_000,
        nesting_max: 32,
        stream_bytes_max: 4 << 20,
        streams_total_bytes_max: 16 << 20,
        output_bytes_max: 64 << 20,
    }
}

/// The first two bytes choose target and options, so that they are searched along with the file.
pub fn split(data: &[u8]) -> Option<(u8, Options, &[u8])> {
    let [choice, knobs, file @ ..] = data else { return None };
    let options = Options {
        quality: Quality::new(knobs & 0x7f),
        lossless: knobs & 0x80 != 0,
        background: Background { rgb: [*knobs, choice.rotate_left(3), 7] },
        metadata: if choice & 0x10 == 0 { Metadata::Strip } else { Metadata::Keep },
        orient: if choice & 0x20 == 0 { Orient::Auto } else { Orient::Keep },
        page: if choice & 0x40 == 0 { PageSize::A4 } else { PageSize::Letter },
        pdf_layout: if choice & 0x80 == 0 { PdfLayout::Plain } else { PdfLayout::Flow },
        text_layout: if choice & 0x80 == 0 { TextLayout::Reading } else { TextLayout::Physical },
        ..Options::default()
    };
    Some((*choice, options, file))
}

/// A picture of `source` to any of the three types. What comes out must be a picture of that type
/// which we ourselves read again.
pub fn picture(source: SourceType, data: &[u8]) {
    let Some((choice, options, file)) = split(data) else { return };
    if detect(file) != Some(source) {
        return;
    }
    let (target, becomes) = match choice % 3 {
        0 => (Target::Jpg, SourceType::Jpg),
        1 => (Target::Png, SourceType::Png),
        _ => (Target::Webp, SourceType::Webp),
    };
    if let Ok(result) = convert(file, target, &options, &limits()) {
        assert_eq!(detect(&result), Some(becomes));
        let again = convert(&result, Target::Png, &Options::default(), &limits());
        assert!(again.is_ok(), "our own result is not read: {:?}", again.err());
    }
}
