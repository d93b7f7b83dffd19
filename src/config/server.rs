//! The keys of master and up, and what all servers have.

use std::path::PathBuf;
use std::time::Duration;

use super::keys::{keys, server_keys};
use super::values::{ByteSize, Period, parsed};
use super::web::PageAt;
use super::{ConfigError, LogLevel};
use crate::client::Address;
use crate::io::{
    BUFFER_BYTES, BUFFERS_MAX, BUFFERS_MIN, BULK_BUFFER_BYTES, Class, Driver, PoolPlan,
};
use crate::isolation::{Confines, Isolation, User};
use crate::limits::{ConvertLimits, FleetLimits, ServerLimits, UpstreamLimits};

server_keys! {
    /// `fxsrv master`, and `[master]` in a file.
    MasterKeys {
        /// Where clients connect [default: 127.0.0.1:5000]. Port 0 takes a free one
        #[arg(long, env = "FXSRV_LISTEN", value_name = "HOST:PORT")]
        #[serde(deserialize_with = "parsed")]
        listen: Address,

        /// Certificates, as `fxsrv certs init` makes them: server.pem and server.key towards clients,
        /// client.pem, client.key and ca.pem towards workers
        #[arg(long, env = "FXSRV_CERTS", value_name = "DIR")]
        certs: PathBuf,

        /// File with the token that clients must show, or with a list of tokens and what each is
        /// for, as `fxsrv token new --file` makes it
        #[arg(long, env = "FXSRV_TOKEN_FILE", value_name = "FILE")]
        token_file: PathBuf,

        /// Whether an address that shows wrong tokens over and over is not served for a while, with
        /// the right one neither. Say `false` behind a gateway whose users have tokens of their own
        /// [default: true]
        #[arg(
            long, env = "FXSRV_LIMIT_GUESSES", value_name = "BOOL",
            value_parser = clap::builder::BoolishValueParser::new(),
        )]
        limit_guesses: bool,

        /// A worker; repeat it for more. Names are resolved at every connect. One of weight 3 gets
        /// three times as much as one of weight 1, and one of weight 0 nothing [default weight: 1]
        #[arg(
            long, env = "FXSRV_WORKER", value_name = "HOST:PORT[,weight=N]", value_delimiter = ',',
            help_heading = "Workers",
        )]
        worker: Vec<String>,

        /// A name each of whose addresses is a worker, beside those given one by one. Certificates
        /// must have the name
        #[arg(long, env = "FXSRV_WORKERS_DNS", value_name = "HOST:PORT", help_heading = "Workers")]
        #[serde(deserialize_with = "parsed")]
        workers_dns: Address,

        /// Workers that announce themselves over NATS, beside the others: nats://HOST:PORT, or tls://; more
        /// of a cluster after commas. Each must have its own name in its certificate
        #[arg(long, env = "FXSRV_WORKERS_NATS", value_name = "URL", help_heading = "Workers")]
        workers_nats: String,

        /// File with credentials for NATS
        #[arg(long, env = "FXSRV_NATS_CREDS", value_name = "FILE", help_heading = "Workers")]
        nats_creds: PathBuf,

        /// Trust NATS by this file, and speak TLS [default: the system's authorities for tls://]
        #[arg(long, env = "FXSRV_NATS_CA", value_name = "FILE", help_heading = "Workers")]
        nats_ca: PathBuf,

        /// Between two look-ups of that name [default: 10s]
        #[arg(
            long, env = "FXSRV_WORKERS_DNS_INTERVAL", value_name = "TIME", help_heading = "Workers",
        )]
        #[serde(deserialize_with = "parsed")]
        workers_dns_interval: Period,

        /// Between two checks of a worker [default: 1s]
        #[arg(long, env = "FXSRV_CHECK_INTERVAL", value_name = "TIME", help_heading = "Workers")]
        #[serde(deserialize_with = "parsed")]
        check_interval: Period,

        /// For one check [default: 2s]
        #[arg(long, env = "FXSRV_CHECK_TIMEOUT", value_name = "TIME", help_heading = "Workers")]
        #[serde(deserialize_with = "parsed")]
        check_timeout: Period,

        /// Failures in a row after which a worker is down, 1 to 100 [default: 3]
        #[arg(long, env = "FXSRV_CHECK_FAILS", value_name = "N", help_heading = "Workers")]
        check_fails: usize,

        /// Answers in a row after which it is up again, 1 to 100 [default: 2]
        #[arg(long, env = "FXSRV_CHECK_PASSES", value_name = "N", help_heading = "Workers")]
        check_passes: usize,

        /// What the workers speak: `v1.1`, or `v1.0` with one connection a request [default: v1.1]
        #[arg(long, env = "FXSRV_WORKER_WIRE", value_name = "VERSION")]
        #[serde(deserialize_with = "parsed")]
        worker_wire: WorkerWire,

        /// Trust workers by this file instead of ca.pem in --certs
        #[arg(long, env = "FXSRV_WORKER_CA", value_name = "FILE", conflicts_with = "worker_insecure")]
        worker_ca: PathBuf,

        /// Trust any worker. Whoever stands between can read and change every file
        #[arg(
            long, env = "FXSRV_WORKER_INSECURE",
            num_args = 0, default_missing_value = "true",
            value_parser = clap::builder::BoolishValueParser::new(),
        )]
        worker_insecure: bool,

        /// Connections to workers that each event loop keeps for further requests; 0 opens one for
        /// every request [default: 64]
        #[arg(long, env = "FXSRV_WORKER_CONNECTIONS", value_name = "N", help_heading = "Resources")]
        worker_connections: usize,

        /// How long such a connection is kept unused; less than the idle timeout of the workers
        /// [default: 30s]
        #[arg(long, env = "FXSRV_WORKER_IDLE_TIMEOUT", value_name = "TIME", help_heading = "Times")]
        #[serde(deserialize_with = "parsed")]
        worker_idle_timeout: Period,

        /// How old such a connection may become, so that names are resolved again [default: 10m]
        #[arg(long, env = "FXSRV_WORKER_MAX_AGE", value_name = "TIME", help_heading = "Times")]
        #[serde(deserialize_with = "parsed")]
        worker_max_age: Period,

        /// For connecting to a worker [default: 5s]
        #[arg(long, env = "FXSRV_CONNECT_TIMEOUT", value_name = "TIME", help_heading = "Times")]
        #[serde(deserialize_with = "parsed")]
        connect_timeout: Period,
    }
}

server_keys! {
    /// `fxsrv up`, and `[up]` in a file.
    UpKeys {
        /// Where clients connect [default: 127.0.0.1:5000]. Port 0 takes a free one
        #[arg(long, env = "FXSRV_LISTEN", value_name = "HOST:PORT")]
        #[serde(deserialize_with = "parsed")]
        listen: Address,

        /// Where certificates and the token are kept [default: $XDG_STATE_HOME/fxsrv, or
        /// ~/.local/state/fxsrv]
        #[arg(long, env = "FXSRV_STATE", value_name = "DIR")]
        state: PathBuf,

        /// Where the page and the HTTP API are, for this machine alone; `off` for nowhere
        /// [default: 127.0.0.1:8080, or a free port where that is taken]
        #[arg(long, env = "FXSRV_WEB", value_name = "HOST:PORT")]
        #[serde(deserialize_with = "parsed")]
        web: PageAt,

        /// Keep files in this directory too, for the page's store; it must be there. A store for
        /// others than the page is `fxsrv store`
        #[arg(long, env = "FXSRV_STORE_ROOT", value_name = "DIR")]
        store_root: PathBuf,

        /// Workers in this process [default: 1]
        #[arg(long, env = "FXSRV_WORKERS", value_name = "N", help_heading = "Resources")]
        workers: usize,

        /// Conversions at once of each worker [default: the cores, shared by the workers]
        #[arg(long, env = "FXSRV_SLOTS", value_name = "N", help_heading = "Resources")]
        slots: usize,

        /// Text to PDF: a font file for characters that the built-in one lacks, TrueType or OpenType;
        /// FILE#N is the font N of a collection. Repeat it for more, which are tried in this order;
        /// `none` is for none [default: a font for CJK, where this machine has one]
        #[arg(
            long, env = "FXSRV_FONT", value_name = "FILE", value_delimiter = ',',
            help_heading = "Resources",
        )]
        font: Vec<String>,

        /// For one conversion [default: 120s]
        #[arg(long, env = "FXSRV_CONVERT_TIMEOUT", value_name = "TIME", help_heading = "Times")]
        #[serde(deserialize_with = "parsed")]
        convert_timeout: Period,

        /// `process`: each conversion runs in a closed-off process of its own. `thread`: all of them
        /// in this one [default: process]
        #[arg(long, env = "FXSRV_ISOLATION", value_name = "HOW", help_heading = "Isolation")]
        #[serde(deserialize_with = "parsed")]
        isolation: IsolationMode,

        /// Who those processes become where this one is root's [default: nobody]
        #[arg(
            long, env = "FXSRV_ISOLATION_USER", value_name = "NAME|UID[:GID]",
            help_heading = "Isolation",
        )]
        #[serde(deserialize_with = "parsed")]
        isolation_user: User,

        /// Memory that each of them may take for a conversion, beside the file [default: 5 GiB]
        #[arg(long, env = "FXSRV_ISOLATION_MEMORY", value_name = "SIZE", help_heading = "Isolation")]
        #[serde(deserialize_with = "parsed")]
        isolation_memory: ByteSize,
    }
}

/// The keys that all servers have.
#[derive(Debug, Clone, Default)]
pub(crate) struct Common {
    pub(crate) io: Option<Driver>,
    pub(crate) threads: Option<usize>,
    pub(crate) buffers: Option<usize>,
    pub(crate) buffer_size: Option<ByteSize>,
    pub(crate) bulk_buffers: Option<usize>,
    pub(crate) bulk_buffer_size: Option<ByteSize>,
    pub(crate) register_buffers: Option<bool>,
    pub(crate) max_body: Option<ByteSize>,
    pub(crate) max_connections: Option<usize>,
    pub(crate) grace: Option<Period>,
    pub(crate) handshake_timeout: Option<Period>,
    pub(crate) header_timeout: Option<Period>,
    pub(crate) idle_timeout: Option<Period>,
    pub(crate) stall_timeout: Option<Period>,
    pub(crate) request_timeout: Option<Period>,
    pub(crate) queue_timeout: Option<Period>,
    pub(crate) min_rate: Option<ByteSize>,
    pub(crate) linger_timeout: Option<Period>,
}

/// A worker's state is a matter of a few looks; who asks for hundreds has mistaken the number.
const CHECKS_IN_A_ROW: std::ops::RangeInclusive<usize> = 1..=100;

impl MasterKeys {
    /// What is kept of connections to workers.
    pub(crate) fn upstream_limits(&self) -> Result<UpstreamLimits, ConfigError> {
        let default = UpstreamLimits::DEFAULT;
        let time = |key: Option<Period>, default| key.map_or(default, |period| period.0);
        let kept_max = self.worker_connections.unwrap_or(default.kept_max);
        Ok(UpstreamLimits {
            kept_max: within("worker-connections", kept_max, 0..=CONNECTIONS_MAX)?,
            idle_timeout: time(self.worker_idle_timeout, default.idle_timeout),
            age_max: time(self.worker_max_age, default.age_max),
        })
    }

    /// How workers are watched.
    pub(crate) fn fleet_limits(&self) -> Result<FleetLimits, ConfigError> {
        let default = FleetLimits::DEFAULT;
        let time = |key: Option<Period>, default| key.map_or(default, |period| period.0);
        let count = |key, value: Option<usize>, default: u32| match value {
            // The range fits.
            Some(value) => within(key, value, CHECKS_IN_A_ROW)
                .map(|value| u32::try_from(value).unwrap_or(default)),
            None => Ok(default),
        };
        Ok(FleetLimits {
            lookup_interval: time(self.workers_dns_interval, default.lookup_interval),
            check_interval: time(self.check_interval, default.check_interval),
            check_timeout: time(self.check_timeout, default.check_timeout),
            fails_to_down: count("check-fails", self.check_fails, default.fails_to_down)?,
            passes_to_up: count("check-passes", self.check_passes, default.passes_to_up)?,
            ..default
        })
    }
}

/// What a server runs on, once it is known to make sense.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Running {
    pub(crate) io: Option<Driver>,
    pub(crate) threads: usize,
    pub(crate) buffers: PoolPlan,
    pub(crate) grace: Duration,
    pub(crate) limits: ServerLimits,
}

/// Fewer serve no two requests at a time; more the ring does not take.
const BUFFERS: std::ops::RangeInclusive<usize> = BUFFERS_MIN..=BUFFERS_MAX;

/// A buffer must hold a record, and what a handshake has left unread: 32 KiB.
const BUFFER_SIZES: std::ops::RangeInclusive<usize> = 32 * 1024..=1024 * 1024;

/// Beyond a few hundred KiB a buffer leaves the processor's cache, and gains nothing.
const BULK_BUFFER_SIZES: std::ops::RangeInclusive<usize> = 32 * 1024..=4 * 1024 * 1024;

/// 32 of 68 KiB, which take a page more than they carry: 2.1 MiB a thread, resident where they are
/// registered, so that two threads stay within the 8 MiB that an ordinary user may lock.
const BUFFERS_DEFAULT: usize = 32;

/// 48 of 260 KiB, which serve 24 large bodies at once: 12.2 MiB a thread once all have been used.
const BULK_BUFFERS_DEFAULT: usize = 48;

const THREADS_MAX: usize = 256;
const CONNECTIONS_MAX: usize = 1_000_000;
const GRACE_DEFAULT: Duration = Duration::from_secs(30);

/// Masters look every second, so that each has heard of it by then, one that looked in vain included.
pub(crate) const NOTICE_DEFAULT: Duration = Duration::from_secs(3);

/// Processes that wait for the place of one that is lost. One is enough: the next is there within
/// milliseconds.
pub(crate) const SPARES: usize = 1;

/// More conversions at once than this only take memory from each other.
pub(crate) const SLOTS_MAX: usize = 1024;

impl Common {
    /// The same, parsed: with defaults, and every number within its range.
    pub(crate) fn parse(&self) -> Result<Running, ConfigError> {
        let default = ServerLimits::default();
        let time = |key: Option<Period>, default| key.map_or(default, |period| period.0);
        let limits = ServerLimits {
            body_bytes_max: self.max_body.map_or(default.body_bytes_max, |size| size.0),
            connections_max: within(
                "max-connections",
                self.max_connections.unwrap_or(default.connections_max),
                1..=CONNECTIONS_MAX,
            )?,
            handshake_timeout: time(self.handshake_timeout, default.handshake_timeout),
            header_timeout: time(self.header_timeout, default.header_timeout),
            idle_timeout: time(self.idle_timeout, default.idle_timeout),
            stall_timeout: time(self.stall_timeout, default.stall_timeout),
            request_timeout: time(self.request_timeout, default.request_timeout),
            queue_timeout: time(self.queue_timeout, default.queue_timeout),
            body_rate_min: self.min_rate.map_or(default.body_rate_min, |rate| rate.0),
            linger_timeout: time(self.linger_timeout, default.linger_timeout),
            ..default
        };
        Ok(Running {
            io: self.io,
            threads: match within("threads", self.threads.unwrap_or(0), 0..=THREADS_MAX)? {
                0 => cores(),
                threads => threads,
            },
            buffers: self.pool_plan()?,
            grace: time(self.grace, GRACE_DEFAULT),
            limits,
        })
    }
}

impl Common {
    fn pool_plan(&self) -> Result<PoolPlan, ConfigError> {
        let bytes = |key: Option<ByteSize>, default| {
            key.map_or(default, |size| usize::try_from(size.0).unwrap_or(usize::MAX))
        };
        let small = Class {
            count: within("buffers", self.buffers.unwrap_or(BUFFERS_DEFAULT), BUFFERS)?,
            bytes: within("buffer-size", bytes(self.buffer_size, BUFFER_BYTES), BUFFER_SIZES)?,
        };
        let bulk_bytes = bytes(self.bulk_buffer_size, BULK_BUFFER_BYTES);
        let bulk_bytes = within("bulk-buffer-size", bulk_bytes, BULK_BUFFER_SIZES)?;
        let bulk_count = self.bulk_buffers.unwrap_or(BULK_BUFFERS_DEFAULT);
        let bulk_count = within("bulk-buffers", bulk_count, 0..=BUFFERS_MAX)?;
        let count = if bulk_bytes > small.bytes { bulk_count } else { 0 };
        Ok(PoolPlan {
            small,
            bulk: Class { count, bytes: bulk_bytes },
            is_registered: self.register_buffers.unwrap_or(true),
        })
    }
}

/// One for each core that this process may use.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// A number of a key, held against what the key takes.
pub(crate) fn within(
    key: &'static str,
    value: usize,
    allowed: std::ops::RangeInclusive<usize>,
) -> Result<usize, ConfigError> {
    if allowed.contains(&value) {
        return Ok(value);
    }
    let (min, max) = allowed.into_inner();
    Err(ConfigError::Range { key, value, min, max })
}

/// Declares a choice between names.
macro_rules! choice {
    ($(#[$meta:meta])* $type:ident, $what:literal { $($(#[$doc:meta])* $variant:ident = $name:literal,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum $type { $($(#[$doc])* $variant,)* }

        impl std::str::FromStr for $type {
            type Err = String;

            fn from_str(name: &str) -> Result<Self, String> {
                match name {
                    $($name => Ok(Self::$variant),)*
                    other => Err(format!(
                        concat!("'{}' is no ", $what, "; there are {}"), other, [$($name),*].join(", ")
                    )),
                }
            }
        }
    };
}

choice! {
    /// What a worker speaks.
    WorkerWire, "version" {
        /// Persistent connections.
        V1_1 = "v1.1",
        /// One connection a request.
        V1_0 = "v1.0",
    }
}

choice! {
    /// Where a worker converts.
    IsolationMode, "kind of isolation" {
        /// In processes of their own.
        Process = "process",
        /// In its own process.
        Thread = "thread",
    }
}

/// Where conversions run, from the three keys of it.
pub(crate) fn isolation(
    mode: Option<IsolationMode>,
    user: Option<User>,
    memory: Option<ByteSize>,
    body_bytes_max: u64,
    spares: usize,
) -> Isolation {
    match mode {
        Some(IsolationMode::Thread) => Isolation::Thread,
        Some(IsolationMode::Process) | None => Isolation::Process(Confines {
            user: user.unwrap_or_default(),
            memory_bytes_max: memory
                .map_or_else(|| ConvertLimits::default().memory_bytes_max(), |size| size.0),
            body_bytes_max,
            spares,
        }),
    }
}

choice! {
    /// Whom a worker lets in.
    ClientAuthMode, "kind of client authentication" {
        /// Who has a certificate of ours.
        Required = "required",
        /// Anyone.
        None = "none",
    }
}
