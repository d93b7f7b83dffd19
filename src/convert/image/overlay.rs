//! A result in the memory of the pixels that it is made from.
//!
//! An encoder that takes rows from top to bottom is done with a row long before the last byte of its
//! result is there, and what it makes of rows is rarely larger than they are. So the result follows the
//! reader through one buffer, and what is ahead of it by a little waits beside.

use super::frame::no_memory;
use crate::convert::Error;
use crate::limits::ConvertLimits;

/// From the front: the result, room, pixels that are still wanted.
#[derive(Debug)]
pub(super) struct Overlay {
    bytes: Vec<u8>,
    /// Where the result ends.
    written: usize,
    /// Where the pixels begin that are still wanted.
    wanted: usize,
    /// What of the result found no room yet.
    waiting: Vec<u8>,
    result_bytes_max: u64,
}

impl Overlay {
    pub(super) fn new(pixels: Vec<u8>, limits: &ConvertLimits) -> Self {
        let result_bytes_max = limits.output_bytes_max;
        Self { bytes: pixels, written: 0, wanted: 0, waiting: Vec::new(), result_bytes_max }
    }

    /// All pixels; those before the last `release` are the result's by now.
    pub(super) fn pixels(&self) -> &[u8] {
        &self.bytes
    }

    /// Gives the pixels before `end` to the result.
    pub(super) fn release(&mut self, end: usize) {
        self.wanted = end.min(self.bytes.len());
        let fits = self.waiting.len().min(self.wanted - self.written);
        self.bytes[self.written..][..fits].copy_from_slice(&self.waiting[..fits]);
        self.waiting.drain(..fits);
        self.written += fits;
    }

    /// Takes `more` of the result.
    pub(super) fn push(&mut self, more: &[u8]) -> Result<(), Error> {
        let total = (self.written + self.waiting.len() + more.len()) as u64;
        if total > self.result_bytes_max {
            return Err(Error::limit("bytes of the result", total, self.result_bytes_max));
        }
        let room = if self.waiting.is_empty() { self.wanted - self.written } else { 0 };
        let (fits, rest) = more.split_at(room.min(more.len()));
        self.bytes[self.written..][..fits.len()].copy_from_slice(fits);
        self.written += fits.len();
        self.waiting.try_reserve(rest.len()).map_err(|_| no_memory(total))?;
        self.waiting.extend_from_slice(rest);
        Ok(())
    }

    /// The result. Memory of pixels goes back where most of it is not needed any more.
    pub(super) fn finish(mut self) -> Result<Vec<u8>, Error> {
        self.release(self.bytes.len());
        self.bytes.truncate(self.written);
        let total = self.written + self.waiting.len();
        self.bytes.try_reserve_exact(self.waiting.len()).map_err(|_| no_memory(total as u64))?;
        self.bytes.append(&mut self.waiting);
        let mut fitted = Vec::new();
        // Where there is no memory for it, it stays where it is.
        if total < self.bytes.capacity() / 2 && fitted.try_reserve_exact(total).is_ok() {
            fitted.append(&mut self.bytes);
            return Ok(fitted);
        }
        Ok(self.bytes)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::convert::ErrorKind;

    proptest! {
        /// Whatever is made of each piece, more or less than it, the result is that of a buffer of its own.
        #[test]
        fn pixels_are_read_before_the_result_takes_their_place(
            pieces in prop::collection::vec((1..60_usize, 0..90_usize), 0..40),
            head in 0..100_usize,
        ) {
            let length: usize = pieces.iter().map(|(read, _)| read).sum();
            let pixels: Vec<u8> = (0..length).map(|at| at.to_le_bytes()[0]).collect();
            let mut overlay = Overlay::new(pixels.clone(), &ConvertLimits::default());
            let mut expected = vec![0xaa; head];
            overlay.push(&expected).unwrap();
            let mut at = 0;
            for (read, written) in pieces {
                prop_assert_eq!(&overlay.pixels()[at..][..read], &pixels[at..][..read]);
                let made = vec![pixels[at]; written];
                at += read;
                overlay.release(at);
                overlay.push(&made).unwrap();
                expected.extend(made);
            }
            prop_assert_eq!(overlay.finish().unwrap(), expected);
        }
    }

    #[test]
    fn a_small_result_does_not_keep_the_memory_of_its_pixels() {
        let mut overlay = Overlay::new(vec![0; 100_000], &ConvertLimits::default());
        overlay.push(b"head").unwrap();
        assert_eq!(overlay.finish().unwrap().capacity(), 4);
    }

    #[test]
    fn the_limit_counts_what_waits_too() {
        let limits = ConvertLimits { output_bytes_max: 6, ..ConvertLimits::default() };
        let mut overlay = Overlay::new(vec![0; 4], &limits);
        overlay.push(b"1234").unwrap();
        overlay.release(4);
        overlay.push(b"56").unwrap();
        let error = overlay.push(b"7").unwrap_err();
        assert_eq!(error.kind, ErrorKind::LimitExceeded);
        assert_eq!(error.message, "bytes of the result: 7, and the limit is 6");
    }
}
