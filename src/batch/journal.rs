//! What a run has done, in a file that only grows, so that the next run goes on from there.
//!
//! A line is one file: its number in the plan, its code, and its sizes, with a checksum at the end: a
//! line that a crash cut short is none. Lines are written in groups, about one a second, and a group
//! is written once its results are on the disk. So a file that the journal calls done is done, whatever
//! stopped; one that it does not know is converted again, to the same bytes.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock, syncfs};

use super::Trouble;

const JOURNAL: &str = "journal";

/// Between two groups: so much work is done again after a crash.
const GROUP_PERIOD: Duration = Duration::from_secs(1);

/// Lines of a group: 4,096 of some 40 bytes.
const GROUP_MAX: usize = 4_096;

/// Longer than any line.
const LINE_BYTES_MAX: usize = 256;

/// Why there is no journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another process has it.
    #[error("another run of this job goes on: {} is locked", .0.display())]
    Locked(PathBuf),
    /// It cannot be kept.
    #[error("cannot keep the journal in {}: {source}", .dir.display())]
    Keep {
        /// Where.
        dir: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// What became of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// Its number in the plan.
    pub number: u64,
    /// The code of its failure, if it failed.
    pub code: Option<&'static str>,
    /// Bytes of the source.
    pub bytes_in: u64,
    /// Bytes of the result.
    pub bytes_out: u64,
}

/// The journal of a job, held by one process.
pub struct Journal {
    file: File,
    dir: PathBuf,
    /// A bit for each file: 125 KB for a million.
    done: Vec<u64>,
    done_count: u64,
}

/// Writes lines behind the results of others.
pub(super) struct Writer {
    lines: mpsc::SyncSender<Record>,
    thread: JoinHandle<io::Result<()>>,
}

impl Journal {
    /// Opens the journal in `dir`, which is made, or begins one.
    ///
    /// # Errors
    ///
    /// Another process has it, or it cannot be written.
    pub fn open(dir: &Path) -> Result<Self, JournalError> {
        let keep = |source| JournalError::Keep { dir: dir.to_owned(), source };
        std::fs::create_dir_all(dir).map_err(keep)?;
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(dir.join(JOURNAL))
            .map_err(keep)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| JournalError::Locked(dir.join(JOURNAL)))?;
        Ok(Self { file, dir: dir.to_owned(), done: Vec::new(), done_count: 0 })
    }

    /// Forgets everything.
    ///
    /// # Errors
    ///
    /// The file cannot be cut.
    pub fn clear(&mut self) -> io::Result<()> {
        (self.done, self.done_count) = (Vec::new(), 0);
        self.file.set_len(0)?;
        self.file.rewind()
    }

    /// Reads what was done of a plan with `count` entries, and cuts off what a crash left unfinished.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn read(&mut self, count: u64) -> io::Result<()> {
        self.file.rewind()?;
        let (mut input, mut good) = (BufReader::new(&self.file), 0_u64);
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = input.read_until(b'\n', &mut line)?;
            if read == 0 || read > LINE_BYTES_MAX {
                break;
            }
            let Some(record) = Record::parse(&line).filter(|record| record.number < count) else {
                break;
            };
            good += read as u64;
            if record.code.is_none() {
                set(&mut self.done, &mut self.done_count, record.number);
            }
        }
        self.file.set_len(good)?;
        self.file.seek(io::SeekFrom::End(0)).map(drop)
    }

    /// Whether a file has its result.
    #[must_use]
    pub fn is_done(&self, number: u64) -> bool {
        let (word, bit) = place(number);
        self.done.get(word).is_some_and(|bits| bits & bit != 0)
    }

    /// How many have.
    #[must_use]
    pub fn done_count(&self) -> u64 {
        self.done_count
    }

    /// Where it is.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Takes it away, with the plan.
    ///
    /// # Errors
    ///
    /// They cannot be removed.
    pub fn remove(self) -> io::Result<()> {
        super::Plan::remove(&self.dir)?;
        std::fs::remove_file(self.dir.join(JOURNAL))?;
        // Others may keep files in a directory that was given.
        let _ = std::fs::remove_dir(&self.dir);
        Ok(())
    }

    /// Starts to write. `results` is where results lie that a crash of the machine could lose.
    pub(super) fn write(&self, results: Option<&Path>) -> io::Result<Writer> {
        let mut file = self.file.try_clone()?;
        let results = results.map(Path::to_owned);
        let (lines, taken) = mpsc::sync_channel(GROUP_MAX);
        let thread = std::thread::Builder::new().name("journal".to_owned()).spawn(move || {
            let mut group = Vec::new();
            loop {
                let is_over = gather(&taken, &mut group);
                write_group(&mut file, results.as_deref(), &group)?;
                group.clear();
                if is_over {
                    return Ok(());
                }
            }
        })?;
        Ok(Writer { lines, thread })
    }
}

impl Writer {
    /// Takes a line, and waits where the disk does not keep up. `false`: no more can be written.
    pub(super) fn add(&self, record: Record) -> bool {
        self.lines.send(record).is_ok()
    }

    /// Writes what is left.
    pub(super) fn finish(self) -> io::Result<()> {
        drop(self.lines);
        self.thread.join().unwrap_or_else(|_| Err(io::Error::other("its thread has ended")))
    }
}

/// The lines of a period; whether there will be no more.
fn gather(taken: &mpsc::Receiver<Record>, group: &mut Vec<Record>) -> bool {
    let Ok(first) = taken.recv() else { return true };
    group.push(first);
    let ends = Instant::now() + GROUP_PERIOD;
    while group.len() < GROUP_MAX {
        match taken.recv_timeout(ends.saturating_duration_since(Instant::now())) {
            Ok(record) => group.push(record),
            Err(mpsc::RecvTimeoutError::Timeout) => return false,
            Err(mpsc::RecvTimeoutError::Disconnected) => return true,
        }
    }
    false
}

fn write_group(file: &mut File, results: Option<&Path>, group: &[Record]) -> io::Result<()> {
    if group.is_empty() {
        return Ok(());
    }
    if let Some(results) = results {
        // The directory is made by the first result, and may be gone with the last.
        if let Ok(directory) = File::open(results) {
            syncfs(&directory)?;
        }
    }
    let lines: Vec<u8> = group.iter().flat_map(Record::line).collect();
    file.write_all(&lines)?;
    file.sync_data()
}

impl Record {
    fn line(&self) -> Vec<u8> {
        let Self { number, code, bytes_in, bytes_out } = self;
        let text = format!("{number} {} {bytes_in} {bytes_out}", code.unwrap_or("OK"));
        let sum = crc32fast::hash(text.as_bytes());
        format!("{text} {sum:08x}\n").into_bytes()
    }

    fn parse(line: &[u8]) -> Option<Self> {
        let line = std::str::from_utf8(line).ok()?.strip_suffix('\n')?;
        let (text, sum) = line.rsplit_once(' ')?;
        if u32::from_str_radix(sum, 16).ok()? != crc32fast::hash(text.as_bytes()) {
            return None;
        }
        let mut words = text.split(' ');
        let number = words.next()?.parse().ok()?;
        let code = match words.next()? {
            "OK" => None,
            name => Some(Trouble::known_code(name)?),
        };
        let (bytes_in, bytes_out) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        words.next().is_none().then_some(Self { number, code, bytes_in, bytes_out })
    }
}

fn place(number: u64) -> (usize, u64) {
    (usize::try_from(number / 64).unwrap_or(usize::MAX), 1 << (number % 64))
}

fn set(done: &mut Vec<u64>, count: &mut u64, number: u64) {
    let (word, bit) = place(number);
    if done.len() <= word {
        done.resize(word + 1, 0);
    }
    *count += u64::from(done[word] & bit == 0);
    done[word] |= bit;
}
