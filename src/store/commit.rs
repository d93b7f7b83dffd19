//! Making changes durable, many at a time.
//!
//! A sync of a file costs the disk a flush, and one of the directory another, whether one file is
//! new or a hundred. So neither is done alone. Contents are synced beside each other, on many threads:
//! the kernel makes durable together what waits at the same time, which it cannot where one sync
//! follows the other. Names change on one thread: while that waits for the disk, the next changes
//! gather, and one sync of the directory is for all of them. Nobody waits for company: a change that
//! comes alone goes alone.

use std::io;
use std::str::FromStr;
use std::sync::{Arc, mpsc};

use tokio::sync::oneshot;

use super::StoreError;
use super::directory::{Directory, Draft};
use super::name::Name;

/// What an acknowledged change survives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Durability {
    /// The end of the process, and nothing more: the kernel writes when it likes.
    None,
    /// Also a loss of power, as to a file's content; its new name may be lost.
    File,
    /// A loss of power.
    #[default]
    Full,
}

/// Changes that become durable together. More than the connections of one thread seldom wait.
const GROUP_MAX: usize = 256;

/// Has changes made durable.
pub(super) struct Committer {
    jobs: mpsc::Sender<Job>,
}

struct Job {
    change: Change,
    reply: oneshot::Sender<Result<(), StoreError>>,
}

/// A change of names.
pub(super) enum Change {
    /// A file gets its name. Its content is on the disk, so that no name ever reaches the disk before
    /// what it stands for.
    Publish(Draft),
    /// A file gets another name.
    Rename { from: Name, to: Name },
}

impl Committer {
    /// Starts the thread. It ends when this is dropped.
    pub(super) fn start(directory: Arc<Directory>) -> io::Result<Self> {
        let (jobs, queue) = mpsc::channel();
        let thread = std::thread::Builder::new().name("commit".into());
        thread.spawn(move || work(&directory, &queue))?;
        Ok(Self { jobs })
    }

    /// Makes a change, and waits until it is durable.
    pub(super) async fn commit(&self, change: Change) -> Result<(), StoreError> {
        let (reply, done) = oneshot::channel();
        let ended = || StoreError::Io(io::Error::other("the thread that commits has ended"));
        self.jobs.send(Job { change, reply }).map_err(|_| ended())?;
        done.await.map_err(|_| ended())?
    }
}

fn work(directory: &Directory, queue: &mpsc::Receiver<Job>) {
    while let Ok(first) = queue.recv() {
        let mut group = vec![first];
        group.extend(queue.try_iter().take(GROUP_MAX - 1));
        commit_group(directory, group);
    }
}

/// First the names in the order of their arrival, then the directory.
fn commit_group(directory: &Directory, group: Vec<Job>) {
    let one = |Job { change, reply }| (reply, change.make(directory));
    let changed: Vec<_> = group.into_iter().map(one).collect();
    // What failed needs no sync, and there is nothing else where all of it did.
    let any_made = changed.iter().any(|(_, made)| made.is_ok());
    let durable = if any_made { directory.sync() } else { Ok(()) };
    tracing::trace!(count = changed.len(), "committed");
    for (reply, made) in changed {
        let done = match (&durable, made) {
            (Err(error), Ok(())) => Err(StoreError::Io(io::Error::other(error.to_string()))),
            (_, made) => made,
        };
        // A client that has left does not wait for its answer.
        let _ = reply.send(done);
    }
}

impl Change {
    /// Makes the change in the kernel's memory.
    pub(super) fn make(self, directory: &Directory) -> Result<(), StoreError> {
        match self {
            Self::Publish(draft) => draft.publish(),
            Self::Rename { from, to } => directory.change(&from, &to),
        }
    }
}

impl FromStr for Durability {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "none" => Ok(Self::None),
            "file" => Ok(Self::File),
            "full" => Ok(Self::Full),
            other => Err(format!("'{other}' is no durability; there are none, file and full")),
        }
    }
}

impl std::fmt::Display for Durability {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::File => "file",
            Self::Full => "full",
        })
    }
}
