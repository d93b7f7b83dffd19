//! A number within a text, where it is written as most are: a sign or none, digits, at most one
//! point, a line end.
//!
//! The line's end and the point are found by one look at 32 bytes. What follows depends on them alone
//! and not on the line before, so that a processor reads several lines at once: the digits are taken
//! from the line's end backwards, sixteen together with the point left out, without a branch that
//! depends on how many they are. Numbers come in all lengths, and it would guess wrong.
//!
//! What is written otherwise, or has more digits, is left to [`super::parse_line`]; both give the
//! same number, which is the one nearest to the text.

use wide::u8x16;

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

/// Digits that are read at once, and those that are made one number at once.
const CHUNK: usize = 16;
const WORD: usize = 8;

/// How far a number is looked for: sign, point and digits are 21.
const LOOK: usize = 32;

/// Whole numbers up to this one are exact.
const EXACT_MAX: u64 = 1 << f64::MANTISSA_DIGITS;

/// The last so many bytes of a chunk, which are its highest.
const LAST: [u128; CHUNK + 1] = {
    let (mut masks, mut count) = ([0; CHUNK + 1], 1);
    while count <= CHUNK {
        masks[count] = u128::MAX << (8 * (CHUNK - count));
        count += 1;
    }
    masks
};

/// The same of a word, for what a chunk has no room for.
const LAST_OF_WORD: [u64; DIGITS_MAX - CHUNK + 1] =
    [0, u64::MAX << 56, u64::MAX << 48, u64::MAX << 40];

/// The number that begins at `start`, and where the next line does; `None` where
/// [`super::parse_line`] must look. Near the beginning and the end of a text that is always so.
pub(super) fn number_at(text: &[u8], start: usize) -> Option<(f64, usize)> {
    let around = text.get(start.checked_sub(LOOK)?..start + LOOK)?;
    let around: &[u8; 2 * LOOK] = around.try_into().ok()?;
    let ahead = around.last_chunk()?;
    let line_end = places(ahead, b'\n');
    let length = line_end.trailing_zeros();
    // Up to the line's end, which itself stands for a point that there is none of.
    let point = (places(ahead, b'.') | line_end).trailing_zeros();
    let (has_point, is_negative) = (usize::from(point < length), ahead[0] == b'-');
    let (length, point) = (length as usize, point as usize);
    let decimals = length - point - has_point;
    let digits = length - has_point - usize::from(is_negative);
    let is_plain = length < LOOK
        && digits <= DIGITS_MAX
        && point > usize::from(is_negative)
        && (has_point == 0 || (1..=CHUNK).contains(&decimals));
    if !is_plain {
        return None;
    }
    let mantissa = digits_before(around, LOOK + length, digits, decimals, has_point)?;
    let sign = u64::from(is_negative) << 63;
    let value = f64::from_bits(quotient(mantissa, decimals).to_bits() | sign);
    Some((value, start + length + 1))
}

/// Where a byte stands, a bit for each place.
fn places(bytes: &[u8; LOOK], byte: u8) -> u32 {
    let (halves, _) = bytes.as_chunks::<16>();
    let [lower, upper] =
        [0, 1].map(|half| u8x16::new(halves[half]).simd_eq(u8x16::splat(byte)).to_bitmask());
    lower | upper << 16
}

/// The digits before `end`, of which `decimals` stand behind a point, as one number.
#[allow(clippy::cast_possible_truncation)]
fn digits_before(
    bytes: &[u8; 2 * LOOK],
    end: usize,
    digits: usize,
    decimals: usize,
    has_point: usize,
) -> Option<u64> {
    // The last sixteen bytes, and the sixteen before the last: a place further on, where the point
    // is left out.
    let chunk = |end: usize| -> Option<u128> {
        Some(u128::from_le_bytes(*bytes.get(end.checked_sub(CHUNK)?..end)?.first_chunk()?))
    };
    let behind_point = LAST[if has_point == 1 { decimals } else { CHUNK }];
    let chunk = chunk(end)? & behind_point | chunk(end - 1)? & !behind_point;
    // Digits are 0 to 9 now, and what is none is more.
    let zeros = u128::from_ne_bytes([b'0'; CHUNK]);
    let chunk = (chunk ^ zeros) & LAST[digits.min(CHUNK)];
    // What a chunk has no room for: three digits at most.
    let first_end = end - CHUNK - has_point;
    let first = bytes.get(first_end.checked_sub(WORD)?..first_end)?.first_chunk()?;
    let first =
        (u64::from_le_bytes(*first) ^ each(b'0')) & LAST_OF_WORD[digits.saturating_sub(CHUNK)];
    let words = [first, chunk as u64, (chunk >> 64) as u64];
    // A carry of what is no digit spoils only what follows.
    let others = words.map(|word| word.wrapping_add(each(0x80 - 10)) | word);
    if (others[0] | others[1] | others[2]) & each(0x80) != 0 {
        return None;
    }
    let [first, upper, lower] = words.map(eight_digits);
    Some(first * POWERS[CHUNK] + upper * POWERS[WORD] + lower)
}

/// A word of one byte, repeated.
const fn each(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; WORD])
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
#[allow(clippy::cast_precision_loss)]
fn quotient(mantissa: u64, decimals: usize) -> f64 {
    if mantissa <= EXACT_MAX {
        // Both are exact, so that the division is the only rounding.
        return mantissa as f64 / EXACT_POWERS[decimals];
    }
    product(mantissa, decimals).unwrap_or_else(|| long_quotient(mantissa, decimals))
}

/// `2^shift / 10^decimals`, rounded down, where `shift` is what makes it 128 bits long.
struct Inverse {
    bits: u128,
    shift: u32,
}

const INVERSES: [Inverse; DIGITS_MAX + 1] = {
    let mut inverses = [const { Inverse { bits: 1 << 127, shift: 127 } }; DIGITS_MAX + 1];
    let mut decimals = 1;
    while decimals < inverses.len() {
        let power = POWERS[decimals] as u128;
        let shift = 127 + power.ilog2() + 1;
        let (mut bits, mut rest, mut step) = (0, 1, 0);
        while step < shift {
            rest *= 2;
            bits = bits << 1 | (rest >= power) as u128;
            rest %= power;
            step += 1;
        }
        inverses[decimals] = Inverse { bits, shift };
        decimals += 1;
    }
    inverses
};

/// The same by a product, which is the faster; `None` where it is too near to the middle between two
/// numbers to tell which is the nearer.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
fn product(mantissa: u64, decimals: usize) -> Option<f64> {
    let Inverse { bits, shift } = INVERSES[decimals];
    let up = mantissa.leading_zeros();
    let factor = u128::from(mantissa << up);
    // The upper 128 of 192 bits, 127 or 128 of them in use. Each of the two roundings takes less than
    // one from it.
    let (upper, lower) = (bits >> 64, bits & u128::from(u64::MAX));
    let product = factor * upper + ((factor * lower) >> 64);
    let dropped = 128 - f64::MANTISSA_DIGITS - product.leading_zeros();
    let middle = 1 << (dropped - 1);
    let rest = product & ((middle << 1) - 1);
    if (middle - 2..=middle).contains(&rest) {
        return None;
    }
    let whole = (product >> dropped) as u64 + u64::from(rest > middle);
    // A power of two changes no digit.
    let exponent = u64::from(1023 + 64 + dropped - up - shift);
    Some(whole as f64 * f64::from_bits(exponent << 52))
}

/// The same by a division that loses nothing.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
fn long_quotient(mantissa: u64, decimals: usize) -> f64 {
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
#[allow(clippy::unwrap_used, clippy::cast_possible_truncation)]
mod tests {
    use proptest::prelude::*;

    use super::super::parse_line;
    use super::*;

    /// A line among others, and how many bytes it has with its end.
    fn number(line: &str) -> Option<(f64, usize)> {
        let before = "3.25\n-17\n".repeat(5);
        let text = format!("{before}{line}\n{}", "9\n".repeat(LOOK));
        let (value, next) = number_at(text.as_bytes(), before.len())?;
        Some((value, next - before.len()))
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
            "1234567890123456789",
            "0.3000000000000004",
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
            "12345678901234567890",
            "00000000000000000000000000000000000000001",
            "x",
            "1x",
            "1\u{b0}",
        ] {
            assert_eq!(number(line), None, "{line}");
        }
        let text = "1\n".repeat(2 * LOOK);
        assert_eq!(number_at(text.as_bytes(), LOOK - 2), None, "the text begins here");
        assert_eq!(number_at(text.as_bytes(), LOOK), Some((1.0, LOOK + 2)));
        assert_eq!(
            number_at(text.as_bytes(), text.len() - LOOK),
            Some((1.0, text.len() - LOOK + 2))
        );
        assert_eq!(number_at(text.as_bytes(), text.len() - LOOK + 2), None, "and ends here");
    }

    /// Numbers that no two are alike of, without a crate for it.
    struct Dice(u64);

    impl Dice {
        fn next(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ mixed >> 31
        }
    }

    fn check(mantissa: u64, decimals: usize) {
        let text = format!("{mantissa}e-{decimals}");
        let expected: f64 = text.parse().unwrap();
        assert_eq!(quotient(mantissa, decimals).to_bits(), expected.to_bits(), "{text}");
        if mantissa > EXACT_MAX {
            assert_eq!(long_quotient(mantissa, decimals).to_bits(), expected.to_bits(), "{text}");
        }
    }

    /// A million in an optimised build, and fewer in one that would take long.
    const TRIALS: u32 = if cfg!(debug_assertions) { 50_000 } else { 1_000_000 };

    #[test]
    fn any_quotient_is_the_nearest_number() {
        let mut dice = Dice(1);
        for _ in 0..TRIALS {
            let (mantissa, kind) = (dice.next(), dice.next());
            check(mantissa >> (kind % 64), (kind >> 8) as usize % (DIGITS_MAX + 1));
        }
    }

    #[test]
    fn a_quotient_in_the_middle_between_two_numbers_goes_to_the_even_one() {
        let mut dice = Dice(2);
        for _ in 0..TRIALS {
            let decimals = (dice.next() % 20) as usize;
            // Halfway between two neighbours of 53 bits, as near as a mantissa comes to it, which is
            // exactly where 5^decimals is small, and its own neighbours.
            let odd = dice.next() >> 10 | 1 << 53 | 1;
            let middle = u128::from(odd) * u128::from(POWERS[decimals]);
            let middle = (middle >> middle.ilog2().saturating_sub(63)) as u64;
            for mantissa in [middle - 1, middle, middle.saturating_add(1)] {
                check(mantissa, decimals);
            }
        }
        for decimals in 0..=DIGITS_MAX {
            for mantissa in [0, 1, EXACT_MAX - 1, EXACT_MAX, EXACT_MAX + 1, u64::MAX - 1, u64::MAX]
            {
                check(mantissa, decimals);
            }
        }
    }

    #[test]
    fn lines_of_every_length_are_read_as_they_stand() {
        let mut dice = Dice(3);
        for _ in 0..TRIALS {
            let [whole, fraction, cut] = [dice.next(), dice.next(), dice.next()];
            let whole = whole >> (cut % 64);
            let fraction = &format!("{fraction:020}")[..(cut >> 8) as usize % 20];
            let sign = if cut >> 16 & 1 == 1 { "-" } else { "" };
            let point = if fraction.is_empty() { "" } else { "." };
            let line = format!("{sign}{whole}{point}{fraction}");
            let digits = whole.to_string().len() + fraction.len();
            let read = number(&line);
            assert_eq!(read.is_some(), digits <= DIGITS_MAX && fraction.len() <= CHUNK, "{line}");
            if let Some((value, bytes)) = read {
                let expected: f64 = line.parse().unwrap();
                assert_eq!(
                    (value.to_bits(), bytes),
                    (expected.to_bits(), line.len() + 1),
                    "{line}"
                );
            }
        }
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
