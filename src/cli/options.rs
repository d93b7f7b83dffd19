//! Conversion options of flags and files, in the words of the wire.

use super::fail::Fail;
use crate::config::ConvertKeys;
use crate::convert::Target;
use crate::wire::{Operation, RequestOptions};

/// Every operation with options.
const OPERATIONS: [Operation; 5] = [
    Operation::Convert(Target::Jpg),
    Operation::Convert(Target::Png),
    Operation::Convert(Target::Webp),
    Operation::Convert(Target::Pdf),
    Operation::Convert(Target::Text),
];

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
    let block: String = lines.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
    Ok(RequestOptions::parse(block.as_bytes(), operation)?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::wire::ChecksumKind;

    const JPG: Operation = Operation::Convert(Target::Jpg);
    const PNG: Operation = Operation::Convert(Target::Png);

    fn keys(quality: Option<&str>, checksum: Option<&str>) -> ConvertKeys {
        let own = |text: &str| text.to_owned();
        ConvertKeys {
            quality: quality.map(own),
            checksum: checksum.map(own),
            ..ConvertKeys::default()
        }
    }

    #[test]
    fn a_flag_goes_before_the_file() {
        let options =
            request_options(&keys(Some("90"), None), &keys(Some("50"), Some("xxh3")), JPG).unwrap();
        assert_eq!(options.convert.quality.unwrap().value(), 90);
        assert_eq!(options.checksum, ChecksumKind::Xxh3);
    }

    #[test]
    fn a_misplaced_flag_is_an_error_and_a_misplaced_line_is_not() {
        let quality = keys(Some("90"), None);
        let none = ConvertKeys::default();
        let fail = request_options(&quality, &none, PNG).unwrap_err();
        assert!(fail.message.contains("option `quality` belongs to"), "{}", fail.message);
        let options = request_options(&none, &quality, PNG).unwrap();
        assert_eq!(options.convert.quality, None);
    }

    #[test]
    fn a_wrong_value_is_an_error_wherever_it_stands() {
        let wrong = keys(Some("101"), None);
        let none = ConvertKeys::default();
        for (flags, file) in [(&wrong, &none), (&none, &wrong)] {
            let fail = request_options(flags, file, PNG).unwrap_err();
            assert!(fail.message.contains("from 1 to 100"), "{}", fail.message);
        }
    }
}
