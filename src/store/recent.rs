//! Small files that were asked for lately: still open, and with their answers.
//!
//! Opening a file, asking for its size and its checksum, reading and closing it take half of a small
//! GET. A file that is found here is looked up by its name all the same: it counts only if the name
//! stands for this very file, unchanged. An answer is kept once the file has been unchanged for so
//! long that any later change shows in its time; until then the content is read each time.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::StoreError;
use super::directory::{Directory, Found};
use super::name::Name;

/// Files of a thread. Each takes a descriptor, about 300 bytes, and its answer of up to
/// [`FILE_BYTES_MAX`] and 36 bytes: 1.1 MiB in all.
const FILES_MAX: usize = 256;

/// Only files of up to so many bytes are kept open: what has lost its name to another file takes
/// its place on the disk until it is closed, here 1 MiB in all.
pub(super) const FILE_BYTES_MAX: u64 = 4096;

/// Files by name.
#[derive(Default)]
pub(super) struct Recent(RefCell<HashMap<Name, Kept>>);

struct Kept {
    found: Found,
    answer: Option<Rc<[u8]>>,
}

/// What a name stands for.
pub(super) enum Looked {
    /// A file whose whole answer is here.
    Answer(Rc<[u8]>),
    /// A file.
    File(Found),
}

impl Recent {
    /// As [`Directory::find`].
    pub(super) fn find(&self, directory: &Directory, name: &Name) -> Result<Looked, StoreError> {
        if let Some(looked) = self.look_up(directory, name)? {
            return Ok(looked);
        }
        let found = directory.find(name)?;
        let mut files = self.0.borrow_mut();
        if found.bytes <= FILE_BYTES_MAX {
            // Files that are asked for in turn and are too many gain nothing, whichever stay.
            if files.len() >= FILES_MAX {
                files.clear();
            }
            files.insert(name.clone(), Kept { found: found.clone(), answer: None });
        }
        Ok(Looked::File(found))
    }

    /// Keeps the answer with the content of `found`, read since that was found, if there is no doubt
    /// that a change after this moment will be seen.
    pub(super) fn keep_answer(&self, name: &Name, found: &Found, answer: &[u8]) {
        if let Some(kept) = self.0.borrow_mut().get_mut(name)
            && kept.found.stat == found.stat
            && found.stat.is_settled()
        {
            kept.answer = Some(answer.into());
        }
    }

    fn look_up(&self, directory: &Directory, name: &Name) -> Result<Option<Looked>, StoreError> {
        let mut files = self.0.borrow_mut();
        let Some(kept) = files.get(name) else { return Ok(None) };
        let stat = directory.stat(name)?.ok_or(StoreError::Missing);
        if stat.as_ref().is_ok_and(|stat| *stat == kept.found.stat) {
            return Ok(Some(match &kept.answer {
                Some(answer) => Looked::Answer(Rc::clone(answer)),
                None => Looked::File(kept.found.clone()),
            }));
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
            Ok(Looked::Answer(answer)) => Some(String::from_utf8(answer.to_vec()).unwrap()),
            Ok(Looked::File(found)) => {
                let path = format!("/proc/self/fd/{}", {
                    use std::os::fd::AsRawFd as _;
                    found.file.as_raw_fd()
                });
                fs::File::open(path).unwrap().read_to_string(&mut text).unwrap();
                assert_eq!(found.bytes, text.len() as u64);
                recent.keep_answer(&name, &found, text.as_bytes());
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
    fn an_answer_is_kept_once_a_change_would_show() {
        let root = tempfile::tempdir().unwrap();
        let directory = Directory::view(root.path()).unwrap();
        let (recent, path) = (Recent::default(), root.path().join("f"));
        let name = Name::parse(b"f").unwrap();
        let is_kept = || recent.0.borrow().get(&name).is_some_and(|kept| kept.answer.is_some());
        fs::write(&path, "one").unwrap();
        let written = std::time::Instant::now();
        let seen = || content(&recent, &directory, "f");
        assert_eq!(seen().unwrap(), "one");
        if written.elapsed() < std::time::Duration::from_secs(1) {
            assert!(!is_kept(), "a second change within the same tick would not show");
        }
        while !is_kept() {
            assert_eq!(seen().unwrap(), "one");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert_eq!(seen().unwrap(), "one");
        // In place, of the same size, at once.
        fs::write(&path, "two").unwrap();
        assert_eq!(seen().unwrap(), "two");
        assert!(!is_kept());
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
