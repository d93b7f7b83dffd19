//! Buckets in a build without the feature `s3`: they are refused by name.

use std::convert::Infallible;

use crate::batch::{Landed, PlanError, Trouble};

/// Nothing to say.
#[derive(Debug, Clone, Default)]
pub struct BucketAccess {
    /// Not used.
    pub endpoint: Option<String>,
    /// Not used.
    pub region: Option<String>,
    /// Not used.
    pub ca_pem: Option<Vec<u8>>,
}

pub(super) struct Buckets;

/// There is none.
pub(super) struct Opened(Infallible);

impl Opened {
    pub(super) fn bytes(&self) -> u64 {
        match self.0 {}
    }

    #[allow(clippy::unused_async)]
    pub(super) async fn read(self) -> Result<Vec<u8>, Trouble> {
        match self.0 {}
    }
}

impl Buckets {
    pub(super) fn new(_: BucketAccess) -> Self {
        Self
    }

    #[allow(clippy::unused_async)]
    pub(super) async fn open(&self, _: &str, _: &str) -> Result<Opened, Trouble> {
        Err(unknown())
    }

    #[allow(clippy::unused_async)]
    pub(super) async fn put(
        &self,
        _: &str,
        _: &str,
        _: bytes::Bytes,
        _: bool,
    ) -> Result<Landed, Trouble> {
        Err(unknown())
    }

    pub(super) fn list(
        &self,
        _: &str,
        _: &str,
        _: &mut dyn FnMut(&[u8]) -> Result<(), PlanError>,
        wrong: &dyn Fn(Trouble) -> PlanError,
    ) -> Result<(), PlanError> {
        Err(wrong(unknown()))
    }
}

fn unknown() -> Trouble {
    Trouble::not_allowed("this build of fxsrv knows no buckets")
        .with_hint("build it with the feature `s3`")
}
