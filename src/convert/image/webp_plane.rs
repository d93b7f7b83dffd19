//! One plane of samples as a stream of VP8L (WebP Lossless Bitstream Specification): the alpha of a lossy WEBP.
//!
//! libwebp's coder takes a plane as a picture of 32 bits, keeps a second one of it, and chains of all its pixels:
//! several times what the frame takes. This one has the plane and a table of 64 KiB. It looks for repetitions
//! some times to count symbols, and once more to write them, and keeps none.

use super::deflate::{prefix, prefix_extra, word};
use super::deflate_codes::{Code, LENGTH_BITS_MAX, LENGTH_SYMBOLS, code_lengths, codes, runs};
use super::sink::Sink;

/// Samples, and the lengths of repetitions.
const SAMPLES: usize = 256 + 24;
const DISTANCES: usize = 40;

/// The format has 15. With 14 a symbol and its further bits are 32 at most, and so are two symbols.
const BITS_MAX: usize = 14;

const MATCH_MAX: usize = 4096;

/// Shorter repetitions are not worth a look at what they cost.
const LENGTH_MIN: usize = 3;

/// What a probe reads.
const PROBE_BYTES: usize = 8;

/// How often repetitions are looked for before they are written: each time the costs are truer.
const LOOKS: usize = 3;

/// The unit of costs is a sixteenth of it.
const BIT: u32 = 16;

/// The largest number of the 40 symbols, less the 120 that stand for neighbours.
const DISTANCE_MAX: usize = (1 << 20) - NEIGHBOURS;
const NEIGHBOURS: usize = 120;

/// 16,384 entries of 4 bytes.
const HASH_BITS: u32 = 14;

/// Values that are packed: two of four bits each to a byte.
const VALUES_PACKED: usize = 16;

/// The order in which the lengths of the code lengths' own code are listed.
const LENGTH_ORDER: [usize; LENGTH_SYMBOLS] =
    [17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

/// What a stream consists of.
#[derive(Debug, Clone, Copy)]
enum Token {
    Sample(u8),
    Repetition { length: usize, distance: usize },
}

/// Writes `plane`, in rows of `width`, as the green of a picture. What does not fit is the sink's to tell. The
/// plane is spent: what is packed is so in its place.
pub(super) fn encode(mut plane: Vec<u8>, width: usize, sink: &mut Sink) {
    let mut out = Bits { sink, pending: 0, count: 0 };
    let values = values(&plane);
    // So many samples are one byte where they are so few values: a symbol has a bit at least, and most are zeros.
    let packed = match values.len() {
        0..=2 => 8,
        3..=4 => 4,
        5..=VALUES_PACKED => 2,
        _ => 1,
    };
    if packed > 1 {
        // A transform, of the third kind: a table of so many colours, each as the step from the one before.
        out.put(0b111 | (values.len() as u64 - 1) << 3, 11);
        let steps = values.iter().zip([0].iter().chain(&values));
        let steps: Vec<u8> = steps.map(|(value, before)| value.wrapping_sub(*before)).collect();
        out.image(&steps, steps.len(), false);
        pack(&mut plane, width, packed, &values);
    }
    // No further one.
    out.put(0, 1);
    out.image(&plane, width.div_ceil(packed), true);
    out.finish();
}

/// All values, in their order.
fn values(plane: &[u8]) -> Vec<u8> {
    let mut seen = [false; 256];
    for &sample in plane {
        seen[usize::from(sample)] = true;
    }
    (0..=u8::MAX).filter(|&value| seen[usize::from(value)]).collect()
}

/// Puts `packed` samples of a row into one, the first lowest, each as its place among `values`.
fn pack(plane: &mut Vec<u8>, width: usize, packed: usize, values: &[u8]) {
    let mut places = [0; 256];
    for (place, &value) in (0_u8..).zip(values) {
        places[usize::from(value)] = place;
    }
    let (rows, mut end) = (plane.len() / width, 0);
    for y in 0..rows {
        for x in (0..width).step_by(packed) {
            let samples = &plane[y * width + x..y * width + (x + packed).min(width)];
            let places = samples.iter().map(|sample| places[usize::from(*sample)]);
            let byte = places.rev().fold(0, |byte, place| byte << (8 / packed) | place);
            plane[end] = byte;
            end += 1;
        }
    }
    plane.truncate(end);
}

/// How often each symbol comes.
struct Counts {
    samples: [u32; SAMPLES],
    distances: [u32; DISTANCES],
}

impl Default for Counts {
    fn default() -> Self {
        Self { samples: [0; SAMPLES], distances: [0; DISTANCES] }
    }
}

impl Counts {
    fn add(&mut self, token: Token, width: usize) {
        match token {
            Token::Sample(sample) => self.samples[usize::from(sample)] += 1,
            Token::Repetition { length, distance } => {
                self.samples[256 + prefix(length)] += 1;
                self.distances[prefix(distance_code(distance, width))] += 1;
            }
        }
    }
}

/// What each symbol takes with its further bits, in sixteenths of a bit.
struct Costs {
    samples: [u32; SAMPLES],
    distances: [u32; DISTANCES],
}

impl Costs {
    /// Before anything is known of repetitions.
    fn first(counts: &Counts) -> Self {
        let mut costs = Self::of(counts);
        for length in 0..SAMPLES - 256 {
            costs.samples[256 + length] = BIT * (5 + u32::from(prefix_extra(length)));
        }
        for distance in 0..DISTANCES {
            costs.distances[distance] = BIT * (3 + u32::from(prefix_extra(distance)));
        }
        costs
    }

    /// Of an ideal code. What has not come yet is dear, and not out of the question.
    fn of(counts: &Counts) -> Self {
        fn ideal<const N: usize>(counts: &[u32; N]) -> [u32; N] {
            let all = counts.iter().sum::<u32>().max(1);
            counts.map(|count| {
                let bits = (f64::from(all) / f64::from(count.max(1))).log2() * f64::from(BIT);
                // At most 32 times 16, and not negative.
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
                let bits = bits as u32;
                bits.max(1)
            })
        }
        let (mut samples, mut distances) = (ideal(&counts.samples), ideal(&counts.distances));
        for (symbol, cost) in (0..).zip(&mut samples[256..]) {
            *cost += BIT * u32::from(prefix_extra(symbol));
        }
        for (symbol, cost) in (0..).zip(&mut distances) {
            *cost += BIT * u32::from(prefix_extra(symbol));
        }
        Self { samples, distances }
    }

    /// Whether the repetition takes less than its samples one by one.
    fn pays(&self, samples: &[u8], distance: usize, width: usize) -> bool {
        let distance = self.distances[prefix(distance_code(distance, width))];
        let mut left = self.samples[256 + prefix(samples.len())] + distance;
        for &sample in samples {
            let cost = self.samples[usize::from(sample)];
            if cost > left {
                return true;
            }
            left -= cost;
        }
        false
    }
}

/// Finds what `plane` consists of: the same for the same costs.
fn tokens(plane: &[u8], width: usize, costs: &Costs, mut take: impl FnMut(Token)) {
    let mut heads = vec![0_u32; 1 << HASH_BITS];
    let mut at = 0;
    while at < plane.len() {
        let found = repetition(plane, width, at, &mut heads);
        let found = found
            .filter(|(length, distance)| costs.pays(&plane[at..at + length], *distance, width));
        at += found.map_or(1, |(length, _)| length);
        take(match found {
            Some((length, distance)) => Token::Repetition { length, distance },
            None => Token::Sample(plane[at - 1]),
        });
    }
}

/// The longest of the repetitions that are looked at: length and distance.
fn repetition(plane: &[u8], width: usize, at: usize, heads: &mut [u32]) -> Option<(usize, usize)> {
    if at + PROBE_BYTES > plane.len() {
        return None;
    }
    let probed = word(plane, at);
    // All eight bytes, which lead to long repetitions, and the first four.
    let [far, less_far] = [probed, probed << 32].map(|probed| {
        let spread = probed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let head = &mut heads[usize::try_from(spread >> (64 - HASH_BITS)).unwrap_or(0)];
        let distance = at.wrapping_sub((*head as usize).wrapping_sub(1));
        *head = u32::try_from(at + 1).unwrap_or(0);
        distance
    });
    let mut best = (0, 0);
    // A longer one from further away must be worth its number.
    let near = [1, width, width + 1, width.wrapping_sub(1)].map(|distance| (distance, 1));
    for (distance, more) in near.into_iter().chain([(far, 3), (less_far, 3)]) {
        if (1..=at.min(DISTANCE_MAX)).contains(&distance) {
            let length = common(plane, at - distance, at);
            if length >= best.0 + more {
                best = (length, distance);
            }
        }
    }
    (best.0 >= LENGTH_MIN).then_some(best)
}

/// How many bytes from `there` on are the same as from `here` on, which comes later.
fn common(plane: &[u8], there: usize, here: usize) -> usize {
    let most = MATCH_MAX.min(plane.len() - here);
    let mut length = 0;
    while length + 8 <= most {
        let differ = word(plane, there + length) ^ word(plane, here + length);
        if differ != 0 {
            return length + differ.trailing_zeros() as usize / 8;
        }
        length += 8;
    }
    while length < most && plane[there + length] == plane[here + length] {
        length += 1;
    }
    length
}

/// Neighbours in the rows above have numbers of their own.
fn distance_code(distance: usize, width: usize) -> usize {
    match distance {
        1 => 2,
        _ if distance == width => 1,
        _ if distance == width + 1 => 3,
        _ if distance + 1 == width => 4,
        _ => distance + NEIGHBOURS,
    }
}

/// Bits, lowest first.
struct Bits<'a> {
    sink: &'a mut Sink,
    pending: u64,
    count: u32,
}

impl Bits<'_> {
    /// A picture whose green is `plane`: the main one, or one that tells of it.
    fn image(&mut self, plane: &[u8], width: usize, is_main: bool) {
        let mut counts = Counts::default();
        for &sample in plane {
            counts.samples[usize::from(sample)] += 1;
        }
        let mut costs = Costs::first(&counts);
        for look in 0..LOOKS {
            if look > 0 {
                costs = Costs::of(&counts);
            }
            counts = Counts::default();
            tokens(plane, width, &costs, |token| counts.add(token, width));
        }
        // No cache of colours, and one group of codes, which the main picture alone says.
        self.put(0, if is_main { 2 } else { 1 });
        let samples = self.code(&counts.samples);
        for _colour in ["red", "blue", "alpha"] {
            // One symbol, of one bit, which is zero.
            self.put(0b0001, 4);
        }
        let distances = self.code(&counts.distances);
        tokens(plane, width, &costs, |token| match token {
            Token::Sample(sample) => self.symbol(samples[usize::from(sample)]),
            Token::Repetition { length, distance } => {
                self.symbol(samples[256 + prefix(length)]);
                self.rest(length);
                let distance = distance_code(distance, width);
                self.symbol(distances[prefix(distance)]);
                self.rest(distance);
            }
        });
    }

    /// At most 32 bits at once.
    fn put(&mut self, bits: u64, count: u32) {
        self.pending |= bits << self.count;
        self.count += count;
        if self.count >= 32 {
            let [a, b, c, d, ..] = self.pending.to_le_bytes();
            self.sink.push(&[a, b, c, d]);
            self.pending >>= 32;
            self.count -= 32;
        }
    }

    fn symbol(&mut self, code: Code) {
        self.put(u64::from(code.bits), u32::from(code.count));
    }

    /// What the symbol leaves open of a number.
    fn rest(&mut self, number: usize) {
        let extra = u32::from(prefix_extra(prefix(number)));
        self.put((number - 1) as u64 & ((1 << extra) - 1), extra);
    }

    /// Writes the code for symbols that come so often, and returns it.
    fn code(&mut self, counts: &[u32]) -> Vec<Code> {
        let mut used = (0..counts.len()).filter(|&symbol| counts[symbol] > 0);
        let (first, more) = (used.next().unwrap_or(0), used.next());
        if more.is_none() {
            // One symbol, of eight bits, which takes none then: there is always a sample, so that it is below 256.
            self.put(0b101 | (first as u64) << 3, 11);
            return vec![Code::default(); counts.len()];
        }
        let mut lengths = vec![0; counts.len()];
        code_lengths(counts, BITS_MAX, &mut lengths);
        let symbols = runs(&lengths);
        let mut counts = [0; LENGTH_SYMBOLS];
        for &(symbol, ..) in &symbols {
            counts[usize::from(symbol)] += 1;
        }
        let mut own_lengths = [0; LENGTH_SYMBOLS];
        code_lengths(&counts, LENGTH_BITS_MAX, &mut own_lengths);
        let own = coded(&own_lengths);
        let is_listed = |&symbol: &usize| own_lengths[symbol] > 0;
        let listed = LENGTH_ORDER.iter().rposition(is_listed).map_or(4, |last| 4.max(last + 1));
        self.put((listed as u64 - 4) << 1, 5);
        for &symbol in &LENGTH_ORDER[..listed] {
            self.put(u64::from(own_lengths[symbol]), 3);
        }
        // All symbols have a length.
        self.put(0, 1);
        for (symbol, extra, extra_bits) in symbols {
            self.symbol(own[usize::from(symbol)]);
            self.put(u64::from(extra), u32::from(extra_bits));
        }
        coded(&lengths)
    }

    fn finish(self) {
        let bytes = self.count.div_ceil(8) as usize;
        self.sink.push(&self.pending.to_le_bytes()[..bytes]);
    }
}

/// The code of these lengths. A symbol that is the only one takes no bits.
fn coded(lengths: &[u8]) -> Vec<Code> {
    let mut made = vec![Code::default(); lengths.len()];
    if lengths.iter().filter(|length| **length > 0).count() > 1 {
        codes(lengths, &mut made);
    }
    made
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::super::webp_sys;
    use super::*;
    use crate::limits::ConvertLimits;

    /// A file of the plane alone, read back by libwebp: green is where it was written.
    fn there_and_back(plane: &[u8], width: usize) -> Vec<u8> {
        let limits = ConvertLimits::default();
        let mut sink = Sink::new(0, &limits);
        encode(plane.to_vec(), width, &mut sink);
        let stream = sink.finish("test", Ok::<_, String>(())).unwrap();
        let side = |pixels: usize| u32::try_from(pixels - 1).unwrap();
        let sides = side(width) | side(plane.len() / width) << 14;
        let body = [&[0x2f], sides.to_le_bytes().as_slice(), &stream].concat();
        let bytes = |length: usize| u32::try_from(length).unwrap().to_le_bytes();
        let padding = vec![0; body.len() % 2];
        let chunk = [b"WEBPVP8L", bytes(body.len()).as_slice(), &body, &padding].concat();
        let file = [b"RIFF", bytes(chunk.len()).as_slice(), &chunk].concat();
        let mut rows = vec![0; plane.len() * 3];
        webp_sys::decode_into(&file, false, &mut rows, width * 3).unwrap();
        rows.iter().skip(1).step_by(3).copied().collect()
    }

    /// Stretches of one value, of noise in few values or many, and of what was there a row or some before.
    fn planes() -> impl Strategy<Value = (Vec<u8>, usize)> {
        let parts = prop::collection::vec((0_u8..5, 1_usize..3000, any::<u32>()), 1..9);
        (parts, 1_usize..70).prop_map(|(parts, width)| {
            let mut plane = Vec::new();
            for (kind, length, mut state) in parts {
                let [value, ..] = state.to_be_bytes();
                for _ in 0..length {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    let [noise, ..] = state.to_be_bytes();
                    let before = |back: usize| {
                        plane.len().checked_sub(back).map_or(noise, |at: usize| plane[at])
                    };
                    let sample = [value, noise, noise % 3, before(width), before(700)];
                    let sample = sample[usize::from(kind)];
                    plane.push(sample);
                }
            }
            plane.resize(plane.len().next_multiple_of(width), 9);
            // No picture has more rows.
            plane.truncate(16_383 * width);
            (plane, width)
        })
    }

    proptest! {
        #[test]
        fn planes_come_back((plane, width) in planes()) {
            prop_assert_eq!(there_and_back(&plane, width), plane);
        }
    }

    #[test]
    fn the_smallest_and_the_plainest_come_back() {
        for (plane, width) in [
            (vec![7], 1),
            (vec![0; 3], 3),
            (vec![255; 16_383], 16_383),
            (vec![1; 200_000], 100),
            ([3, 200].repeat(77), 11),
            ([0, 1, 255, 7].repeat(99), 9),
            ((0..16).collect::<Vec<_>>().repeat(35), 7),
            ((0..=255).collect::<Vec<_>>(), 16),
            ((0..=255).cycle().take(256 * 40).collect(), 256),
        ] {
            assert!(there_and_back(&plane, width) == plane, "{} of {width}", plane.len());
        }
    }
}
