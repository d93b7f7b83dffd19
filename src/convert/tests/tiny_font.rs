//! Fonts of a kilobyte, whose glyphs are boxes: with outlines of TrueType or of CFF, and what a licence
//! says (OpenType specification 1.9).

/// Glyph 0 and those of the characters have boxes; each is a little wider than the one before.
const GLYPH_ADVANCE: u16 = 600;

/// A font that is made.
pub(in crate::convert) struct TinyFont<'a> {
    pub(in crate::convert) is_cff: bool,
    /// In rising order, with their glyphs, which several may share. The glyphs are 1, 2, 3...
    pub(in crate::convert) characters: &'a [(char, u16)],
    /// The licence, by the bits of OS/2; without it there is no such table.
    pub(in crate::convert) fs_type: Option<u16>,
}

impl TinyFont<'_> {
    pub(in crate::convert) fn bytes(&self) -> Vec<u8> {
        let mut tables = vec![
            (b"cmap", self.cmap()),
            (b"head", head()),
            (b"hhea", self.hhea()),
            (b"hmtx", self.hmtx()),
            (b"maxp", self.maxp()),
        ];
        if self.is_cff {
            tables.push((b"CFF ", self.cff()));
        } else {
            let glyphs: Vec<_> = (0..self.glyphs()).map(|_| box_glyph()).collect();
            let mut offsets = vec![0_u32];
            offsets.extend(glyphs.iter().scan(0, |end, glyph| {
                *end += u32::try_from(glyph.len()).unwrap();
                Some(*end)
            }));
            tables.push((b"loca", offsets.into_iter().flat_map(u32::to_be_bytes).collect()));
            tables.push((b"glyf", glyphs.concat()));
        }
        if let Some(fs_type) = self.fs_type {
            let mut os2 = vec![0; 96];
            os2[1] = 4;
            os2[8..10].copy_from_slice(&fs_type.to_be_bytes());
            tables.push((b"OS/2", os2));
        }
        tables.sort();
        self.file(&tables)
    }

    /// A collection that holds the same font twice.
    pub(in crate::convert) fn collection(&self) -> Vec<u8> {
        const HEADER_BYTES: u32 = 20;
        let mut font = self.bytes();
        let count = usize::from(u16::from_be_bytes([font[4], font[5]]));
        for record in font[12..12 + count * 16].as_chunks_mut::<16>().0 {
            let offset = u32::from_be_bytes(record[8..12].try_into().unwrap()) + HEADER_BYTES;
            record[8..12].copy_from_slice(&offset.to_be_bytes());
        }
        let header = [0x0001_0000, 2, HEADER_BYTES, HEADER_BYTES].map(u32::to_be_bytes).concat();
        [b"ttcf".as_slice(), &header, &font].concat()
    }

    fn glyphs(&self) -> u16 {
        1 + self.characters.iter().map(|(_, glyph)| *glyph).max().unwrap_or(0)
    }

    fn file(&self, tables: &[(&[u8; 4], Vec<u8>)]) -> Vec<u8> {
        let mut file = if self.is_cff { b"OTTO".to_vec() } else { vec![0, 1, 0, 0] };
        file.extend(u16::try_from(tables.len()).unwrap().to_be_bytes());
        file.extend([0; 6]);
        let mut offset = 12 + tables.len() * 16;
        for (tag, table) in tables {
            file.extend_from_slice(*tag);
            for number in [0, offset, table.len()] {
                file.extend(u32::try_from(number).unwrap().to_be_bytes());
            }
            offset += table.len().next_multiple_of(4);
        }
        for (_, table) in tables {
            file.extend_from_slice(table);
            file.resize(file.len().next_multiple_of(4), 0);
        }
        file
    }

    /// One subtable of format 12: groups of one character each.
    fn cmap(&self) -> Vec<u8> {
        let count = u32::try_from(self.characters.len()).unwrap();
        let mut table = [0, 1, 3, 10].map(u16::to_be_bytes).concat();
        table.extend(12_u32.to_be_bytes());
        table.extend([0, 12, 0, 0]);
        for number in [16 + count * 12, 0, count] {
            table.extend(number.to_be_bytes());
        }
        for &(character, glyph) in self.characters {
            for number in [u32::from(character), u32::from(character), glyph.into()] {
                table.extend(number.to_be_bytes());
            }
        }
        table
    }

    fn hhea(&self) -> Vec<u8> {
        let mut table = vec![0; 36];
        table[..8].copy_from_slice(&[0, 1, 0, 0, 3, 0x20, 0xff, 0x38]);
        table[34..].copy_from_slice(&self.glyphs().to_be_bytes());
        table
    }

    fn hmtx(&self) -> Vec<u8> {
        let advances = (0..self.glyphs()).map(|glyph| GLYPH_ADVANCE + glyph);
        advances.flat_map(|advance| [advance.to_be_bytes(), [0, 50]].concat()).collect()
    }

    fn maxp(&self) -> Vec<u8> {
        let mut table = if self.is_cff { vec![0, 0, 0x50, 0] } else { vec![0, 1, 0, 0] };
        table.extend(self.glyphs().to_be_bytes());
        if !self.is_cff {
            // Points and contours of a glyph at most; no instructions.
            table.extend([0, 4, 0, 1]);
            table.resize(32, 0);
        }
        table
    }

    /// Adobe Technical Note 5176: header, names, one dictionary, no strings, no subroutines, outlines.
    fn cff(&self) -> Vec<u8> {
        let index = |parts: &[Vec<u8>]| {
            let mut index = u16::try_from(parts.len()).unwrap().to_be_bytes().to_vec();
            if parts.is_empty() {
                return index;
            }
            index.push(2);
            let mut offset = 1_u16;
            index.extend(offset.to_be_bytes());
            for part in parts {
                offset += u16::try_from(part.len()).unwrap();
                index.extend(offset.to_be_bytes());
            }
            index.extend(parts.concat());
            index
        };
        // Numbers of five bytes, so that the dictionary is as long before they are known as after.
        let number =
            |value: usize| [&[29][..], &u32::try_from(value).unwrap().to_be_bytes()].concat();
        let top = |outlines: usize, private: usize| {
            let parts = [number(outlines), vec![17], number(0), number(private), vec![18]];
            [index(&[b"Tiny".to_vec()]), index(&[parts.concat()]), index(&[]), index(&[])].concat()
        };
        let outlines = index(&vec![box_charstring(); usize::from(self.glyphs())]);
        let start = 4 + top(0, 0).len();
        [&[1, 0, 4, 2][..], &top(start, start + outlines.len()), &outlines].concat()
    }
}

fn head() -> Vec<u8> {
    let mut table = vec![0; 54];
    table[..4].copy_from_slice(&[0, 1, 0, 0]);
    table[12..16].copy_from_slice(&0x5f0f_3cf5_u32.to_be_bytes());
    table[18..20].copy_from_slice(&1000_u16.to_be_bytes());
    // The box of all glyphs, and offsets of four bytes in loca.
    table[36..44].copy_from_slice(&[0, 50, 0, 0, 2, 38, 2, 188]);
    table[51] = 1;
    table
}

/// One contour of four points.
fn box_glyph() -> Vec<u8> {
    let words: [i16; 7] = [1, 50, 0, 550, 700, 3, 0];
    let mut glyph: Vec<u8> = words.into_iter().flat_map(i16::to_be_bytes).collect();
    glyph.extend([1; 4]);
    let steps: [i16; 8] = [50, 500, 0, -500, 0, 0, 700, 0];
    glyph.extend(steps.into_iter().flat_map(i16::to_be_bytes));
    glyph
}

/// The same box as a Type 2 charstring: rmoveto, hlineto, vlineto, hlineto, endchar.
fn box_charstring() -> Vec<u8> {
    let mut glyph = Vec::new();
    for (numbers, operator) in
        [(&[50, 0][..], 21), (&[500], 6), (&[700], 7), (&[-500], 6), (&[], 14)]
    {
        for number in numbers {
            glyph.push(28);
            glyph.extend(i16::to_be_bytes(*number));
        }
        glyph.push(operator);
    }
    glyph
}
