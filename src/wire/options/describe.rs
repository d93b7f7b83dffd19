//! What the conversion options are, for those who offer them to people.

use super::key::{FONT_SIZE_PT_MAX, FONT_SIZE_PT_MIN, MARGIN_MM_MAX};
use crate::convert::Target::{self, Jpg, Pdf, Png, Text, Webp};

/// An option of some targets. One name may stand for several, of different targets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OptionInfo {
    /// Its key on the wire.
    pub name: &'static str,
    /// What it takes.
    pub kind: OptionKind,
    /// The value that counts where it is not given.
    pub default: &'static str,
    /// The targets that have a use for it.
    pub targets: &'static [Target],
    /// What it does, as a sentence for people.
    pub help: &'static str,
}

/// What an option takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum OptionKind {
    /// A whole number from one to the other.
    Integer(u32, u32),
    /// A decimal fraction from one to the other.
    Number(f32, f32),
    /// 0 or 1.
    Boolean,
    /// `#rrggbb`.
    Colour,
    /// One of these.
    Choice(&'static [&'static str]),
}

use OptionKind::{Boolean, Choice, Colour, Integer, Number};

const PICTURES: &[Target] = &[Jpg, Png, Webp];

/// Every option of a conversion.
pub const OPTIONS: [OptionInfo; 11] = [
    OptionInfo {
        name: "quality",
        kind: Integer(1, 100),
        default: "75",
        targets: &[Jpg],
        help: "Lower is smaller, higher is closer to the original.",
    },
    OptionInfo {
        name: "quality",
        kind: Integer(1, 100),
        default: "80",
        targets: &[Webp],
        help: "Lower is smaller, higher is closer to the original.",
    },
    OptionInfo {
        name: "lossless",
        kind: Boolean,
        default: "0",
        targets: &[Webp],
        help: "Keep every pixel as it is; the quality does not count then.",
    },
    OptionInfo {
        name: "background",
        kind: Colour,
        default: "#ffffff",
        targets: &[Jpg],
        help: "The colour under what was transparent.",
    },
    OptionInfo {
        name: "metadata",
        kind: Choice(&["strip", "keep"]),
        default: "strip",
        targets: PICTURES,
        help: "Whether EXIF, XMP and colour profile travel along; they may say where and when.",
    },
    OptionInfo {
        name: "orient",
        kind: Choice(&["auto", "keep"]),
        default: "auto",
        targets: PICTURES,
        help: "Turn the picture upright as its EXIF says, or leave it as it is stored.",
    },
    OptionInfo {
        name: "page",
        kind: Choice(&["a4", "letter", "legal"]),
        default: "a4",
        targets: &[Pdf],
        help: "The size of the pages.",
    },
    OptionInfo {
        name: "margin",
        kind: Number(0.0, MARGIN_MM_MAX),
        default: "20",
        targets: &[Pdf],
        help: "The margin on all four sides, in millimetres.",
    },
    OptionInfo {
        name: "font-size",
        kind: Number(FONT_SIZE_PT_MIN, FONT_SIZE_PT_MAX),
        default: "10",
        targets: &[Pdf],
        help: "The size of the letters, in points.",
    },
    OptionInfo {
        name: "layout",
        kind: Choice(&["plain", "flow"]),
        default: "plain",
        targets: &[Pdf],
        help: "Keep every line as it is, or join lines into paragraphs.",
    },
    OptionInfo {
        name: "layout",
        kind: Choice(&["reading", "physical"]),
        default: "reading",
        targets: &[Text],
        help: "Go column by column, or keep what is side by side.",
    },
];
