//! Buckets in a build without the feature `s3`: they are refused by name.

use std::convert::Infallible;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::fail::Fail;
use crate::config::StoreKeys;
use crate::limits::StoreLimits;
use crate::store::{Finding, Name};

/// There is none: `address` has no value, and nobody reads the rest.
#[allow(dead_code)]
pub(super) struct BucketWish {
    pub(super) address: Infallible,
    pub(super) endpoint: Option<String>,
    pub(super) region: Option<String>,
    pub(super) ca: Option<PathBuf>,
    pub(super) timeout: Option<Duration>,
}

impl BucketWish {
    pub(super) fn of(keys: &StoreKeys) -> Result<Option<Self>, Fail> {
        keys.backend.as_deref().map_or(Ok(None), |url| address(url).map(|never| match never {}))
    }

    pub(super) fn settings(&self) -> Result<Infallible, Fail> {
        Ok(self.address)
    }
}

impl fmt::Display for BucketWish {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {}
    }
}

pub(super) fn address(_: &str) -> Result<Infallible, Fail> {
    Err(Fail::usage("this build of fxsrv knows no buckets")
        .with_hint("build it with the feature `s3`"))
}

pub(super) fn open(
    settings: &Infallible,
    _: StoreLimits,
    _: bool,
) -> Result<crate::store::Directory, Fail> {
    match *settings {}
}

pub(super) fn scrub(
    wish: &BucketWish,
    _: &mut dyn FnMut(&Name, Finding) -> Result<(), Fail>,
) -> Result<(), Fail> {
    match wish.address {}
}
