//! How a key is declared once, and exists as a flag, a variable and a line of a file.

/// Declares keys. Each is optional, with the flag and variable of its `arg` attribute and a line of
/// the same name in a file; `or` lays one source over another.
macro_rules! keys {
    ($(#[$meta:meta])* $name:ident { $($(#[$key_meta:meta])* $key:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq, clap::Args, serde::Deserialize)]
        #[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
        pub(crate) struct $name {
            $($(#[$key_meta])* pub(crate) $key: Option<$type>,)*
        }

        impl $name {
            /// Takes from `file` what is not set here.
            #[must_use]
            pub(crate) fn or(self, file: Self) -> Self {
                Self { $($key: self.$key.or(file.$key),)* }
            }

            /// Names of the keys, as the fields have them.
            #[cfg(test)]
            pub(crate) const KEYS: &[&str] = &[$(stringify!($key)),*];

            /// How many keys are set.
            #[cfg(test)]
            pub(crate) fn set_count(&self) -> usize {
                [$(self.$key.is_some()),*].into_iter().filter(|set| *set).count()
            }
        }
    };
}

/// Declares the keys of a server: its own, and those that all servers have.
macro_rules! server_keys {
    ($(#[$meta:meta])* $name:ident { $($own:tt)* }) => {
        keys! { $(#[$meta])* $name {
            $($own)*

            /// What carries input and output: `uring` or `epoll`. Without it io_uring is taken where
            /// the kernel grants it, else epoll
            #[arg(long, env = "FXSRV_IO", value_name = "DRIVER", help_heading = "Resources")]
            #[serde(deserialize_with = "parsed")]
            io: Driver,

            /// Event loops, one a thread; 0 is one for each core [default: 0]
            #[arg(long, env = "FXSRV_THREADS", value_name = "N", help_heading = "Resources")]
            threads: usize,

            /// Buffers of each event loop, 8 to 1024; a request takes one or two at a time
            /// [default: 32]
            #[arg(long, env = "FXSRV_BUFFERS", value_name = "N", help_heading = "Resources")]
            buffers: usize,

            /// What each of them carries, 32 KiB to 1 MiB [default: 64 KiB]
            #[arg(long, env = "FXSRV_BUFFER_SIZE", value_name = "SIZE", help_heading = "Resources")]
            #[serde(deserialize_with = "parsed")]
            buffer_size: ByteSize,

            /// Buffers beside them for bodies that are at least as large as one; none with 0
            /// [default: 16]
            #[arg(long, env = "FXSRV_BULK_BUFFERS", value_name = "N", help_heading = "Resources")]
            bulk_buffers: usize,

            /// What each of those carries; none where that is not more than --buffer-size
            /// [default: 256 KiB]
            #[arg(
                long, env = "FXSRV_BULK_BUFFER_SIZE", value_name = "SIZE", help_heading = "Resources",
            )]
            #[serde(deserialize_with = "parsed")]
            bulk_buffer_size: ByteSize,

            /// Whether the ring of `uring` knows the buffers of the usual size, as far as the limit of
            /// locked memory goes; it never knows those for large bodies [default: true]
            #[arg(
                long, env = "FXSRV_REGISTER_BUFFERS", value_name = "BOOL", help_heading = "Resources",
                value_parser = clap::builder::BoolishValueParser::new(),
            )]
            register_buffers: bool,

            /// Largest file that is taken [default: 512 MiB]
            #[arg(long, env = "FXSRV_MAX_BODY", value_name = "SIZE", help_heading = "Resources")]
            #[serde(deserialize_with = "parsed")]
            max_body: ByteSize,

            /// Connections of all event loops together; one more is closed at once. The limit of
            /// open files is raised as far as it goes, and holds half as many [default: 16384]
            #[arg(long, env = "FXSRV_MAX_CONNECTIONS", value_name = "N", help_heading = "Resources")]
            max_connections: usize,

            /// How long requests in flight may go on after SIGTERM [default: 30s]
            #[arg(long, env = "FXSRV_GRACE", value_name = "TIME", help_heading = "Times")]
            #[serde(deserialize_with = "parsed")]
            grace: Period,

            /// For the TLS handshake [default: 10s]
            #[arg(long, env = "FXSRV_HANDSHAKE_TIMEOUT", value_name = "TIME", help_heading = "Times")]
            #[serde(deserialize_with = "parsed")]
            handshake_timeout: Period,

            /// For the header and options of a request [default: 10s]
            #[arg(long, env = "FXSRV_HEADER_TIMEOUT", value_name = "TIME", help_heading = "Times")]
            #[serde(deserialize_with = "parsed")]
            header_timeout: Period,

            /// Between two requests of a connection [default: 60s]
            #[arg(long, env = "FXSRV_IDLE_TIMEOUT", value_name = "TIME", help_heading = "Times")]
            #[serde(deserialize_with = "parsed")]
            idle_timeout: Period,

            /// For a peer that moves no byte of a body [default: 30s]
            #[arg(long, env = "FXSRV_STALL_TIMEOUT", value_name = "TIME", help_heading = "Times")]
            #[serde(deserialize_with = "parsed")]
            stall_timeout: Period,

            /// For a request as a whole [default: 5m]
            #[arg(long, env = "FXSRV_REQUEST_TIMEOUT", value_name = "TIME", help_heading = "Times")]
            #[serde(deserialize_with = "parsed")]
            request_timeout: Period,

            /// For buffers or a place among the conversions to become free [default: 30s]
            #[arg(long, env = "FXSRV_QUEUE_TIMEOUT", value_name = "TIME", help_heading = "Times")]
            #[serde(deserialize_with = "parsed")]
            queue_timeout: Period,

            /// Least bytes a second of a body, on the whole and beside the time for a stall: whoever
            /// sends slower holds a place [default: 4 KiB]
            #[arg(long, env = "FXSRV_MIN_RATE", value_name = "SIZE", help_heading = "Times")]
            #[serde(deserialize_with = "parsed")]
            min_rate: ByteSize,

            /// For hearing a client out after an error, so that the answer arrives [default: 30s]
            #[arg(long, env = "FXSRV_LINGER_TIMEOUT", value_name = "TIME", help_heading = "Times")]
            #[serde(deserialize_with = "parsed")]
            linger_timeout: Period,

            /// Answer `/livez`, `/readyz` and `/metrics` over HTTP here; they need no token
            #[arg(long, env = "FXSRV_ADMIN", value_name = "HOST:PORT")]
            #[serde(deserialize_with = "parsed")]
            admin: Address,

            /// Write a line of JSON for each request to this file, or to stdout with `-`. SIGHUP opens
            /// the file anew, for whoever has moved it away
            #[arg(long, env = "FXSRV_ACCESS_LOG", value_name = "FILE")]
            access_log: PathBuf,

            /// Send a span of each request, and of its parts, to the collector of OpenTelemetry at this
            /// address, over HTTP: `http://127.0.0.1:4318`. Needs a build with the feature `otlp`
            #[arg(long, env = "FXSRV_OTLP", value_name = "URL")]
            #[serde(deserialize_with = "parsed")]
            otlp: crate::config::Collector,

            /// What is logged on stderr: `error`, `warn`, `info`, `debug` or `trace`
            /// [default: info]
            #[arg(long, env = "FXSRV_LOG", value_name = "LEVEL")]
            #[serde(deserialize_with = "parsed")]
            log: LogLevel,
        } }

        impl $name {
            /// The keys that all servers have.
            pub(crate) fn common(&self) -> Common {
                Common {
                    io: self.io,
                    threads: self.threads,
                    buffers: self.buffers,
                    buffer_size: self.buffer_size,
                    bulk_buffers: self.bulk_buffers,
                    bulk_buffer_size: self.bulk_buffer_size,
                    register_buffers: self.register_buffers,
                    max_body: self.max_body,
                    max_connections: self.max_connections,
                    grace: self.grace,
                    handshake_timeout: self.handshake_timeout,
                    header_timeout: self.header_timeout,
                    idle_timeout: self.idle_timeout,
                    stall_timeout: self.stall_timeout,
                    request_timeout: self.request_timeout,
                    queue_timeout: self.queue_timeout,
                    min_rate: self.min_rate,
                    linger_timeout: self.linger_timeout,
                }
            }
        }
    };
}

pub(super) use {keys, server_keys};
