//! Where a converted file goes, and how it gets there whole.

use std::fs::{self, Permissions};
use std::io::{self, IsTerminal as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::fail::Fail;
use super::term;
use crate::store::Name;

/// A new file's mode before the umask takes its part.
const FILE_MODE: u32 = 0o666;

/// Where a result goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Destination {
    Stdout,
    File(PathBuf),
    /// A file of the store.
    Store(Name),
}

/// What `-o` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Output {
    /// Beside each input.
    Beside,
    Stdout,
    Dir(PathBuf),
    File(PathBuf),
    /// The store, under the name of each input.
    Store,
    StoreFile(Name),
}

/// What an address in the store begins with.
const STORE: &str = "store:";

/// The name that an address says, where it is one in the store. A file here of such a name is
/// `./store:name`.
pub(super) fn name_in_store(path: &Path) -> Option<Result<Name, Fail>> {
    let name = path.to_str()?.strip_prefix(STORE)?;
    Some(Name::parse(name.as_bytes()).map_err(|error| Fail::from(error).of(STORE)))
}

impl Output {
    /// A directory is one that exists, or a name that ends with a slash.
    pub(super) fn parse(flag: Option<&Path>, inputs: usize) -> Result<Self, Fail> {
        let Some(path) = flag else { return Ok(Self::Beside) };
        if path == Path::new(STORE) {
            return Ok(Self::Store);
        }
        if let Some(name) = name_in_store(path) {
            return match inputs {
                0..=1 => name.map(Self::StoreFile),
                _ => {
                    Err(Fail::usage(format!("{inputs} files cannot all become {}", path.display()))
                        .with_hint("with -o store: each goes there under its own name"))
                }
            };
        }
        if path == Path::new("-") {
            return match inputs {
                0..=1 => Ok(Self::Stdout),
                _ => Err(Fail::usage(format!("{inputs} files cannot all go to stdout"))
                    .with_hint("name a directory with -o DIR")),
            };
        }
        let has_slash = path.as_os_str().as_encoded_bytes().ends_with(b"/");
        if path.is_dir() {
            return Ok(Self::Dir(path.to_owned()));
        }
        if has_slash {
            return Err(Fail::usage(format!("there is no directory {}", path.display()))
                .with_hint(format!(
                    "make it with `mkdir -p {}`",
                    term::quote(&path.to_string_lossy())
                )));
        }
        if inputs > 1 {
            let shown = path.display();
            return Err(Fail::usage(format!(
                "{inputs} files cannot all become {shown}, which is no directory"
            ))
            .with_hint("name a directory that exists with -o DIR"));
        }
        Ok(Self::File(path.to_owned()))
    }

    /// Where the result of one input goes; `input` is `None` for stdin.
    pub(super) fn destination(
        &self,
        input: Option<&Path>,
        extension: &str,
    ) -> Result<Destination, Fail> {
        let renamed = |path: &Path| path.with_extension(extension);
        let stored = input.and_then(name_in_store).transpose()?;
        // From here on a file of the store is its name.
        let input = stored.as_ref().map_or(input, |name| Some(Path::new(name.as_str())));
        Ok(match (self, input) {
            (Self::StoreFile(name), _) => Destination::Store(name.clone()),
            (Self::Store, input) => store_name(&renamed(input.unwrap_or("stdin".as_ref())))?,
            (Self::Beside, Some(input)) if stored.is_some() => store_name(&renamed(input))?,
            (Self::Stdout, _) | (Self::Beside, None) => Destination::Stdout,
            (Self::File(path), _) => Destination::File(path.clone()),
            (Self::Beside, Some(input)) => Destination::File(renamed(input)),
            (Self::Dir(dir), input) => {
                let name = input.and_then(Path::file_name).unwrap_or("stdin".as_ref());
                Destination::File(dir.join(renamed(Path::new(name))))
            }
        })
    }
}

/// A file of the store, under the last component of a path.
fn store_name(path: &Path) -> Result<Destination, Fail> {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    Name::parse(name).map(Destination::Store).map_err(|error| {
        let shown = path.display();
        Fail::from(error)
            .of(&format!("{STORE}{shown}"))
            .with_hint("name the result with -o store:NAME")
    })
}

impl Destination {
    /// Refuses, before anything is converted, what could not be saved afterwards.
    pub(super) fn check(&self, force: bool, is_text: bool) -> Result<(), Fail> {
        match self {
            Self::Stdout if !is_text && io::stdout().is_terminal() => {
                Err(Fail::usage("the result is binary, and stdout is a terminal")
                    .with_hint("name a file with -o FILE, or send stdout somewhere else"))
            }
            Self::Stdout | Self::Store(_) => Ok(()),
            Self::File(path) => match path.symlink_metadata() {
                Ok(_) if path.is_dir() => {
                    Err(Fail::failed(format!("{} is a directory", path.display())))
                }
                Ok(_) if !force && !is_special(path) => Err(exists(path)),
                Err(_) if !parent(path).is_dir() => {
                    Err(Fail::failed(format!("there is no directory {}", parent(path).display())))
                }
                _ => Ok(()),
            },
        }
    }

    /// Writes a whole result. A file appears under its name with all of its bytes, or not at all.
    pub(super) fn save(&self, bytes: &[u8], force: bool) -> Result<(), Fail> {
        let Self::File(path) = self else { return term::out_bytes(bytes) };
        let cannot = |error: io::Error| match error.kind() {
            io::ErrorKind::AlreadyExists => exists(path),
            _ => Fail::failed(format!("cannot write {}: {error}", path.display())),
        };
        if is_special(path) {
            return fs::write(path, bytes).map_err(cannot);
        }
        let mut file = tempfile::Builder::new()
            .prefix(".fxsrv-")
            .permissions(Permissions::from_mode(FILE_MODE))
            .tempfile_in(parent(path))
            .map_err(cannot)?;
        file.write_all(bytes).map_err(cannot)?;
        let saved = if force { file.persist(path) } else { file.persist_noclobber(path) };
        saved.map(drop).map_err(|error| cannot(error.error))
    }
}

impl std::fmt::Display for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stdout => f.write_str("stdout"),
            Self::File(path) => path.display().fmt(f),
            Self::Store(name) => write!(f, "{STORE}{name}"),
        }
    }
}

/// Whether a path is a device or a pipe, such as /dev/null: it is written to, not replaced.
fn is_special(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir())
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn exists(path: &Path) -> Fail {
    Fail::failed(format!("{} exists already, and is not overwritten", path.display()))
        .with_hint("overwrite it with --force, or name another with -o")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn file(path: impl Into<PathBuf>) -> Destination {
        Destination::File(path.into())
    }

    #[test]
    fn a_result_lies_beside_its_input() {
        let name = |input: &str| Output::Beside.destination(Some(Path::new(input)), "jpg").unwrap();
        assert_eq!(name("a.png"), file("a.jpg"));
        assert_eq!(name("dir.d/a"), file("dir.d/a.jpg"));
        assert_eq!(name("a.tar.png"), file("a.tar.jpg"));
        assert_eq!(name(".hidden"), file(".hidden.jpg"));
        assert_eq!(Output::Beside.destination(None, "jpg").unwrap(), Destination::Stdout);
    }

    #[test]
    fn a_directory_takes_the_name_of_the_input() {
        let dir = tempfile::tempdir().unwrap();
        let output = Output::parse(Some(dir.path()), 3).unwrap();
        let name = |input| output.destination(input, "webp").unwrap();
        assert_eq!(name(Some(Path::new("x/a.png"))), file(dir.path().join("a.webp")));
        assert_eq!(name(None), file(dir.path().join("stdin.webp")));
    }

    #[test]
    fn addresses_in_the_store_are_names() {
        let stored = |name: &str| Destination::Store(Name::parse(name.as_bytes()).unwrap());
        let at = |output: Option<&str>, input: &str| {
            let output = Output::parse(output.map(Path::new), 1).unwrap();
            output.destination(Some(Path::new(input)), "pdf")
        };
        assert_eq!(at(None, "store:a.txt").unwrap(), stored("a.pdf"));
        assert_eq!(at(Some("store:"), "dir/a.txt").unwrap(), stored("a.pdf"));
        assert_eq!(at(Some("store:b"), "dir/a.txt").unwrap(), stored("b"));
        assert_eq!(at(Some("b.pdf"), "store:a.txt").unwrap(), file("b.pdf"));
        assert_eq!(at(None, "./store:a.txt").unwrap(), file("./store:a.pdf"));
        assert!(at(None, "store:a/b").is_err());
        let long = format!("store:{}.t", "x".repeat(29));
        assert!(at(None, &long).unwrap_err().message.contains("over the limit"));
        assert!(Output::parse(Some(Path::new("store:b")), 2).is_err());
    }

    #[test]
    fn many_files_need_a_directory() {
        for flag in ["-", "one.jpg", "missing/"] {
            assert!(Output::parse(Some(Path::new(flag)), 2).is_err(), "{flag}");
        }
        assert_eq!(Output::parse(Some(Path::new("-")), 1).unwrap(), Output::Stdout);
        assert!(Output::parse(Some(Path::new("missing/")), 1).is_err());
        assert_eq!(Output::parse(None, 2).unwrap(), Output::Beside);
    }

    #[test]
    fn a_file_is_whole_or_not_there_and_is_overwritten_by_force_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jpg");
        let destination = file(&path);
        destination.check(false, false).unwrap();
        destination.save(b"one", false).unwrap();
        assert!(destination.check(false, false).unwrap_err().message.contains("exists already"));
        assert!(destination.save(b"two", false).unwrap_err().message.contains("exists already"));
        assert_eq!(fs::read(&path).unwrap(), b"one");
        destination.save(b"two", true).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        let names: Vec<_> = fs::read_dir(dir.path()).unwrap().collect();
        assert_eq!(names.len(), 1, "{names:?}");
    }

    #[test]
    fn a_new_file_has_the_mode_of_any_other() {
        let dir = tempfile::tempdir().unwrap();
        let (ours, plain) = (dir.path().join("ours"), dir.path().join("plain"));
        file(&ours).save(b"", false).unwrap();
        fs::write(&plain, b"").unwrap();
        let mode = |path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&ours), mode(&plain));
    }

    #[test]
    fn a_device_is_written_to_and_stays() {
        let null = file("/dev/null");
        null.check(false, false).unwrap();
        null.save(b"x", false).unwrap();
        assert!(is_special(Path::new("/dev/null")));
    }

    #[test]
    fn a_missing_directory_is_named() {
        let fail = file("/nonexistent/dir/a.jpg").check(false, false).unwrap_err();
        assert_eq!(fail.message, "there is no directory /nonexistent/dir");
    }
}
