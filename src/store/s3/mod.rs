//! Files in a bucket of any S3-compatible store, which many of our stores may share.
//!
//! A file is an object under its own name, that any other client of the bucket can read. Its checksum
//! is metadata of the object, so that the two cannot come apart. An object appears whole or not at
//! all: a small file is one request, a large one is uploaded in parts under a name of the store's
//! own, and copied to its name inside of the bucket once its checksum is known.
//!
//! The requests run on threads of their own, since their library knows tokio's sockets alone.
//! Between them and a ring thread there are channels of a few pieces.

mod bucket;
mod copy;
mod error;
mod fetch;
mod plain;
mod put;
mod quota;
mod scrub;
mod settings;
mod signed;
mod upload;

pub use bucket::Bucket;
pub use error::BucketError;
pub use plain::{Opened, PlainBucket};
pub use settings::{BucketAddress, Settings};
