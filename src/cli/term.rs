//! Words for people: data on stdout, all else on stderr.

use std::io::{self, IsTerminal as _, Write as _};

use super::fail::{Exit, Fail};

/// Writes a line of data, at once. A reader that has left has seen enough.
pub(super) fn out(line: &str) -> Result<(), Fail> {
    out_bytes(&[line.as_bytes(), b"\n"].concat())
}

/// Writes data, at once.
pub(super) fn out_bytes(bytes: &[u8]) -> Result<(), Fail> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Fail::new(Exit::Failed, format!("cannot write to stdout: {error}")))
        }
        _ => Ok(()),
    }
}

/// Says something that is neither data nor a problem.
pub(super) fn note(line: &str) {
    // Where stderr is closed there is nobody to tell.
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Says that something is odd, and goes on.
pub(super) fn warn(line: &str) {
    note(&format!("{} {line}", paint("warning:", "33")));
}

/// Says why something is not done, and what to do about it.
pub(super) fn error(fail: &Fail) {
    note(&format!("{} {}", paint("error:", "31"), fail.message));
    if let Some(hint) = &fail.hint {
        note(&format!("{} {hint}", paint("hint:", "36")));
    }
}

/// Whether a person reads stderr.
pub(super) fn is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// Whether stderr shows colours: it is a terminal, and `NO_COLOR` is unset or empty.
pub(super) fn has_colours() -> bool {
    is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn paint(word: &str, colour: &str) -> String {
    if has_colours() { format!("\x1b[1;{colour}m{word}\x1b[0m") } else { word.to_owned() }
}

/// A word as a shell reads it back.
pub(super) fn quote(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_@%+=:,./-".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Bytes, as people say them.
pub(super) fn size(bytes: u64) -> String {
    // A size in three digits needs no more precision than a double has.
    #[allow(clippy::cast_precision_loss)]
    let value = bytes as f64;
    match bytes {
        0..1024 => format!("{bytes} bytes"),
        1024..1_048_576 => format!("{:.1} KiB", value / 1024.0),
        _ => format!("{:.1} MiB", value / 1_048_576.0),
    }
}

/// Rows as lines, in columns that are as wide as what is in them.
pub(super) fn columns<const N: usize>(rows: &[[String; N]]) -> Vec<String> {
    let widths: [usize; N] =
        std::array::from_fn(|at| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0));
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_only_where_they_must_be() {
        assert_eq!(quote("/home/a/.local/ca.pem"), "/home/a/.local/ca.pem");
        assert_eq!(quote("127.0.0.1:5000"), "127.0.0.1:5000");
        assert_eq!(quote(""), "''");
        assert_eq!(quote("my files/ca.pem"), "'my files/ca.pem'");
        assert_eq!(quote("it's"), r"'it'\''s'");
        assert_eq!(quote("$HOME`x`"), "'$HOME`x`'");
        assert_eq!(quote("~/x"), "'~/x'");
    }

    #[test]
    fn sizes_are_short() {
        assert_eq!(size(1023), "1023 bytes");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(3 << 20), "3.0 MiB");
    }
}
