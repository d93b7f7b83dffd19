//! Conversion options of flags and files, in the words of the wire.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use zeroize::Zeroizing;

use super::fail::Fail;
use crate::config::ConvertKeys;
use crate::convert::{Password, Target};
use crate::wire::{Operation, RequestOptions};

/// Every operation with options.
const OPERATIONS: [Operation; 5] = [
    Operation::Convert(Target::Jpg),
    Operation::Convert(Target::Png),
    Operation::Convert(Target::Webp),
    Operation::Convert(Target::Pdf),
    Operation::Convert(Target::Text),
];

/// Far above any password; whatever else the file is, it is not read whole.
const PASSWORD_FILE_BYTES_MAX: u64 = 4096;

/// What flags, and below them the file, ask of `operation`.
///
/// A flag that the operation has no use for is an error. A line of the file is not: it is for all
/// commands, and waits for one that it is meant for.
pub(super) fn request_options(
    flags: &ConvertKeys,
    file: &ConvertKeys,
    operation: Operation,
) -> Result<RequestOptions, Fail> {
    let mut lines = flags.option_lines();
    for (key, value) in file.option_lines() {
        let line = format!("{key}={value}\n");
        let fits = |operation| RequestOptions::parse(line.as_bytes(), operation);
        if let Err(failure) = fits(operation) {
            if OPERATIONS.into_iter().all(|other| fits(other).is_err()) {
                return Err(failure.into());
            }
        } else if lines.iter().all(|(other, _)| *other != key) {
            lines.push((key, value));
        }
    }
    let password = flags.password_file.as_ref().or(file.password_file.as_ref());
    let password = password.map(|path| read_password(path)).transpose()?;
    let lines: Vec<_> = lines.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
    let mut options = RequestOptions::parse(lines.concat().as_bytes(), operation)?;
    options.convert.password = password;
    Ok(options)
}

/// The first line of a file. What is wrong with it is said without it.
fn read_password(path: &Path) -> Result<Password, Fail> {
    let shown = path.display();
    let mut text = Zeroizing::new(String::new());
    File::open(path)
        .and_then(|file| file.take(PASSWORD_FILE_BYTES_MAX).read_to_string(&mut text))
        .map_err(|error| Fail::usage(format!("cannot read the password file {shown}: {error}")))?;
    let line = text.lines().next().unwrap_or_default();
    Password::new(line).ok_or_else(|| {
        Fail::usage(format!(
            "the first line of the password file {shown} has {} bytes: a password has 1 to {}, \
             none of them a control character",
            line.len(),
            Password::BYTES_MAX
        ))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::convert::PdfLayout;
    use crate::wire::ChecksumKind;

    const PDF: Operation = Operation::Convert(Target::Pdf);
    const TEXT: Operation = Operation::Convert(Target::Text);

    fn keys(layout: Option<&str>, checksum: Option<&str>) -> ConvertKeys {
        let own = |text: &str| text.to_owned();
        ConvertKeys {
            layout: layout.map(own),
            checksum: checksum.map(own),
            ..ConvertKeys::default()
        }
    }

    #[test]
    fn a_flag_goes_before_the_file() {
        let file = keys(Some("plain"), Some("xxh3"));
        let options = request_options(&keys(Some("flow"), None), &file, PDF).unwrap();
        assert_eq!(options.convert.pdf_layout, PdfLayout::Flow);
        assert_eq!(options.checksum, ChecksumKind::Xxh3);
    }

    #[test]
    fn a_misplaced_flag_is_an_error_and_a_misplaced_line_is_not() {
        let (flow, none) = (keys(Some("flow"), None), ConvertKeys::default());
        let fail = request_options(&flow, &none, TEXT).unwrap_err();
        assert!(fail.message.contains("`reading` or `physical`"), "{}", fail.message);
        let options = request_options(&none, &flow, TEXT).unwrap();
        assert_eq!(options, RequestOptions::default());
    }

    #[test]
    fn a_wrong_value_is_an_error_wherever_it_stands() {
        let (wrong, none) = (keys(None, Some("crc")), ConvertKeys::default());
        for (flags, file) in [(&wrong, &none), (&none, &wrong)] {
            let fail = request_options(flags, file, PDF).unwrap_err();
            assert!(fail.message.contains("md5, xxh3 or none"), "{}", fail.message);
        }
    }
}
