//! Limits of all files together, as far as one of many servers can hold them.
//!
//! Nobody counts the objects of a bucket for us. Where limits are asked for, they are counted when the
//! store starts and about once a minute from then on, and what this server does in between is counted
//! on top. Servers that share a bucket may exceed a limit by what all of them store within that time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_util::StreamExt as _;

use super::bucket::Objects;
use crate::limits::StoreLimits;
use crate::store::StoreError;
use crate::store::name::Name;
use crate::store::usage::Usage;

/// From the end of one count to the next. A million files take a thousand requests to list.
const COUNT_EVERY: Duration = Duration::from_secs(60);

/// What is there and on its way; `None` where nobody asks.
pub(super) struct Quota {
    limits: StoreLimits,
    usage: Option<Mutex<Usage>>,
}

/// The place of a file on its way.
pub(super) struct Place {
    objects: Arc<Objects>,
    bytes: u64,
    /// The size of the file that it replaces.
    old_bytes: Option<u64>,
}

impl Quota {
    pub(super) fn new(limits: StoreLimits, is_asked_for: bool) -> Self {
        Self { limits, usage: is_asked_for.then(Mutex::default) }
    }

    fn usage(&self) -> Option<MutexGuard<'_, Usage>> {
        let usage = self.usage.as_ref()?;
        Some(usage.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) async fn count(&self, objects: &Objects) -> Result<(), StoreError> {
        if self.usage.is_none() {
            return Ok(());
        }
        let (mut listed, mut files, mut bytes) = (objects.list(), 0, 0);
        while let Some(meta) = listed.next().await {
            let meta = meta?;
            if objects.name_of(&meta).is_some() {
                files += 1;
                bytes += meta.size;
            }
        }
        if let Some(mut usage) = self.usage() {
            usage.recount(files, bytes);
        }
        tracing::debug!(files, bytes, "counted the bucket");
        Ok(())
    }

    /// Counts again and again, for as long as somebody works with the bucket.
    pub(super) fn keep_counting(objects: &Arc<Objects>) {
        if objects.quota.usage.is_none() {
            return;
        }
        let objects: Weak<Objects> = Arc::downgrade(objects);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(COUNT_EVERY).await;
                let Some(objects) = objects.upgrade() else { return };
                if let Err(error) = objects.quota.count(&objects).await {
                    tracing::warn!(%error, "cannot count the bucket's files");
                }
            }
        });
    }
}

impl Place {
    /// Takes a place for a file of `bytes`.
    pub(super) async fn reserve(
        objects: &Arc<Objects>,
        name: &Name,
        bytes: u64,
    ) -> Result<Option<Self>, StoreError> {
        if objects.quota.usage.is_none() {
            return Ok(None);
        }
        let old_bytes = match objects.open(name, true).await {
            Ok(found) => Some(found.meta.size),
            Err(StoreError::Missing) => None,
            Err(error) => return Err(error),
        };
        if let Some(mut usage) = objects.quota.usage() {
            usage.reserve(bytes, old_bytes.is_none(), &objects.quota.limits)?;
        }
        Ok(Some(Self { objects: Arc::clone(objects), bytes, old_bytes }))
    }

    /// The file is there.
    pub(super) fn keep(self) {
        if let Some(mut usage) = self.objects.quota.usage() {
            usage.publish(self.bytes, self.old_bytes);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(mut usage) = self.objects.quota.usage() {
            usage.release(self.bytes, self.old_bytes.is_none());
        }
    }
}
