//! The `CMap` that leads from character codes back to characters, so that a PDF's text can be
//! copied and searched (PDF 32000-1, 9.10.3).

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
    let codes: Vec<(u16, char)> = (1..=u16::MAX).zip(characters).collect();
    let mut cmap = HEAD.to_vec();
    // Writing to a Vec does not fail.
    for section in codes.chunks(SECTION_LINES_MAX) {
        let _ = writeln!(cmap, "{} beginbfchar", section.len());
        for (code, character) in section {
            let _ = write!(cmap, "<{code:04X}> <");
            for unit in character.encode_utf16(&mut [0; 2]) {
                let _ = write!(cmap, "{unit:04X}");
            }
            cmap.extend_from_slice(b">\n");
        }
        cmap.extend_from_slice(b"endbfchar\n");
    }
    cmap.extend_from_slice(TAIL);
    cmap
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
