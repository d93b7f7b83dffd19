//! What parent and child say to each other: one packet a message, numbers in little endian.
//!
//! The child believes its parent. The parent believes nothing: every message of a child is bounded,
//! and read so that any bytes at all are a message or none.

use std::io;

use rustix::io::Errno;

use crate::convert::{
    self, Background, ErrorKind, Metadata, Options, Orient, PageSize, PdfLayout, Quality, Target,
    TextLayout,
};
use crate::isolation::{User, font::Place};
use crate::limits::{ConvertLimits, FONTS_MAX};
use crate::wire::ChecksumKind;

/// The longest message: a failure with its hint, which are under 300 bytes each.
pub(super) const BYTES_MAX: usize = 4096;

/// Descriptors that come with one: an arena, and the fonts.
pub(super) const FILES_MAX: usize = 1 + FONTS_MAX;

/// The longest text in one.
const TEXT_BYTES_MAX: usize = 1024;

/// A child's word that it was denied memory. It is no answer: one may follow, or an abort.
pub(super) const SHORT_OF_MEMORY: [u8; 1] = [b'm'];

/// To a child that has nothing to do: it may give memory back. There is no answer.
pub(super) const REST: [u8; 1] = [b'z'];

/// The first message to a child. The descriptors of its arena and of the fonts come with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setup {
    pub(super) parent: u32,
    pub(super) user: User,
    pub(super) memory_bytes_max: u64,
    pub(super) arena_bytes: u64,
    pub(super) limits: ConvertLimits,
    pub(super) fonts: Vec<Place>,
}

/// A job. Its body is at the start of the arena, and the password right behind it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Order {
    pub(super) body_bytes: u64,
    pub(super) password_bytes: u64,
    pub(super) target: Target,
    pub(super) checksum: ChecksumKind,
    /// All but the password, which is no matter for a message: those are copied about.
    pub(super) options: Options,
}

/// What a child says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply {
    /// It is closed off and ready; so many lines say what could not be closed, and why.
    Ready(String),
    /// The result is at the start of the arena.
    Done { bytes: u64, checksum: [u8; 16] },
    /// The file is refused.
    Refused(convert::Error),
    /// The converter panicked at this place.
    Panicked(String),
    /// See [`SHORT_OF_MEMORY`].
    ShortOfMemory,
}

/// Targets, kinds and choices are told by their place in these lists.
const TARGETS: [Target; 5] = [Target::Jpg, Target::Png, Target::Webp, Target::Pdf, Target::Text];
const CHECKSUMS: [ChecksumKind; 3] = [ChecksumKind::Md5, ChecksumKind::Xxh3, ChecksumKind::None];
const METADATA: [Metadata; 2] = [Metadata::Strip, Metadata::Keep];
const ORIENTS: [Orient; 2] = [Orient::Auto, Orient::Keep];
const PAGES: [PageSize; 3] = [PageSize::A4, PageSize::Letter, PageSize::Legal];
const PDF_LAYOUTS: [PdfLayout; 2] = [PdfLayout::Plain, PdfLayout::Flow];
const TEXT_LAYOUTS: [TextLayout; 2] = [TextLayout::Reading, TextLayout::Physical];
const ERRORS: [ErrorKind; 7] = [
    ErrorKind::UnknownType,
    ErrorKind::WrongType,
    ErrorKind::Malformed,
    ErrorKind::LimitExceeded,
    ErrorKind::NoText,
    ErrorKind::BadOption,
    ErrorKind::Internal,
];

/// Writes a message.
#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn choice<T: PartialEq>(&mut self, choices: &[T], chosen: &T) {
        let place = choices.iter().position(|choice| choice == chosen);
        // Every value is in its list; the last test below would not pass otherwise.
        self.0.push(place.and_then(|place| u8::try_from(place).ok()).unwrap_or(u8::MAX));
    }

    /// Nothing is told as -1: margins and sizes are not negative.
    fn float(&mut self, value: Option<f32>) {
        self.0.extend_from_slice(&value.unwrap_or(-1.0).to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        let text = cut(text);
        self.number(text.len() as u64);
        self.0.extend_from_slice(text.as_bytes());
    }
}

/// The start of `text`, as much as a message takes.
fn cut(text: &str) -> &str {
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Reads a message.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn number(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take()?))
    }

    fn small(&mut self) -> Option<u32> {
        self.number()?.try_into().ok()
    }

    fn choice<T: Copy>(&mut self, choices: &[T]) -> Option<T> {
        let [place] = self.take()?;
        choices.get(usize::from(place)).copied()
    }

    fn float(&mut self) -> Option<f32> {
        self.take().map(f32::from_le_bytes)
    }

    fn text(&mut self) -> Option<String> {
        let length = usize::try_from(self.number()?).ok()?;
        let (text, rest): (&'a [u8], _) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(String::from_utf8_lossy(text).into_owned())
    }

    fn end<T>(self, value: T) -> Option<T> {
        self.0.is_empty().then_some(value)
    }
}

impl Setup {
    pub(super) fn encode(&self) -> Vec<u8> {
        let Self { parent, user, memory_bytes_max, arena_bytes, limits, fonts } = self;
        let mut message = Writer::default();
        for number in [*parent, user.uid, user.gid] {
            message.number(number.into());
        }
        message.number(*memory_bytes_max);
        message.number(*arena_bytes);
        // Named one by one, so that a new limit does not stay behind.
        let ConvertLimits {
            pixels_max,
            metadata_bytes_max,
            scans_max,
            pages_max,
            objects_max,
            nesting_max,
            stream_bytes_max,
            streams_total_bytes_max,
            output_bytes_max,
        } = *limits;
        for number in [scans_max, pages_max, objects_max, nesting_max] {
            message.number(number.into());
        }
        for number in [
            pixels_max,
            metadata_bytes_max,
            stream_bytes_max,
            streams_total_bytes_max,
            output_bytes_max,
        ] {
            message.number(number);
        }
        message.number(fonts.len() as u64);
        for Place { bytes, index } in fonts {
            message.number(*bytes);
            message.number((*index).into());
        }
        message.0
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut message = Reader(bytes);
        let parent = message.small()?;
        let user = User { uid: message.small()?, gid: message.small()? };
        let (memory_bytes_max, arena_bytes) = (message.number()?, message.number()?);
        let limits = ConvertLimits {
            scans_max: message.small()?,
            pages_max: message.small()?,
            objects_max: message.small()?,
            nesting_max: message.small()?,
            pixels_max: message.number()?,
            metadata_bytes_max: message.number()?,
            stream_bytes_max: message.number()?,
            streams_total_bytes_max: message.number()?,
            output_bytes_max: message.number()?,
        };
        let count = message.number()?;
        let fonts = (0..count)
            .map(|_| Some(Place { bytes: message.number()?, index: message.small()? }))
            .collect::<Option<_>>()?;
        message.end(Self { parent, user, memory_bytes_max, arena_bytes, limits, fonts })
    }
}

impl Order {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut message = Writer::default();
        message.number(self.body_bytes);
        message.number(self.password_bytes);
        message.choice(&TARGETS, &self.target);
        message.choice(&CHECKSUMS, &self.checksum);
        // Named one by one, so that a new option does not stay behind.
        let Options {
            quality,
            lossless,
            background,
            metadata,
            orient,
            page,
            margin_mm,
            font_size_pt,
            pdf_layout,
            text_layout,
            password: _,
        } = &self.options;
        message.0.push(quality.map_or(0, Quality::value));
        message.0.push(u8::from(*lossless));
        message.0.extend_from_slice(&background.rgb);
        message.choice(&METADATA, metadata);
        message.choice(&ORIENTS, orient);
        message.choice(&PAGES, page);
        message.float(*margin_mm);
        message.float(*font_size_pt);
        message.choice(&PDF_LAYOUTS, pdf_layout);
        message.choice(&TEXT_LAYOUTS, text_layout);
        message.0
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut message = Reader(bytes);
        let (body_bytes, password_bytes) = (message.number()?, message.number()?);
        let target = message.choice(&TARGETS)?;
        let checksum = message.choice(&CHECKSUMS)?;
        let [quality, lossless] = message.take()?;
        let options = Options {
            quality: Quality::new(quality),
            lossless: lossless != 0,
            background: Background { rgb: message.take()? },
            metadata: message.choice(&METADATA)?,
            orient: message.choice(&ORIENTS)?,
            page: message.choice(&PAGES)?,
            margin_mm: Some(message.float()?).filter(|value| *value >= 0.0),
            font_size_pt: Some(message.float()?).filter(|value| *value >= 0.0),
            pdf_layout: message.choice(&PDF_LAYOUTS)?,
            text_layout: message.choice(&TEXT_LAYOUTS)?,
            password: None,
        };
        message.end(Self { body_bytes, password_bytes, target, checksum, options })
    }
}

impl Reply {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut message = Writer::default();
        match self {
            Self::Ready(missing) => {
                message.0.push(b'r');
                message.text(missing);
            }
            Self::Done { bytes, checksum } => {
                message.0.push(b'd');
                message.number(*bytes);
                message.0.extend_from_slice(checksum);
            }
            Self::Refused(error) => {
                message.0.push(b'e');
                message.choice(&ERRORS, &error.kind);
                message.text(&error.message);
                message.text(error.hint.as_deref().unwrap_or_default());
            }
            Self::Panicked(place) => {
                message.0.push(b'p');
                message.text(place);
            }
            Self::ShortOfMemory => message.0.extend_from_slice(&SHORT_OF_MEMORY),
        }
        message.0
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut message = Reader(bytes);
        let reply = match message.take()? {
            [b'r'] => Self::Ready(message.text()?),
            [b'd'] => Self::Done { bytes: message.number()?, checksum: message.take()? },
            [b'e'] => {
                let kind = message.choice(&ERRORS)?;
                let (text, hint) = (message.text()?, message.text()?);
                let error = convert::Error::new(kind, text);
                Self::Refused(if hint.is_empty() { error } else { error.with_hint(hint) })
            }
            [b'p'] => Self::Panicked(message.text()?),
            SHORT_OF_MEMORY => Self::ShortOfMemory,
            _ => return None,
        };
        message.end(reply)
    }
}

/// A message that is none.
pub(super) fn broken() -> io::Error {
    Errno::PROTO.into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one_of<T: Copy + std::fmt::Debug + 'static>(
        choices: &'static [T],
    ) -> impl Strategy<Value = T> {
        prop::sample::select(choices)
    }

    prop_compose! {
        fn options()(
            quality in 0..=100_u8,
            lossless: bool,
            rgb: [u8; 3],
            metadata in one_of(&METADATA),
            orient in one_of(&ORIENTS),
            page in one_of(&PAGES),
            margin_mm in prop::option::of(0.0..500_f32),
            font_size_pt in prop::option::of(1.0..288_f32),
            pdf_layout in one_of(&PDF_LAYOUTS),
            text_layout in one_of(&TEXT_LAYOUTS),
        ) -> Options {
            Options {
                quality: Quality::new(quality),
                background: Background { rgb },
                password: None,
                lossless, metadata, orient, page, margin_mm, font_size_pt, pdf_layout, text_layout,
            }
        }
    }

    proptest! {
        #[test]
        fn an_order_arrives_as_it_was_given(
            options in options(),
            body_bytes: u64,
            password_bytes: u64,
            target in one_of(&TARGETS),
            checksum in one_of(&CHECKSUMS),
        ) {
            let order = Order { body_bytes, password_bytes, target, checksum, options };
            let bytes = order.encode();
            prop_assert_eq!(Order::decode(&bytes), Some(order));
            for cut in 0..bytes.len() {
                prop_assert_eq!(Order::decode(&bytes[..cut]), None);
            }
        }

        #[test]
        fn any_bytes_of_a_child_are_a_message_or_none(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            if let Some(reply) = Reply::decode(&bytes) {
                // What was no text has become longer.
                prop_assert!(Reply::decode(&reply.encode()).is_some());
            }
        }
    }

    #[test]
    fn a_setup_arrives_as_it_was_given() {
        let setup = Setup {
            parent: 1,
            user: User { uid: 2, gid: 3 },
            memory_bytes_max: 4,
            arena_bytes: 5,
            limits: ConvertLimits { scans_max: 6, output_bytes_max: 7, ..ConvertLimits::default() },
            fonts: vec![Place { bytes: 8, index: 9 }, Place { bytes: 10, index: 11 }],
        };
        assert_eq!(Setup::decode(&setup.encode()[1..]), None);
        assert_eq!(Setup::decode(&setup.encode()), Some(setup));
    }

    #[test]
    fn replies_arrive_as_they_were_given() {
        let errors =
            ERRORS.map(|kind| Reply::Refused(convert::Error::new(kind, "m").with_hint("h")));
        let others = [
            Reply::Ready("no filter".to_owned()),
            Reply::Done { bytes: 1 << 40, checksum: [9; 16] },
            Reply::Refused(convert::Error::malformed("no hint")),
            Reply::Panicked("src/x.rs:1".to_owned()),
            Reply::ShortOfMemory,
        ];
        for reply in errors.into_iter().chain(others) {
            let bytes = reply.encode();
            assert!(bytes.len() <= BYTES_MAX);
            assert_eq!(Reply::decode(&bytes), Some(reply));
        }
        let long = "ü".repeat(TEXT_BYTES_MAX);
        let cut = Reply::decode(&Reply::Panicked(long.clone()).encode());
        assert_eq!(cut, Some(Reply::Panicked(long[..TEXT_BYTES_MAX].to_owned())));
    }

    #[test]
    fn every_choice_is_in_its_list() {
        let kinds = |text: &str| ChecksumKind::from_name(text).unwrap();
        for kind in ["md5", "xxh3", "none"].map(kinds) {
            assert!(CHECKSUMS.contains(&kind));
        }
        let order = Order {
            body_bytes: 0,
            password_bytes: 0,
            target: Target::Text,
            checksum: ChecksumKind::None,
            options: Options::default(),
        };
        assert!(!order.encode().contains(&u8::MAX) || order.options.background.rgb[0] == u8::MAX);
    }
}
