//! Buckets on the command line, and what a build without them says.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::fail::{Exit, Fail};
use crate::config::StoreKeys;
use crate::limits::{BucketLimits, StoreLimits};
use crate::store::{Bucket, BucketAddress, BucketError, BucketSettings, Finding, Name, StoreError};

/// A bucket, as flags and file name it.
pub(super) struct BucketWish {
    pub(super) address: BucketAddress,
    pub(super) endpoint: Option<String>,
    pub(super) region: Option<String>,
    pub(super) ca: Option<PathBuf>,
    pub(super) timeout: Option<Duration>,
}

impl BucketWish {
    /// What the keys wish for, if anything.
    pub(super) fn of(keys: &StoreKeys) -> Result<Option<Self>, Fail> {
        let Some(url) = &keys.backend else { return Ok(None) };
        Ok(Some(Self {
            address: address(url)?,
            endpoint: keys.s3_endpoint.clone(),
            region: keys.s3_region.clone(),
            ca: keys.s3_ca.clone(),
            timeout: keys.s3_timeout.map(|period| period.0),
        }))
    }

    pub(super) fn settings(&self) -> Result<BucketSettings, Fail> {
        let default = BucketLimits::default();
        let read = |path: &PathBuf| {
            std::fs::read(path)
                .map_err(|error| Fail::usage(format!("cannot read {}: {error}", path.display())))
        };
        Ok(BucketSettings {
            address: self.address.clone(),
            endpoint: self.endpoint.clone(),
            region: self.region.clone(),
            ca_pem: self.ca.as_ref().map(read).transpose()?,
            limits: BucketLimits {
                request_timeout: self.timeout.unwrap_or(default.request_timeout),
                ..default
            },
        })
    }
}

impl fmt::Display for BucketWish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

pub(super) fn address(url: &str) -> Result<BucketAddress, Fail> {
    url.parse().map_err(Fail::usage)
}

pub(super) fn open(
    settings: &BucketSettings,
    limits: StoreLimits,
    has_quota: bool,
) -> Result<Bucket, Fail> {
    Bucket::open(settings, limits, has_quota).map_err(|error| {
        let message = format!("cannot use {}: {error}", settings.address);
        let fail = match &error {
            BucketError::Unreachable(_) => Fail::new(Exit::Unreachable, message),
            _ => Fail::usage(message),
        };
        match error.hint() {
            Some(hint) => fail.with_hint(hint),
            None => fail,
        }
    })
}

/// Reads every file of a bucket.
pub(super) fn scrub(
    wish: &BucketWish,
    tell: &mut dyn FnMut(&Name, Finding) -> Result<(), Fail>,
) -> Result<(), Fail> {
    let bucket = open(&wish.settings()?, StoreLimits::default(), false)?;
    bucket.scrub(tell)
}

impl From<StoreError> for Fail {
    fn from(error: StoreError) -> Self {
        Self::failed(error.to_string())
    }
}
