//! The buckets of a batch: those that its addresses name, each opened when it is first named.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::StreamExt as _;

use crate::batch::{Landed, PlanError, Trouble};
use crate::limits::BucketLimits;
use crate::store::{BucketAddress, BucketError, BucketSettings, Opened, PlainBucket};

/// Buckets that are open at a time; a batch that names more is refused the rest.
const BUCKETS_MAX: usize = 64;

/// How buckets are reached; the environment has what is not said here.
#[derive(Debug, Clone, Default)]
pub struct BucketAccess {
    /// The server's URL, where it is not Amazon's.
    pub endpoint: Option<String>,
    /// The region.
    pub region: Option<String>,
    /// Certificates, PEM, to trust the endpoint by.
    pub ca_pem: Option<Vec<u8>>,
}

pub(super) struct Buckets {
    access: BucketAccess,
    open: Mutex<HashMap<String, Arc<PlainBucket>>>,
}

impl Buckets {
    pub(super) fn new(access: BucketAccess) -> Self {
        Self { access, open: Mutex::default() }
    }

    pub(super) async fn open(&self, bucket: &str, key: &str) -> Result<Opened, Trouble> {
        Ok(self.bucket(bucket)?.open(key).await?)
    }

    /// An object that is there already is left as it is: it may be this very result.
    pub(super) async fn put(
        &self,
        bucket: &str,
        key: &str,
        bytes: Bytes,
        replace: bool,
    ) -> Result<Landed, Trouble> {
        let objects = self.bucket(bucket)?;
        match objects.put(key, bytes.clone(), replace).await {
            Ok(()) => Ok(Landed::New),
            Err(crate::store::StoreError::Exists) => {
                let there = objects.open(key).await?;
                if there.bytes() == bytes.len() as u64 && there.read().await? == bytes {
                    return Ok(Landed::Same);
                }
                Err(Trouble::exists())
            }
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn list(
        &self,
        bucket: &str,
        prefix: &str,
        take: &mut dyn FnMut(&[u8]) -> Result<(), PlanError>,
        wrong: &dyn Fn(Trouble) -> PlanError,
    ) -> Result<(), PlanError> {
        let storage = |error: std::io::Error| wrong(Trouble::storage(error.to_string()));
        let threads = tokio::runtime::Builder::new_current_thread().enable_all().build();
        threads.map_err(storage)?.block_on(async {
            let objects = self.make(bucket, prefix).map_err(wrong)?;
            let mut listed = objects.list();
            while let Some(found) = listed.next().await {
                let (key, bytes) = found.map_err(|error| wrong(error.into()))?;
                // An empty object without an extension stands for a directory, in the way of consoles.
                let is_file = |name: &&str| {
                    !name.is_empty()
                        && (bytes > 0
                            || name.rsplit('/').next().is_some_and(|last| last.contains('.')))
                };
                if let Some(name) = key.strip_prefix(prefix).filter(is_file) {
                    take(name.as_bytes())?;
                }
            }
            Ok(())
        })
    }

    fn bucket(&self, name: &str) -> Result<Arc<PlainBucket>, Trouble> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = open.get(name) {
            return Ok(Arc::clone(bucket));
        }
        if open.len() == BUCKETS_MAX {
            let message = format!("the batch names more than {BUCKETS_MAX} buckets");
            return Err(Trouble::not_allowed(message));
        }
        let bucket = Arc::new(self.make(name, "")?);
        open.insert(name.to_owned(), Arc::clone(&bucket));
        Ok(bucket)
    }

    fn make(&self, bucket: &str, prefix: &str) -> Result<PlainBucket, Trouble> {
        let prefix = prefix.trim_end_matches('/').to_owned();
        let BucketAccess { endpoint, region, ca_pem } = self.access.clone();
        let settings = BucketSettings {
            address: BucketAddress { bucket: bucket.to_owned(), prefix },
            endpoint,
            region,
            ca_pem,
            limits: BucketLimits::default(),
        };
        PlainBucket::new(&settings).map_err(|error: BucketError| {
            let trouble = Trouble::not_allowed(error.to_string());
            match error.hint() {
                Some(hint) => trouble.with_hint(hint),
                None => trouble,
            }
        })
    }
}
