//! What a batch consists of: listed once, kept in a file, and read from it entry by entry.
//!
//! An entry is the path of a file beneath its source, or a line of a manifest. The plan has them in
//! the order in which they were found; its numbers are the journal's.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Read, Seek as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_128;

use super::names::{self, Seen, result_name};
use super::{Address, Place, Reach, Trouble};

const PLAN: &str = "plan";
const MAGIC: &[u8; 16] = b"fxsrv-plan-0001\n";

/// Magic, fingerprint and count; entries follow, each with its length before it.
const HEAD_BYTES: usize = 16 + 16 + 8;

/// Longer than any path or key; what is longer is another file than a manifest.
const ENTRY_BYTES_MAX: usize = 64 * 1024;

/// Names of one result that an error tells of.
const SHOWN_MAX: usize = 3;

/// Directories within directories. The system's own limit of a path allows 2,048.
const DEPTH_MAX: usize = 2_048;

/// Which files of a source are meant, and what they become.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    /// Patterns of which one must fit the entry; all fit where there is none.
    pub include: Vec<glob::Pattern>,
    /// The extension of the results.
    pub extension: &'static str,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The source cannot be listed.
    #[error("cannot list {place}: {reason}")]
    List {
        /// What was to be listed.
        place: String,
        /// Why it is not.
        reason: String,
    },
    /// Nothing is there to convert.
    #[error("there is no file in {0}")]
    Empty(String),
    /// An entry cannot have a result.
    #[error("{entry}: {trouble}")]
    Entry {
        /// Which one.
        entry: String,
        /// What is wrong with it.
        trouble: Trouble,
    },
    /// Several would be written to one name.
    #[error("{} would all become {result}{more}", .sources.join(" and "))]
    Collision {
        /// The name.
        result: String,
        /// Some of the sources.
        sources: Vec<String>,
        /// How many more such names there are, in words.
        more: String,
    },
    /// The journal's directory holds another job.
    #[error("{} holds another job than this one", .0.display())]
    Another(PathBuf),
    /// The plan cannot be kept.
    #[error("cannot keep the plan in {}: {source}", .dir.display())]
    Keep {
        /// Where.
        dir: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// A plan that is being made.
pub struct Draft {
    out: BufWriter<File>,
    count: u64,
}

/// The entries of a batch, in a file.
#[derive(Debug)]
pub struct Plan {
    file: File,
    count: u64,
}

/// Reads a plan.
pub struct Entries {
    input: BufReader<File>,
    left: u64,
    next: u64,
}

impl Plan {
    /// The plan that is kept in `dir`, if there is one.
    ///
    /// # Errors
    ///
    /// It is that of another job, or cannot be read.
    pub fn open(dir: &Path, fingerprint: u128) -> Result<Option<Self>, PlanError> {
        let keep = |source| PlanError::Keep { dir: dir.to_owned(), source };
        let mut file = match File::open(dir.join(PLAN)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(keep(error)),
        };
        let mut head = [0; HEAD_BYTES];
        file.read_exact(&mut head).map_err(keep)?;
        if head[..16] != *MAGIC || head[16..32] != fingerprint.to_be_bytes() {
            return Err(PlanError::Another(dir.to_owned()));
        }
        let mut count = [0; 8];
        count.copy_from_slice(&head[32..]);
        Ok(Some(Self { file, count: u64::from_be_bytes(count) }))
    }

    /// Lists `source`, makes sure that every entry has a result of its own in `target`, and keeps the
    /// plan in `dir`, or in a file without a name. `tell` hears how many entries there are so far.
    ///
    /// # Errors
    ///
    /// The source cannot be listed or is empty, or two results would have one name.
    pub fn make(
        dir: Option<&Path>,
        fingerprint: u128,
        (source, target): (&Place, &Place),
        choice: &Choice,
        reach: &Reach,
        tell: &mut dyn FnMut(u64),
    ) -> Result<Self, PlanError> {
        let keep = |error| PlanError::Keep {
            dir: dir.map_or_else(std::env::temp_dir, Path::to_owned),
            source: error,
        };
        let draft_path = dir.map(|dir| dir.join(format!("{PLAN}.draft")));
        let file = match &draft_path {
            Some(path) => {
                File::options().read(true).write(true).create(true).truncate(true).open(path)
            }
            None => tempfile::tempfile(),
        };
        let mut draft = Draft { out: BufWriter::new(file.map_err(keep)?), count: 0 };
        draft.out.write_all(&[0; HEAD_BYTES]).map_err(keep)?;
        let mut seen = Seen::default();
        list(source, choice, reach, &mut |entry| {
            let result = result_of(source, target, choice, entry)?;
            draft.add(entry).and_then(|()| seen.add(&result)).map_err(keep)?;
            tell(draft.count);
            Ok(())
        })?;
        if draft.count == 0 {
            return Err(PlanError::Empty(source.to_string()));
        }
        let plan = draft.finish(fingerprint).map_err(keep)?;
        let twice = seen.twice().map_err(keep)?;
        if !twice.is_empty() {
            plan.check(&twice, source, target, choice)?;
        }
        if let (Some(dir), Some(draft)) = (dir, draft_path) {
            std::fs::rename(draft, dir.join(PLAN)).map_err(keep)?;
        }
        Ok(plan)
    }

    /// How many entries there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// All of them, from the first one.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn entries(&self) -> io::Result<Entries> {
        let mut file = self.file.try_clone()?;
        file.seek(io::SeekFrom::Start(HEAD_BYTES as u64))?;
        Ok(Entries { input: BufReader::new(file), left: self.count, next: 0 })
    }

    /// Looks which entries really have one result, of those whose results have these hashes.
    fn check(
        &self,
        hashes: &std::collections::HashSet<u64>,
        source: &Place,
        target: &Place,
        choice: &Choice,
    ) -> Result<(), PlanError> {
        let keep = |source| PlanError::Keep { dir: PathBuf::from(PLAN), source };
        let mut sources: BTreeMap<Vec<u8>, Vec<String>> = BTreeMap::new();
        for entry in self.entries().map_err(keep)? {
            let (_, entry) = entry.map_err(keep)?;
            let result = result_of(source, target, choice, &entry)?;
            if hashes.contains(&names::hash(&result)) {
                let list = sources.entry(result).or_default();
                // An error tells of a few; the rest is not kept.
                if list.len() < SHOWN_MAX {
                    list.push(shown(&entry));
                }
            }
        }
        let mut collisions = sources.into_iter().filter(|(_, list)| list.len() > 1);
        let Some((result, sources)) = collisions.next() else { return Ok(()) };
        let more = match collisions.count() {
            0 => String::new(),
            count => format!(", and {count} more results have several sources"),
        };
        Err(PlanError::Collision { result: shown(&result), sources, more })
    }

    /// Takes the plan in `dir` away.
    ///
    /// # Errors
    ///
    /// It cannot be removed.
    pub fn remove(dir: &Path) -> io::Result<()> {
        match std::fs::remove_file(dir.join(PLAN)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

impl Draft {
    fn add(&mut self, entry: &[u8]) -> io::Result<()> {
        let length = u32::try_from(entry.len()).map_err(io::Error::other)?;
        self.out.write_all(&length.to_be_bytes())?;
        self.out.write_all(entry)?;
        self.count += 1;
        Ok(())
    }

    fn finish(self, fingerprint: u128) -> io::Result<Plan> {
        let mut file = self.out.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.rewind()?;
        file.write_all(MAGIC)?;
        file.write_all(&fingerprint.to_be_bytes())?;
        file.write_all(&self.count.to_be_bytes())?;
        file.sync_data()?;
        Ok(Plan { file, count: self.count })
    }
}

impl Iterator for Entries {
    type Item = io::Result<(u64, Vec<u8>)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let number = self.next;
        self.next += 1;
        let mut length = [0; 4];
        let read = self.input.read_exact(&mut length).and_then(|()| {
            let length = u32::from_be_bytes(length) as usize;
            if length > ENTRY_BYTES_MAX {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the plan is damaged"));
            }
            let mut entry = vec![0; length];
            self.input.read_exact(&mut entry).map(|()| entry)
        });
        Some(read.map(|entry| (number, entry)))
    }
}

/// What a job is told by: the same job has the same number on every run.
#[must_use]
pub(crate) fn fingerprint(parts: &[&str]) -> u128 {
    xxh3_128(parts.join("\0").as_bytes())
}

/// The name of an entry's result beneath the target.
pub(super) fn result_of(
    source: &Place,
    target: &Place,
    choice: &Choice,
    entry: &[u8],
) -> Result<Vec<u8>, PlanError> {
    let wrong = |trouble| PlanError::Entry { entry: shown(entry), trouble };
    let named = match source {
        Place::Manifest(_) | Place::Stored(_) | Place::Store => {
            Address::own_name(entry).map_err(wrong)?
        }
        Place::Directory(_) | Place::Bucket { .. } => entry.to_vec(),
    };
    let result = result_name(&named, choice.extension);
    target.result(&result).map_err(wrong)?;
    Ok(result)
}

/// Bytes as a person reads them.
pub(super) fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).escape_debug().to_string()
}

type Take<'a> = &'a mut dyn FnMut(&[u8]) -> Result<(), PlanError>;

fn list(source: &Place, choice: &Choice, reach: &Reach, take: Take<'_>) -> Result<(), PlanError> {
    let is_meant = |entry: &[u8]| {
        let name = String::from_utf8_lossy(entry);
        choice.include.is_empty() || choice.include.iter().any(|pattern| pattern.matches(&name))
    };
    let mut take = |entry: &[u8]| if is_meant(entry) { take(entry) } else { Ok(()) };
    match source {
        Place::Directory(root) => walk(root, &mut take),
        Place::Manifest(path) => lines(path, &mut take),
        Place::Bucket { bucket, prefix } => {
            reach.list(bucket, prefix, &mut take, &|trouble: Trouble| PlanError::List {
                place: source.to_string(),
                reason: trouble.message,
            })
        }
        Place::Stored(name) => take(format!("store:{}", name.as_str()).as_bytes()),
        Place::Store => Ok(()),
    }
}

/// All files beneath a directory: what is open at a time is one directory of each level.
fn walk(root: &Path, take: Take<'_>) -> Result<(), PlanError> {
    let wrong = |path: &Path, error: &io::Error| PlanError::List {
        place: path.display().to_string(),
        reason: error.to_string(),
    };
    let mut open = vec![std::fs::read_dir(root).map_err(|error| wrong(root, &error))?];
    while let Some(directory) = open.last_mut() {
        let Some(entry) = directory.next() else {
            open.pop();
            continue;
        };
        let entry = entry.map_err(|error| wrong(root, &error))?;
        let path = entry.path();
        let kind = entry.file_type().map_err(|error| wrong(&path, &error))?;
        if kind.is_dir() {
            if open.len() == DEPTH_MAX {
                return Err(wrong(&path, &io::Error::other("it is too deep")));
            }
            open.push(std::fs::read_dir(&path).map_err(|error| wrong(&path, &error))?);
            continue;
        }
        // A link counts as what it leads to; one that leads to a directory is not followed.
        if kind.is_file() || (kind.is_symlink() && path.is_file()) {
            let beneath = path.strip_prefix(root).unwrap_or(&path);
            take(beneath.as_os_str().as_bytes())?;
        }
    }
    Ok(())
}

/// The lines of a manifest. Empty ones, and those that begin with `#`, are none.
fn lines(path: &Path, take: Take<'_>) -> Result<(), PlanError> {
    let wrong = |reason: String| PlanError::List { place: path.display().to_string(), reason };
    let file = File::open(path).map_err(|error| wrong(error.to_string()))?;
    let mut input = BufReader::new(file);
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        let limit = ENTRY_BYTES_MAX as u64 + 1;
        let read = (&mut input).take(limit).read_until(b'\n', &mut line);
        if read.map_err(|error| wrong(error.to_string()))? == 0 {
            break;
        }
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        if text.len() > ENTRY_BYTES_MAX {
            let over = format!("line {number} is longer than {ENTRY_BYTES_MAX} bytes");
            return Err(wrong(over));
        }
        if !text.is_empty() && !text.starts_with(b"#") {
            take(text)?;
        }
    }
    Ok(())
}
