//! CHANGE, and the last step of a large PUT: copies inside of the bucket.
//!
//! A bucket cannot rename. A file gets its new name by a copy, under the condition that the name is
//! free, and then loses the old one. In between it has both, which is also what a crash leaves: the
//! file is whole under each of them, and nothing is lost.

use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::multipart::{MultipartStore as _, PartId};
use object_store::path::Path;
use object_store::{Attribute, Attributes, PutMultipartOptions, PutPayload};

use super::Bucket;
use super::bucket::{Objects, PIECE_BYTES};
use crate::store::StoreError;
use crate::store::name::Name;

/// What one request copies: at 100 MB/s inside of a bucket it takes less than 3 s.
const COPY_BYTES: u64 = 256 * 1024 * 1024;

/// Such requests at once.
const COPIES_AT_ONCE: usize = 4;

/// Metadata that tells a copy of ours from one of another server, where both wanted the name.
const MARK: &str = "fxsrv-change";

/// An object that is copied, as it was when its size was told.
struct Source<'a> {
    path: &'a Path,
    bytes: u64,
    e_tag: Option<&'a str>,
}

/// What a copy may take the place of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Onto {
    Anything,
    Nothing,
}

impl Bucket {
    /// Gives a file another name, unless that is taken.
    pub(in crate::store) async fn change(&self, from: &Name, to: &Name) -> Result<(), StoreError> {
        let (objects, from, to) = (Arc::clone(&self.objects), from.clone(), to.clone());
        self.start(async move {
            let _alone = objects.lock_both(&from, &to).await;
            objects.change(&from, &to).await
        })
        .done()
        .await
    }
}

impl Objects {
    async fn change(&self, from: &Name, to: &Name) -> Result<(), StoreError> {
        let found = self.open(from, false).await?;
        let mark = self.own_path("change").to_string();
        let mut attributes = found.attributes.clone();
        attributes.insert(Attribute::Metadata(MARK.into()), mark.clone().into());
        let e_tag = found.meta.e_tag.clone();
        let copied = if found.meta.size <= self.limits.part_bytes as u64 {
            self.copy_small(found, to, attributes).await
        } else {
            let (path, bytes) = (found.meta.location.clone(), found.meta.size);
            // Nothing of its content was read yet, nor will be.
            drop(found);
            // The condition at the end is what counts; this spares the copy of a large file.
            match self.open(to, true).await {
                Err(StoreError::Missing) => {}
                Err(error) => return Err(error),
                Ok(_) => return Err(StoreError::Exists),
            }
            let source = Source { path: &path, bytes, e_tag: e_tag.as_deref() };
            self.copy(&source, &self.path(to)?, attributes, Onto::Nothing).await
        };
        match copied {
            // An answer may have been lost, and the request been repeated.
            Err(StoreError::Exists) if self.has_mark(to, &mark).await? => {}
            copied => copied?,
        }
        self.remove_copied(from, e_tag.as_deref()).await
    }

    async fn has_mark(&self, name: &Name, mark: &str) -> Result<bool, StoreError> {
        match self.open(name, true).await {
            Ok(found) => {
                let own = found.attributes.get(&Attribute::Metadata(MARK.into()));
                Ok(own.is_some_and(|own| own.as_ref() == mark))
            }
            Err(StoreError::Missing) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Through our memory: a request to read and one to write do it.
    async fn copy_small(
        &self,
        found: object_store::GetResult,
        to: &Name,
        attributes: Attributes,
    ) -> Result<(), StoreError> {
        let bytes = found.meta.size;
        let places = u32::try_from(bytes.div_ceil(PIECE_BYTES as u64)).unwrap_or(u32::MAX);
        // The semaphore is never closed.
        let _place = self.memory.acquire_many(places).await.ok();
        let data = self.timed("reading", found.bytes()).await?;
        if (data.len() as u64) < bytes {
            return Err(StoreError::Short { missing: bytes - data.len() as u64 });
        }
        self.create(&self.path(to)?, PutPayload::from(data), attributes).await
    }

    /// Makes an uploaded draft the file of this name.
    pub(super) async fn copy_draft(
        &self,
        draft: &Path,
        bytes: u64,
        name: &Name,
        attributes: Attributes,
    ) -> Result<(), StoreError> {
        let source = Source { path: draft, bytes, e_tag: None };
        self.copy(&source, &self.path(name)?, attributes, Onto::Anything).await
    }

    /// Copies an object inside of the bucket, in parts, so that it gets metadata of its own and
    /// appears at once.
    async fn copy(
        &self,
        source: &Source<'_>,
        to: &Path,
        attributes: Attributes,
        onto: Onto,
    ) -> Result<(), StoreError> {
        let store = &self.clients.store;
        let options = PutMultipartOptions { attributes, ..PutMultipartOptions::default() };
        let begin = store.create_multipart_opts(to, options);
        let upload = self.timed("beginning a copy", begin).await?;
        let copied = async {
            let parts = self.copy_parts(source, to, &upload).await?;
            if onto == Onto::Nothing {
                return self.complete_new(to, &upload, &parts).await;
            }
            let parts = parts.into_iter().map(|content_id| PartId { content_id }).collect();
            let complete = store.complete_multipart(to, &upload, parts);
            self.timed("completing a copy", complete).await.map(|_| ())
        };
        let copied = copied.await;
        if copied.is_err()
            && let Err(error) =
                self.timed("giving up a copy", store.abort_multipart(to, &upload)).await
        {
            tracing::debug!(%error, "a copy may be left unfinished in the bucket");
        }
        copied
    }

    /// Copies all of it, and returns the tag of each part.
    async fn copy_parts(
        &self,
        source: &Source<'_>,
        to: &Path,
        upload: &str,
    ) -> Result<Vec<String>, StoreError> {
        let starts = (0..source.bytes.div_ceil(COPY_BYTES)).map(|index| index * COPY_BYTES);
        futures_util::stream::iter(starts.zip(1..))
            .map(|(start, number)| {
                let range = start..(start + COPY_BYTES).min(source.bytes);
                self.copy_part(source.path, range, source.e_tag, to, upload, number)
            })
            .buffered(COPIES_AT_ONCE)
            .try_collect()
            .await
    }

    /// Takes the old name from a file that was copied to its new one, unless it is that of another
    /// file by now: a server beside us may have replaced it.
    async fn remove_copied(&self, name: &Name, e_tag: Option<&str>) -> Result<(), StoreError> {
        match self.open(name, true).await {
            Ok(found) if found.meta.e_tag.as_deref() == e_tag => {}
            Ok(_) | Err(StoreError::Missing) => return Ok(()),
            Err(error) => return Err(error),
        }
        self.delete_if(&self.path(name)?, e_tag).await
    }
}
