//! PNG's row filters.
//!
//! They are here for the compressor that the PNG library does not have, and are written as plain
//! loops over slices of one length, which become vector code.

/// The filter types in the numbers of the format.
const NONE: u8 = 0;
const SUB: u8 = 1;
const UP: u8 = 2;
const AVERAGE: u8 = 3;
const PAETH: u8 = 4;

/// Filters each row by the type whose residuals are smallest, as the format's authors advise.
#[derive(Debug)]
pub(super) struct Adaptive {
    pixel_bytes: usize,
    candidate: Vec<u8>,
}

impl Adaptive {
    pub(super) fn new(row_bytes: usize, pixel_bytes: usize) -> Self {
        Self { pixel_bytes, candidate: vec![0; row_bytes] }
    }

    /// Puts `rows` behind their filters into `filtered`, which has the type's byte before each row. `above`
    /// is the row before the first one, zeros where there is none.
    pub(super) fn filter(&mut self, rows: &[u8], above: &[u8], filtered: &mut [u8]) {
        let row_bytes = above.len();
        let candidate = self.candidate.as_mut_slice();
        let mut above = above;
        let lines = filtered.chunks_exact_mut(row_bytes + 1);
        for (row, target) in rows.chunks_exact(row_bytes).zip(lines) {
            let Some((kind, best)) = target.split_first_mut() else { continue };
            if row == above {
                *kind = UP;
                best.fill(0);
                continue;
            }
            *kind = NONE;
            best.copy_from_slice(row);
            let mut least = residual_sum(row);
            for filter in [SUB, UP, AVERAGE, PAETH] {
                if least == 0 {
                    break;
                }
                apply(filter, row, above, self.pixel_bytes, candidate);
                let sum = residual_sum(candidate);
                if sum < least {
                    least = sum;
                    *kind = filter;
                    best.copy_from_slice(candidate);
                }
            }
            above = row;
        }
    }
}

/// A row as it is behind a zero: indices and packed bits gain nothing from filters.
pub(super) fn plain_line(row: &[u8], line: &mut [u8]) {
    if let Some((kind, bytes)) = line.split_first_mut() {
        *kind = NONE;
        bytes.copy_from_slice(row);
    }
}

fn apply(filter: u8, row: &[u8], above: &[u8], pixel_bytes: usize, out: &mut [u8]) {
    let lead = pixel_bytes.min(row.len());
    let (out_lead, out) = out.split_at_mut(lead);
    let (here, left) = (&row[lead..], &row[..row.len() - lead]);
    let (up_lead, up) = above.split_at(lead);
    let up_left = &above[..above.len() - lead];
    let lead = row[..lead].iter().zip(up_lead).zip(out_lead);
    match filter {
        SUB => {
            lead.for_each(|((here, _), out)| *out = *here);
            here.iter().zip(left).zip(out).for_each(|((h, l), out)| *out = h.wrapping_sub(*l));
        }
        UP => {
            lead.for_each(|((here, up), out)| *out = here.wrapping_sub(*up));
            here.iter().zip(up).zip(out).for_each(|((h, u), out)| *out = h.wrapping_sub(*u));
        }
        AVERAGE => {
            lead.for_each(|((here, up), out)| *out = here.wrapping_sub(up / 2));
            here.iter()
                .zip(left)
                .zip(up)
                .zip(out)
                .for_each(|(((h, l), u), out)| *out = h.wrapping_sub((l & u) + ((l ^ u) >> 1)));
        }
        _ => {
            lead.for_each(|((here, up), out)| *out = here.wrapping_sub(*up));
            here.iter()
                .zip(left)
                .zip(up)
                .zip(up_left)
                .zip(out)
                .for_each(|((((h, l), u), ul), out)| *out = h.wrapping_sub(paeth(*l, *u, *ul)));
        }
    }
}

/// The one of the three neighbours that is nearest to left + up - upper left; ties in that order.
fn paeth(left: u8, up: u8, up_left: u8) -> u8 {
    let (a, b, c) = (i16::from(left), i16::from(up), i16::from(up_left));
    let (to_a, to_b, to_c) = ((b - c).abs(), (a - c).abs(), (a + b - c - c).abs());
    let a_or_b = if to_a <= to_b { left } else { up };
    if to_a.min(to_b) <= to_c { a_or_b } else { up_left }
}

/// The sum of the residuals' distances from zero, both ways.
fn residual_sum(bytes: &[u8]) -> u64 {
    // In lanes of 16 bits, as few steps from a byte as there are: wider ones take twice the time.
    const LANES: usize = 32;
    // 255 times 128 is half of what a lane holds.
    const LINES_MAX: usize = 255;
    let distance = |byte: u8| byte.min(byte.wrapping_neg());
    let mut sum = 0;
    for block in bytes.chunks(LANES * LINES_MAX) {
        let (lines, rest) = block.as_chunks::<LANES>();
        let mut sums = [0_u16; LANES];
        for line in lines {
            for (lane, &byte) in sums.iter_mut().zip(line) {
                *lane += u16::from(distance(byte));
            }
        }
        sum += sums.into_iter().map(u64::from).sum::<u64>();
        sum += rest.iter().map(|&byte| u64::from(distance(byte))).sum::<u64>();
    }
    sum
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn unfilter(filtered: &[u8], row_bytes: usize, pixel_bytes: usize) -> Vec<u8> {
        let mut rows: Vec<u8> = Vec::new();
        for line in filtered.chunks_exact(row_bytes + 1) {
            let start = rows.len();
            for x in 0..row_bytes {
                let left = if x < pixel_bytes { 0 } else { rows[start + x - pixel_bytes] };
                let up = if start == 0 { 0 } else { rows[start - row_bytes + x] };
                let up_left = if start == 0 || x < pixel_bytes {
                    0
                } else {
                    rows[start - row_bytes + x - pixel_bytes]
                };
                let predicted = match line[0] {
                    NONE => 0,
                    SUB => left,
                    UP => up,
                    AVERAGE => u8::midpoint(left, up),
                    _ => paeth(left, up, up_left),
                };
                rows.push(line[x + 1].wrapping_add(predicted));
            }
        }
        rows
    }

    #[test]
    fn residuals_are_summed_whatever_their_number() {
        for length in [0, 1, 31, 32, 33, 8159, 8160, 8161, 20_000] {
            let bytes: Vec<u8> = (0..length).map(|at| [128, 0, 255, 1, 200][at % 5]).collect();
            let sum: u64 =
                bytes.iter().map(|&byte| u64::from(byte.cast_signed().unsigned_abs())).sum();
            assert_eq!(residual_sum(&bytes), sum, "{length}");
        }
        // No lane may run over.
        assert_eq!(residual_sum(&vec![128; 100_000]), 12_800_000);
    }

    proptest! {
        #[test]
        fn filtered_rows_come_back(
            (width, pixel_bytes) in (1..40_usize, prop::sample::select(vec![1, 2, 3, 4, 6, 8])),
            height in 1..9_usize,
            seed in any::<[u8; 16]>(),
        ) {
            let row_bytes = width * pixel_bytes;
            let rows: Vec<u8> = (0..row_bytes * height)
                .map(|at| seed[at % 16].wrapping_mul(seed[at / 16 % 16] | 1))
                .collect();
            let mut filtered = vec![0; (row_bytes + 1) * height];
            Adaptive::new(row_bytes, pixel_bytes).filter(&rows, &vec![0; row_bytes], &mut filtered);
            prop_assert_eq!(unfilter(&filtered, row_bytes, pixel_bytes), rows);
        }
    }
}
