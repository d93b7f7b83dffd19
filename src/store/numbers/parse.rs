//! One line to one number, as Python's `float(line)`.

/// Longest number that is taken. Python takes any; 4,300 digits is where its integers stop, and
/// a line that is longer without an end must not grow a buffer.
pub(super) const LINE_BYTES_MAX: usize = 4300;

/// The number on a line, without its line end; `None` where there is none, or none that is finite.
///
/// Python allows ASCII whitespace around a number and single underscores between two digits.
#[must_use]
pub fn parse_line(line: &[u8]) -> Option<f64> {
    let line = trim(line);
    let value = match fast_float2::parse::<f64, _>(line) {
        Ok(value) => value,
        Err(_) if line.contains(&b'_') => without_underscores(line)?,
        Err(_) => return None,
    };
    // `inf`, `nan` and 1e999 are floats of Python's, and no numbers of which there is a mean.
    value.is_finite().then_some(value)
}

/// What Python's `float` strips: the ASCII whitespace of `str.strip`, in which the separators 0x1c
/// to 0x1f count too.
pub(super) fn trim(mut line: &[u8]) -> &[u8] {
    let is_space = |byte: u8| matches!(byte, b' ' | b'\t'..=b'\r' | 0x1c..=0x1f);
    while let [first, rest @ ..] = line
        && is_space(*first)
    {
        line = rest;
    }
    while let [rest @ .., last] = line
        && is_space(*last)
    {
        line = rest;
    }
    line
}

fn without_underscores(line: &[u8]) -> Option<f64> {
    let is_digit =
        |at: Option<usize>| at.and_then(|at| line.get(at)).is_some_and(u8::is_ascii_digit);
    let mut plain = Vec::with_capacity(line.len().min(LINE_BYTES_MAX));
    for (at, &byte) in line.iter().enumerate() {
        if byte != b'_' {
            plain.push(byte);
        } else if !is_digit(at.checked_sub(1)) || !is_digit(Some(at + 1)) {
            return None;
        }
    }
    fast_float2::parse(&plain).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_what_python_takes_for_floats() {
        for (line, value) in [
            ("4.5", 4.5),
            (" 1 ", 1.0),
            ("\t-2.5e-3\r", -0.0025),
            ("+7", 7.0),
            (".5", 0.5),
            ("5.", 5.0),
            ("1_000.5_0", 1000.5),
            ("1e1_0", 1e10),
            ("1E5", 1e5),
            ("-0", -0.0),
            ("1e-400", 0.0),
            ("0001", 1.0),
            ("179769313486231570000000000000000000000e270", f64::MAX),
        ] {
            assert_eq!(parse_line(line.as_bytes()), Some(value), "{line}");
        }
    }

    #[test]
    fn what_is_no_finite_number_is_none() {
        for line in [
            "",
            " ",
            "hello",
            "1 2",
            "1,5",
            "0x10",
            "1_",
            "_1",
            "1__0",
            "1_.5",
            "1._5",
            "1e_5",
            "--1",
            "+-1",
            "e5",
            ".",
            "1e",
            "1e+",
            "nan",
            "inf",
            "-Infinity",
            "1e999",
            "1d5",
            "1\u{a0}x",
            "1f",
        ] {
            assert_eq!(parse_line(line.as_bytes()), None, "{line}");
        }
    }
}
