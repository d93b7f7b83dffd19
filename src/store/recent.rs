//! Small files that were asked for lately, still open.
//!
//! Opening a file, asking for its size and its checksum, and closing it again take half of a small
//! GET. A file that is found here is looked up by its name all the same: it counts only if the name
//! stands for this very file, unchanged. Its content is read from the kernel each time.

use std::cell::RefCell;
use std::collections::HashMap;

use super::StoreError;
use super::directory::{Directory, Found};
use super::name::Name;

/// Files of a thread. Each takes a descriptor and about 300 bytes.
const FILES_MAX: usize = 256;

/// Only files of up to so many bytes are kept open: what has lost its name to another file takes
/// its place on the disk until it is closed, here 1 MiB in all.
pub(super) const FILE_BYTES_MAX: u64 = 4096;

/// Files by name.
#[derive(Default)]
pub(super) struct Recent(RefCell<HashMap<Name, Found>>);

impl Recent {
    /// As [`Directory::find`].
    pub(super) fn find(&self, directory: &Directory, name: &Name) -> Result<Found, StoreError> {
        if let Some(found) = self.look_up(directory, name)? {
            return Ok(found);
        }
        let found = directory.find(name)?;
        let mut files = self.0.borrow_mut();
        if found.bytes <= FILE_BYTES_MAX {
            // Files that are asked for in turn and are too many gain nothing, whichever stay.
            if files.len() >= FILES_MAX {
                files.clear();
            }
            files.insert(name.clone(), found.clone());
        }
        Ok(found)
    }

    fn look_up(&self, directory: &Directory, name: &Name) -> Result<Option<Found>, StoreError> {
        let mut files = self.0.borrow_mut();
        let Some(found) = files.get(name) else { return Ok(None) };
        let stat = directory.stat(name)?.ok_or(StoreError::Missing);
        if stat.as_ref().is_ok_and(|stat| *stat == found.stat) {
            return Ok(Some(found.clone()));
        }
        files.remove(name);
        stat.map(|_| None)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;
    use std::io::Read as _;

    use super::*;

    fn content(recent: &Recent, directory: &Directory, name: &str) -> Option<String> {
        let name = Name::parse(name.as_bytes()).unwrap();
        let mut text = String::new();
        match recent.find(directory, &name) {
            Ok(found) => {
                let path = format!("/proc/self/fd/{}", {
                    use std::os::fd::AsRawFd as _;
                    found.file.as_raw_fd()
                });
                fs::File::open(path).unwrap().read_to_string(&mut text).unwrap();
                assert_eq!(found.bytes, text.len() as u64);
                Some(text)
            }
            Err(StoreError::Missing) => None,
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn whatever_is_done_to_a_file_is_seen() {
        let root = tempfile::tempdir().unwrap();
        let directory = Directory::view(root.path()).unwrap();
        let (recent, path) = (Recent::default(), root.path().join("f"));
        let seen = || content(&recent, &directory, "f");
        assert_eq!(seen(), None);
        fs::write(&path, "one").unwrap();
        assert_eq!(seen().unwrap(), "one");
        assert_eq!(seen().unwrap(), "one");
        fs::write(&path, "longer").unwrap();
        assert_eq!(seen().unwrap(), "longer");
        fs::write(root.path().join("g"), "other").unwrap();
        fs::rename(root.path().join("g"), &path).unwrap();
        assert_eq!(seen().unwrap(), "other");
        fs::remove_file(&path).unwrap();
        assert_eq!(seen(), None);
        assert!(recent.0.borrow().is_empty());
    }

    #[test]
    fn no_more_are_kept_than_there_is_room_for_and_no_large_ones() {
        let root = tempfile::tempdir().unwrap();
        let directory = Directory::view(root.path()).unwrap();
        let recent = Recent::default();
        for number in 0..FILES_MAX + 10 {
            let name = number.to_string();
            fs::write(root.path().join(&name), &name).unwrap();
            assert_eq!(content(&recent, &directory, &name).unwrap(), name);
            assert!(recent.0.borrow().len() <= FILES_MAX);
        }
        let large = usize::try_from(FILE_BYTES_MAX).unwrap() + 1;
        fs::write(root.path().join("large"), "x".repeat(large)).unwrap();
        let before = recent.0.borrow().len();
        assert!(content(&recent, &directory, "large").is_some());
        assert_eq!(recent.0.borrow().len(), before);
    }
}
