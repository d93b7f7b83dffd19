//! A bucket, and the threads that work with it.

use std::collections::hash_map::DefaultHasher;
use std::future::Future;
use std::hash::{Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use object_store::list::{PaginatedListOptions, PaginatedListStore as _};
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, GetOptions, GetResult, ObjectMeta, ObjectStore as _,
    ObjectStoreExt as _, PutMode, PutOptions, PutPayload,
};
use tokio::runtime::{Handle, Runtime};
use tokio::sync::{Mutex, MutexGuard, Semaphore, oneshot};

use super::error::{NO_BUCKET, reason, within};
use super::quota::Quota;
use super::settings::{Clients, Settings};
use super::{BucketAddress, BucketError};
use crate::limits::{BucketLimits, StoreLimits};
use crate::store::StoreError;
use crate::store::name::{Name, OWN_PREFIX};

/// Files in a bucket. Clones share its threads.
pub struct Bucket {
    pub(super) objects: Arc<Objects>,
    address: BucketAddress,
    limits: StoreLimits,
    threads: Handle,
    /// Taken at the end alone.
    runtime: Option<Runtime>,
}

/// What the threads work with.
pub(super) struct Objects {
    pub(super) clients: Clients,
    pub(super) limits: BucketLimits,
    pub(super) quota: Quota,
    /// Memory for uploads, in pieces of [`PIECE_BYTES`].
    pub(super) memory: Arc<Semaphore>,
    /// Changes of a name within this process come one after the other. Those of other processes meet
    /// in the bucket, under its conditions.
    names: [Mutex<()>; NAME_LOCKS],
}

/// A piece of a file between a ring thread and those of the bucket.
pub(super) const PIECE_BYTES: usize = 64 * 1024;

const NAME_LOCKS: usize = 64;

/// Threads for requests: TLS and hashes for SigV4 are their work, and the ring threads have the rest.
const THREADS: usize = 2;

/// The metadata that is a file's checksum: `x-amz-meta-fxsrv-xxh3`.
const CHECKSUM: &str = "fxsrv-xxh3";

/// What the object that tries a bucket is said to hash to.
const PROBE_CHECKSUM: u128 = 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef;

/// Drafts older than this belong to nobody: a transfer ends by [`StoreLimits::transfer_time`], which
/// is three days for 4 GiB at the least rate. They cost little meanwhile.
const DRAFT_AGE_MAX: Duration = Duration::from_secs(4 * 86_400);

impl Bucket {
    /// Reaches a bucket, and makes sure that it holds what is built upon.
    ///
    /// # Errors
    ///
    /// It cannot be reached, the credentials do not suffice to read it, or it replaces objects that
    /// it was told not to replace.
    pub fn open(
        settings: &Settings,
        limits: StoreLimits,
        has_quota: bool,
    ) -> Result<Self, BucketError> {
        let clients = settings.clients()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("bucket")
            .enable_all()
            .build()
            .map_err(BucketError::Threads)?;
        let pieces = settings.limits.parts_max * settings.limits.part_bytes / PIECE_BYTES;
        let objects = Arc::new(Objects {
            clients,
            limits: settings.limits,
            quota: Quota::new(limits, has_quota),
            memory: Arc::new(Semaphore::new(pieces)),
            names: std::array::from_fn(|_| Mutex::default()),
        });
        let address = settings.address.clone();
        let threads = runtime.handle().clone();
        let bucket = Self { objects, address, limits, threads, runtime: Some(runtime) };
        bucket.block_on(Arc::clone(&bucket.objects).begin())?;
        Ok(bucket)
    }

    /// Runs `work` on the calling thread, which must have no event loop.
    pub(super) fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.threads.block_on(work)
    }

    /// Starts `work` on the bucket's threads. It goes on to its end, also where nobody waits for it
    /// any more.
    pub(super) fn start<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Started<T> {
        let (reply, done) = oneshot::channel();
        self.threads.spawn(async move {
            // Whoever asked may have left.
            let _ = reply.send(work.await);
        });
        Started(done)
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> &BucketAddress {
        &self.address
    }

    /// The limits of its files.
    #[must_use]
    pub fn limits(&self) -> &StoreLimits {
        &self.limits
    }
}

/// Work that was started, and whose outcome may be waited for.
pub(super) struct Started<T>(oneshot::Receiver<Result<T, StoreError>>);

impl<T> Started<T> {
    pub(super) async fn done(self) -> Result<T, StoreError> {
        let ended = || StoreError::Bucket("its threads have ended".to_owned());
        self.0.await.map_err(|_| ended())?
    }
}

/// An event loop may not wait for threads, and the last to let go of a bucket may be one.
impl Drop for Bucket {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Objects {
    async fn begin(self: Arc<Self>) -> Result<(), BucketError> {
        let unreachable = |error| match error {
            StoreError::Bucket(reason) => BucketError::Unreachable(reason),
            other => BucketError::Unreachable(other.to_string()),
        };
        let listed = self.timed("listing", async {
            self.clients.store.list(Some(&self.clients.prefix)).next().await.transpose()
        });
        // "Not found" is about a file everywhere else.
        listed.await.map_err(|error| match error {
            StoreError::Missing => BucketError::Unreachable(NO_BUCKET.to_owned()),
            other => unreachable(other),
        })?;
        self.prove_promises().await?;
        self.quota.count(&self).await.map_err(unreachable)?;
        Quota::keep_counting(&self);
        tokio::spawn(async move { self.sweep().await });
        Ok(())
    }

    /// A bucket that overlooks a condition would let CHANGE replace files, and in one that does not
    /// keep metadata damage would stay unseen.
    async fn prove_promises(&self) -> Result<(), BucketError> {
        let probe = self.own_path("probe");
        let create = || self.create(&probe, PutPayload::new(), attributes(PROBE_CHECKSUM));
        match create().await {
            Err(StoreError::Bucket(reason)) => {
                tracing::warn!(reason, "cannot write to the bucket: its files can only be read");
                return Ok(());
            }
            Err(error) => return Err(BucketError::Unreachable(error.to_string())),
            Ok(()) => {}
        }
        let again = create().await;
        let options = GetOptions { head: true, ..GetOptions::default() };
        let found = self.timed("reading", self.clients.store.get_opts(&probe, options)).await;
        self.remove(&probe).await;
        let lacking = |what: &str| Err(BucketError::Settings(what.to_owned()));
        let unreachable = |error: StoreError| Err(BucketError::Unreachable(error.to_string()));
        match again {
            Err(StoreError::Exists) => {}
            Err(error) => return unreachable(error),
            Ok(()) => {
                return lacking(
                    "the bucket's server overlooks `If-None-Match`, so that a rename could replace a file",
                );
            }
        }
        match found.map(|found| checksum(&found.attributes)) {
            Ok(Some(PROBE_CHECKSUM)) => Ok(()),
            Ok(_) => lacking(
                "the bucket's server does not keep metadata, so that files would have no checksum",
            ),
            Err(error) => unreachable(error),
        }
    }

    /// Removes drafts that crashes have left.
    async fn sweep(&self) {
        let drafts = self.path_of(OWN_PREFIX).unwrap_or_default();
        let (mut page_token, mut swept) = (None, 0_u64);
        loop {
            let options = PaginatedListOptions { page_token, ..PaginatedListOptions::default() };
            let listing = self.clients.store.list_paginated(Some(drafts.as_ref()), options);
            let Ok(page) = self.timed("listing", listing).await else { return };
            for meta in page.result.objects {
                let written = std::time::SystemTime::from(meta.last_modified);
                if written.elapsed().unwrap_or_default() > DRAFT_AGE_MAX {
                    self.remove(&meta.location).await;
                    swept += 1;
                }
            }
            page_token = page.page_token;
            if page_token.is_none() {
                break;
            }
        }
        if swept > 0 {
            tracing::info!(swept, "removed old drafts");
        }
    }

    /// What a request brings, within its time.
    pub(super) async fn timed<T>(
        &self,
        what: &str,
        work: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, StoreError> {
        within(self.limits.request_timeout, what, work).await
    }

    /// Opens a file, or (`head`) asks for what is known of it.
    pub(super) async fn open(&self, name: &Name, head: bool) -> Result<GetResult, StoreError> {
        let (path, mut options) = (self.path(name)?, GetOptions::default());
        options.head = head;
        self.timed("reading", self.clients.store.get_opts(&path, options)).await
    }

    /// Stores an object, in place of one that has its name.
    pub(super) async fn put(
        &self,
        path: &Path,
        payload: PutPayload,
        attributes: Attributes,
    ) -> Result<(), StoreError> {
        let options = PutOptions { attributes, ..PutOptions::default() };
        let put = self.clients.store.put_opts(path, payload, options);
        self.timed("writing", put).await.map(|_| ())
    }

    /// Stores an object, unless there is one of that name.
    pub(super) async fn create(
        &self,
        path: &Path,
        payload: PutPayload,
        attributes: Attributes,
    ) -> Result<(), StoreError> {
        let options = PutOptions { mode: PutMode::Create, attributes, ..PutOptions::default() };
        let put = self.clients.store.put_opts(path, payload, options);
        self.timed("writing", put).await.map(|_| ())
    }

    /// Removes an object of our own, as well as it goes.
    pub(super) async fn remove(&self, path: &Path) {
        if let Err(error) = self.timed("removing", self.clients.store.delete(path)).await {
            tracing::warn!(%path, %error, "cannot remove a draft");
        }
    }

    /// All objects under the prefix, page by page.
    pub(super) fn list(
        &self,
    ) -> futures_util::stream::BoxStream<'static, Result<ObjectMeta, StoreError>> {
        let listed = self.clients.store.list(Some(&self.clients.prefix));
        listed.map(|meta| meta.map_err(|error| StoreError::Bucket(reason(error)))).boxed()
    }

    /// The name of a listed object, where it is that of a file.
    pub(super) fn name_of(&self, meta: &ObjectMeta) -> Option<Name> {
        let mut parts = meta.location.prefix_match(&self.clients.prefix)?;
        let name = parts.next()?;
        if parts.next().is_some() {
            return None;
        }
        Name::parse(name.as_ref().as_bytes()).ok()
    }

    pub(super) fn path(&self, name: &Name) -> Result<Path, StoreError> {
        self.path_of(name.as_str())
    }

    /// A path of our own that no other has.
    pub(super) fn own_path(&self, kind: &str) -> Path {
        let mut random = [0; 16];
        // Without randomness names still differ between processes and moments.
        if getrandom::fill(&mut random).is_err() {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            let now = now.unwrap_or_default().as_nanos() ^ u128::from(std::process::id()) << 96;
            random = now.to_be_bytes();
        }
        let name = format!("{OWN_PREFIX}{kind}-{:032x}", u128::from_be_bytes(random));
        // Letters and digits make a path always.
        self.path_of(&name).unwrap_or_default()
    }

    fn path_of(&self, name: &str) -> Result<Path, StoreError> {
        let prefix = self.clients.prefix.as_ref();
        let slash = if prefix.is_empty() { "" } else { "/" };
        Path::parse(format!("{prefix}{slash}{name}"))
            .map_err(|error| StoreError::Bucket(error.to_string()))
    }

    /// Keeps others of this process from the name until the guard is dropped.
    pub(super) async fn lock(&self, name: &Name) -> MutexGuard<'_, ()> {
        self.names[lock_of(name)].lock().await
    }

    /// The same for two names at once, always in the same order.
    pub(super) async fn lock_both(
        &self,
        one: &Name,
        other: &Name,
    ) -> (MutexGuard<'_, ()>, Option<MutexGuard<'_, ()>>) {
        let (one, other) = (lock_of(one), lock_of(other));
        let first = self.names[one.min(other)].lock().await;
        let second =
            if one == other { None } else { Some(self.names[one.max(other)].lock().await) };
        (first, second)
    }
}

fn lock_of(name: &Name) -> usize {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    // The remainder is below NAME_LOCKS.
    usize::try_from(hasher.finish() % NAME_LOCKS as u64).unwrap_or_default()
}

/// The metadata of a file.
pub(super) fn attributes(checksum: u128) -> Attributes {
    let value = format!("{checksum:032x}");
    Attributes::from_iter([(Attribute::Metadata(CHECKSUM.into()), value)])
}

/// The checksum that a file was stored with. An object that was put there by others has none.
pub(super) fn checksum(attributes: &Attributes) -> Option<u128> {
    let text = attributes.get(&Attribute::Metadata(CHECKSUM.into()))?;
    u128::from_str_radix(text, 16).ok().filter(|_| text.len() == 32)
}
