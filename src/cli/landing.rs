//! Where a file arrives: under its name whole, or not at all.

use std::fs::{File, Permissions};
use std::io::{self, Seek as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::fail::Fail;

/// A new file's mode before the umask takes its part.
const FILE_MODE: u32 = 0o666;

/// Where a file arrives before it has its name: beside the name, or, for stdout, where temporary
/// files lie. Dropped, it is gone.
pub(super) struct Landing {
    file: NamedTempFile,
    to: PathBuf,
    force: bool,
}

impl Landing {
    /// `to` is a path, or `-` for stdout.
    pub(super) fn open(to: &Path, force: bool) -> Result<Self, Fail> {
        let is_stdout = to == Path::new("-");
        if !is_stdout && !force && to.symlink_metadata().is_ok() {
            return Err(exists(to));
        }
        let dir = to.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let dir = if is_stdout { std::env::temp_dir() } else { dir.to_owned() };
        let file = tempfile::Builder::new()
            .prefix(".fxsrv-")
            .permissions(Permissions::from_mode(if is_stdout { 0o600 } else { FILE_MODE }))
            .tempfile_in(dir)
            .map_err(|error| cannot_write(to, &error))?;
        Ok(Self { file, to: to.to_owned(), force })
    }

    /// Forgets what has arrived.
    pub(super) fn empty(&mut self) -> io::Result<()> {
        let file = self.file();
        file.rewind().and_then(|()| file.set_len(0))
    }

    /// What the bytes are written to.
    pub(super) fn file(&mut self) -> &mut File {
        self.file.as_file_mut()
    }

    /// Gives it its name, and says how large it is.
    pub(super) fn land(mut self) -> Result<u64, Fail> {
        let cannot = |error: io::Error| cannot_write(&self.to, &error);
        let bytes = self.file.as_file().metadata().map_err(cannot)?.len();
        if self.to == Path::new("-") {
            self.file.as_file_mut().rewind().map_err(cannot)?;
            copy_out(self.file.as_file_mut())?;
            return Ok(bytes);
        }
        let saved = if self.force {
            self.file.persist(&self.to)
        } else {
            self.file.persist_noclobber(&self.to)
        };
        saved.map_err(|error| match error.error.kind() {
            io::ErrorKind::AlreadyExists => exists(&self.to),
            _ => cannot_write(&self.to, &error.error),
        })?;
        Ok(bytes)
    }
}

fn cannot_write(to: &Path, error: &io::Error) -> Fail {
    Fail::failed(format!("cannot write {}: {error}", to.display()))
}

/// A reader that has left has seen enough.
fn copy_out(file: &mut File) -> Result<(), Fail> {
    let mut stdout = io::stdout().lock();
    match io::copy(file, &mut stdout).and_then(|_| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Fail::failed(format!("cannot write to stdout: {error}")))
        }
        _ => Ok(()),
    }
}

fn exists(path: &Path) -> Fail {
    Fail::failed(format!("{} exists already, and is not overwritten", path.display()))
        .with_hint("overwrite it with --force, or name another with -o")
}
