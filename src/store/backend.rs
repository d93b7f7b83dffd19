//! Where the files are: the one place that tells backends apart.

use std::io;
use std::sync::Arc;

use super::commit::{Change, Committer, Durability};
use super::directory::Directory;
use super::name::Name;
use super::numbers::Summary;
#[cfg(feature = "s3")]
use super::s3::Bucket;
use super::summarise::summarise;
use super::{Config, StoreError};
use crate::io::blocking;
use crate::limits::StoreLimits;

/// What a store keeps its files in.
pub enum Files {
    /// A directory of this machine.
    Directory(Directory),
    /// A bucket of an S3-compatible store.
    #[cfg(feature = "s3")]
    Bucket(Bucket),
}

/// The same, at work. Each kind has its own PUT and GET, which are about buffers; what they share is
/// the protocol around them.
pub(super) enum Backend {
    Local(Local),
    #[cfg(feature = "s3")]
    Bucket(Bucket),
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
            #[cfg(feature = "s3")]
            Files::Bucket(bucket) => Ok(Self::Bucket(bucket)),
        }
    }

    /// Gives a file another name, unless that is taken.
    pub(super) async fn rename(&self, from: &Name, to: &Name) -> Result<(), StoreError> {
        match self {
            Self::Local(local) => {
                local.change(Change::Rename { from: from.clone(), to: to.clone() }).await
            }
            #[cfg(feature = "s3")]
            Self::Bucket(bucket) => bucket.change(from, to).await,
        }
    }

    /// Greatest, least and mean of a file's numbers.
    pub(super) async fn summarise(&self, name: &Name) -> Result<Summary, StoreError> {
        match self {
            Self::Local(local) => {
                let found = local.directory.find(name)?;
                // A gigabyte of numbers takes seconds, and a ring thread has none.
                blocking(move || summarise(&found)).await.map_err(StoreError::Io)?
            }
            #[cfg(feature = "s3")]
            Self::Bucket(bucket) => bucket.summarise(name).await,
        }
    }

    /// Whether the files are on this machine.
    pub(super) fn is_local(&self) -> bool {
        matches!(self, Self::Local(_))
    }

    pub(super) fn limits(&self) -> &StoreLimits {
        match self {
            Self::Local(local) => local.directory.limits(),
            #[cfg(feature = "s3")]
            Self::Bucket(bucket) => bucket.limits(),
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

#[cfg(feature = "s3")]
impl From<Bucket> for Files {
    fn from(bucket: Bucket) -> Self {
        Self::Bucket(bucket)
    }
}
