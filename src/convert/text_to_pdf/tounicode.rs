//! The `CMap` that leads from character codes back to characters, so that a PDF's text can be copied
//! and searched (PDF 32000-1, 9.10.3).

use std::io::Write as _;

const HEAD: &[u8] = b"/CIDInit /ProcSet findresource begin\n12 dict begin\nbegincmap\n\
    /CIDSystemInfo << /Registry (Adobe) /Ordering (UCS) /Supplement 0 >> def\n\
    /CMapName /Adobe-Identity-UCS def\n/CMapType 2 def\n\
    1 begincodespacerange\n<0000> <FFFF>\nendcodespacerange\n";
const TAIL: &[u8] = b"endcmap\nCMapName currentdict /CMap defineresource pop\nend\nend\n";
/// A section of a `CMap` may have at most 100 lines (Adobe Technical Note 5014).
const SECTION_LINES_MAX: usize = 100;

/// The map for codes 1, 2, 3... of two bytes, in the order of `characters`.
pub(super) fn cmap(characters: impl Iterator<Item = char>) -> Vec<u8> {
    let lines: Vec<String> = (1u16..=u16::MAX).zip(characters).map(line).collect();
    let mut cmap = HEAD.to_vec();
    for section in lines.chunks(SECTION_LINES_MAX) {
        // Writing to a Vec does not fail.
        let _ = writeln!(cmap, "{} beginbfchar", section.len());
        for line in section {
            cmap.extend_from_slice(line.as_bytes());
        }
        cmap.extend_from_slice(b"endbfchar\n");
    }
    cmap.extend_from_slice(TAIL);
    cmap
}

/// `<code> <UTF-16>`.
fn line((code, character): (u16, char)) -> String {
    let mut units = [0; 2];
    let hex: String =
        character.encode_utf16(&mut units).iter().map(|unit| format!("{unit:04X}")).collect();
    format!("<{code:04X}> <{hex}>\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_short_and_surrogates_paired() {
        let cmap = String::from_utf8_lossy(&cmap(std::iter::repeat_n('Ж', 100).chain(['😀'])))
            .into_owned();
        assert!(cmap.contains("100 beginbfchar\n<0001> <0416>\n"));
        assert!(cmap.contains("1 beginbfchar\n<0065> <D83DDE00>\nendbfchar\n"));
    }
}
