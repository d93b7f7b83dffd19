//! Reading files where they lie, and writing results where they go.

use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::link::Link;
use super::{Address, Landed, PlanError, Trouble, local};
use crate::limits::BatchLimits;
use crate::store_client;

#[cfg(not(feature = "s3"))]
#[path = "reach/no_buckets.rs"]
mod buckets;
#[cfg(feature = "s3")]
mod buckets;

pub use buckets::BucketAccess;
use buckets::Buckets;

/// Memory is counted in blocks of this size.
const BLOCK_BYTES: u64 = 64 * 1024;

/// A file up to this size is opened and read in one go; of a larger one the size is known first.
const SMALL_BYTES: u64 = 1024 * 1024;

/// What may be reached, and with what.
#[derive(Debug, Clone, Default)]
pub struct ReachConfig {
    /// How buckets are reached.
    pub buckets: BucketAccess,
    /// The store that `store:` is.
    pub store: Option<store_client::Config>,
    /// What addresses must begin with; anything may be named where there is none.
    pub allowed: Option<Vec<String>>,
    /// Sizes.
    pub limits: BatchLimits,
}

/// Files and where they are.
pub struct Reach {
    buckets: Buckets,
    store: Option<Link>,
    allowed: Option<Vec<String>>,
    limits: BatchLimits,
    memory: Arc<Semaphore>,
}

/// A source that is in memory, and its share of it.
pub(super) struct Held {
    pub(super) bytes: Vec<u8>,
    /// Free again when this is dropped.
    pub(super) share: OwnedSemaphorePermit,
}

impl Reach {
    /// Makes ready; nothing is asked yet.
    ///
    /// # Errors
    ///
    /// A thread cannot be started.
    pub fn new(config: ReachConfig) -> io::Result<Self> {
        let ReachConfig { buckets, store, allowed, limits } = config;
        let blocks = usize::try_from(limits.memory_bytes / BLOCK_BYTES).unwrap_or(usize::MAX);
        Ok(Self {
            buckets: Buckets::new(buckets),
            store: store.map(Link::start).transpose()?,
            allowed,
            limits,
            memory: Arc::new(Semaphore::new(blocks.min(Semaphore::MAX_PERMITS))),
        })
    }

    /// Names of all objects beneath a prefix, without it.
    pub(super) fn list(
        &self,
        bucket: &str,
        prefix: &str,
        take: &mut dyn FnMut(&[u8]) -> Result<(), PlanError>,
        wrong: &dyn Fn(Trouble) -> PlanError,
    ) -> Result<(), PlanError> {
        self.buckets.list(bucket, prefix, take, wrong)
    }

    /// Reads a source, once there is memory for it.
    pub(super) async fn read(&self, from: &Address) -> Result<Held, Trouble> {
        self.allow(from)?;
        match from {
            Address::Path(path) => self.read_file(path.clone()).await,
            Address::Object { bucket, key } => {
                let opened = self.buckets.open(bucket, key).await?;
                let share = self.room(opened.bytes()).await?;
                Ok(Held { bytes: opened.read().await?.into(), share })
            }
            Address::Stored(name) => {
                // How large it is is known once it is there: the store is asked one by one.
                let bytes = self.store()?.get(name.clone(), self.limits.body_bytes_max).await?;
                let share = self.room(bytes.len() as u64).await?;
                Ok(Held { bytes, share })
            }
        }
    }

    /// Writes a result whole, or not at all.
    pub(super) async fn write(
        &self,
        to: &Address,
        bytes: Vec<u8>,
        replace: bool,
    ) -> Result<Landed, Trouble> {
        self.allow(to)?;
        match to {
            Address::Path(path) => {
                let path = path.clone();
                aside(move || local::write_file(&path, &bytes, replace)).await
            }
            Address::Object { bucket, key } => {
                self.buckets.put(bucket, key, bytes.into(), replace).await
            }
            Address::Stored(name) => self.store()?.put(name.clone(), bytes, replace).await,
        }
    }

    async fn read_file(&self, path: PathBuf) -> Result<Held, Trouble> {
        let share = self.room(SMALL_BYTES).await?;
        let (opened, read) = aside(move || {
            let opened = local::open_file(&path)?;
            if opened.bytes > SMALL_BYTES {
                return Ok((Some(opened), Vec::new()));
            }
            opened.read().map(|bytes| (None, bytes))
        })
        .await?;
        let Some(opened) = opened else { return Ok(Held { bytes: read, share }) };
        // What is held is given back before more is waited for: two that hold could wait for ever.
        drop(share);
        let share = self.room(opened.bytes).await?;
        let bytes = aside(move || opened.read()).await?;
        Ok(Held { bytes, share })
    }

    /// Waits for memory for a source.
    async fn room(&self, bytes: u64) -> Result<OwnedSemaphorePermit, Trouble> {
        let max = self.limits.body_bytes_max;
        if bytes > max && bytes > SMALL_BYTES {
            return Err(Trouble::too_large(bytes, max));
        }
        let all = (self.limits.memory_bytes / BLOCK_BYTES).max(1);
        let blocks = bytes.div_ceil(BLOCK_BYTES).clamp(1, all);
        let blocks = u32::try_from(blocks).unwrap_or(u32::MAX);
        let taken = Arc::clone(&self.memory).acquire_many_owned(blocks).await;
        taken.map_err(|_| Trouble::storage("the batch is over"))
    }

    fn store(&self) -> Result<&Link, Trouble> {
        self.store.as_ref().ok_or_else(|| {
            Trouble::not_allowed("nothing says which store `store:` is")
                .with_hint("give --store HOST:PORT, and --store-ca FILE or --store-plain")
        })
    }

    /// Whether an address that somebody else has named may be used.
    fn allow(&self, address: &Address) -> Result<(), Trouble> {
        let Some(allowed) = &self.allowed else { return Ok(()) };
        if allowed.iter().any(|start| is_beneath(address, start)) {
            return Ok(());
        }
        Err(Trouble::not_allowed("the worker may not use this address")
            .with_hint("its operator allows more with --queue-allow"))
    }
}

/// Whether an address is beneath what is allowed: a directory, a bucket with a prefix, or a store.
fn is_beneath(address: &Address, start: &str) -> bool {
    match address {
        Address::Object { bucket, key } => {
            let Some(rest) = start.strip_prefix("s3://") else { return false };
            let (allowed, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            let prefix = prefix.trim_end_matches('/');
            let is_key = prefix.is_empty()
                || key.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/'));
            (allowed.is_empty() || allowed == bucket) && is_key
        }
        Address::Stored(_) => start == "store:",
        Address::Path(path) => {
            let is_plain = path.components().all(|part| part != Component::ParentDir);
            start.starts_with('/') && is_plain && leads_beneath(path, Path::new(start))
        }
    }
}

/// Whether a path stays beneath a directory once its links are followed. What is not there yet, such as
/// a result, is judged by the directory that it is to be in.
fn leads_beneath(path: &Path, start: &Path) -> bool {
    let Ok(start) = start.canonicalize() else { return false };
    let there = path.ancestors().find_map(|part| part.canonicalize().ok());
    there.is_some_and(|there| there.starts_with(&start))
}

/// Does what blocks on a thread that may.
async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Trouble> + Send + 'static,
) -> Result<T, Trouble> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(Trouble::storage(error.to_string())),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn may(address: &str, start: &str) -> bool {
        is_beneath(&Address::parse(address.as_bytes()).unwrap(), start)
    }

    #[test]
    fn what_a_worker_may_touch_is_said_by_prefixes() {
        assert!(may("s3://b/in/a.png", "s3://"));
        assert!(may("s3://b/in/a.png", "s3://b"));
        assert!(may("s3://b/in/a.png", "s3://b/in/"));
        assert!(!may("s3://b/inner/a.png", "s3://b/in"));
        assert!(!may("s3://c/in/a.png", "s3://b/in"));
        assert!(may("store:a", "store:"));
        assert!(!may("store:a", "s3://"));
        assert!(!may("/etc/passwd", "s3://"));
    }

    #[test]
    fn links_do_not_lead_out_of_what_is_allowed() {
        let dir = tempfile::tempdir().unwrap();
        let inside = dir.path().join("in");
        std::fs::create_dir(&inside).unwrap();
        std::fs::write(dir.path().join("secret"), b"x").unwrap();
        std::os::unix::fs::symlink(dir.path().join("secret"), inside.join("link")).unwrap();
        std::os::unix::fs::symlink(dir.path(), inside.join("up")).unwrap();
        let start = inside.to_str().unwrap();
        let may = |name: &str| is_beneath(&Address::Path(inside.join(name)), start);
        assert!(may("new.jpg") && may("new/a.jpg"));
        assert!(!may("link") && !may("up/secret") && !may("up/new.jpg") && !may("../secret"));
    }
}
