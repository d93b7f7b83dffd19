//! Which workers there are: each says so again and again, under a key that is forgotten when it stops.

use std::fmt::Write as _;
use std::time::Duration;

use async_nats::jetstream::kv;
use bytes::Bytes;
use futures_util::StreamExt as _;

use super::{NatsConfig, Queue, QueueError, WORKERS_BUCKET};
use crate::server::{Phase, Stop};

/// Between two words of a worker.
const ANNOUNCE_PERIOD: Duration = Duration::from_secs(3);

/// A worker that says nothing for so long is none: it may miss two.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// Between two looks of a master.
const LOOK_PERIOD: Duration = Duration::from_secs(2);

/// For one look.
const LOOK_TIMEOUT: Duration = Duration::from_secs(10);

/// A worker that takes requests.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Announcement {
    /// `host:port`, as masters reach it; its certificate has the host's name.
    pub address: String,
    /// Its share.
    #[serde(default = "one")]
    pub weight: u32,
}

fn one() -> u32 {
    1
}

/// Announces a worker until `stop`, and takes it back then.
///
/// # Errors
///
/// Settings that no waiting mends.
pub async fn announce(
    nats: &NatsConfig,
    announcement: &Announcement,
    mut stop: Stop,
) -> Result<(), QueueError> {
    let key = key(&announcement.address);
    let value = serde_json::to_vec(announcement).map(Bytes::from);
    let value = value.map_err(|error| QueueError::request("an announcement", error))?;
    let mut bucket: Option<kv::Store> = None;
    let mut is_troubled = false;
    loop {
        let said = say(nats, &mut bucket, &key, &value).await;
        match said {
            Err(error @ QueueError::Settings(_)) => return Err(error),
            Err(error) => {
                if !std::mem::replace(&mut is_troubled, true) {
                    tracing::warn!(%error, "masters do not hear of this worker; tried again");
                }
            }
            Ok(()) => is_troubled = false,
        }
        tokio::select! {
            () = tokio::time::sleep(ANNOUNCE_PERIOD) => {}
            () = stop.reached(Phase::Leaving) => break,
        }
    }
    if let Some(bucket) = bucket {
        // Without it, the key is forgotten a little later.
        let _ = tokio::time::timeout(ANNOUNCE_PERIOD, bucket.delete(&key)).await;
    }
    Ok(())
}

async fn say(
    nats: &NatsConfig,
    bucket: &mut Option<kv::Store>,
    key: &str,
    value: &Bytes,
) -> Result<(), QueueError> {
    if bucket.is_none() {
        *bucket = Some(Queue::connect(nats).await?.workers(SILENCE_MAX).await?);
    }
    let Some(store) = bucket else { return Ok(()) };
    let said = store.put(key, value.clone()).await;
    said.map(drop).map_err(|error| QueueError::request("an announcement", error))
}

/// Tells the workers that there are whenever others are, until `tell` returns that nobody listens. A
/// queue that cannot be asked changes nothing: workers that are gone are found out by their checks.
///
/// # Errors
///
/// Settings that no waiting mends.
pub async fn follow(
    nats: &NatsConfig,
    tell: &mut (dyn FnMut(Vec<Announcement>) -> bool + Send),
) -> Result<(), QueueError> {
    let mut queue: Option<Queue> = None;
    let (mut known, mut is_troubled) = (None, false);
    loop {
        match tokio::time::timeout(LOOK_TIMEOUT, look(nats, &mut queue)).await {
            Ok(Ok(found)) => {
                if std::mem::take(&mut is_troubled) {
                    tracing::info!("NATS tells of workers again");
                }
                if known.as_ref() != Some(&found) {
                    known = Some(found.clone());
                    if !tell(found) {
                        return Ok(());
                    }
                }
            }
            Ok(Err(error @ QueueError::Settings(_))) => return Err(error),
            failed => {
                let reason = match failed {
                    Ok(Err(error)) => error.to_string(),
                    _ => "no answer in time".to_owned(),
                };
                if !std::mem::replace(&mut is_troubled, true) {
                    tracing::warn!(reason, "NATS does not tell of workers; the list stays");
                }
            }
        }
        tokio::time::sleep(LOOK_PERIOD).await;
    }
}

async fn look(
    nats: &NatsConfig,
    queue: &mut Option<Queue>,
) -> Result<Vec<Announcement>, QueueError> {
    if queue.is_none() {
        *queue = Some(Queue::connect(nats).await?);
    }
    let Some(queue) = queue else { return Ok(Vec::new()) };
    let wrong = |error: &dyn std::fmt::Display| QueueError::request(WORKERS_BUCKET, error);
    let bucket = queue.workers(SILENCE_MAX).await?;
    let mut keys = bucket.keys().await.map_err(|error| wrong(&error))?;
    let mut found = Vec::new();
    while let Some(key) = keys.next().await {
        let key = key.map_err(|error| wrong(&error))?;
        let value = bucket.get(&key).await.map_err(|error| wrong(&error))?;
        match value.map(|value| serde_json::from_slice::<Announcement>(&value)) {
            Some(Ok(announcement)) => found.push(announcement),
            Some(Err(error)) => tracing::warn!(%error, key, "an announcement is none"),
            None => {}
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// An address as a key: hex, since a key may have no colon.
fn key(address: &str) -> String {
    address.bytes().fold(String::new(), |mut key, byte| {
        // A string takes everything.
        let _ = write!(key, "{byte:02x}");
        key
    })
}
