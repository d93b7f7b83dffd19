//! The running summary of a text that comes in pieces.

use super::parse::{LINE_BYTES_MAX, parse_line, trim};
use super::repr::python_repr;
use super::scan::number_at;

/// Takes a text piece by piece, in memory that does not grow with it.
#[derive(Debug, Default)]
pub struct Summariser {
    /// The beginning of a line whose end has not come.
    partial: Vec<u8>,
    blank_lines: u64,
    totals: Totals,
}

/// What is known of the numbers so far.
#[derive(Debug, Clone, Copy)]
struct Totals {
    count: u64,
    max: f64,
    min: f64,
    sum: f64,
    /// What the sum has lost to rounding: of each addition exactly (Knuth's two-sum), so that it is
    /// a compensated sum whichever of the two is the larger.
    lost: f64,
    /// The sum of all numbers by 2^64, for when the sum itself is beyond what a number can be.
    scaled_sum: f64,
}

/// 2^-64: even 2^60 of the greatest numbers then have a sum.
const SCALE: f64 = 1.0 / 18_446_744_073_709_551_616.0;

/// Greatest, least and mean.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// The greatest number.
    pub max: f64,
    /// The least.
    pub min: f64,
    /// The mean.
    pub mean: f64,
}

/// Why there is no summary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SummaryError {
    /// A line is no finite number; lines count from 1.
    #[error("line {line} is no finite number")]
    NotANumber {
        /// Which.
        line: u64,
    },
    /// There is not one number.
    #[error("there is no number in it")]
    Empty,
}

impl Summariser {
    /// Takes the next piece.
    ///
    /// # Errors
    ///
    /// A line of it is no number. Nothing more is then to be taken.
    pub fn push(&mut self, mut piece: &[u8]) -> Result<(), SummaryError> {
        if !self.partial.is_empty() {
            let end = memchr::memchr(b'\n', piece).unwrap_or(piece.len());
            self.keep(&piece[..end])?;
            if end == piece.len() {
                return Ok(());
            }
            let line = std::mem::take(&mut self.partial);
            self.take_line(&line)?;
            self.partial = line;
            self.partial.clear();
            piece = &piece[end + 1..];
        }
        let mut start = 0;
        while start < piece.len() {
            // Apart from the rest, so that it stays where a processor has it at hand.
            let mut totals = self.totals;
            while let Some((value, next)) = number_at(piece, start) {
                totals.take(value);
                start = next;
            }
            self.totals = totals;
            let rest = &piece[start..];
            let Some(length) = memchr::memchr(b'\n', rest) else { return self.keep(rest) };
            self.take_line(&rest[..length])?;
            start += length + 1;
        }
        Ok(())
    }

    /// The summary of all of it.
    ///
    /// # Errors
    ///
    /// The last line is no number, or there was none at all.
    pub fn finish(mut self) -> Result<Summary, SummaryError> {
        if !self.partial.is_empty() {
            let line = std::mem::take(&mut self.partial);
            self.take_line(&line)?;
        }
        self.totals.summary().ok_or(SummaryError::Empty)
    }

    fn keep(&mut self, rest: &[u8]) -> Result<(), SummaryError> {
        if self.partial.len() + rest.len() > LINE_BYTES_MAX {
            return Err(SummaryError::NotANumber { line: self.line() });
        }
        self.partial.extend_from_slice(rest);
        Ok(())
    }

    fn take_line(&mut self, line: &[u8]) -> Result<(), SummaryError> {
        match parse_line(line) {
            Some(value) => self.totals.take(value),
            None if trim(line).is_empty() => self.blank_lines += 1,
            None => return Err(SummaryError::NotANumber { line: self.line() }),
        }
        Ok(())
    }

    /// The number of the line that is next.
    fn line(&self) -> u64 {
        self.totals.count + self.blank_lines + 1
    }
}

impl Totals {
    fn take(&mut self, value: f64) {
        // As Python's `max` and `min`: the first of two equals stays, so that 0.0 before -0.0 does.
        self.max = if value > self.max { value } else { self.max };
        self.min = if value < self.min { value } else { self.min };
        self.count += 1;
        let sum = self.sum + value;
        let added = sum - self.sum;
        self.lost += (self.sum - (sum - added)) + (value - added);
        self.sum = sum;
        self.scaled_sum += value * SCALE;
    }

    fn summary(&self) -> Option<Summary> {
        // No file has 2^53 lines.
        #[allow(clippy::cast_precision_loss)]
        let count = self.count as f64;
        let total = self.sum + self.lost;
        // Finite numbers can have a sum that is not. Their mean lies between them all the same.
        let mean = if total.is_finite() { total / count } else { self.scaled_sum / count / SCALE };
        (self.count > 0).then_some(Summary { max: self.max, min: self.min, mean })
    }
}

impl Default for Totals {
    fn default() -> Self {
        Self {
            count: 0,
            max: f64::NEG_INFINITY,
            min: f64::INFINITY,
            sum: 0.0,
            lost: 0.0,
            scaled_sum: 0.0,
        }
    }
}

impl Summary {
    /// The text of the wire.
    #[must_use]
    pub fn text(&self) -> String {
        let [max, min, mean] = [self.max, self.min, self.mean].map(python_repr);
        format!("Max: {max}\nMin: {min}\nAvg: {mean}\n")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn summary(text: &str, step: usize) -> Result<String, SummaryError> {
        let mut summariser = Summariser::default();
        text.as_bytes().chunks(step).try_for_each(|piece| summariser.push(piece))?;
        summariser.finish().map(|summary| summary.text())
    }

    #[test]
    fn a_text_has_one_summary_however_it_is_cut() {
        let text = "4.5\n1\n\n2.375\n  \r\n-1e3\n7";
        for step in 1..=text.len() {
            assert_eq!(summary(text, step).unwrap(), "Max: 7.0\nMin: -1000.0\nAvg: -197.025\n");
        }
    }

    #[test]
    fn the_line_that_is_no_number_is_named() {
        for (text, error) in [
            ("1\n\nx\n2\n", SummaryError::NotANumber { line: 3 }),
            ("1\n2\nx", SummaryError::NotANumber { line: 3 }),
            ("nan\n", SummaryError::NotANumber { line: 1 }),
            ("\n \n", SummaryError::Empty),
            ("", SummaryError::Empty),
        ] {
            for step in [1, 2, 100] {
                assert_eq!(summary(text, step), Err(error), "{text:?}");
            }
        }
    }

    #[test]
    fn a_line_without_end_takes_no_memory_without_end() {
        let mut summariser = Summariser::default();
        let zeros = [b'0'; 4096];
        let taken = (0..1000).take_while(|_| summariser.push(&zeros).is_ok()).count();
        assert!(taken <= 1 && summariser.partial.capacity() <= 2 * LINE_BYTES_MAX);
    }

    #[test]
    fn the_mean_does_not_drift() {
        // A plain sum of these is 0.0.
        assert_eq!(summary("1e100\n1\n-1e100\n1\n", 64).unwrap().lines().nth(2), Some("Avg: 0.5"));
        let tenths = "0.1\n".repeat(1_000_000);
        assert_eq!(summary(&tenths, 65_536).unwrap().lines().nth(2), Some("Avg: 0.1"));
    }

    #[test]
    fn a_sum_beyond_all_numbers_has_a_mean_within() {
        let text = "1.5e308\n1.5e308\n0\n";
        assert!(summary(text, 64).unwrap().ends_with("Avg: 1e+308\n"));
    }
}
