//! The files of a store: a flat directory.
//!
//! A file is written under a name of the store's own and gets its user's name in one step, so that
//! at any moment, and after a crash at any moment, a name stands for the old file or the new one,
//! whole. All names change under one lock, which makes every history of a name a serial one.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::checksum::{self, Checksums};
use super::name::{Name, OWN_PREFIX};
use super::{StoreError, Usage};
use crate::io::{Dir, Rename, Stat};
use crate::limits::StoreLimits;

/// The files, and what is known of them.
pub struct Directory {
    dir: Dir,
    limits: StoreLimits,
    checksums: Checksums,
    usage: Mutex<Usage>,
    drafts: AtomicU64,
}

/// A file that is stored, open. It stays what it is when its name goes to another.
#[derive(Debug, Clone)]
pub struct Found {
    /// The file.
    pub file: Arc<File>,
    /// Its size.
    pub bytes: u64,
    /// What tells it from others, and from itself after a change.
    pub(super) stat: Stat,
    /// What its content should hash to, where that was stored.
    pub checksum: Option<u128>,
}

/// A file on its way. Dropped, it is gone.
pub struct Draft {
    directory: Arc<Directory>,
    file: Arc<File>,
    own_name: String,
    name: Name,
    bytes: u64,
    is_new: bool,
    is_published: bool,
}

impl Directory {
    /// Opens the directory at `root`: keeps other stores from it, removes what an earlier one left
    /// unfinished, and counts what is there.
    ///
    /// # Errors
    ///
    /// There is no such directory, another store has it, or it cannot be read.
    pub fn open(root: &Path, limits: StoreLimits) -> io::Result<Self> {
        let dir = Dir::open(root)?;
        if !dir.try_lock()? {
            return Err(io::Error::new(
                io::ErrorKind::ResourceBusy,
                format!("another store serves {}", dir.path().display()),
            ));
        }
        let directory = Self::over(dir, limits);
        directory.sweep()?;
        Ok(directory)
    }

    /// Opens the directory at `root` to look at its files, beside a store that may serve them.
    ///
    /// # Errors
    ///
    /// There is no such directory.
    pub fn view(root: &Path) -> io::Result<Self> {
        Ok(Self::over(Dir::open(root)?, StoreLimits::default()))
    }

    fn over(dir: Dir, limits: StoreLimits) -> Self {
        Self {
            dir,
            limits,
            checksums: Checksums::default(),
            usage: Mutex::default(),
            drafts: AtomicU64::new(0),
        }
    }

    /// Removes drafts that a crash has left and checksums of files that are gone, and counts the
    /// rest.
    fn sweep(&self) -> io::Result<()> {
        let files = self.dir.files()?;
        let (own, users): (Vec<_>, Vec<_>) =
            files.into_iter().partition(|(name, ..)| name.starts_with(OWN_PREFIX));
        let mut numbers = std::collections::HashSet::new();
        let mut usage = self.usage();
        for (_, number, bytes) in &users {
            numbers.insert(*number);
            usage.add(*bytes);
        }
        let mut swept = 0;
        for (name, ..) in &own {
            let is_kept = checksum::number_in(name).is_some_and(|number| numbers.contains(&number));
            if !is_kept {
                match self.dir.remove(name) {
                    Ok(()) => swept += 1,
                    // Files that cannot be written can still be read.
                    Err(error) => tracing::warn!(name, %error, "cannot remove a leftover"),
                }
            }
        }
        let (files, bytes) = (usage.files, usage.bytes);
        tracing::info!(root = %self.dir.path().display(), files, bytes, swept, "store opened");
        Ok(())
    }

    /// Opens a stored file.
    ///
    /// # Errors
    ///
    /// There is none of that name, or it cannot be read.
    pub fn find(&self, name: &Name) -> Result<Found, StoreError> {
        let file = match self.dir.open_file(name.as_str()) {
            Ok(file) => file,
            // A symbolic link is none of our files; a pipe or a device neither.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ELOOP | libc::ENXIO)) => {
                return Err(StoreError::Missing);
            }
            Err(error) => return Err(error.into()),
        };
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(StoreError::Missing);
        }
        let checksum = self.checksums.of(&self.dir, &file)?;
        let stat = Stat::of(&metadata);
        Ok(Found { file: Arc::new(file), bytes: stat.bytes, stat, checksum })
    }

    /// What a name stands for at this moment, if anything.
    pub(super) fn stat(&self, name: &Name) -> Result<Option<Stat>, StoreError> {
        self.dir.stat(name.as_str()).map_err(StoreError::Io)
    }

    /// Begins a file of `bytes`.
    ///
    /// # Errors
    ///
    /// It is over a limit, or the file system takes no more files.
    pub fn begin(self: &Arc<Self>, name: Name, bytes: u64) -> Result<Draft, StoreError> {
        let max = u64::from(self.limits.file_bytes_max);
        if bytes > max {
            return Err(StoreError::TooLarge { bytes, max });
        }
        let is_new = self.dir.stat(name.as_str())?.is_none();
        self.usage().reserve(bytes, is_new, &self.limits)?;
        let number = self.drafts.fetch_add(1, Ordering::Relaxed);
        let own_name = format!("{OWN_PREFIX}tmp-{number}");
        match self.dir.create_file(&own_name) {
            Ok(file) => Ok(Draft {
                directory: Arc::clone(self),
                file: Arc::new(file),
                own_name,
                name,
                bytes,
                is_new,
                is_published: false,
            }),
            Err(error) => {
                self.usage().release(bytes, is_new);
                // Any other answer than "refused" would be about the user's name, which it is not.
                Err(StoreError::Io(error))
            }
        }
    }

    /// Gives a file another name, unless that is taken.
    ///
    /// # Errors
    ///
    /// There is no such file, or the new name is taken.
    pub fn change(&self, from: &Name, to: &Name) -> Result<(), StoreError> {
        let _serial = self.usage();
        if !self.dir.open_file(from.as_str()).and_then(|file| file.metadata())?.is_file() {
            return Err(StoreError::Missing);
        }
        Ok(self.dir.rename(from.as_str(), to.as_str(), Rename::Keep)?)
    }

    /// Waits until all names are on the disk.
    ///
    /// # Errors
    ///
    /// The disk's.
    pub fn sync(&self) -> Result<(), StoreError> {
        self.dir.sync().map_err(StoreError::Io)
    }

    /// Names of all stored files.
    ///
    /// # Errors
    ///
    /// The directory cannot be read.
    pub fn names(&self) -> io::Result<Vec<Name>> {
        let files = self.dir.files()?;
        Ok(files.iter().filter_map(|(name, ..)| Name::parse(name.as_bytes()).ok()).collect())
    }

    /// The lock is poisoned where a thread panicked while it counted; the counts are still good
    /// enough for a limit, and a start counts anew.
    fn usage(&self) -> MutexGuard<'_, Usage> {
        self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Files and bytes that are stored.
    #[must_use]
    pub fn used(&self) -> Usage {
        *self.usage()
    }

    /// Where it is, without symbolic links.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The limits.
    #[must_use]
    pub fn limits(&self) -> &StoreLimits {
        &self.limits
    }
}

impl Draft {
    /// Writes the beginning of the content.
    ///
    /// # Errors
    ///
    /// The file system's.
    pub fn write_first(&self, content: &[u8]) -> Result<(), StoreError> {
        self.file.write_all_at(content, 0).map_err(StoreError::Io)
    }

    /// Stores what the content hashes to; before the file is synced, so that one sync does for both.
    ///
    /// # Errors
    ///
    /// The file system's.
    pub fn seal(&self, checksum: u128) -> Result<(), StoreError> {
        let directory = &self.directory;
        directory.checksums.store(&directory.dir, &self.file, checksum).map_err(StoreError::Io)
    }

    /// Waits until the content and what it hashes to are on the disk.
    ///
    /// # Errors
    ///
    /// The disk's. What was written may then be lost, and must not be counted on.
    pub fn sync(&self) -> Result<(), StoreError> {
        self.file.sync_all().map_err(StoreError::Io)
    }

    /// Gives the file its name, in place of one that has it.
    ///
    /// # Errors
    ///
    /// The name is that of a directory, or the file system fails.
    pub fn publish(mut self) -> Result<(), StoreError> {
        let directory = &self.directory;
        let mut usage = directory.usage();
        let old = directory.dir.stat(self.name.as_str())?;
        if old.is_none() && !self.is_new {
            // The file that this one was to replace has gone to another name meanwhile.
            usage.reserve(0, true, &directory.limits)?;
            self.is_new = true;
        }
        // As long as it is open, its number goes to no other file, whose checksum would be forgotten.
        let kept =
            directory.checksums.are_beside().then(|| directory.dir.open_file(self.name.as_str()));
        directory
            .dir
            .rename(&self.own_name, self.name.as_str(), Rename::Replace)
            .map_err(StoreError::Io)?;
        usage.publish(self.bytes, old.map(|old| old.bytes));
        drop(usage);
        if let Some(old) = old {
            directory.checksums.forget(&directory.dir, old.number);
        }
        drop(kept);
        self.is_published = true;
        Ok(())
    }

    /// The file, to be written.
    #[must_use]
    pub fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// How large it will be.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_published {
            if let Err(error) = self.directory.dir.remove(&self.own_name) {
                tracing::warn!(name = self.own_name, %error, "cannot remove a draft");
            }
            if let Ok(metadata) = self.file.metadata() {
                use std::os::unix::fs::MetadataExt as _;
                self.directory.checksums.forget(&self.directory.dir, metadata.ino());
            }
        }
        self.directory.usage().release(self.bytes, self.is_new);
    }
}
