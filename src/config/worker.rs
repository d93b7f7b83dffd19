//! The keys of workers.

use std::path::PathBuf;

use super::LogLevel;
use super::keys::{keys, server_keys};
use super::server::{ClientAuthMode, Common, IsolationMode};
use super::values::{ByteSize, Period, parsed};
use crate::client::Address;
use crate::io::Driver;
use crate::isolation::User;

server_keys! {
    /// `fxsrv worker`, and `[worker]` in a file.
    WorkerKeys {
        /// Where masters connect [default: 127.0.0.1:6000]. Port 0 takes a free one
        #[arg(long, env = "FXSRV_LISTEN", value_name = "HOST:PORT")]
        #[serde(deserialize_with = "parsed")]
        listen: Address,

        /// Certificates, as `fxsrv certs init` makes them: server.pem, server.key and ca.pem
        #[arg(long, env = "FXSRV_CERTS", value_name = "DIR")]
        certs: PathBuf,

        /// `required`: a master shows a certificate that ca.pem has signed. `none`: anyone may
        /// connect, for masters that have none [default: required]
        #[arg(long, env = "FXSRV_CLIENT_AUTH", value_name = "WHO")]
        #[serde(deserialize_with = "parsed")]
        client_auth: ClientAuthMode,

        /// Let in only masters whose certificate has this name, a DNS name or an IP address; repeat
        /// it for more
        #[arg(long, env = "FXSRV_CLIENT_NAME", value_name = "NAME", value_delimiter = ',')]
        client_name: Vec<String>,

        /// File with a token that requests must show, or with a list of tokens; without it any token
        /// will do
        #[arg(long, env = "FXSRV_TOKEN_FILE", value_name = "FILE")]
        token_file: PathBuf,

        /// Conversions at once [default: one for each core]
        #[arg(long, env = "FXSRV_SLOTS", value_name = "N", help_heading = "Resources")]
        slots: usize,

        /// Memory for the files, decoded pictures and results of all requests together; half of it is
        /// for files that arrive and wait [default: 8 GiB, or three quarters of what the machine or
        /// its control group has, where that is less]
        #[arg(long, env = "FXSRV_MEMORY", value_name = "SIZE", help_heading = "Resources")]
        #[serde(deserialize_with = "parsed")]
        memory: ByteSize,

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

        /// How long requests are still taken after SIGTERM, while masters hear of it; cut short
        /// where none is connected [default: 3s]
        #[arg(long, env = "FXSRV_NOTICE", value_name = "TIME", help_heading = "Times")]
        #[serde(deserialize_with = "parsed")]
        notice: Period,

        /// Take files of batches from here too, behind the requests of masters: nats://HOST:PORT, or
        /// tls://; more of a cluster after commas
        #[arg(long, env = "FXSRV_QUEUE", value_name = "URL", help_heading = "Queue")]
        queue: String,

        /// What files of batches may be read and written: s3://BUCKET/PREFIX, a directory, or store:;
        /// repeat it for more [default: s3://, all that the credentials allow]
        #[arg(
            long, env = "FXSRV_QUEUE_ALLOW", value_name = "ADDRESS", value_delimiter = ',',
            help_heading = "Queue",
        )]
        queue_allow: Vec<String>,

        /// Files of batches at once, those that are read or written included [default: 8 for each
        /// conversion at once]
        #[arg(long, env = "FXSRV_QUEUE_PARALLEL", value_name = "N", help_heading = "Queue")]
        queue_parallel: usize,

        /// Memory for files of batches that wait for their conversion, of --memory's half for files; no
        /// larger file is taken [default: 512 MiB, or half of that half]
        #[arg(long, env = "FXSRV_QUEUE_MEMORY", value_name = "SIZE", help_heading = "Queue")]
        #[serde(deserialize_with = "parsed")]
        queue_memory: ByteSize,

        /// How often a file is tried before it is given up, 1 to 100 [default: 5]
        #[arg(long, env = "FXSRV_QUEUE_TRIES", value_name = "N", help_heading = "Queue")]
        queue_tries: usize,

        /// Tell masters over NATS that this worker is here: with --queue's, or this one's URL
        #[arg(long, env = "FXSRV_ANNOUNCE", value_name = "URL", help_heading = "Queue")]
        announce: String,

        /// The address that masters are told; the host is a name of the certificate
        /// [default: that of --listen]
        #[arg(long, env = "FXSRV_ANNOUNCE_AS", value_name = "HOST:PORT", help_heading = "Queue")]
        #[serde(deserialize_with = "parsed")]
        announce_as: Address,

        /// File with credentials for NATS
        #[arg(long, env = "FXSRV_NATS_CREDS", value_name = "FILE", help_heading = "Queue")]
        nats_creds: PathBuf,

        /// Trust NATS by this file, and speak TLS [default: the system's authorities for tls://]
        #[arg(long, env = "FXSRV_NATS_CA", value_name = "FILE", help_heading = "Queue")]
        nats_ca: PathBuf,

        /// The server of the buckets of batches, where it is not Amazon's [default: AWS_ENDPOINT_URL]
        #[arg(long, env = "FXSRV_S3_ENDPOINT", value_name = "URL", help_heading = "Queue")]
        s3_endpoint: String,

        /// Trust it by this file, in place of the system's authorities
        #[arg(long, env = "FXSRV_S3_CA", value_name = "FILE", help_heading = "Queue")]
        s3_ca: PathBuf,
    }
}
