//! Deflate for filtered rows of pictures.
//!
//! Residuals of a photograph have almost no repetitions, only an uneven distribution, and those of a
//! drawing are mostly zeros. So this takes runs of zeros at once, looks for other repetitions with
//! one probe where the last ones were found and with longer and longer steps where none are, and
//! gives each block a Huffman code of its own, which libraries of the same speed do not.

use super::deflate_codes::{BlockCodes, DISTANCES, LITERALS};

/// The format's window; one less, so that a distance has 16 bits at any rate.
const WINDOW: usize = 32_767;
const MATCH_MAX: usize = 258;

/// Shorter repetitions of residuals cost about what their bytes cost one by one, and more time.
const MATCH_MIN: usize = 8;

/// 8192 entries of 4 bytes stay in the first cache.
const HASH_BITS: u32 = 13;

/// After 16 probes without a match, steps become a byte longer, and so on up to the maximum.
const STEP_SHIFT: usize = 4;
const STEP_MAX: usize = 24;

/// Coding noise takes as long as coding anything else, and gains a percent at most; storing it, and
/// reading it back, is nearly free.
const GAIN_PERCENT_MIN: u64 = 2;

const END_OF_BLOCK: usize = 256;
const STORED_MAX: usize = 65_535;

/// Bytes as they are, then bytes from before.
#[derive(Debug, Clone, Copy)]
struct Sequence {
    literals: usize,
    length: usize,
    distance: usize,
}

/// Makes one deflate stream, block by block.
pub(super) struct Deflater {
    /// The last bytes of the blocks before, then the block: matches reach back.
    window: Vec<u8>,
    /// Where the block begins in `window`.
    block_start: usize,
    /// Position in the whole stream of the first byte in `window`.
    base: usize,
    /// Positions in the whole stream, plus one, by the hash of the bytes there.
    heads: Vec<u32>,
    sequences: Vec<Sequence>,
    out: BitWriter,
}

impl Deflater {
    pub(super) fn new() -> Self {
        Self {
            window: Vec::new(),
            block_start: 0,
            base: 0,
            heads: vec![0; 1 << HASH_BITS],
            sequences: Vec::new(),
            out: BitWriter::default(),
        }
    }

    /// Room for the next block, zeroed; it follows what was compressed before.
    pub(super) fn block(&mut self, bytes: usize) -> &mut [u8] {
        let drop = self.window.len().saturating_sub(WINDOW);
        self.window.drain(..drop);
        self.base += drop;
        self.block_start = self.window.len();
        self.window.resize(self.block_start + bytes, 0);
        &mut self.window[self.block_start..]
    }

    /// Compresses the block, and returns what of the stream is whole bytes by now.
    pub(super) fn compress(&mut self, last: bool) -> &[u8] {
        self.find_matches();
        let block = &self.window[self.block_start..];
        let (literal_counts, distance_counts) = count(block, &self.sequences);
        let codes = BlockCodes::new(&literal_counts, &distance_counts);
        self.out.start(block.len());
        let coded_bits = bits(&codes, &literal_counts, &distance_counts);
        if coded_bits * 100 >= block.len() as u64 * 8 * (100 - GAIN_PERCENT_MIN) {
            self.out.stored(block, last);
        } else {
            self.out.coded(block, &self.sequences, &codes, last);
        }
        if last {
            self.out.align();
        }
        self.out.finished()
    }

    fn find_matches(&mut self) {
        self.sequences.clear();
        let bytes = self.window.as_slice();
        let end = bytes.len();
        let (mut at, mut literals_from, mut misses) = (self.block_start, self.block_start, 0);
        // A probe reads eight bytes.
        while at + 8 <= end {
            let word = word(bytes, at);
            let mut found = None;
            if word == 0 {
                found = zeros(bytes, at, literals_from);
            } else {
                let head = &mut self.heads[hash(word)];
                let candidate = (*head as usize).wrapping_sub(self.base + 1);
                *head = u32::try_from(self.base + at + 1).unwrap_or(0);
                if candidate < at && at - candidate <= WINDOW {
                    found = repetition(bytes, candidate, at, literals_from);
                }
            }
            if let Some((start, length, distance)) = found {
                let literals = start - literals_from;
                push(&mut self.sequences, literals, length, distance);
                at = start + length;
                literals_from = at;
                misses = 0;
            } else {
                at += 1 + (misses >> STEP_SHIFT).min(STEP_MAX);
                misses += 1;
            }
        }
        self.sequences.push(Sequence { literals: end - literals_from, length: 0, distance: 0 });
    }
}

pub(super) fn word(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// Of all eight bytes: what is shorter is no match. The multiplier is 2 to the 64th over the golden
/// ratio, whose upper bits depend on all bits of the word.
fn hash(word: u64) -> usize {
    let spread = word.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    usize::try_from(spread >> (64 - HASH_BITS)).unwrap_or(0)
}

/// The zeros around `at`, down to `floor`, as a match with the one before each: start, length, 1.
fn zeros(bytes: &[u8], at: usize, floor: usize) -> Option<(usize, usize, usize)> {
    let before = bytes[floor..at].iter().rev().take_while(|&&byte| byte == 0).count();
    let mut end = at;
    while end + 8 <= bytes.len() && word(bytes, end) == 0 {
        end += 8;
    }
    end += bytes[end..].iter().take_while(|&&byte| byte == 0).count();
    // The first zero is a literal, unless there is one before it already.
    let mut start = at - before;
    if start == 0 || bytes[start - 1] != 0 {
        start += 1;
    }
    (end - start >= MATCH_MIN).then_some((start, end - start, 1))
}

/// The match between `candidate` and `at`, extended both ways: start, length, distance.
fn repetition(
    bytes: &[u8],
    candidate: usize,
    at: usize,
    floor: usize,
) -> Option<(usize, usize, usize)> {
    let distance = at - candidate;
    let mut length = 0;
    while at + length + 8 <= bytes.len() {
        let differ = word(bytes, candidate + length) ^ word(bytes, at + length);
        if differ != 0 {
            length += differ.trailing_zeros() as usize / 8;
            break;
        }
        length += 8;
    }
    if length < MATCH_MIN {
        return None;
    }
    let before = bytes[floor..at]
        .iter()
        .rev()
        .zip(bytes[..candidate].iter().rev())
        .take_while(|(here, there)| here == there)
        .count();
    Some((at - before, before + length, distance))
}

/// Adds a match of any length, as several where it is longer than the format's longest.
fn push(sequences: &mut Vec<Sequence>, mut literals: usize, mut length: usize, distance: usize) {
    while length > 0 {
        // No rest of less than 3, which the format cannot express.
        let part = match length {
            0..=MATCH_MAX => length,
            261.. => MATCH_MAX,
            _ => length - 3,
        };
        sequences.push(Sequence { literals, length: part, distance });
        literals = 0;
        length -= part;
    }
}

/// How often each symbol comes; the end of the block once.
fn count(block: &[u8], sequences: &[Sequence]) -> ([u32; LITERALS], [u32; DISTANCES]) {
    // Four tables, for a counter that was just written cannot be read at once.
    let mut tables = [[0_u32; 256]; 4];
    let mut literals = [0; LITERALS];
    let mut distances = [0; DISTANCES];
    let mut at = 0;
    for sequence in sequences {
        let run = &block[at..at + sequence.literals];
        let (fours, rest) = run.as_chunks::<4>();
        for four in fours {
            for (table, &byte) in tables.iter_mut().zip(four) {
                table[usize::from(byte)] += 1;
            }
        }
        for &byte in rest {
            tables[0][usize::from(byte)] += 1;
        }
        if sequence.length > 0 {
            literals[usize::from(LENGTH_SYMBOLS[sequence.length])] += 1;
            distances[prefix(sequence.distance)] += 1;
        }
        at += sequence.literals + sequence.length;
    }
    for table in &tables {
        for (sum, count) in literals.iter_mut().zip(table) {
            *sum += count;
        }
    }
    literals[END_OF_BLOCK] = 1;
    (literals, distances)
}

/// What the block takes in its codes.
fn bits(codes: &BlockCodes, literals: &[u32; LITERALS], distances: &[u32; DISTANCES]) -> u64 {
    let header: u64 = codes.header.iter().map(|&(_, count)| u64::from(count)).sum();
    let extra = |symbol: usize| u64::from(LENGTH_EXTRA[symbol.saturating_sub(257).min(28)]);
    let in_literals =
        codes.literals.iter().zip(literals).enumerate().map(|(symbol, (code, &count))| {
            let further = if symbol > END_OF_BLOCK { extra(symbol) } else { 0 };
            (u64::from(code.count) + further) * u64::from(count)
        });
    let in_distances =
        codes.distances.iter().zip(distances).enumerate().map(|(symbol, (code, &count))| {
            (u64::from(code.count) + u64::from(prefix_extra(symbol))) * u64::from(count)
        });
    header + in_literals.sum::<u64>() + in_distances.sum::<u64>()
}

const LENGTH_BASE: [u16; 29] = [
    3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131,
    163, 195, 227, 258,
];
const LENGTH_EXTRA: [u8; 29] =
    [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];

/// The symbol of each length, 257 and up.
static LENGTH_SYMBOLS: [u16; MATCH_MAX + 1] = {
    let mut symbols = [0; MATCH_MAX + 1];
    let mut length = 3;
    let mut index = 0;
    let mut symbol = 257;
    while length <= MATCH_MAX {
        if index < 28 && length >= LENGTH_BASE[index + 1] as usize {
            index += 1;
            symbol += 1;
        }
        symbols[length] = symbol;
        length += 1;
    }
    symbols
};

/// Two symbols for each power of two, from 5 on: the highest bit and the next.
pub(super) fn prefix(distance: usize) -> usize {
    let offset = distance - 1;
    if offset < 4 {
        return offset;
    }
    let top = offset.ilog2() as usize;
    2 * top + (offset >> (top - 1) & 1)
}

pub(super) fn prefix_extra(symbol: usize) -> u8 {
    u8::try_from(symbol / 2).unwrap_or(0).saturating_sub(1)
}

/// Bits into bytes, lowest first. The rest of a byte stays for the next block.
#[derive(Default)]
struct BitWriter {
    bytes: Vec<u8>,
    length: usize,
    pending: u64,
    pending_bits: u32,
}

impl BitWriter {
    /// Takes what was finished away, and makes room for a block in either form.
    fn start(&mut self, block_bytes: usize) {
        self.length = 0;
        // 14 bits a literal at most, 41 a match of eight bytes or more; a header is below 1 KiB.
        self.bytes.resize((block_bytes * 2 + 2048).max(self.bytes.len()), 0);
    }

    fn finished(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    #[inline]
    fn put(&mut self, bits: u64, count: u32) {
        self.pending |= bits << self.pending_bits;
        self.pending_bits += count;
    }

    /// At most seven bits stay.
    #[inline]
    fn flush(&mut self) {
        if let Some(room) = self.bytes.get_mut(self.length..self.length + 8) {
            room.copy_from_slice(&self.pending.to_le_bytes());
        }
        let whole = self.pending_bits / 8;
        self.length += whole as usize;
        self.pending = self.pending.checked_shr(whole * 8).unwrap_or(0);
        self.pending_bits %= 8;
    }

    fn align(&mut self) {
        self.pending_bits = self.pending_bits.next_multiple_of(8);
        self.flush();
    }

    fn stored(&mut self, block: &[u8], last: bool) {
        let parts = block.chunks(STORED_MAX);
        let count = parts.len();
        for (number, part) in (1..).zip(parts) {
            self.put(u64::from(last && number == count), 3);
            self.align();
            let length = part.len() as u64;
            self.put(length | (!length & 0xffff) << 16, 32);
            self.flush();
            if let Some(room) = self.bytes.get_mut(self.length..self.length + part.len()) {
                room.copy_from_slice(part);
                self.length += part.len();
            }
        }
    }

    fn coded(&mut self, block: &[u8], sequences: &[Sequence], codes: &BlockCodes, last: bool) {
        self.put(0b100 | u64::from(last), 3);
        for &(value, count) in &codes.header {
            self.put(u64::from(value), u32::from(count));
            self.flush();
        }
        let mut at = 0;
        for sequence in sequences {
            self.literals(&block[at..at + sequence.literals], codes);
            if sequence.length > 0 {
                self.repetition(sequence, codes);
            }
            at += sequence.literals + sequence.length;
        }
        let end = codes.literals[END_OF_BLOCK];
        self.put(u64::from(end.bits), u32::from(end.count));
        self.flush();
    }

    #[inline]
    fn literals(&mut self, run: &[u8], codes: &BlockCodes) {
        let (fours, rest) = run.as_chunks::<4>();
        for four in fours {
            for &byte in four {
                let code = codes.literals[usize::from(byte)];
                self.put(u64::from(code.bits), u32::from(code.count));
            }
            self.flush();
        }
        for &byte in rest {
            let code = codes.literals[usize::from(byte)];
            self.put(u64::from(code.bits), u32::from(code.count));
        }
        self.flush();
    }

    #[inline]
    fn repetition(&mut self, sequence: &Sequence, codes: &BlockCodes) {
        let symbol = usize::from(LENGTH_SYMBOLS[sequence.length]);
        let code = codes.literals[symbol];
        self.put(u64::from(code.bits), u32::from(code.count));
        let base = usize::from(LENGTH_BASE[symbol - 257]);
        self.put((sequence.length - base) as u64, u32::from(LENGTH_EXTRA[symbol - 257]));
        let symbol = prefix(sequence.distance);
        let code = codes.distances[symbol];
        self.put(u64::from(code.bits), u32::from(code.count));
        let extra = u32::from(prefix_extra(symbol));
        self.put((sequence.distance - 1) as u64 & ((1 << extra) - 1), extra);
        self.flush();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn deflated(blocks: &[Vec<u8>]) -> Vec<u8> {
        let mut deflater = Deflater::new();
        let mut stream = Vec::new();
        for (number, block) in (1..).zip(blocks) {
            deflater.block(block.len()).copy_from_slice(block);
            stream.extend_from_slice(deflater.compress(number == blocks.len()));
        }
        stream
    }

    fn inflated(stream: &[u8], bytes: usize) -> Vec<u8> {
        let mut back = vec![0; bytes];
        let got = libdeflater::Decompressor::new().deflate_decompress(stream, &mut back).unwrap();
        assert_eq!(got, bytes);
        back
    }

    /// Stretches of zeros, of noise, of noise in few values, and of what was there before.
    fn stretches() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec((0_u8..4, 1_usize..1500, any::<u32>()), 1..12).prop_map(|parts| {
            let mut bytes = Vec::new();
            for (kind, length, mut state) in parts {
                for _ in 0..length {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    let [noise, ..] = state.to_be_bytes();
                    let back = bytes.len().wrapping_sub(700);
                    bytes.push(match kind {
                        0 => 0,
                        1 => noise,
                        2 => noise % 5,
                        _ => bytes.get(back).copied().unwrap_or(noise),
                    });
                }
            }
            bytes
        })
    }

    proptest! {
        #[test]
        fn blocks_come_back(blocks in prop::collection::vec(stretches(), 1..4)) {
            let whole = blocks.concat();
            prop_assert_eq!(inflated(&deflated(&blocks), whole.len()), whole);
        }
    }

    #[test]
    fn runs_of_all_lengths_come_back() {
        for zeros in (0..1100).chain([32_767, 32_768, 70_000]) {
            let block = [vec![7; 3], vec![0; zeros], vec![9; 2]].concat();
            assert_eq!(
                inflated(&deflated(std::slice::from_ref(&block)), block.len()),
                block,
                "{zeros} zeros"
            );
        }
    }

    #[test]
    fn noise_is_stored_and_zeros_vanish() {
        let mut state = 1_u64;
        let mut noise = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state.to_be_bytes()[0]
        };
        let block: Vec<u8> = (0..200_000).map(|_| noise()).collect();
        // Five bytes for each of the four stored parts.
        assert_eq!(deflated(&[block]).len(), 200_000 + 4 * 5);
        assert!(deflated(&[vec![0; 200_000]]).len() < 400);
    }
}
