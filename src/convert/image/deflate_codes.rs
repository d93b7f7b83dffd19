//! Huffman codes of deflate (RFC 1951), made to fit the symbols of one block.

/// Literals, the end of a block, and 29 lengths.
pub(super) const LITERALS: usize = 286;
pub(super) const DISTANCES: usize = 30;

/// The format has 15; with 14, four literals and a byte's rest always fit into 64 bits.
const BITS_MAX: usize = 14;

/// Codes of the code lengths themselves have 3 bits for their own.
pub(super) const LENGTH_BITS_MAX: usize = 7;
pub(super) const LENGTH_SYMBOLS: usize = 19;

/// The order in which a block's header lists them.
const LENGTH_ORDER: [usize; LENGTH_SYMBOLS] =
    [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// Zeros as one symbol: 3 to 10 by 3 further bits, 11 to 138 by 7.
const ZEROS_SHORT: u8 = 17;
const ZEROS_LONG: u8 = 18;

/// A code, first bit lowest, and how many bits it has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Code {
    pub(super) bits: u16,
    pub(super) count: u8,
}

/// The two codes of a block, and the header that tells them to the reader.
pub(super) struct BlockCodes {
    pub(super) literals: [Code; LITERALS],
    pub(super) distances: [Code; DISTANCES],
    /// Values and their numbers of bits, in the order of the file.
    pub(super) header: Vec<(u16, u8)>,
}

impl BlockCodes {
    pub(super) fn new(
        literal_counts: &[u32; LITERALS],
        distance_counts: &[u32; DISTANCES],
    ) -> Self {
        let (mut literal_lengths, mut distance_lengths) = ([0; LITERALS], [0; DISTANCES]);
        code_lengths(literal_counts, BITS_MAX, &mut literal_lengths);
        code_lengths(distance_counts, BITS_MAX, &mut distance_lengths);
        let (mut literals, mut distances) =
            ([Code::default(); LITERALS], [Code::default(); DISTANCES]);
        codes(&literal_lengths, &mut literals);
        codes(&distance_lengths, &mut distances);
        Self { literals, distances, header: header(&literal_lengths, &distance_lengths) }
    }
}

/// The header after the block's type: how many lengths there are, their own code, the lengths.
fn header(literals: &[u8; LITERALS], distances: &[u8; DISTANCES]) -> Vec<(u16, u8)> {
    let used = |lengths: &[u8], least: usize| {
        lengths.iter().rposition(|&length| length > 0).map_or(least, |last| least.max(last + 1))
    };
    let (literals, distances) =
        (&literals[..used(literals, 257)], &distances[..used(distances, 1)]);
    let symbols = runs(&[literals, distances].concat());

    let mut counts = [0; LENGTH_SYMBOLS];
    for &(symbol, ..) in &symbols {
        counts[usize::from(symbol)] += 1;
    }
    let (mut lengths, mut length_codes) = ([0; LENGTH_SYMBOLS], [Code::default(); LENGTH_SYMBOLS]);
    code_lengths(&counts, LENGTH_BITS_MAX, &mut lengths);
    codes(&lengths, &mut length_codes);
    let listed = LENGTH_ORDER
        .iter()
        .rposition(|&symbol| lengths[symbol] > 0)
        .map_or(4, |last| 4.max(last + 1));

    let number = |value: usize| u16::try_from(value).unwrap_or(u16::MAX);
    let mut header = vec![
        (number(literals.len() - 257), 5),
        (number(distances.len() - 1), 5),
        (number(listed - 4), 4),
    ];
    header.extend(LENGTH_ORDER[..listed].iter().map(|&symbol| (u16::from(lengths[symbol]), 3)));
    for (symbol, extra, extra_bits) in symbols {
        let code = length_codes[usize::from(symbol)];
        header.push((code.bits, code.count));
        header.push((extra, extra_bits));
    }
    header
}

/// Lengths as symbols with their further bits: runs of zeros are one each.
pub(super) fn runs(lengths: &[u8]) -> Vec<(u8, u16, u8)> {
    let mut symbols = Vec::new();
    for run in lengths.chunk_by(|one, other| one == other) {
        let mut left = u16::try_from(run.len()).unwrap_or(u16::MAX);
        while run[0] == 0 && left >= 3 {
            let zeros = left.min(138);
            left -= zeros;
            symbols.push(if zeros < 11 {
                (ZEROS_SHORT, zeros - 3, 3)
            } else {
                (ZEROS_LONG, zeros - 11, 7)
            });
        }
        symbols.extend((0..left).map(|_| (run[0], 0, 0)));
    }
    symbols
}

/// Huffman's code lengths for `counts`, none longer than `bits_max`; unused symbols have 0.
pub(super) fn code_lengths(counts: &[u32], bits_max: usize, lengths: &mut [u8]) {
    let mut used: Vec<usize> = (0..counts.len()).filter(|&symbol| counts[symbol] > 0).collect();
    // Rarest first; by number where counts are equal, so that the file is the same every time.
    used.sort_by_key(|&symbol| (counts[symbol], symbol));
    let weights: Vec<u64> = used.iter().map(|&symbol| u64::from(counts[symbol])).collect();
    let mut of_length = lengths_of_tree(&weights, bits_max);
    fit(&mut of_length, bits_max);
    // The longest codes go to the rarest symbols.
    let mut rarest = used.into_iter();
    for length in (1..=bits_max).rev() {
        for symbol in rarest.by_ref().take(of_length[length]) {
            lengths[symbol] = u8::try_from(length).unwrap_or(u8::MAX);
        }
    }
}

/// How many symbols have which depth in Huffman's tree over ascending `weights`. Depths beyond
/// `bits_max` count as that.
fn lengths_of_tree(weights: &[u64], bits_max: usize) -> Vec<usize> {
    let mut of_length = vec![0; bits_max + 1];
    if weights.len() < 2 {
        // A code of one symbol still has a bit.
        of_length[1] = weights.len();
        return of_length;
    }
    // Nodes: the symbols, then each pair in the order of its making, which is also ascending.
    let symbols = weights.len();
    let mut weight = weights.to_vec();
    let mut parent = vec![0; 2 * symbols - 1];
    let (mut leaf, mut pair) = (0, symbols);
    for made in symbols..2 * symbols - 1 {
        let mut sum = 0;
        for _ in 0..2 {
            let take_leaf = leaf < symbols && (pair >= made || weight[leaf] <= weight[pair]);
            let node = if take_leaf { &mut leaf } else { &mut pair };
            sum += weight[*node];
            parent[*node] = made;
            *node += 1;
        }
        weight.push(sum);
    }
    let mut depth = vec![0; 2 * symbols - 1];
    for node in (0..2 * symbols - 2).rev() {
        depth[node] = depth[parent[node]] + 1;
        if node < symbols {
            of_length[depth[node].min(bits_max)] += 1;
        }
    }
    of_length
}

/// Depths that were cut to `bits_max` take too much of the code space: shorter codes give way, each
/// making room by becoming two of a bit more.
fn fit(of_length: &mut [usize], bits_max: usize) {
    let mut taken: usize =
        (1..=bits_max).map(|length| of_length[length] << (bits_max - length)).sum();
    while taken > 1 << bits_max {
        of_length[bits_max] -= 1;
        if let Some(length) = (1..bits_max).rev().find(|&length| of_length[length] > 0) {
            of_length[length] -= 1;
            of_length[length + 1] += 2;
        }
        taken -= 1;
    }
}

/// The codes that belong to `lengths` by the format's rule, turned so that the first bit is lowest.
pub(super) fn codes(lengths: &[u8], codes: &mut [Code]) {
    let mut next = 0_u16;
    for length in 1..=15 {
        for (code, _) in codes.iter_mut().zip(lengths).filter(|(_, of)| **of == length) {
            *code = Code { bits: next.reverse_bits() >> (16 - length), count: length };
            next += 1;
        }
        next <<= 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn codes_are_complete_and_none_begins_another(
            counts in prop::collection::vec(0_u32..100_000, 2..286),
            skew in 0_u32..20,
        ) {
            // Powers of two make the deepest trees.
            let counts: Vec<u32> = (0_u32..).zip(counts)
                .map(|(at, count)| if at < skew { 1 << at } else { count }).collect();
            let mut lengths = vec![0; counts.len()];
            code_lengths(&counts, BITS_MAX, &mut lengths);
            let used = counts.iter().filter(|&&count| count > 0).count();
            prop_assert_eq!(lengths.iter().filter(|&&length| length > 0).count(), used);
            prop_assert!(lengths.iter().all(|&length| usize::from(length) <= BITS_MAX));
            let space: usize = lengths.iter().filter(|&&length| length > 0)
                .map(|&length| 1 << (BITS_MAX - usize::from(length))).sum();
            prop_assert_eq!(space, match used { 0 => 0, 1 => 1 << (BITS_MAX - 1), _ => 1 << BITS_MAX });
        }
    }

    #[test]
    fn codes_follow_the_example_of_the_format() {
        // RFC 1951, 3.2.2: lengths of A to H, and their codes.
        let mut made = [Code::default(); 8];
        codes(&[3, 3, 3, 3, 3, 2, 4, 4], &mut made);
        let plain: Vec<u16> =
            made.iter().map(|code| code.bits.reverse_bits() >> (16 - code.count)).collect();
        assert_eq!(plain, [0b010, 0b011, 0b100, 0b101, 0b110, 0b00, 0b1110, 0b1111]);
    }
}
