//! The keys of the HTTP gateway.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::keys::keys;
use super::server::within;
use super::values::{ByteSize, Period, parsed};
use super::{ConfigError, LogLevel};
use crate::client::Address;
use crate::io::Driver;
use crate::limits::{ClientLimits, WebLimits};

keys! {
    /// `fxsrv web`, and `[web]` in a file.
    WebKeys {
        /// Where browsers connect [default: 127.0.0.1:8080]. Port 0 takes a free one
        #[arg(long, env = "FXSRV_LISTEN", value_name = "HOST:PORT")]
        #[serde(deserialize_with = "parsed")]
        listen: Address,

        /// The master to send to [default: 127.0.0.1:5000]
        #[arg(long, env = "FXSRV_SERVER", value_name = "HOST:PORT")]
        #[serde(deserialize_with = "parsed")]
        server: Address,

        /// Trust the master by this file: the ca.pem of its certificates
        #[arg(long, env = "FXSRV_CA", value_name = "FILE")]
        ca: PathBuf,

        /// File with a token that is shown for those who show none themselves: whoever reaches the
        /// page may then convert. Without it the page asks for the token
        #[arg(long, env = "FXSRV_TOKEN_FILE", value_name = "FILE")]
        token_file: PathBuf,

        /// A further name under which browsers reach this server; repeat it for more. Others are
        /// refused, but for localhost and IP addresses
        #[arg(long, env = "FXSRV_NAME", value_name = "HOST", value_delimiter = ',')]
        name: Vec<String>,

        /// Serve HTTPS with these certificates, as `fxsrv certs init` makes them: server.pem and
        /// server.key. Required for an address that is not loopback
        #[arg(long, env = "FXSRV_TLS", value_name = "DIR")]
        tls: PathBuf,

        /// A file store for the page
        #[arg(long, env = "FXSRV_STORE", value_name = "HOST:PORT", help_heading = "Store")]
        #[serde(deserialize_with = "parsed")]
        store: Address,

        /// Trust the store by this file: the ca.pem of its certificates
        #[arg(long, env = "FXSRV_STORE_CA", value_name = "FILE", help_heading = "Store")]
        store_ca: PathBuf,

        /// Speak to the store without TLS
        #[arg(
            long, env = "FXSRV_STORE_PLAIN", num_args = 0, default_missing_value = "true",
            value_parser = clap::builder::BoolishValueParser::new(), help_heading = "Store",
        )]
        store_plain: bool,

        /// File with the token of the store, where it asks for one
        #[arg(long, env = "FXSRV_STORE_TOKEN_FILE", value_name = "FILE", help_heading = "Store")]
        store_token_file: PathBuf,

        /// The directory of the store, where it is on this machine: the page then lists the files
        #[arg(long, env = "FXSRV_STORE_ROOT", value_name = "DIR", help_heading = "Store")]
        store_root: PathBuf,

        /// Serve without TLS on an address that is not loopback. Whoever stands between can read
        /// every file and token
        #[arg(
            long, env = "FXSRV_INSECURE_HTTP", num_args = 0, default_missing_value = "true",
            value_parser = clap::builder::BoolishValueParser::new(),
        )]
        insecure_http: bool,

        /// What carries input and output to the master: `uring` or `epoll`. Without it io_uring is
        /// taken where the kernel grants it, else epoll
        #[arg(long, env = "FXSRV_IO", value_name = "DRIVER", help_heading = "Resources")]
        #[serde(deserialize_with = "parsed")]
        io: Driver,

        /// Event loops, one a thread [default: 1]
        #[arg(long, env = "FXSRV_THREADS", value_name = "N", help_heading = "Resources")]
        threads: usize,

        /// Largest file that is taken [default: 512 MiB]
        #[arg(long, env = "FXSRV_MAX_BODY", value_name = "SIZE", help_heading = "Resources")]
        #[serde(deserialize_with = "parsed")]
        max_body: ByteSize,

        /// Connections of each event loop; one more is closed at once [default: 1024]
        #[arg(long, env = "FXSRV_MAX_CONNECTIONS", value_name = "N", help_heading = "Resources")]
        max_connections: usize,

        /// Files on their way at once; one more is refused as busy [default: 256]
        #[arg(long, env = "FXSRV_MAX_REQUESTS", value_name = "N", help_heading = "Resources")]
        max_requests: usize,

        /// The same of one client address [default: 32]
        #[arg(long, env = "FXSRV_MAX_UPLOADS_PER_ADDRESS", value_name = "N", help_heading = "Resources")]
        max_uploads_per_address: usize,

        /// How long requests in flight may go on after SIGTERM [default: 30s]
        #[arg(long, env = "FXSRV_GRACE", value_name = "TIME", help_heading = "Times")]
        #[serde(deserialize_with = "parsed")]
        grace: Period,

        /// For connecting to the master [default: 5s]
        #[arg(long, env = "FXSRV_CONNECT_TIMEOUT", value_name = "TIME", help_heading = "Times")]
        #[serde(deserialize_with = "parsed")]
        connect_timeout: Period,

        /// For the head of a request, and between two requests [default: 30s]
        #[arg(long, env = "FXSRV_HEADER_TIMEOUT", value_name = "TIME", help_heading = "Times")]
        #[serde(deserialize_with = "parsed")]
        header_timeout: Period,

        /// For a peer that moves no byte of a file [default: 30s]
        #[arg(long, env = "FXSRV_STALL_TIMEOUT", value_name = "TIME", help_heading = "Times")]
        #[serde(deserialize_with = "parsed")]
        stall_timeout: Period,

        /// For one file, from its first byte to the last of its answer [default: 310s]
        #[arg(long, env = "FXSRV_REQUEST_TIMEOUT", value_name = "TIME", help_heading = "Times")]
        #[serde(deserialize_with = "parsed")]
        request_timeout: Period,

        /// What is logged on stderr: `error`, `warn`, `info`, `debug` or `trace`
        /// [default: info]
        #[arg(long, env = "FXSRV_LOG", value_name = "LEVEL")]
        #[serde(deserialize_with = "parsed")]
        log: LogLevel,
    }
}

const THREADS_MAX: usize = 256;
const COUNT_MAX: usize = 1_000_000;
const GRACE_DEFAULT: Duration = Duration::from_secs(30);

impl WebKeys {
    /// Event loops.
    pub(crate) fn threads(&self) -> Result<usize, ConfigError> {
        within("threads", self.threads.unwrap_or(1), 1..=THREADS_MAX)
    }

    /// How long a drain may take.
    pub(crate) fn grace(&self) -> Duration {
        self.grace.map_or(GRACE_DEFAULT, |period| period.0)
    }

    /// Limits towards browsers.
    pub(crate) fn limits(&self) -> Result<WebLimits, ConfigError> {
        let default = WebLimits::default();
        let time = |key: Option<Period>, default| key.map_or(default, |period| period.0);
        let count =
            |name, key: Option<usize>, default| within(name, key.unwrap_or(default), 1..=COUNT_MAX);
        Ok(WebLimits {
            body_bytes_max: self.max_body.map_or(default.body_bytes_max, |size| size.0),
            connections_max: count(
                "max-connections",
                self.max_connections,
                default.connections_max,
            )?,
            requests_max: count("max-requests", self.max_requests, default.requests_max)?,
            uploads_per_address_max: count(
                "max-uploads-per-address",
                self.max_uploads_per_address,
                default.uploads_per_address_max,
            )?,
            header_timeout: time(self.header_timeout, default.header_timeout),
            stall_timeout: time(self.stall_timeout, default.stall_timeout),
            ..default
        })
    }

    /// Limits towards the master.
    pub(crate) fn client_limits(&self) -> ClientLimits {
        let default = ClientLimits::default();
        let time = |key: Option<Period>, default| key.map_or(default, |period| period.0);
        ClientLimits {
            connect_timeout: time(self.connect_timeout, default.connect_timeout),
            stall_timeout: time(self.stall_timeout, default.stall_timeout),
            request_timeout: time(self.request_timeout, default.request_timeout),
            ..default
        }
    }
}

/// Where the page of `fxsrv up` is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PageAt {
    /// Nowhere.
    Off,
    /// At this address.
    Address(Address),
}

impl FromStr for PageAt {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self::Off);
        }
        text.parse().map(Self::Address).map_err(|error| format!("{error}; or off"))
    }
}
