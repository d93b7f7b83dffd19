//! A directory, and the files directly beneath it.
//!
//! Every name is resolved by the kernel from the directory's descriptor, and no further: no `..`, no
//! symbolic link, no other mount by a magic link. So a name that slipped through every check above
//! still could not reach a file outside.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use rustix::fs::{
    AtFlags, FileType, FlockOperation, Mode, OFlags, RenameFlags, ResolveFlags, XattrFlags,
};
use rustix::io::Errno;

/// A directory that is open. Its verbs block, and most of them only as long as the kernel looks
/// into its own memory; [`Dir::sync`] waits for the disk.
#[derive(Debug)]
pub struct Dir {
    fd: OwnedFd,
    path: PathBuf,
}

/// What a name stands for. As long as a file is open, no other one has its number; and it is the same
/// as before as long as its time is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// The number of the file, its inode.
    pub number: u64,
    /// Its size.
    pub bytes: u64,
    /// When its content or its attributes were changed: seconds and nanoseconds.
    pub changed: (i64, i64),
}

/// What becomes of a file that has the new name already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rename {
    /// It is replaced, in one step.
    Replace,
    /// It stays, and the renaming fails with `AlreadyExists`.
    Keep,
}

/// More than the grain of the times of any file system in use: FAT has the coarsest, of 2 s.
const SETTLED: Duration = Duration::from_secs(2);

/// A file's own owner may read and write it, its group read: what a store keeps is not for everyone.
const FILE_MODE: Mode = Mode::from_raw_mode(0o640);

impl Stat {
    /// The same of a file that is open.
    #[must_use]
    pub fn of(metadata: &fs::Metadata) -> Self {
        Self {
            number: metadata.ino(),
            bytes: metadata.len(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether the last change was so long ago that another one gets another time, on a file system
    /// that counts whole seconds too.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let (seconds, nanoseconds) = self.changed;
        let changed = u64::try_from(seconds).ok().zip(u32::try_from(nanoseconds).ok());
        changed
            .and_then(|(seconds, rest)| UNIX_EPOCH.checked_add(Duration::new(seconds, rest)))
            // A time to come is that of a clock which was put back.
            .and_then(|changed| changed.elapsed().ok())
            .is_some_and(|age| age > SETTLED)
    }
}

impl Dir {
    /// Opens the directory at `path`.
    ///
    /// # Errors
    ///
    /// There is none, or it may not be read.
    pub fn open(path: &Path) -> io::Result<Self> {
        let path = fs::canonicalize(path)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(&path, flags, Mode::empty())?;
        Ok(Self { fd, path })
    }

    /// Keeps every other process that asks from this directory, until this one ends; `false` where
    /// another was first.
    ///
    /// # Errors
    ///
    /// The file system has no locks.
    pub fn try_lock(&self) -> io::Result<bool> {
        match rustix::fs::flock(&self.fd, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(true),
            Err(Errno::WOULDBLOCK) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens a file to read it. A pipe or a device of that name does not block the caller.
    ///
    /// # Errors
    ///
    /// There is no such file directly beneath the directory.
    pub fn open_file(&self, name: &str) -> io::Result<fs::File> {
        self.open_beneath(name, OFlags::RDONLY | OFlags::NONBLOCK)
    }

    /// Makes a new file to write it.
    ///
    /// # Errors
    ///
    /// The name is taken, or the file system takes no more.
    pub fn create_file(&self, name: &str) -> io::Result<fs::File> {
        self.open_beneath(name, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL)
    }

    fn open_beneath(&self, name: &str, flags: OFlags) -> io::Result<fs::File> {
        let mode = if flags.contains(OFlags::CREATE) { FILE_MODE } else { Mode::empty() };
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let opened = rustix::fs::openat2(&self.fd, name, flags, mode, beneath);
        match opened {
            // A kernel before 5.6, or a sandbox that does not know the call. What the flags would
            // refuse must then not be in the name at all.
            Err(Errno::NOSYS | Errno::PERM) if !name.contains('/') && name != ".." => {
                Ok(rustix::fs::openat(&self.fd, name, flags, mode)?.into())
            }
            opened => Ok(opened?.into()),
        }
    }

    /// Gives a file another name.
    ///
    /// # Errors
    ///
    /// There is no such file, or `AlreadyExists` where [`Rename::Keep`] finds one.
    pub fn rename(&self, from: &str, to: &str, rename: Rename) -> io::Result<()> {
        let flags = match rename {
            Rename::Replace => RenameFlags::empty(),
            Rename::Keep => RenameFlags::NOREPLACE,
        };
        Ok(rustix::fs::renameat_with(&self.fd, from, &self.fd, to, flags)?)
    }

    /// Takes a file's name away.
    ///
    /// # Errors
    ///
    /// There is no such file.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.fd, name, AtFlags::empty())?)
    }

    /// What a name stands for, or `None` where that is no regular file.
    ///
    /// # Errors
    ///
    /// The file system fails.
    pub fn stat(&self, name: &str) -> io::Result<Option<Stat>> {
        match rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if !FileType::from_raw_mode(stat.st_mode).is_file() => Ok(None),
            Ok(stat) => Ok(Some(Stat {
                number: stat.st_ino,
                bytes: u64::try_from(stat.st_size).unwrap_or(0),
                changed: (stat.st_ctime, i64::try_from(stat.st_ctime_nsec).unwrap_or(0)),
            })),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until every name is on the disk.
    ///
    /// # Errors
    ///
    /// The disk's.
    pub fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.fd)?)
    }

    /// Names, numbers and sizes of all regular files. A name that is no UTF-8 is passed over: no
    /// request can ask for it.
    ///
    /// # Errors
    ///
    /// The directory cannot be read.
    pub fn files(&self) -> io::Result<Vec<(String, u64, u64)>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            match entry.metadata() {
                Ok(metadata) if metadata.is_file() => {
                    files.push((name, metadata.ino(), metadata.len()));
                }
                _ => {}
            }
        }
        Ok(files)
    }

    /// Where it is, without symbolic links.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The value of a file's extended attribute, as far as it fits `value`; `None` where it has none
    /// of that name, and an error of kind `Unsupported` where the file system has none at all.
    ///
    /// # Errors
    ///
    /// The file system's.
    pub fn attribute(file: &fs::File, name: &str, value: &mut [u8]) -> io::Result<Option<usize>> {
        match rustix::fs::fgetxattr(file, name, value) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(Errno::NODATA) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Gives a file an extended attribute.
    ///
    /// # Errors
    ///
    /// The file system's; of kind `Unsupported` where it has none at all.
    pub fn set_attribute(file: &fs::File, name: &str, value: &[u8]) -> io::Result<()> {
        Ok(rustix::fs::fsetxattr(file, name, value, XattrFlags::empty())?)
    }
}
