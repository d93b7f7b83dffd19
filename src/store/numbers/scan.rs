//! The number at the front of a text, where it is written as most are: a sign or none, digits, at
//! most one point, a line end. Sixteen characters at a time, with the line's end found on the way.
//!
//! What is written otherwise, or has more digits, is left to
//! [`super::parse_line`]; both give the same number, which is the one nearest to the text.

/// Powers of ten that fit 64 bits: 10^19 is the last.
const POWERS: [u64; DIGITS_MAX + 1] = {
    let (mut powers, mut index) = ([1; DIGITS_MAX + 1], 1);
    while index < powers.len() {
        powers[index] = powers[index - 1] * 10;
        index += 1;
    }
    powers
};

/// The same as numbers; up to 10^22 they are exact.
const EXACT_POWERS: [f64; DIGITS_MAX + 1] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19,
];

/// Digits that fit 64 bits, whatever they are.
const DIGITS_MAX: usize = 19;

/// Digits that are read at once.
const CHUNK_BYTES: usize = 16;

/// Whole numbers up to this one are exact.
const EXACT_MAX: u64 = 1 << f64::MANTISSA_DIGITS;

/// The number, and how many bytes it takes with its line end; `None` where [`super::parse_line`]
/// must look. Near the end of a text that is always so.
pub(super) fn leading_number(text: &[u8]) -> Option<(f64, usize)> {
    let negative = *text.first()? == b'-';
    let start = usize::from(negative);
    let (whole, count) = digits(text.get(start..)?)?;
    let mut end = start + count;
    let (mut mantissa, mut decimals) = (whole, 0);
    if *text.get(end)? == b'.' {
        let (fraction, fraction_digits) = digits(text.get(end + 1..)?)?;
        decimals = fraction_digits;
        if count + decimals > DIGITS_MAX {
            return None;
        }
        mantissa = whole * POWERS[decimals] + fraction;
        end += 1 + decimals;
    }
    if *text.get(end)? != b'\n' {
        return None;
    }
    let value = quotient(mantissa, decimals);
    Some((if negative { -value } else { value }, end + 1))
}

/// The digits at the front of a text, one at least and 16 at most, and how many they are. There is no
/// branch that depends on how many: numbers come in all lengths, and a processor would guess wrong.
fn digits(text: &[u8]) -> Option<(u64, usize)> {
    const fn each(byte: u8) -> u128 {
        u128::from_ne_bytes([byte; CHUNK_BYTES])
    }
    let chunk = u128::from_le_bytes(*text.first_chunk::<CHUNK_BYTES>()?);
    // Digits are 0 to 9 now, and what is none is more. A carry of it spoils only what follows.
    let chunk = chunk ^ each(b'0');
    let others = (chunk.wrapping_add(each(0x80 - 10)) | chunk) & each(0x80);
    let count = others.trailing_zeros() as usize / 8;
    if count == 0 {
        return None;
    }
    // What is no digit goes out at the top, and zeros come in before the first digit.
    let ours = chunk << (8 * (CHUNK_BYTES - count));
    #[allow(clippy::cast_possible_truncation)]
    let (first, last) = (ours as u64, (ours >> 64) as u64);
    Some((eight_digits(first) * 100_000_000 + eight_digits(last), count))
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

/// The number nearest to `mantissa / 10^decimals`.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
fn quotient(mantissa: u64, decimals: usize) -> f64 {
    if mantissa <= EXACT_MAX {
        // Both are exact, so that the division is the only rounding.
        return mantissa as f64 / EXACT_POWERS[decimals];
    }
    // Both are moved up to where their first bit is the highest, so that the quotient has 63 bits or
    // more. A rest is as good as a last bit of 1: it is 10 bits below what is kept of them.
    let power = POWERS[decimals];
    let (up, power_up) = (mantissa.leading_zeros(), power.leading_zeros());
    let (dividend, divisor) = (u128::from(mantissa << up) << 63, u128::from(power << power_up));
    let whole = dividend / divisor;
    let rest = u128::from(whole * divisor != dividend);
    // A power of two changes no digit: 2^-63 for the 63 above, and what both were moved by.
    let exponent = u64::from(1023 - 63 + power_up - up);
    (whole | rest) as u64 as f64 * f64::from_bits(exponent << 52)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::super::parse_line;
    use super::*;

    /// Digits are read eight at a time, so that a text must go on.
    fn number(line: &str) -> Option<(f64, usize)> {
        leading_number(format!("{line}\n123456789012345\n").as_bytes())
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
            "9007199254740993",
            "30000.000000000004",
            "123.4567890123456789",
            "9999999999999999.999",
            "000000000000001",
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
            "0.30000000000000004",
            "1234567890123456.7891",
            "12345678901234567",
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
