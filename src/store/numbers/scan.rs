//! The number at the front of a text, where it is written as most are: a sign or none, digits, at
//! most one point, a line end. Eight characters at a time, with the line's end found on the way.
//!
//! What is written otherwise, or is too long to be computed exactly here, is left to
//! [`super::parse_line`]; both give the same number, which is the one nearest to the text.

/// Whole powers of ten that a number is exactly: 10^22 is the last.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// Digits that fit 64 bits, whatever they are.
const DIGITS_MAX: usize = 19;

/// Whole numbers up to this one are exact.
const EXACT_MAX: u64 = 1 << f64::MANTISSA_DIGITS;

/// What a number is to be multiplied by when so many digits follow.
const SHIFTS: [u64; 9] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

/// One byte, eight times.
const fn each(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// The number, and how many bytes it takes with its line end; `None` where [`super::parse_line`]
/// must look. Near the end of a text that is always so.
pub(super) fn leading_number(text: &[u8]) -> Option<(f64, usize)> {
    let negative = *text.first()? == b'-';
    let start = usize::from(negative);
    let (whole, mut at) = digits(text, start, 0)?;
    let mut mantissa = whole;
    let mut digit_count = at - start;
    if digit_count == 0 {
        return None;
    }
    let mut decimals = 0;
    if *text.get(at)? == b'.' {
        let point = at;
        (mantissa, at) = digits(text, point + 1, mantissa)?;
        decimals = at - point - 1;
        digit_count += decimals;
        if decimals == 0 {
            return None;
        }
    }
    // The sum of digits would have overflowed, or the quotient below would be rounded twice.
    if *text.get(at)? != b'\n' || digit_count > DIGITS_MAX || mantissa > EXACT_MAX {
        return None;
    }
    // Both operands are exact, so that the quotient is the nearest number to the text: one rounding.
    #[allow(clippy::cast_precision_loss)]
    let value = mantissa as f64 / POWERS.get(decimals)?;
    Some((if negative { -value } else { value }, at + 1))
}

/// Goes on with the number `value` through the digits from `at` on, and says where they end. More
/// than [`DIGITS_MAX`] give a wrong number, and the caller throws that away.
fn digits(text: &[u8], mut at: usize, mut value: u64) -> Option<(u64, usize)> {
    for _ in 0..=DIGITS_MAX / 8 {
        let chunk = u64::from_le_bytes(*text.get(at..)?.first_chunk()?);
        // Digits are 0 to 9 now, and what is none is more. A carry of it spoils only what follows.
        let chunk = chunk ^ each(b'0');
        let others = (chunk.wrapping_add(each(0x80 - 10)) | chunk) & each(0x80);
        let count = others.trailing_zeros() as usize / 8;
        if count > 0 {
            let ours = chunk << (64 - 8 * count);
            value = value.wrapping_mul(SHIFTS[count]).wrapping_add(eight_digits(ours));
            at += count;
        }
        if count < 8 {
            return Some((value, at));
        }
    }
    None
}

/// The number that eight digits are, the first one in the lowest byte. Neighbours are joined, then
/// pairs, then fours, all at once.
fn eight_digits(digits: u64) -> u64 {
    const PAIRS: u64 = 0x0000_00ff_0000_00ff;
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8);
    let upper = (pairs & PAIRS).wrapping_mul(100 + (1_000_000 << 32));
    let lower = (pairs >> 16 & PAIRS).wrapping_mul(1 + (10_000 << 32));
    upper.wrapping_add(lower) >> 32
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::super::parse_line;
    use super::*;

    /// Digits are read eight at a time, so that a text must go on.
    fn number(line: &str) -> Option<(f64, usize)> {
        leading_number(format!("{line}\n1234567\n").as_bytes())
    }

    #[test]
    fn plain_numbers_are_read_here() {
        for line in [
            "0",
            "7",
            "-0",
            "-0.0",
            "12345678",
            "123456789",
            "4.5",
            "-1000.25",
            "1234.567890123456",
            "9007199254740992",
            "0000000000000000001",
            "0.0000000000000001",
        ] {
            let (value, bytes) = number(line).unwrap();
            let expected: f64 = line.parse().unwrap();
            assert_eq!((value.to_bits(), bytes), (expected.to_bits(), line.len() + 1), "{line}");
        }
    }

    #[test]
    fn all_others_are_left_to_the_other() {
        for line in [
            "",
            "-",
            ".5",
            "5.",
            "1e5",
            " 1",
            "1 ",
            "1\r",
            "+1",
            "1_0",
            "--1",
            "1.2.3",
            "9007199254740993",
            "0.30000000000000004",
            "12345678901234567890",
            "00000000000000000000000000000000000000001",
            "x",
            "1x",
            "1\u{b0}",
        ] {
            assert_eq!(number(line), None, "{line}");
        }
        assert_eq!(leading_number(b"1\n"), None, "the text must go on");
    }

    proptest! {
        #[test]
        fn both_ways_give_the_same_number(line in "-?[0-9]{1,21}(\\.[0-9]{0,21})?|[-0-9.eE+_ ]{1,30}") {
            if let Some((value, bytes)) = number(&line) {
                prop_assert_eq!(bytes, line.len() + 1);
                prop_assert_eq!(parse_line(line.as_bytes()).map(f64::to_bits), Some(value.to_bits()));
            }
        }

        #[test]
        fn any_number_as_programs_write_it(value in proptest::num::f64::NORMAL) {
            for line in [format!("{value:?}"), format!("{value:.3}")] {
                if let Some((read, _)) = number(&line) {
                    prop_assert_eq!(Ok(read.to_bits()), line.parse::<f64>().map(f64::to_bits));
                }
            }
        }
    }
}
