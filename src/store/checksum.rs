//! The checksum that is kept with every file, XXH3-128.
//!
//! It is an extended attribute of the file, written before the file gets its name, so that the two
//! cannot come apart. Where a file system has no extended attributes, a small file beside it holds
//! the checksum under the *number* of the file (its inode): that too is there before the file gets
//! its name, stays right when the name changes, and cannot be taken for that of another file of the
//! same name. A file that was copied into the directory by hand has none, and is not checked.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::sync::atomic::{AtomicBool, Ordering};

use xxhash_rust::xxh3::Xxh3;

use super::StoreError;
use super::name::OWN_PREFIX;
use crate::io::Dir;

const ATTRIBUTE: &str = "user.fxsrv.xxh3";

/// 128 bits as hexadecimal digits: a person can compare them with what `xxh128sum` says.
const TEXT_BYTES: usize = 32;

/// Takes a file in pieces.
pub(super) struct Hasher(Box<Xxh3>);

impl Default for Hasher {
    fn default() -> Self {
        Self(Box::new(Xxh3::new()))
    }
}

impl Hasher {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(super) fn finish(&self) -> u128 {
        self.0.digest128()
    }
}

/// The checksum of a file that is in memory as a whole.
pub(super) fn checksum(bytes: &[u8]) -> u128 {
    xxhash_rust::xxh3::xxh3_128(bytes)
}

/// Holds what a file hashes to against what was stored with it, where something was.
pub(super) fn verify(
    stored: Option<u128>,
    compute: impl FnOnce() -> u128,
) -> Result<(), StoreError> {
    let Some(stored) = stored else { return Ok(()) };
    let computed = compute();
    if computed == stored { Ok(()) } else { Err(StoreError::Damaged { computed, stored }) }
}

/// Where checksums are kept.
#[derive(Debug, Default)]
pub(super) struct Checksums {
    /// The file system has no extended attributes. Found out by the first file; a race between two
    /// of them ends with the same value.
    beside: AtomicBool,
}

impl Checksums {
    /// The checksum that was stored with a file.
    pub(super) fn of(&self, dir: &Dir, file: &File) -> io::Result<Option<u128>> {
        let mut text = [0; TEXT_BYTES];
        if !self.are_beside() {
            match Dir::attribute(file, ATTRIBUTE, &mut text) {
                Ok(Some(bytes)) => return parse(&text[..bytes]).map(Some),
                Ok(None) => return Ok(None),
                Err(error) if is_unsupported(&error) => self.beside.store(true, Ordering::Relaxed),
                Err(error) => return Err(error),
            }
        }
        match dir.open_file(&name_beside(file.metadata()?.ino())) {
            Ok(mut beside) => {
                beside.read_exact(&mut text)?;
                parse(&text).map(Some)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Stores the checksum of a file.
    pub(super) fn store(&self, dir: &Dir, file: &File, checksum: u128) -> io::Result<()> {
        let text = format!("{checksum:032x}");
        if !self.are_beside() {
            match Dir::set_attribute(file, ATTRIBUTE, text.as_bytes()) {
                Err(error) if is_unsupported(&error) => self.beside.store(true, Ordering::Relaxed),
                done => return done,
            }
        }
        let name = name_beside(file.metadata()?.ino());
        // A number is used again once its file is gone, and a crash may have left the old checksum.
        let _ = dir.remove(&name);
        let mut beside = dir.create_file(&name)?;
        beside.write_all(text.as_bytes())?;
        beside.sync_all()
    }

    /// Whether they are in files of their own.
    pub(super) fn are_beside(&self) -> bool {
        self.beside.load(Ordering::Relaxed)
    }

    /// Forgets the checksum of the file of this number, which is gone.
    pub(super) fn forget(&self, dir: &Dir, number: u64) {
        if self.are_beside() {
            // What stays is swept at the next start.
            let _ = dir.remove(&name_beside(number));
        }
    }
}

/// The number of the file that a name of our own holds the checksum of.
pub(super) fn number_in(name: &str) -> Option<u64> {
    name.strip_prefix(OWN_PREFIX)?.strip_prefix("xxh3-")?.parse().ok()
}

fn name_beside(number: u64) -> String {
    format!("{OWN_PREFIX}xxh3-{number}")
}

fn is_unsupported(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::ENOSYS))
}

/// A checksum that is none is damage like any other: the file must not pass for one without.
fn parse(text: &[u8]) -> io::Result<u128> {
    let digits = std::str::from_utf8(text).ok().filter(|text| text.len() == TEXT_BYTES);
    digits.and_then(|digits| u128::from_str_radix(digits, 16).ok()).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, "the checksum that was stored is damaged")
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn stored_and_read(checksums: &Checksums) {
        let root = tempfile::tempdir_in(".").unwrap();
        let dir = Dir::open(root.path()).unwrap();
        let file = dir.create_file("a").unwrap();
        assert_eq!(checksums.of(&dir, &file).unwrap(), None);
        for checksum in [7, u128::MAX] {
            checksums.store(&dir, &file, checksum).unwrap();
            dir.rename("a", "b", crate::io::Rename::Replace).unwrap();
            let reopened = dir.open_file("b").unwrap();
            assert_eq!(checksums.of(&dir, &reopened).unwrap(), Some(checksum));
            dir.rename("b", "a", crate::io::Rename::Replace).unwrap();
        }
        let number = file.metadata().unwrap().ino();
        checksums.forget(&dir, number);
        let names: Vec<_> = dir.files().unwrap().into_iter().map(|(name, ..)| name).collect();
        assert_eq!(names, ["a"]);
    }

    #[test]
    fn a_checksum_stays_with_its_file() {
        stored_and_read(&Checksums::default());
    }

    #[test]
    fn a_checksum_beside_its_file_stays_with_it() {
        stored_and_read(&Checksums { beside: AtomicBool::new(true) });
    }

    #[test]
    fn a_damaged_checksum_is_no_missing_one() {
        let root = tempfile::tempdir_in(".").unwrap();
        let dir = Dir::open(root.path()).unwrap();
        let file = dir.create_file("a").unwrap();
        for damaged in ["", "12", "0123456789abcdef0123456789abcdeg"] {
            Dir::set_attribute(&file, ATTRIBUTE, damaged.as_bytes()).unwrap();
            let error = Checksums::default().of(&dir, &file).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{damaged:?}");
        }
    }

    #[test]
    fn names_beside_are_told_apart() {
        assert_eq!(number_in(&name_beside(77)), Some(77));
        assert_eq!(number_in(".fxsrv-tmp-77"), None);
        assert_eq!(number_in("xxh3-77"), None);
    }
}
