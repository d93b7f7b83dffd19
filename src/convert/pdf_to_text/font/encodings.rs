//! The encodings that PDF defines by name (ISO 32000-1, annex D), as characters.

use super::glyph_map::GlyphMap;

/// An encoding by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Base {
    Standard,
    WinAnsi,
    MacRoman,
    Symbol,
    ZapfDingbats,
}

/// A gap in the tables below.
const GAP: char = '\0';

const STANDARD_HIGH: &str = "¡¢£⁄¥ƒ§¤'“«‹›ﬁﬂ\0–†‡·\0¶•‚„”»…‰\0¿\0`´ˆ˜¯˘˙¨\0˚¸\0˝˛ˇ—\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0Æ\0ª\0\0\0\0ŁØŒº\0\0\0\0\0æ\0\0\0ı\0\0łøœß";
const WIN_ANSI_HIGH: &str = "€•‚ƒ„…†‡ˆ‰Š‹Œ•Ž••‘’“”•–—˜™š›œ•žŸ";
const MAC_ROMAN_HIGH: &str = "ÄÅÇÉÑÖÜáàâäãåçéèêëíìîïñóòôöõúùûü†°¢£§•¶ß®©™´¨≠ÆØ∞±≤≥¥µ∂∑∏π∫ªºΩæø¿¡¬√ƒ≈∆«»… ÀÃÕŒœ–—“”‘’÷◊ÿŸ⁄€‹›ﬁﬂ‡·‚„‰ÂÊÁËÈÍÎÏÌÓÔ\0ÒÚÛÙıˆ˜¯˘˙˚¸˝˛ˇ";
const SYMBOL_LOW: &str = " !∀#∃%&∋()∗+,−./0123456789:;<=>?≅ΑΒΧΔΕΦΓΗΙϑΚΛΜΝΟΠΘΡΣΤΥςΩΞΨΖ[∴]⊥_‾αβχδεφγηιϕκλμνοπθρστυϖωξψζ{|}∼";
const SYMBOL_HIGH: &str = "€ϒ′≤⁄∞ƒ♣♦♥♠↔←↑→↓°±″≥×∝∂•÷≠≡≈…⏐⎯↵ℵℑℜ℘⊗⊕∅∩∪⊃⊇⊄⊂⊆∈∉∠∇®©™∏√⋅¬∧∨⇔⇐⇑⇒⇓◊〈®©™∑⎛⎜⎝⎡⎢⎣⎧⎨⎩⎪\0〉∫⌠⎮⌡⎞⎟⎠⎤⎥⎦⎫⎬⎭";

impl Base {
    pub(crate) fn from_name(name: &[u8]) -> Option<Self> {
        match name {
            b"StandardEncoding" => Some(Self::Standard),
            b"WinAnsiEncoding" => Some(Self::WinAnsi),
            b"MacRomanEncoding" => Some(Self::MacRoman),
            _ => None,
        }
    }

    pub(crate) fn character(self, code: u8) -> Option<char> {
        let from = |text: &str, first: u8| {
            let at = usize::from(code.checked_sub(first)?);
            text.chars().nth(at).filter(|&character| character != GAP)
        };
        let ascii = || (0x20..0x7f).contains(&code).then_some(char::from(code));
        match self {
            Self::Standard => match code {
                0x27 => Some('’'),
                0x60 => Some('‘'),
                _ => ascii().or_else(|| from(STANDARD_HIGH, 0xa1)),
            },
            Self::WinAnsi => match code {
                // Codes without a character are bullets, by a note of the annex.
                0x7f => Some('•'),
                0x80..=0x9f => from(WIN_ANSI_HIGH, 0x80),
                0xa0 => Some(' '),
                0xad => Some('-'),
                0xa1.. => Some(char::from(code)),
                _ => ascii(),
            },
            Self::MacRoman => ascii().or_else(|| from(MAC_ROMAN_HIGH, 0x80)),
            Self::Symbol if code < 0x7f => from(SYMBOL_LOW, 0x20),
            Self::Symbol => from(SYMBOL_HIGH, 0xa0),
            Self::ZapfDingbats => dingbat(code),
        }
    }

    pub(crate) fn fill(self, map: &mut GlyphMap) {
        for code in 0..=255_u8 {
            if let Some(character) = self.character(code) {
                map.set_char(u32::from(code), character);
            }
        }
    }
}

/// The glyph of that number in the order that TrueType fonts for Macintosh have, and those of Windows from
/// it: an empty one, two controls, ASCII, then the upper half of `MacRoman`.
pub(crate) fn usual_glyph(glyph: u16) -> Option<char> {
    match u8::try_from(glyph).ok()? {
        ascii @ 3..=97 => Some(char::from(ascii + 29)),
        high @ 98..=225 => Base::MacRoman.character(high + 30),
        _ => None,
    }
}

/// Unicode's Dingbats block follows the font's own order, but for what Unicode had already.
fn dingbat(code: u8) -> Option<char> {
    let shifted = |first: u8, to: u32| char::from_u32(to + u32::from(code - first));
    match code {
        0x20 => Some(' '),
        0x25 => Some('☎'),
        0x2a => Some('☛'),
        0x2b => Some('☞'),
        0x48 => Some('★'),
        0x6c => Some('●'),
        0x6e => Some('■'),
        0x73 => Some('▲'),
        0x74 => Some('▼'),
        0x75 => Some('◆'),
        0x77 => Some('◗'),
        0x21..=0x7e => shifted(0x21, 0x2701),
        0xa1..=0xa7 => shifted(0xa1, 0x2761),
        0xa8 => Some('♣'),
        0xa9 => Some('♦'),
        0xaa => Some('♥'),
        0xab => Some('♠'),
        0xac..=0xb5 => shifted(0xac, 0x2460),
        0xb6..=0xd4 => shifted(0xb6, 0x2776),
        0xd5 => Some('→'),
        0xd6 => Some('↔'),
        0xd7 => Some('↕'),
        0xd8..=0xef => shifted(0xd8, 0x2798),
        0xf1..=0xfe => shifted(0xf1, 0x27b1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corners_of_every_table() {
        assert_eq!(Base::Standard.character(0xfb), Some('ß'));
        assert_eq!(Base::Standard.character(0xe1), Some('Æ'));
        assert_eq!(Base::Standard.character(0xd0), Some('—'));
        assert_eq!(Base::Standard.character(0x80), None);
        assert_eq!(Base::WinAnsi.character(0x9f), Some('Ÿ'));
        assert_eq!(Base::WinAnsi.character(0x80), Some('€'));
        assert_eq!(Base::WinAnsi.character(0xe9), Some('é'));
        assert_eq!(Base::MacRoman.character(0xff), Some('ˇ'));
        assert_eq!(Base::MacRoman.character(0xca), Some(' '));
        assert_eq!(Base::MacRoman.character(0xf0), None);
        assert_eq!(Base::Symbol.character(b'~'), Some('∼'));
        assert_eq!([3, 57, 97, 98, 225].map(usual_glyph), [' ', 'V', '~', 'Ä', 'ˇ'].map(Some));
        assert_eq!([0, 2, 226, 4000].map(usual_glyph), [None; 4]);
        assert_eq!(Base::Symbol.character(b'a'), Some('α'));
        assert_eq!(Base::Symbol.character(0xfe), Some('⎭'));
        assert_eq!(Base::Symbol.character(0xe5), Some('∑'));
        assert_eq!(Base::ZapfDingbats.character(0xfe), Some('➾'));
        assert_eq!(Base::ZapfDingbats.character(0xd4), Some('➔'));
    }
}
