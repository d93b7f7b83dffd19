//! A connection to NATS.

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_nats::jetstream::{self, context::ContextBuilder};
use async_nats::{ConnectOptions, ServerAddr};

use super::QueueError;

/// For one request. A cluster that chooses a new leader takes a few seconds.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Messages that were published and not acknowledged yet: 8,192 of half a KiB are 4 MiB.
const UNACKNOWLEDGED_MAX: usize = 8_192;

/// Copies of a stream on a cluster, as many as one that loses a server can do with.
const REPLICAS_OF_CLUSTER: usize = 3;

/// How NATS is reached.
#[derive(Debug, Clone, Default)]
pub struct NatsConfig {
    /// `nats://` or `tls://` URLs, separated by commas; user and password, or a token, may be in them.
    pub url: String,
    /// File with the credentials of a user: JWT and seed.
    pub creds: Option<PathBuf>,
    /// Certificates to trust the servers by, in place of the system's.
    pub ca: Option<PathBuf>,
    /// Copies of streams; as many as the cluster can have where it is not said.
    pub replicas: Option<usize>,
}

/// A connection, over which all else goes. It is made again whenever it breaks.
#[derive(Clone)]
pub struct Queue {
    pub(super) jetstream: jetstream::Context,
    pub(super) replicas: usize,
}

impl Queue {
    /// Connects.
    ///
    /// # Errors
    ///
    /// No server is reached, or none lets us in.
    pub async fn connect(config: &NatsConfig) -> Result<Self, QueueError> {
        let addresses = config
            .url
            .split(',')
            .map(|url| url.trim().parse::<ServerAddr>())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| QueueError::Settings(format!("'{}': {error}", shown(&config.url))))?;
        let options = options(config)?;
        let client = options.connect(addresses).await.map_err(|error| QueueError::Connect {
            url: shown(&config.url),
            reason: error.to_string(),
        })?;
        let is_cluster = client.server_info().cluster.is_some();
        let replicas = config.replicas.unwrap_or(if is_cluster { REPLICAS_OF_CLUSTER } else { 1 });
        let jetstream = ContextBuilder::new()
            .timeout(REQUEST_TIMEOUT)
            .max_ack_inflight(UNACKNOWLEDGED_MAX)
            .backpressure_on_inflight(true)
            .build(client);
        Ok(Self { jetstream, replicas })
    }

    /// Sends what is on its way.
    pub async fn flush(&self) {
        // A server that is gone gets it no other way either.
        let _ = tokio::time::timeout(REQUEST_TIMEOUT, self.jetstream.client().flush()).await;
    }
}

fn options(config: &NatsConfig) -> Result<ConnectOptions, QueueError> {
    let mut options = match &config.creds {
        Some(path) => with_credentials(path)?,
        None => ConnectOptions::new(),
    };
    options = options.name("fxsrv").event_callback(|event| async move {
        tracing::debug!(%event, "nats");
    });
    if let Some(ca) = &config.ca {
        options = options.add_root_certificates(ca.clone()).require_tls(true);
    }
    Ok(options)
}

#[cfg(feature = "nats-creds")]
fn with_credentials(path: &Path) -> Result<ConnectOptions, QueueError> {
    let wrong = |reason: &dyn std::fmt::Display| {
        QueueError::Settings(format!("{}: {reason}", path.display()))
    };
    let text = std::fs::read_to_string(path).map(zeroize::Zeroizing::new);
    let text = text.map_err(|error| wrong(&error))?;
    ConnectOptions::with_credentials(&text).map_err(|error| wrong(&error))
}

#[cfg(not(feature = "nats-creds"))]
fn with_credentials(_: &Path) -> Result<ConnectOptions, QueueError> {
    let lacking =
        "this build reads no files of credentials; build it with the feature `nats-creds`";
    Err(QueueError::Settings(lacking.to_owned()))
}

/// A URL without what is secret in it.
fn shown(url: &str) -> String {
    let hide = |url: &str| match (url.find("://"), url.rfind('@')) {
        (Some(start), Some(end)) if start < end => format!("{}…{}", &url[..start + 3], &url[end..]),
        _ => url.to_owned(),
    };
    url.split(',').map(|url| hide(url.trim())).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_shown() {
        assert_eq!(shown("nats://a:4222, tls://u:secret@b"), "nats://a:4222,tls://…@b");
        assert_eq!(shown("nats://token@b:1"), "nats://…@b:1");
    }
}
