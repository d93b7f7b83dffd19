//! NATS in a build without the feature `nats`: it is refused by name.

use std::net::SocketAddr;
use std::thread::JoinHandle;

use tokio::sync::watch;

use super::fail::Fail;
use crate::config::{FilesKeys, MasterKeys, Running, WorkerKeys};
use crate::master::WorkerSpec;
use crate::server::Stop;
use crate::worker::Converter;

/// There is nothing to do.
pub(super) struct Wish;

impl Wish {
    pub(super) fn of(
        keys: &WorkerKeys,
        _: &FilesKeys,
        _: &Running,
        _: usize,
    ) -> Result<Self, Fail> {
        match (&keys.queue, &keys.announce, &keys.announce_as) {
            (None, None, None) => Ok(Self),
            _ => Err(unknown()),
        }
    }

    #[allow(clippy::unused_self, clippy::unnecessary_wraps)]
    pub(super) fn take_work(&self, _: Converter, _: &Stop) -> Result<Option<JoinHandle<()>>, Fail> {
        Ok(None)
    }

    #[allow(clippy::unused_self, clippy::unnecessary_wraps)]
    pub(super) fn announce(&self, _: SocketAddr, _: &Stop) -> Result<(), Fail> {
        Ok(())
    }

    #[allow(clippy::unused_self)]
    pub(super) fn has_queue(&self) -> bool {
        false
    }
}

pub(super) fn found_workers(
    keys: &MasterKeys,
) -> Result<Option<watch::Receiver<Vec<WorkerSpec>>>, Fail> {
    keys.workers_nats.as_ref().map_or(Ok(None), |_| Err(unknown()))
}

fn unknown() -> Fail {
    Fail::usage("this build of fxsrv knows no NATS").with_hint("build it with the feature `nats`")
}
