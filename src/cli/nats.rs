//! NATS on the command line of workers and masters.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::watch;

use super::fail::{Exit, Fail};
use super::transfer;
use crate::batch::queue::{self, Announcement, NatsConfig, QueueError, WorkConfig};
use crate::batch::{BucketAccess, Reach, ReachConfig};
use crate::client::Address;
use crate::config::{FilesKeys, MasterKeys, Running, SLOTS_MAX, WorkerKeys, within};
use crate::limits::{BatchLimits, ServerLimits};
use crate::master::WorkerSpec;
use crate::server::Stop;
use crate::worker::Converter;

/// Files on their way for each conversion: one is converted while others are read and written.
const PARALLEL_PER_SLOT: usize = 8;

const TRIES: usize = 5;

/// How long a master's start waits for the first list.
const FIRST_LOOK_TIMEOUT: Duration = Duration::from_secs(5);

/// A weight above this is hardly meant, as on the command line.
const WEIGHT_MAX: u32 = 1000;

/// What allows the files of the store.
const STORE: &str = "store:";

/// What a worker has to do with NATS.
pub(super) struct Wish {
    queue: Option<(NatsConfig, WorkConfig, ReachConfig)>,
    announce: Option<(NatsConfig, Option<Address>)>,
}

impl Wish {
    pub(super) fn of(
        keys: &WorkerKeys,
        store: &FilesKeys,
        running: &Running,
        slots: usize,
    ) -> Result<Self, Fail> {
        let nats = |url: &String| config(url, keys.nats_creds.as_ref(), keys.nats_ca.as_ref());
        let parallel = keys.queue_parallel.unwrap_or(slots * PARALLEL_PER_SLOT);
        let parallel = within("queue-parallel", parallel, 1..=SLOTS_MAX * PARALLEL_PER_SLOT)?;
        let tries = within("queue-tries", keys.queue_tries.unwrap_or(TRIES), 1..=100)?;
        let tries = u32::try_from(tries).unwrap_or(u32::MAX);
        let queue = match &keys.queue {
            Some(url) => {
                let work = WorkConfig { parallel, tries };
                Some((nats(url), work, reach(keys, store, &running.limits)?))
            }
            None => None,
        };
        let is_announced = keys.announce.is_some() || keys.announce_as.is_some();
        let url = keys.announce.as_ref().or(keys.queue.as_ref()).filter(|_| is_announced);
        let announce = url.map(|url| (nats(url), keys.announce_as.clone()));
        if is_announced && announce.is_none() {
            return Err(Fail::usage("nothing says where this worker is to be announced")
                .with_hint("give --announce nats://HOST:PORT"));
        }
        Ok(Self { queue, announce })
    }

    /// Takes files off the queue until `stop`, with a worker's conversions.
    pub(super) fn take_work(
        &self,
        converter: Converter,
        stop: &Stop,
    ) -> Result<Option<JoinHandle<()>>, Fail> {
        let Some((nats, work, reach)) = self.queue.clone() else { return Ok(None) };
        let cannot = |error: std::io::Error| Fail::failed(format!("cannot start threads: {error}"));
        let reach = Arc::new(Reach::new(reach).map_err(cannot)?);
        let stop = stop.clone();
        let serve = move || {
            let done = queue::block_on(queue::work(&nats, work, reach, converter, stop));
            if let Err(error) = done {
                tracing::error!(%error, "takes nothing off the queue");
            }
        };
        thread::Builder::new().name("queue".to_owned()).spawn(serve).map(Some).map_err(cannot)
    }

    /// Tells masters of a worker that listens on `address`.
    pub(super) fn announce(&self, address: SocketAddr, stop: &Stop) -> Result<(), Fail> {
        let Some((nats, named)) = self.announce.clone() else { return Ok(()) };
        if named.is_none() && address.ip().is_unspecified() {
            return Err(Fail::usage(format!("masters cannot connect to {address}"))
                .with_hint("say where they can with --announce-as HOST:PORT"));
        }
        let address = named.map_or_else(|| address.to_string(), |named| named.to_string());
        let stop = stop.clone();
        let tell = move || {
            let announcement = Announcement { address, weight: 1 };
            let done = queue::block_on(queue::announce(&nats, &announcement, stop));
            if let Err(error) = done {
                tracing::error!(%error, "masters do not hear of this worker");
            }
        };
        let started = thread::Builder::new().name("announce".to_owned()).spawn(tell);
        started.map(drop).map_err(|error| Fail::failed(format!("cannot start a thread: {error}")))
    }

    /// Whether files are taken off a queue.
    pub(super) fn has_queue(&self) -> bool {
        self.queue.is_some()
    }
}

/// Workers that announce themselves, as a master hears of them.
pub(super) fn found_workers(
    keys: &MasterKeys,
) -> Result<Option<watch::Receiver<Vec<WorkerSpec>>>, Fail> {
    let Some(url) = &keys.workers_nats else { return Ok(None) };
    let nats = config(url, keys.nats_creds.as_ref(), keys.nats_ca.as_ref());
    let (sender, receiver) = watch::channel(Vec::new());
    let (tell_first, first) = mpsc::sync_channel(1);
    let look = move || {
        let mut tell = |found: Vec<Announcement>| {
            sender.send_replace(found.iter().filter_map(spec).collect());
            // A start that has lost its patience hears of it by the channel.
            let _ = tell_first.try_send(());
            !sender.is_closed()
        };
        if let Err(error) = queue::block_on(queue::follow(&nats, &mut tell)) {
            tracing::error!(%error, "NATS tells of no workers");
        }
    };
    let started = thread::Builder::new().name("finder".to_owned()).spawn(look);
    started.map_err(|error| Fail::failed(format!("cannot start a thread: {error}")))?;
    // A master that serves should have workers, but may wait for them.
    let _ = first.recv_timeout(FIRST_LOOK_TIMEOUT);
    Ok(Some(receiver))
}

fn spec(found: &Announcement) -> Option<WorkerSpec> {
    match found.address.parse() {
        Ok(address) => Some(WorkerSpec { address, weight: found.weight.min(WEIGHT_MAX) }),
        Err(error) => {
            tracing::warn!(%error, "an announced worker has no address");
            None
        }
    }
}

pub(super) fn config(url: &str, creds: Option<&PathBuf>, ca: Option<&PathBuf>) -> NatsConfig {
    NatsConfig { url: url.to_owned(), creds: creds.cloned(), ca: ca.cloned(), replicas: None }
}

/// What files of batches a worker may touch. Whoever can write to the queue names them.
fn reach(keys: &WorkerKeys, store: &FilesKeys, limits: &ServerLimits) -> Result<ReachConfig, Fail> {
    let allowed = keys.queue_allow.clone().unwrap_or_else(|| vec!["s3://".to_owned()]);
    for address in &allowed {
        if !(address.starts_with("s3://") || address.starts_with('/') || address == STORE) {
            return Err(Fail::usage(format!("'{address}' is nothing that could be allowed"))
                .with_hint("give s3://BUCKET/PREFIX, a directory from its root on, or store:"));
        }
    }
    let has_store = allowed.iter().any(|address| address == STORE);
    let read = |path: &PathBuf| {
        std::fs::read(path)
            .map_err(|error| Fail::usage(format!("cannot read {}: {error}", path.display())))
    };
    Ok(ReachConfig {
        buckets: BucketAccess {
            endpoint: keys.s3_endpoint.clone(),
            region: None,
            ca_pem: keys.s3_ca.as_ref().map(read).transpose()?,
        },
        store: has_store.then(|| transfer::side_store_config(store)).transpose()?,
        allowed: Some(allowed),
        limits: BatchLimits {
            body_bytes_max: limits.body_bytes_max.min(limits.queue_bytes_max),
            memory_bytes: limits.queue_bytes_max,
            convert_timeout: limits.convert_timeout,
        },
    })
}

impl From<QueueError> for Fail {
    fn from(error: QueueError) -> Self {
        let message = error.to_string();
        match error {
            QueueError::Connect { .. } => Self::new(Exit::Unreachable, message)
                .with_hint("check --nats, and what the server's log says of this client"),
            QueueError::Request { .. } => Self::new(Exit::Unreachable, message)
                .with_hint("JetStream must be on, and most servers of its cluster up"),
            QueueError::Another(_) => {
                Self::usage(message).with_hint("give another name with --job")
            }
            QueueError::Local(_) => Self::failed(message),
            _ => Self::usage(message),
        }
    }
}
