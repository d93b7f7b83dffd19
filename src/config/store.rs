//! The keys of the file store, and of its clients.

use std::path::PathBuf;
use std::str::FromStr;

use super::keys::keys;
use super::server::{ClientAuthMode, Common, Running};
use super::values::{ByteSize, Period, parsed};
use super::{ConfigError, LogLevel};
use crate::client::Address;
use crate::io::Driver;
use crate::limits::{ClientLimits, StoreLimits};
use crate::store::{Durability, SummaryForm};

keys! {
    /// `fxsrv store`, and `[store]` in a file.
    StoreKeys {
        /// The directory with the files
        #[arg(long, env = "FXSRV_ROOT", value_name = "DIR")]
        root: PathBuf,

        /// Keep the files in a bucket of an S3-compatible store instead, beside other stores that may
        /// share it: `s3://BUCKET/PREFIX`. Credentials are AWS_ACCESS_KEY_ID and the like
        #[arg(long, env = "FXSRV_BACKEND", value_name = "URL", conflicts_with = "root")]
        backend: String,

        /// Where clients connect [default: 127.0.0.1:5002]. Port 0 takes a free one
        #[arg(long, env = "FXSRV_LISTEN", value_name = "HOST:PORT")]
        #[serde(deserialize_with = "parsed")]
        listen: Address,

        /// Certificates, as `fxsrv certs init` makes them: server.pem and server.key, and ca.pem for
        /// --client-auth required
        #[arg(long, env = "FXSRV_CERTS", value_name = "DIR")]
        certs: PathBuf,

        /// Serve without TLS, on a loopback address alone
        #[arg(
            long, env = "FXSRV_PLAIN", num_args = 0, default_missing_value = "true",
            value_parser = clap::builder::BoolishValueParser::new(),
        )]
        plain: bool,

        /// With --plain: on any address. Whoever stands between can read and change every file
        #[arg(
            long, env = "FXSRV_PLAIN_ANYWHERE", num_args = 0, default_missing_value = "true",
            value_parser = clap::builder::BoolishValueParser::new(),
        )]
        plain_anywhere: bool,

        /// File with a token, or with a list of tokens. A connection must then begin with the line
        /// `AUTH` and one of them
        #[arg(long, env = "FXSRV_AUTH", value_name = "FILE")]
        auth: PathBuf,

        /// `required`: a client shows a certificate that ca.pem has signed. `none`: it needs none
        /// [default: none]
        #[arg(long, env = "FXSRV_CLIENT_AUTH", value_name = "WHO")]
        #[serde(deserialize_with = "parsed")]
        client_auth: ClientAuthMode,

        /// What an acknowledged change survives: `none` the end of the process, `file` a loss of
        /// power as to contents, `full` also as to names [default: full]
        #[arg(long, env = "FXSRV_DURABILITY", value_name = "HOW")]
        #[serde(deserialize_with = "parsed")]
        durability: Durability,

        /// `file` answers SUMMARY with name, size and text; `raw` with the text alone
        /// [default: file]
        #[arg(long, env = "FXSRV_SUMMARY", value_name = "FORM")]
        #[serde(deserialize_with = "parsed")]
        summary: SummaryForm,

        /// Close every connection after one answer
        #[arg(
            long, env = "FXSRV_ONE_SHOT", num_args = 0, default_missing_value = "true",
            value_parser = clap::builder::BoolishValueParser::new(),
        )]
        one_shot: bool,

        /// Largest file that is taken [default: 4 GiB less 1, which is what the protocol can say]
        #[arg(long, env = "FXSRV_MAX_FILE", value_name = "SIZE", help_heading = "Resources")]
        #[serde(deserialize_with = "parsed")]
        max_file: ByteSize,

        /// Files in all [default: 1000000]
        #[arg(long, env = "FXSRV_MAX_FILES", value_name = "N", help_heading = "Resources")]
        max_files: u64,

        /// Bytes of all files [default: 1024 GiB]
        #[arg(long, env = "FXSRV_MAX_TOTAL", value_name = "SIZE", help_heading = "Resources")]
        #[serde(deserialize_with = "parsed")]
        max_total: ByteSize,

        /// Connections of one client address [default: 1024]
        #[arg(
            long, env = "FXSRV_MAX_CONNECTIONS_PER_ADDRESS", value_name = "N",
            help_heading = "Resources",
        )]
        max_connections_per_address: usize,

        /// Connections of all event loops together; one more is closed at once [default: 16384]
        #[arg(long, env = "FXSRV_MAX_CONNECTIONS", value_name = "N", help_heading = "Resources")]
        max_connections: usize,

        /// With --backend: the server of the bucket, where it is not Amazon's
        /// [default: AWS_ENDPOINT_URL]
        #[arg(long, env = "FXSRV_S3_ENDPOINT", value_name = "URL", help_heading = "Bucket")]
        s3_endpoint: String,

        /// With --backend: the region of the bucket [default: AWS_REGION, else us-east-1]
        #[arg(long, env = "FXSRV_S3_REGION", value_name = "NAME", help_heading = "Bucket")]
        s3_region: String,

        /// With --backend: trust its server by this file, in place of the system's authorities
        #[arg(long, env = "FXSRV_S3_CA", value_name = "FILE", help_heading = "Bucket")]
        s3_ca: PathBuf,

        /// With --backend: for one request to its server, repeats included [default: 30s]
        #[arg(long, env = "FXSRV_S3_TIMEOUT", value_name = "TIME", help_heading = "Bucket")]
        #[serde(deserialize_with = "parsed")]
        s3_timeout: Period,

        /// What carries input and output: `uring` or `epoll`. Without it io_uring is taken where
        /// the kernel grants it, else epoll
        #[arg(long, env = "FXSRV_IO", value_name = "DRIVER", help_heading = "Resources")]
        #[serde(deserialize_with = "parsed")]
        io: Driver,

        /// Event loops, one a thread [default: 1]
        #[arg(long, env = "FXSRV_THREADS", value_name = "N", help_heading = "Resources")]
        threads: usize,

        /// Buffers of 64 KiB for each event loop, 8 to 1024; a request takes one to three of them
        /// [default: 64]
        #[arg(long, env = "FXSRV_BUFFERS", value_name = "N", help_heading = "Resources")]
        buffers: usize,

        /// How long requests in flight may go on after SIGTERM [default: 30s]
        #[arg(long, env = "FXSRV_GRACE", value_name = "TIME", help_heading = "Times")]
        #[serde(deserialize_with = "parsed")]
        grace: Period,

        /// For the TLS handshake [default: 10s]
        #[arg(long, env = "FXSRV_HANDSHAKE_TIMEOUT", value_name = "TIME", help_heading = "Times")]
        #[serde(deserialize_with = "parsed")]
        handshake_timeout: Period,

        /// For the first bytes of a request, up to a file's data [default: 10s]
        #[arg(long, env = "FXSRV_HEADER_TIMEOUT", value_name = "TIME", help_heading = "Times")]
        #[serde(deserialize_with = "parsed")]
        header_timeout: Period,

        /// Between two requests of a connection [default: 60s]
        #[arg(long, env = "FXSRV_IDLE_TIMEOUT", value_name = "TIME", help_heading = "Times")]
        #[serde(deserialize_with = "parsed")]
        idle_timeout: Period,

        /// For a peer that moves no byte of a file [default: 30s]
        #[arg(long, env = "FXSRV_STALL_TIMEOUT", value_name = "TIME", help_heading = "Times")]
        #[serde(deserialize_with = "parsed")]
        stall_timeout: Period,

        /// For hearing a client out after a refusal, so that the answer arrives [default: 30s]
        #[arg(long, env = "FXSRV_LINGER_TIMEOUT", value_name = "TIME", help_heading = "Times")]
        #[serde(deserialize_with = "parsed")]
        linger_timeout: Period,

        /// Answer `/livez`, `/readyz` and `/metrics` over HTTP here; they need no token
        #[arg(long, env = "FXSRV_ADMIN", value_name = "HOST:PORT")]
        #[serde(deserialize_with = "parsed")]
        admin: Address,

        /// What is logged on stderr: `error`, `warn`, `info`, `debug` or `trace`
        /// [default: info]
        #[arg(long, env = "FXSRV_LOG", value_name = "LEVEL")]
        #[serde(deserialize_with = "parsed")]
        log: LogLevel,
    }
}

keys! {
    /// Where the store is, and what is shown to it: `[files]` in a file.
    FilesKeys {
        /// The store [default: 127.0.0.1:5002]
        #[arg(long, env = "FXSRV_STORE", value_name = "HOST:PORT")]
        #[serde(deserialize_with = "parsed")]
        server: Address,

        /// Trust the store by this file: the ca.pem of its certificates
        #[arg(long, env = "FXSRV_STORE_CA", value_name = "FILE")]
        ca: PathBuf,

        /// Speak without TLS. Whoever stands between can read and change every file
        #[arg(
            long, env = "FXSRV_STORE_PLAIN", num_args = 0, default_missing_value = "true",
            value_parser = clap::builder::BoolishValueParser::new(),
        )]
        plain: bool,

        /// Certificate to show, where the store asks for one (`--client-auth required`), with --key
        #[arg(long, env = "FXSRV_STORE_CERT", value_name = "FILE")]
        cert: PathBuf,

        /// The private key of --cert
        #[arg(long, env = "FXSRV_STORE_KEY", value_name = "FILE")]
        key: PathBuf,

        /// File with the token to show, where the store asks for one
        #[arg(long, env = "FXSRV_STORE_TOKEN_FILE", value_name = "FILE")]
        token_file: PathBuf,

        /// What carries input and output: `uring` or `epoll`. Without it io_uring is taken where the
        /// kernel grants it, else epoll
        #[arg(long, env = "FXSRV_IO", value_name = "DRIVER", help_heading = "Limits")]
        #[serde(deserialize_with = "parsed")]
        io: Driver,

        /// For connecting [default: 5s]
        #[arg(long, env = "FXSRV_CONNECT_TIMEOUT", value_name = "TIME", help_heading = "Limits")]
        #[serde(deserialize_with = "parsed")]
        connect_timeout: Period,

        /// For a store that moves no byte of a file [default: 30s]
        #[arg(long, env = "FXSRV_STALL_TIMEOUT", value_name = "TIME", help_heading = "Limits")]
        #[serde(deserialize_with = "parsed")]
        stall_timeout: Period,
    }
}

impl StoreKeys {
    pub(crate) fn running(&self) -> Result<Running, ConfigError> {
        let common = Common {
            io: self.io,
            threads: Some(self.threads.unwrap_or(1)),
            buffers: self.buffers,
            bulk_buffers: Some(0),
            max_connections: self.max_connections,
            grace: self.grace,
            handshake_timeout: self.handshake_timeout,
            header_timeout: self.header_timeout,
            idle_timeout: self.idle_timeout,
            stall_timeout: self.stall_timeout,
            linger_timeout: self.linger_timeout,
            ..Common::default()
        };
        common.parse()
    }

    /// Limits of the files.
    pub(crate) fn limits(&self) -> StoreLimits {
        let default = StoreLimits::default();
        let file_bytes = self.max_file.map_or(u64::from(u32::MAX), |size| size.0);
        StoreLimits {
            // What is over the field's end is no limit at all.
            file_bytes_max: u32::try_from(file_bytes).unwrap_or(u32::MAX),
            files_max: self.max_files.unwrap_or(default.files_max),
            total_bytes_max: self.max_total.map_or(default.total_bytes_max, |size| size.0),
            connections_per_address_max: self
                .max_connections_per_address
                .unwrap_or(default.connections_per_address_max),
            ..default
        }
    }
}

impl FilesKeys {
    /// What the client bears.
    pub(crate) fn limits(&self) -> ClientLimits {
        let default = ClientLimits::default();
        let time = |key: Option<Period>, default| key.map_or(default, |period| period.0);
        ClientLimits {
            connect_timeout: time(self.connect_timeout, default.connect_timeout),
            stall_timeout: time(self.stall_timeout, default.stall_timeout),
            ..default
        }
    }
}

impl FromStr for SummaryForm {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "file" => Ok(Self::File),
            "raw" => Ok(Self::Raw),
            other => Err(format!("'{other}' is no form of a summary; there are file and raw")),
        }
    }
}
