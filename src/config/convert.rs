//! The keys of the clients: convert and status.

use std::path::PathBuf;

use super::IsolationMode;
use super::LogLevel;
use super::keys::keys;
use super::values::{ByteSize, Period, parsed};
use crate::client::{Address, Wire};
use crate::io::Driver;
use crate::limits::ClientLimits;

keys! {
    /// Where the server is, and what is shown to it: `[convert]` in a file.
    ConvertKeys {
        /// The master to send to. Without it, a master and a worker run inside of this process
        #[arg(long, env = "FXSRV_SERVER", value_name = "HOST:PORT", help_heading = "Server")]
        #[serde(deserialize_with = "parsed")]
        server: Address,

        /// Trust the server by this file: the ca.pem of its certificates
        #[arg(long, env = "FXSRV_CA", value_name = "FILE", help_heading = "Server")]
        ca: PathBuf,

        /// File with the token to show. Instead of it, the token itself may be in FXSRV_TOKEN
        #[arg(long, env = "FXSRV_TOKEN_FILE", value_name = "FILE", help_heading = "Server")]
        token_file: PathBuf,

        /// Version of the protocol: `auto`, `v1.1` or `v1.0`. auto is v1.1, and v1.0 to a server that
        /// does not know it [default: auto]
        #[arg(long, env = "FXSRV_WIRE", value_name = "VERSION", help_heading = "Server")]
        #[serde(deserialize_with = "parsed")]
        wire: Wire,

        /// Checksum of file and answer: `md5`, `xxh3` or `none` [default: md5]. v1.0 has md5 alone
        #[arg(long, env = "FXSRV_CHECKSUM", value_name = "KIND", help_heading = "Server")]
        checksum: String,

        /// Without a server: `process` converts in closed-off processes of their own, `thread` in this
        /// one [default: process]
        #[arg(long, env = "FXSRV_ISOLATION", value_name = "HOW")]
        #[serde(deserialize_with = "parsed")]
        isolation: IsolationMode,

        /// Overwrite files that exist
        #[arg(
            long, short, env = "FXSRV_FORCE", num_args = 0, default_missing_value = "true",
            value_parser = clap::builder::BoolishValueParser::new(),
        )]
        force: bool,

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

        /// Text to PDF: `plain` keeps every line, `flow` joins lines into paragraphs
        /// [default: plain]. PDF to text: `reading` goes column by column, `physical` keeps what is
        /// side by side [default: reading]
        #[arg(long, env = "FXSRV_LAYOUT", value_name = "HOW", help_heading = "Documents")]
        layout: String,

        /// Text to PDF, without a server: a font file for characters that the built-in one lacks, TrueType
        /// or OpenType; FILE#N is the font N of a collection. Repeat it for more, which are tried in this order;
        /// `none` is for none [default: a font for CJK, where this machine has one]
        #[arg(
            long, env = "FXSRV_FONT", value_name = "FILE", value_delimiter = ',',
            help_heading = "Documents",
        )]
        font: Vec<String>,

        /// PDF to text: file whose first line is the password of an encrypted PDF
        #[arg(long, env = "FXSRV_PASSWORD_FILE", value_name = "FILE", help_heading = "Documents")]
        password_file: PathBuf,

        /// What carries input and output: `uring` or `epoll`. Without it io_uring is taken where the
        /// kernel grants it, else epoll
        #[arg(long, env = "FXSRV_IO", value_name = "DRIVER", help_heading = "Limits")]
        #[serde(deserialize_with = "parsed")]
        io: Driver,

        /// Largest file that is read [default: 512 MiB]
        #[arg(long, env = "FXSRV_MAX_BODY", value_name = "SIZE", help_heading = "Limits")]
        #[serde(deserialize_with = "parsed")]
        max_body: ByteSize,

        /// Largest answer that is taken [default: 1 GiB]
        #[arg(long, env = "FXSRV_MAX_ANSWER", value_name = "SIZE", help_heading = "Limits")]
        #[serde(deserialize_with = "parsed")]
        max_answer: ByteSize,

        /// For connecting [default: 5s]
        #[arg(long, env = "FXSRV_CONNECT_TIMEOUT", value_name = "TIME", help_heading = "Limits")]
        #[serde(deserialize_with = "parsed")]
        connect_timeout: Period,

        /// For the TLS handshake [default: 10s]
        #[arg(long, env = "FXSRV_HANDSHAKE_TIMEOUT", value_name = "TIME", help_heading = "Limits")]
        #[serde(deserialize_with = "parsed")]
        handshake_timeout: Period,

        /// For a server that moves no byte of a file [default: 30s]
        #[arg(long, env = "FXSRV_STALL_TIMEOUT", value_name = "TIME", help_heading = "Limits")]
        #[serde(deserialize_with = "parsed")]
        stall_timeout: Period,

        /// For one file, from its first byte to the last of its answer [default: 310s]
        #[arg(long, env = "FXSRV_REQUEST_TIMEOUT", value_name = "TIME", help_heading = "Limits")]
        #[serde(deserialize_with = "parsed")]
        request_timeout: Period,

        /// What is logged on stderr: `error`, `warn`, `info`, `debug` or `trace`
        /// [default: error]
        #[arg(long, env = "FXSRV_LOG", value_name = "LEVEL")]
        #[serde(deserialize_with = "parsed")]
        log: LogLevel,
    }
}

impl ConvertKeys {
    /// What the client bears.
    pub(crate) fn limits(&self) -> ClientLimits {
        let default = ClientLimits::default();
        let time = |key: Option<Period>, default| key.map_or(default, |period| period.0);
        ClientLimits {
            body_bytes_max: self.max_body.map_or(default.body_bytes_max, |size| size.0),
            answer_bytes_max: self.max_answer.map_or(default.answer_bytes_max, |size| size.0),
            connect_timeout: time(self.connect_timeout, default.connect_timeout),
            handshake_timeout: time(self.handshake_timeout, default.handshake_timeout),
            stall_timeout: time(self.stall_timeout, default.stall_timeout),
            request_timeout: time(self.request_timeout, default.request_timeout),
            ..default
        }
    }

    /// The conversion options that are set, with the names and values of the wire.
    pub(crate) fn option_lines(&self) -> Vec<(&'static str, String)> {
        let lossless = self.lossless.map(|on| u8::from(on).to_string());
        [
            ("checksum", self.checksum.clone()),
            ("quality", self.quality.clone()),
            ("lossless", lossless),
            ("background", self.background.clone()),
            ("metadata", self.metadata.clone()),
            ("orient", self.orient.clone()),
            ("page", self.page.clone()),
            ("margin", self.margin.clone()),
            ("font-size", self.font_size.clone()),
            ("layout", self.layout.clone()),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)))
        .collect()
    }
}
