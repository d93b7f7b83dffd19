//! What the maker of a PDF has to say of it, in its document information under a key of our own
//! (PDF 32000-1, 14.3.3). The protocol has no place for it beside the file.

/// The key.
pub(super) const KEY: &str = "Notice";

/// Where the document information begins that is ours: the producer comes first.
const PRODUCER: &[u8] = b"/Producer(fxsrv ";

/// Longer ones are not ours.
const BYTES_MAX: usize = 300;

/// What the information of a PDF that this program has written says of its text, if anything.
#[must_use]
pub(in crate::convert) fn notice(pdf: &[u8]) -> Option<&str> {
    let key = format!("/{KEY}(");
    let at = find(pdf, PRODUCER)? + PRODUCER.len();
    let rest = &pdf[at..pdf.len().min(at + BYTES_MAX)];
    let start = find(rest, key.as_bytes())? + key.len();
    let end = start + rest[start..].iter().position(|&byte| byte == b')')?;
    let text = str::from_utf8(&rest[start..end]).ok()?;
    text.bytes().all(|byte| matches!(byte, b' '..=b'~')).then_some(text)
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_short_line_is_a_notice() {
        let of = |info: &str| notice(format!("1 0 obj\n<<{info}>>").as_bytes()).map(str::to_owned);
        let ours = "/Producer(fxsrv 1.0)/Notice(3 boxes)";
        assert_eq!(of(ours).as_deref(), Some("3 boxes"));
        for other in [
            "/Producer(fxsrv 1.0)",
            "/Producer(other)/Notice(3 boxes)",
            "/Producer(fxsrv 1.0)/Notice(3 boxes",
            "/Producer(fxsrv 1.0)/Notice(\u{1b}[31m)",
            &format!("/Producer(fxsrv 1.0)/Notice({})", "x".repeat(BYTES_MAX)),
        ] {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
