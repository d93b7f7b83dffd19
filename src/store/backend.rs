//! Where the files are: the one place that tells backends apart.

use std::io;
use std::sync::Arc;

use super::commit::{Change, Committer, Durability};
use super::directory::Directory;
use super::{Config, StoreError};
use crate::limits::StoreLimits;

/// What a store keeps its files in.
pub enum Files {
    /// A directory of this machine.
    Directory(Directory),
}

/// The same, at work. Each kind has its own PUT, GET, CHANGE and SUMMARY; what they share is the
/// protocol around them.
pub(super) enum Backend {
    Local(Local),
}

/// A directory, and the thread that makes its changes durable.
pub(super) struct Local {
    pub(super) directory: Arc<Directory>,
    committer: Committer,
    durability: Durability,
}

impl Backend {
    pub(super) fn start(files: Files, config: &Config) -> io::Result<Self> {
        match files {
            Files::Directory(directory) => {
                let directory = Arc::new(directory);
                let committer = Committer::start(Arc::clone(&directory))?;
                Ok(Self::Local(Local { directory, committer, durability: config.durability }))
            }
        }
    }

    pub(super) fn limits(&self) -> &StoreLimits {
        match self {
            Self::Local(local) => local.directory.limits(),
        }
    }
}

impl Local {
    /// Makes a change as durable as is asked for.
    pub(super) async fn change(&self, change: Change) -> Result<(), StoreError> {
        match self.durability {
            Durability::Full => self.committer.commit(change).await,
            Durability::File | Durability::None => change.make(&self.directory),
        }
    }
}

impl From<Directory> for Files {
    fn from(directory: Directory) -> Self {
        Self::Directory(directory)
    }
}
