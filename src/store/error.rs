//! Why a request is not done.

use std::io;

use super::name::NameError;
use super::numbers::SummaryError;
use super::protocol::Answer;

/// Why a request is not done. The protocol has one byte for it; the log has the rest.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no such file.
    #[error("there is no file of that name")]
    Missing,
    /// A file has the new name already.
    #[error("the new name is taken")]
    Exists,
    /// A name is none.
    #[error("{0}")]
    Name(#[from] NameError),
    /// The file is larger than one may be.
    #[error("the file has {bytes} bytes, {over} over the limit of {max}", over = .bytes - max)]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The limit.
        max: u64,
    },
    /// All files together would be larger than they may be.
    #[error("{bytes} bytes more would be {over} over the limit of {max} for all files")]
    NoRoom {
        /// Its size.
        bytes: u64,
        /// By how much the limit would be exceeded.
        over: u64,
        /// The limit.
        max: u64,
    },
    /// There are as many files as there may be.
    #[error("there are {max} files, which is the limit")]
    TooManyFiles {
        /// The limit.
        max: u64,
    },
    /// The file is not what was stored.
    #[error("the file is damaged: its checksum is {computed:032x}, and {stored:032x} was stored")]
    Damaged {
        /// Of what is on the disk.
        computed: u128,
        /// Of what was stored.
        stored: u128,
    },
    /// The file became shorter while it was read.
    #[error("the file ended {missing} bytes early")]
    Short {
        /// How many bytes were still expected.
        missing: u64,
    },
    /// It is no file of numbers.
    #[error("{0}")]
    Summary(#[from] SummaryError),
    /// The bucket that has the files failed, or did not answer in time.
    #[error("the bucket failed: {0}")]
    Bucket(String),
    /// The file system failed.
    #[error("{0}")]
    Io(io::Error),
}

impl StoreError {
    /// What the client is told.
    #[must_use]
    pub fn answer(&self) -> Answer {
        if matches!(self, Self::Missing) { Answer::NotFound } else { Answer::Refused }
    }

    /// Whether a person is needed: the disk is full or failing, or a file is damaged.
    #[must_use]
    pub fn is_grave(&self) -> bool {
        matches!(self, Self::Damaged { .. } | Self::Short { .. } | Self::Bucket(_) | Self::Io(_))
    }
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing,
            io::ErrorKind::AlreadyExists => Self::Exists,
            _ => Self::Io(error),
        }
    }
}
