//! One number to text, as Python's `repr`.

use std::fmt::Write as _;

/// From this power of ten on Python writes an exponent (`repr` uses format code `r`, which is 17
/// significant digits at most and `decpt` within -4 < decpt <= 16 without one).
const POINT_MAX: i32 = 16;
const POINT_MIN: i32 = -4;

/// The shortest text that reads back as `value`, with `.0` for a whole number, and an exponent of
/// two digits at least where Python has one: `1e-05`, `1e+16`.
#[must_use]
pub fn python_repr(value: f64) -> String {
    if !value.is_finite() {
        return if value.is_nan() {
            "nan"
        } else if value > 0.0 {
            "inf"
        } else {
            "-inf"
        }
        .to_owned();
    }
    let scientific = shortest(value.abs());
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let digits: String = mantissa.chars().filter(|&char| char != '.').collect();
    // Digits before the point, were it written out.
    let point = exponent.parse::<i32>().unwrap_or(0) + 1;
    let sign = if value.is_sign_negative() { "-" } else { "" };
    let mut text = String::with_capacity(24);
    text.push_str(sign);
    if point > POINT_MIN && point <= POINT_MAX {
        lay_out(&mut text, &digits, point);
    } else {
        let (first, rest) = digits.split_at(1);
        text.push_str(first);
        if !rest.is_empty() {
            text.push('.');
            text.push_str(rest);
        }
        let exponent = point - 1;
        let exponent_sign = if exponent < 0 { '-' } else { '+' };
        // Writing to a string does not fail.
        let _ = write!(text, "e{exponent_sign}{:02}", exponent.abs());
    }
    text
}

/// The fewest digits that read back as the number. Where two such texts are equally near to it, Rust
/// takes the upper and Python the even one, which is what rounding to that many digits gives.
fn shortest(value: f64) -> String {
    let shortest = format!("{value:e}");
    let digits =
        shortest.bytes().take_while(|&byte| byte != b'e').filter(u8::is_ascii_digit).count();
    let nearest = format!("{value:.*e}", digits.saturating_sub(1));
    if nearest.parse() == Ok(value) { nearest } else { shortest }
}

fn lay_out(text: &mut String, digits: &str, point: i32) {
    let zeros = |count: usize| "0".repeat(count);
    match usize::try_from(point) {
        Ok(point) if point >= digits.len() => {
            text.push_str(digits);
            text.push_str(&zeros(point - digits.len()));
            text.push_str(".0");
        }
        Ok(point) if point > 0 => {
            text.push_str(&digits[..point]);
            text.push('.');
            text.push_str(&digits[point..]);
        }
        _ => {
            text.push_str("0.");
            text.push_str(&zeros(usize::try_from(-point).unwrap_or(0)));
            text.push_str(digits);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    #[allow(clippy::excessive_precision)]
    fn numbers_look_as_in_python() {
        for (value, text) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (4.5, "4.5"),
            (-2.625, "-2.625"),
            (0.1, "0.1"),
            (0.1 + 0.2, "0.30000000000000004"),
            (100.0, "100.0"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.5e16, "1.5e+16"),
            (9_007_199_254_740_993.0, "9007199254740992.0"),
            (1e22, "1e+22"),
            (1e100, "1e+100"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (0.000_012_3, "1.23e-05"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::MIN_POSITIVE, "2.2250738585072014e-308"),
            (5e-324, "5e-324"),
            // Halfway between two texts of as many digits.
            (801_419_132_661.781_25, "801419132661.7812"),
            (10_474_098_027_985.562_5, "10474098027985.562"),
            (5e-324, "5e-324"),
            (9_007_199_254_740_992.0 * 4.0, "3.602879701896397e+16"),
            (2.0_f64.powi(89), "6.189700196426902e+26"),
            (123_456_789.123_456_78, "123456789.12345678"),
        ] {
            assert_eq!(python_repr(value), text);
        }
    }

    proptest! {
        #[test]
        fn the_text_reads_back_as_the_number(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            let text = python_repr(value);
            prop_assert_eq!(text.parse::<f64>().map(f64::to_bits), Ok(bits));
        }
    }
}
