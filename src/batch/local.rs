//! Files of the file system.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, open};
use rustix::io::Errno;

use super::{Landed, Trouble};

/// A new file's mode before the umask takes its part.
const FILE_MODE: u32 = 0o666;

/// A file that is open, and how large it is.
pub(super) struct Opened {
    file: File,
    pub(super) bytes: u64,
}

/// Opens a regular file. What else has a name, such as a pipe, could be waited for for ever.
pub(super) fn open_file(path: &Path) -> Result<Opened, Trouble> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(Trouble::not_allowed("it is no regular file"));
    }
    Ok(Opened { file, bytes: found.len() })
}

impl Opened {
    /// Reads it. One that grew meanwhile is not what was opened.
    pub(super) fn read(self) -> Result<Vec<u8>, Trouble> {
        let mut bytes = Vec::new();
        let room = usize::try_from(self.bytes).unwrap_or(usize::MAX).saturating_add(1);
        bytes.try_reserve_exact(room).map_err(|error| Trouble::storage(error.to_string()))?;
        self.file.take(self.bytes + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > self.bytes {
            return Err(Trouble::storage("the file grew while it was read"));
        }
        Ok(bytes)
    }
}

/// Gives `bytes` the name `path`, whole or not at all. A file that has it already is left as it is,
/// unless it is to be replaced, or is empty: no result is, and a machine that went down may leave one.
pub(super) fn write_file(path: &Path, bytes: &[u8], replace: bool) -> Result<Landed, Trouble> {
    match write_once(path, bytes, replace) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let parent = path.parent().unwrap_or(Path::new("/"));
            std::fs::create_dir_all(parent)?;
            write_once(path, bytes, replace)?;
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return meet(path, bytes);
        }
        written => written?,
    }
    Ok(Landed::New)
}

fn write_once(path: &Path, bytes: &[u8], replace: bool) -> io::Result<()> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    if !replace {
        // Without a name a file is gone with the process, whatever ends it.
        let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
        match open(parent, flags, Mode::from_raw_mode(FILE_MODE)) {
            Ok(nameless) => return link(File::from(nameless), path, bytes),
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let mut named = tempfile::Builder::new()
        .prefix(".fxsrv-")
        .permissions(Permissions::from_mode(FILE_MODE))
        .tempfile_in(parent)?;
    named.write_all(bytes)?;
    let persisted = if replace { named.persist(path) } else { named.persist_noclobber(path) };
    persisted.map(drop).map_err(|error| error.error)
}

fn link(mut nameless: File, path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::os::fd::AsRawFd as _;

    nameless.write_all(bytes)?;
    let own = format!("/proc/self/fd/{}", nameless.as_fd().as_raw_fd());
    Ok(linkat(CWD, own.as_str(), CWD, path, AtFlags::SYMLINK_FOLLOW)?)
}

/// The name is taken: by the same bytes, or by others.
fn meet(path: &Path, bytes: &[u8]) -> Result<Landed, Trouble> {
    let there = open_file(path)?;
    if there.bytes == 0 {
        write_once(path, bytes, true)?;
        return Ok(Landed::New);
    }
    if there.bytes == bytes.len() as u64 && there.read()? == bytes {
        return Ok(Landed::Same);
    }
    Err(Trouble::exists())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_result_appears_whole_and_never_replaces_another() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/c.jpg");
        assert_eq!(write_file(&path, b"one", false).unwrap(), Landed::New);
        assert_eq!(write_file(&path, b"one", false).unwrap(), Landed::Same);
        let trouble = write_file(&path, b"two", false).unwrap_err();
        assert_eq!((trouble.code, trouble.is_passing), (Trouble::EXISTS, false));
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
        assert_eq!(write_file(&path, b"two", true).unwrap(), Landed::New);
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        let names = std::fs::read_dir(path.parent().unwrap()).unwrap().count();
        assert_eq!(names, 1);
    }

    #[test]
    fn an_empty_file_is_no_result() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.jpg");
        std::fs::write(&path, b"").unwrap();
        assert_eq!(write_file(&path, b"one", false).unwrap(), Landed::New);
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
    }

    #[test]
    fn what_is_no_file_is_not_opened() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(open_file(dir.path()).err().unwrap().code, Trouble::NOT_ALLOWED);
        let missing = open_file(&dir.path().join("missing")).err().unwrap();
        assert_eq!(missing.code, Trouble::NOT_FOUND);
        let pipe = dir.path().join("pipe");
        rustix::fs::mknodat(CWD, &pipe, rustix::fs::FileType::Fifo, Mode::RUSR, 0).unwrap();
        assert_eq!(open_file(&pipe).err().unwrap().code, Trouble::NOT_ALLOWED);
    }
}
