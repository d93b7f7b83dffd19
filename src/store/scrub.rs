//! Checking all files at rest.

use std::os::unix::fs::FileExt as _;

use super::StoreError;
use super::checksum::{Hasher, verify};
use super::directory::{Directory, Found};
use super::name::Name;

/// One read; the disk reads ahead of it.
const READ_BYTES: usize = 1024 * 1024;

/// What a file was found to be.
#[derive(Debug)]
pub enum Finding {
    /// What was stored.
    Good,
    /// It has no checksum: it was not stored through the protocol.
    Unchecked,
    /// Damaged, or unreadable.
    Bad(StoreError),
}

/// Reads one file to its end, and holds it against its checksum.
#[must_use]
pub fn check(directory: &Directory, name: &Name) -> Finding {
    match directory.find(name).and_then(|found| read(&found)) {
        Ok(finding) => finding,
        Err(error) => Finding::Bad(error),
    }
}

fn read(found: &Found) -> Result<Finding, StoreError> {
    let Some(stored) = found.checksum else { return Ok(Finding::Unchecked) };
    let (mut block, mut hasher, mut offset) = (vec![0; READ_BYTES], Hasher::default(), 0);
    while offset < found.bytes {
        let read = found.file.read_at(&mut block, offset).map_err(StoreError::Io)?;
        if read == 0 {
            return Err(StoreError::Short { missing: found.bytes - offset });
        }
        hasher.update(&block[..read]);
        offset += read as u64;
    }
    verify(Some(stored), || hasher.finish()).map(|()| Finding::Good)
}
