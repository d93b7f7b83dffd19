//! What results are called, and whether two would be called the same.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufWriter, Read as _, Seek as _, Write as _};

use xxhash_rust::xxh3::xxh3_64;

/// Hashes that are kept in memory: 8 MiB of them. More go to temporary files, by their first bits.
const KEPT_MAX: usize = 1 << 20;

/// 64 files of a billion names are 125 MB each, of which one is in memory at a time.
const PARTS: usize = 64;
const PART_SHIFT: u32 = 58;

/// The name of a result: that of its source, with the extension of what it becomes.
pub(super) fn result_name(source: &[u8], extension: &str) -> Vec<u8> {
    let start = source.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    // A name that begins with its only dot has no extension.
    let dot = source[start..].iter().rposition(|byte| *byte == b'.').filter(|dot| *dot > 0);
    let stem = dot.map_or(source, |dot| &source[..start + dot]);
    [stem, b".", extension.as_bytes()].concat()
}

/// Names that were seen, of which those are found that came twice.
#[derive(Default)]
pub(super) struct Seen {
    kept: Vec<u64>,
    parts: Vec<BufWriter<File>>,
}

impl Seen {
    pub(super) fn add(&mut self, name: &[u8]) -> io::Result<()> {
        self.kept.push(xxh3_64(name));
        if self.kept.len() < KEPT_MAX {
            return Ok(());
        }
        self.spill()
    }

    fn spill(&mut self) -> io::Result<()> {
        if self.parts.is_empty() {
            for _ in 0..PARTS {
                self.parts.push(BufWriter::new(tempfile::tempfile()?));
            }
        }
        for hash in self.kept.drain(..) {
            // Six bits.
            let part = usize::try_from(hash >> PART_SHIFT).unwrap_or_default();
            self.parts[part].write_all(&hash.to_ne_bytes())?;
        }
        Ok(())
    }

    /// The hashes that came more than once. Different names may have one: whoever asks looks again.
    pub(super) fn twice(mut self) -> io::Result<HashSet<u64>> {
        let mut found = HashSet::new();
        if self.parts.is_empty() {
            doubles(&mut self.kept, &mut found);
            return Ok(found);
        }
        self.spill()?;
        for part in self.parts {
            let mut file = part.into_inner().map_err(io::IntoInnerError::into_error)?;
            file.rewind()?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            let (hashes, _) = bytes.as_chunks::<8>();
            let mut hashes: Vec<u64> = hashes.iter().copied().map(u64::from_ne_bytes).collect();
            doubles(&mut hashes, &mut found);
        }
        Ok(found)
    }
}

pub(super) fn hash(name: &[u8]) -> u64 {
    xxh3_64(name)
}

fn doubles(hashes: &mut [u64], found: &mut HashSet<u64>) {
    hashes.sort_unstable();
    found.extend(hashes.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]));
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_called_after_its_source() {
        for (source, result) in [
            (&b"a.png"[..], &b"a.jpg"[..]),
            (b"a/b.c/d", b"a/b.c/d.jpg"),
            (b"a/b.tar.gz", b"a/b.tar.jpg"),
            (b".hidden", b".hidden.jpg"),
            (b"a/.b.png", b"a/.b.jpg"),
            (b"\xff.png", b"\xff.jpg"),
        ] {
            assert_eq!(result_name(source, "jpg"), result);
        }
    }

    #[test]
    fn names_that_come_twice_are_found_in_memory_and_on_disk() {
        for count in [10_usize, KEPT_MAX + 10] {
            let mut seen = Seen::default();
            for number in 0..count {
                seen.add(&number.to_ne_bytes()).unwrap();
            }
            seen.add(&7_usize.to_ne_bytes()).unwrap();
            assert_eq!(seen.twice().unwrap(), HashSet::from([hash(&7_usize.to_ne_bytes())]));
        }
    }
}
