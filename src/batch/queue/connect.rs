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
        let options = logged_in(options(config)?, &addresses)?;
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

/// Who we are, as one of the URLs says: the library leaves that to us. It counts for all servers, those
/// included that a cluster tells of.
fn logged_in(
    options: ConnectOptions,
    addresses: &[ServerAddr],
) -> Result<ConnectOptions, QueueError> {
    let Some(address) = addresses.iter().find(|address| address.has_user_pass()) else {
        return Ok(options);
    };
    let decoded = |text: &str| {
        decoded(text).ok_or_else(|| {
            let wrong = "the name or the password in the queue's URL is not UTF-8";
            QueueError::Settings(wrong.to_owned())
        })
    };
    let user = decoded(address.username().unwrap_or_default())?;
    Ok(match address.password() {
        Some(password) => options.user_and_password(user, decoded(password)?),
        None => options.token(user),
    })
}

/// A part of a URL with what its `%XX` stand for; anything else stands for itself.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let is_digits = |digits: &&[u8]| digits.iter().all(u8::is_ascii_hexdigit);
        let digits = behind.get(..2).filter(|_| *first == b'%').filter(is_digits);
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &behind[2..] } else { behind };
    }
    String::from_utf8(bytes).ok()
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

    #[test]
    fn a_password_may_have_signs_that_a_url_writes_otherwise() {
        assert_eq!(decoded("p%40ss%3aw%2Frd%25").as_deref(), Some("p@ss:w/rd%"));
        assert_eq!(decoded("100%").as_deref(), Some("100%"));
        assert_eq!(decoded("%4").as_deref(), Some("%4"));
        assert_eq!(decoded("%zz%+1").as_deref(), Some("%zz%+1"));
        assert_eq!(decoded("%ff"), None);
    }
}
