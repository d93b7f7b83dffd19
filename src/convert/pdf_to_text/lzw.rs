//! LZW as PDF and TIFF have it: most significant bit first, 9 to 12 bits a code.

use super::filters::TooLong;

const CLEAR: usize = 256;
const END: usize = 257;
const CODES_MAX: usize = 4096;

/// Decodes `data`; ends at the end code, at damage, or at the last whole code. With `early` the code
/// grows one code earlier than it must, which is the default of PDF.
pub(super) fn decode(data: &[u8], early: bool, cap: usize) -> Result<Vec<u8>, TooLong> {
    let mut out: Vec<u8> = Vec::new();
    // A code stands for bytes that are in the output already: where they begin, how many.
    let mut table: Vec<(usize, usize)> = Vec::with_capacity(CODES_MAX);
    let (mut bits, mut bit_count, mut width) = (0_u32, 0_u32, 9_u32);
    let mut previous: Option<(usize, usize)> = None;
    let mut bytes = data.iter();
    loop {
        while bit_count < width {
            let Some(&byte) = bytes.next() else { return Ok(out) };
            bits = bits << 8 | u32::from(byte);
            bit_count += 8;
        }
        bit_count -= width;
        let code = (bits >> bit_count) as usize & ((1 << width) - 1);
        bits &= (1 << bit_count) - 1;
        if code == END {
            return Ok(out);
        }
        if code == CLEAR {
            table.clear();
            (width, previous) = (9, None);
            continue;
        }
        let start = out.len();
        if let Ok(literal) = u8::try_from(code) {
            out.push(literal);
        } else {
            // The code that is about to be made: the previous bytes and their first again.
            let (from, length) = match (table.get(code - 258), previous) {
                (Some(&entry), _) => entry,
                (None, Some((from, length))) if code - 258 == table.len() => (from, length + 1),
                _ => return Ok(out),
            };
            if out.len() + length > cap {
                return Err(TooLong);
            }
            for at in from..from + length {
                out.push(out[at]);
            }
        }
        if out.len() > cap {
            return Err(TooLong);
        }
        if let Some((from, length)) = previous
            && table.len() + 258 < CODES_MAX
        {
            table.push((from, length + 1));
        }
        previous = Some((start, out.len() - start));
        let next = table.len() + 258 + usize::from(early) + 1;
        width = match next {
            ..=512 => 9,
            513..=1024 => 10,
            1025..=2048 => 11,
            _ => 12,
        };
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The example of ISO 32000-1, 7.4.4.2.
    #[test]
    fn the_example_of_the_standard() {
        let data = [0x80, 0x0b, 0x60, 0x50, 0x22, 0x0c, 0x0c, 0x85, 0x01];
        let out = decode(&data, true, 99).unwrap();
        assert_eq!(out, [45, 45, 45, 45, 45, 65, 45, 45, 45, 66]);
    }

    #[test]
    fn the_output_is_capped() {
        // Codes 258, 259, ... each one longer than the one before.
        let (mut data, mut bits, mut count) = (Vec::new(), 0_u32, 0_u32);
        for code in std::iter::once(0).chain(258..500_u32) {
            bits = bits << 9 | code;
            count += 9;
            while count >= 8 {
                count -= 8;
                data.push((bits >> count) as u8);
                bits &= (1 << count) - 1;
            }
        }
        assert!(decode(&data, true, 1 << 20).unwrap().len() > 20_000);
        assert_eq!(decode(&data, true, 1000), Err(TooLong));
    }
}
