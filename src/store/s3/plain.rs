//! The objects of a bucket as they are, without the rules of a store: for batches, whose sources
//! others have put there.

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use object_store::path::Path;
use object_store::{GetOptions, GetResult, ObjectStore as _, PutMode, PutOptions, PutPayload};

use super::error::{reason, store_error, within};
use super::settings::{Clients, Settings};
use super::{BucketAddress, BucketError};
use crate::limits::BucketLimits;
use crate::store::StoreError;

/// The objects of a bucket. Its requests run on the caller's event loop, which must be tokio's own.
pub struct PlainBucket {
    clients: Clients,
    address: BucketAddress,
    limits: BucketLimits,
}

/// An object that is there, and not read yet.
pub struct Opened(GetResult);

impl Opened {
    /// Its size.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.meta.size
    }

    /// The object itself.
    ///
    /// # Errors
    ///
    /// It does not arrive whole.
    pub async fn read(self) -> Result<Bytes, StoreError> {
        self.0.bytes().await.map_err(store_error)
    }
}

impl PlainBucket {
    /// Makes ready to ask; nothing is sent yet.
    ///
    /// # Errors
    ///
    /// Credentials, endpoint or certificates are missing or wrong.
    pub fn new(settings: &Settings) -> Result<Self, BucketError> {
        Ok(Self {
            clients: settings.clients()?,
            address: settings.address.clone(),
            limits: settings.limits,
        })
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> &BucketAddress {
        &self.address
    }

    /// Keys and sizes beneath the prefix, page by page and in the order of the keys.
    #[must_use]
    pub fn list(&self) -> BoxStream<'static, Result<(String, u64), StoreError>> {
        let prefix = (!self.address.prefix.is_empty()).then_some(&self.clients.prefix);
        let listed = self.clients.store.list(prefix);
        listed
            .map(|meta| match meta {
                Ok(meta) => Ok((meta.location.as_ref().to_owned(), meta.size)),
                Err(error) => Err(StoreError::Bucket(reason(error))),
            })
            .boxed()
    }

    /// Opens an object.
    ///
    /// # Errors
    ///
    /// There is none, or the bucket fails.
    pub async fn open(&self, key: &str) -> Result<Opened, StoreError> {
        let path = path(key)?;
        let opened = self.clients.store.get_opts(&path, GetOptions::default());
        within(self.limits.request_timeout, "reading", opened).await.map(Opened)
    }

    /// Stores an object; with `replace` also where there is one of that key.
    ///
    /// # Errors
    ///
    /// There is one, or the bucket fails.
    pub async fn put(&self, key: &str, bytes: Bytes, replace: bool) -> Result<(), StoreError> {
        let path = path(key)?;
        let mode = if replace { PutMode::Overwrite } else { PutMode::Create };
        let options = PutOptions { mode, ..PutOptions::default() };
        let put = self.clients.store.put_opts(&path, PutPayload::from(bytes), options);
        within(self.limits.request_timeout, "writing", put).await.map(drop)
    }
}

fn path(key: &str) -> Result<Path, StoreError> {
    Path::parse(key).map_err(|error| StoreError::Bucket(error.to_string()))
}
