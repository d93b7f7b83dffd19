//! The keys of batches.

use std::path::PathBuf;

use super::keys::keys;
use super::values::{ByteSize, Period, parsed};
use super::{ConvertKeys, IsolationMode, LogLevel};
use crate::limits::BatchLimits;

keys! {
    /// `fxsrv batch`, and `[batch]` in a file.
    BatchKeys {
        /// Replace files that have the names of results
        #[arg(
            long, short, env = "FXSRV_FORCE", num_args = 0, default_missing_value = "true",
            value_parser = clap::builder::BoolishValueParser::new(),
        )]
        force: bool,

        /// `process` converts in closed-off processes of their own, `thread` in this one
        /// [default: process]
        #[arg(long, env = "FXSRV_ISOLATION", value_name = "HOW", help_heading = "Resources")]
        #[serde(deserialize_with = "parsed")]
        isolation: IsolationMode,

        /// To JPG and WEBP: 1 to 100 [default: 75 for JPG, 80 for WEBP]
        #[arg(long, env = "FXSRV_QUALITY", value_name = "N", help_heading = "Pictures")]
        #[serde(deserialize_with = "parsed")]
        quality: String,

        /// To WEBP: without loss
        #[arg(
            long, env = "FXSRV_LOSSLESS", num_args = 0, default_missing_value = "true",
            value_parser = clap::builder::BoolishValueParser::new(), help_heading = "Pictures",
        )]
        lossless: bool,

        /// To JPG: the colour under what was transparent [default: #ffffff]
        #[arg(long, env = "FXSRV_BACKGROUND", value_name = "#RRGGBB", help_heading = "Pictures")]
        background: String,

        /// `strip` or `keep` EXIF, XMP and ICC [default: strip]
        #[arg(long, env = "FXSRV_METADATA", value_name = "WHAT", help_heading = "Pictures")]
        metadata: String,

        /// `auto` turns a picture upright as its EXIF says, `keep` leaves it [default: auto]
        #[arg(long, env = "FXSRV_ORIENT", value_name = "HOW", help_heading = "Pictures")]
        orient: String,

        /// Text to PDF: `a4`, `letter` or `legal` [default: a4]
        #[arg(long, env = "FXSRV_PAGE", value_name = "SIZE", help_heading = "Documents")]
        page: String,

        /// Text to PDF: margin in millimetres [default: 20]
        #[arg(long, env = "FXSRV_MARGIN", value_name = "MM", help_heading = "Documents")]
        #[serde(deserialize_with = "parsed")]
        margin: String,

        /// Text to PDF: size of the letters in points [default: 10]
        #[arg(long, env = "FXSRV_FONT_SIZE", value_name = "PT", help_heading = "Documents")]
        #[serde(deserialize_with = "parsed")]
        font_size: String,

        /// Text to PDF: `plain` or `flow` [default: plain]. PDF to text: `reading` or `physical`
        /// [default: reading]
        #[arg(long, env = "FXSRV_LAYOUT", value_name = "HOW", help_heading = "Documents")]
        layout: String,

        /// Text to PDF: a font file for characters that the built-in one lacks, TrueType or OpenType;
        /// FILE#N is the font N of a collection. Repeat it for more, which are tried in this order;
        /// `none` is for none [default: a font for CJK, where this machine has one]
        #[arg(
            long, env = "FXSRV_FONT", value_name = "FILE", value_delimiter = ',',
            help_heading = "Documents",
        )]
        font: Vec<String>,

        /// The server of the buckets, where it is not Amazon's [default: AWS_ENDPOINT_URL].
        /// Credentials are AWS_ACCESS_KEY_ID and the like
        #[arg(long, env = "FXSRV_S3_ENDPOINT", value_name = "URL", help_heading = "Buckets")]
        s3_endpoint: String,

        /// The region of the buckets [default: AWS_REGION, else us-east-1]
        #[arg(long, env = "FXSRV_S3_REGION", value_name = "NAME", help_heading = "Buckets")]
        s3_region: String,

        /// Trust their server by this file, in place of the system's authorities
        #[arg(long, env = "FXSRV_S3_CA", value_name = "FILE", help_heading = "Buckets")]
        s3_ca: PathBuf,

        /// Where the journal of a run is kept [default: a directory of the job's own in
        /// $XDG_STATE_HOME/fxsrv/batch, or ~/.local/state/fxsrv/batch]
        #[arg(long, env = "FXSRV_JOURNAL", value_name = "DIR", help_heading = "Run")]
        journal: PathBuf,

        /// Conversions at once [default: one for each core]
        #[arg(long, env = "FXSRV_SLOTS", value_name = "N", help_heading = "Run")]
        slots: usize,

        /// Files that are read, converted or written at once [default: 4 for each conversion, 16
        /// where they come over the network]
        #[arg(long, env = "FXSRV_PARALLEL", value_name = "N", help_heading = "Run")]
        parallel: usize,

        /// Largest file that is converted [default: 512 MiB]
        #[arg(long, env = "FXSRV_MAX_BODY", value_name = "SIZE", help_heading = "Run")]
        #[serde(deserialize_with = "parsed")]
        max_body: ByteSize,

        /// Memory for files that wait for their conversion [default: 512 MiB]
        #[arg(long, env = "FXSRV_MEMORY", value_name = "SIZE", help_heading = "Run")]
        #[serde(deserialize_with = "parsed")]
        memory: ByteSize,

        /// For one conversion [default: 120s]
        #[arg(long, env = "FXSRV_CONVERT_TIMEOUT", value_name = "TIME", help_heading = "Run")]
        #[serde(deserialize_with = "parsed")]
        convert_timeout: Period,

        /// The queue: nats://HOST:PORT, or tls://; more of a cluster after commas. User and password, or a
        /// token, may be in it
        #[arg(long, env = "FXSRV_NATS", value_name = "URL", help_heading = "Queue")]
        nats: String,

        /// File with credentials for NATS
        #[arg(long, env = "FXSRV_NATS_CREDS", value_name = "FILE", help_heading = "Queue")]
        nats_creds: PathBuf,

        /// Trust NATS by this file, and speak TLS [default: the system's authorities for tls://]
        #[arg(long, env = "FXSRV_NATS_CA", value_name = "FILE", help_heading = "Queue")]
        nats_ca: PathBuf,

        /// Copies of what the queue holds [default: 3 on a cluster, else 1]
        #[arg(long, env = "FXSRV_REPLICAS", value_name = "N", help_heading = "Queue")]
        replicas: usize,

        /// What is logged on stderr: `error`, `warn`, `info`, `debug` or `trace`
        /// [default: error]
        #[arg(long, env = "FXSRV_LOG", value_name = "LEVEL")]
        #[serde(deserialize_with = "parsed")]
        log: LogLevel,
    }
}

impl BatchKeys {
    /// What a batch may take.
    pub(crate) fn limits(&self) -> BatchLimits {
        let default = BatchLimits::default();
        let body_bytes_max = self.max_body.map_or(default.body_bytes_max, |size| size.0);
        BatchLimits {
            body_bytes_max,
            memory_bytes: self.memory.map_or(default.memory_bytes, |size| size.0),
            convert_timeout: self
                .convert_timeout
                .map_or(default.convert_timeout, |period| period.0),
        }
    }

    /// The options of conversions, as `convert` has them.
    pub(crate) fn options(&self) -> ConvertKeys {
        ConvertKeys {
            quality: self.quality.clone(),
            lossless: self.lossless,
            background: self.background.clone(),
            metadata: self.metadata.clone(),
            orient: self.orient.clone(),
            page: self.page.clone(),
            margin: self.margin.clone(),
            font_size: self.font_size.clone(),
            layout: self.layout.clone(),
            ..ConvertKeys::default()
        }
    }
}
