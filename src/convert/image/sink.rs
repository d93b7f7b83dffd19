//! The result as it grows: never above the limit, and never an abort for want of memory.

use std::io::{self, Write};

use super::frame::no_memory;
use crate::convert::{Error, ErrorKind};
use crate::limits::ConvertLimits;

/// Bytes of a result. Encoders write into it; what goes wrong is asked afterwards.
#[derive(Debug)]
pub(super) struct Sink {
    bytes: Vec<u8>,
    bytes_max: u64,
    failure: Option<Error>,
}

impl Sink {
    /// An empty sink with room for `expected` bytes, if there is.
    pub(super) fn new(expected: usize, limits: &ConvertLimits) -> Self {
        let mut bytes = Vec::new();
        // Only a guess at what will come: where it cannot be had, growing will say so.
        let _ = bytes.try_reserve(expected);
        Self { bytes, bytes_max: limits.output_bytes_max, failure: None }
    }

    /// Takes `more`; `false` where it does not fit, and the reason is kept.
    pub(super) fn push(&mut self, more: &[u8]) -> bool {
        let total = self.bytes.len() as u64 + more.len() as u64;
        if total > self.bytes_max {
            self.failure = Some(Error::limit("bytes of the result", total, self.bytes_max));
        } else if self.bytes.try_reserve(more.len()).is_err() {
            self.failure = Some(no_memory(total));
        } else {
            self.bytes.extend_from_slice(more);
            return true;
        }
        false
    }

    /// An encoder had no memory for a picture of so many bytes.
    pub(super) fn lacks_memory(&mut self, bytes: u64) {
        self.failure.get_or_insert_with(|| no_memory(bytes));
    }

    /// The result of an encoder that ended with `outcome`.
    pub(super) fn finish<E: std::fmt::Display>(
        self,
        encoder: &str,
        outcome: Result<(), E>,
    ) -> Result<Vec<u8>, Error> {
        match (self.failure, outcome) {
            (Some(failure), _) => Err(failure),
            (None, Err(error)) => Err(Error::new(
                ErrorKind::Internal,
                format!("the {encoder} encoder failed: {error}"),
            )),
            (None, Ok(())) => Ok(self.bytes),
        }
    }
}

impl Write for Sink {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.push(bytes) { Ok(bytes.len()) } else { Err(io::ErrorKind::StorageFull.into()) }
    }

    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write(bytes).map(|_| ())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_the_last_byte_that_fits() {
        let limits = ConvertLimits { output_bytes_max: 4, ..ConvertLimits::default() };
        let mut sink = Sink::new(0, &limits);
        sink.write_all(b"1234").unwrap();
        assert_eq!(sink.finish("test", Ok::<(), String>(())).unwrap(), b"1234");

        let mut sink = Sink::new(0, &limits);
        sink.write_all(b"123").unwrap();
        assert!(sink.write_all(b"45").is_err());
        let error = sink.finish("test", Err("stopped")).unwrap_err();
        assert_eq!(error.kind, ErrorKind::LimitExceeded);
        assert_eq!(error.message, "bytes of the result: 5, and the limit is 4");
    }
}
