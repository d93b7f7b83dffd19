//! Every limit of the program in one place, each with its arithmetic.

use std::time::Duration;

const MIB: u64 = 1024 * 1024;

/// Stack of a conversion: a PDF parser recurses as deep as its nesting limit allows.
pub const CONVERT_STACK_BYTES: u64 = 16 * MIB;

/// Bytes of a font file for texts. The largest collections of CJK that systems bring along have 20 MiB,
/// those with all weights 120; a text needs one weight.
pub const FONT_BYTES_MAX: u64 = 64 * MIB;

/// Fonts beside the built-in ones. Each character that none has is looked for in all of them, and each
/// child maps them all.
pub const FONTS_MAX: usize = 8;

/// What one conversion may cost. Checked from headers before memory is taken, or as it accrues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvertLimits {
    /// Pixels of one picture, width times height. 100 Mpx is 10,000 x 10,000: 400 MB as RGBA.
    pub pixels_max: u64,
    /// Bytes of one picture's side data after decompression: ICC, EXIF, text chunks, each.
    pub metadata_bytes_max: u64,
    /// Scans of one progressive JPEG. Real files have about 10; each costs a pass over the picture.
    pub scans_max: u32,
    /// Pages of a document that is read or written.
    pub pages_max: u32,
    /// Objects of one PDF. A real page has about 10, so 1,000,000 covers 100,000 pages.
    pub objects_max: u32,
    /// Nesting of PDF objects, form XObjects and page trees.
    pub nesting_max: u32,
    /// Bytes of one PDF stream after decompression.
    pub stream_bytes_max: u64,
    /// Bytes of all PDF streams of one document after decompression.
    pub streams_total_bytes_max: u64,
    /// Bytes of the result.
    pub output_bytes_max: u64,
}

impl ConvertLimits {
    /// Memory that one conversion takes at most within these limits, where it has a process of its
    /// own: a picture three times with 16 bits a channel (8 bytes a pixel), as it is decoded, turned,
    /// and encoded, or a document's streams twice; and the result twice, while its buffer grows. By
    /// default 2.2 GiB and 2 GiB, in whole GiB 5.
    #[must_use]
    pub fn memory_bytes_max(&self) -> u64 {
        let picture = self.pixels_max.saturating_mul(3 * 8);
        let document = self.streams_total_bytes_max.saturating_mul(2);
        let all = picture.max(document).saturating_add(self.output_bytes_max.saturating_mul(2));
        all.div_ceil(1024 * MIB).saturating_mul(1024 * MIB)
    }
}

impl Default for ConvertLimits {
    fn default() -> Self {
        Self {
            pixels_max: 100_000_000,
            metadata_bytes_max: 8 * MIB,
            scans_max: 500,
            pages_max: 100_000,
            objects_max: 1_000_000,
            nesting_max: 64,
            stream_bytes_max: 256 * MIB,
            streams_total_bytes_max: 1024 * MIB,
            output_bytes_max: 1024 * MIB,
        }
    }
}

/// Limits of a server's connections and requests, the same for master and worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerLimits {
    /// Bytes of one body. 512 MiB is a photo of 100 Mpx as uncompressed RGBA PNG, and some.
    pub body_bytes_max: u64,
    /// Bytes of all bodies that a worker holds, arriving, waiting or being converted: eight of the
    /// largest.
    pub bodies_bytes_max: u64,
    /// Bytes of files of batches that wait for their conversion; without a queue there are none. They
    /// are taken from those of bodies.
    pub queue_bytes_max: u64,
    /// Bytes that a worker's conversions work with, by what the headers of the files tell, and of
    /// results that have not left yet. A picture of 100 Mpx takes 1 GB of it.
    pub working_bytes_max: u64,
    /// Refusals of one connection that nothing good is to be expected of: a wrong token, or another
    /// protocol. A person who mistypes is done after one.
    pub strangers_requests_max: u32,
    /// Connections of all threads together. An idle one takes 11 KiB, so that 16,384 stay under
    /// 200 MB.
    pub connections_max: usize,
    /// The TLS handshake as a whole.
    pub handshake_timeout: Duration,
    /// The header and options of a request, from their first byte on.
    pub header_timeout: Duration,
    /// Between two requests of a connection.
    pub idle_timeout: Duration,
    /// One read or one write of a body: a peer that moves nothing for longer is given up.
    pub stall_timeout: Duration,
    /// Bytes a second that a body must come with on the whole, beside the time for one stall:
    /// whoever sends a byte at a time would hold a place, and two buffers, for as long as it likes.
    pub body_rate_min: u64,
    /// A request as a whole: receiving, waiting, converting, sending.
    pub request_timeout: Duration,
    /// One conversion, from the moment that its body is there, waiting for a slot included.
    pub convert_timeout: Duration,
    /// Waiting for buffers.
    pub queue_timeout: Duration,
    /// Connecting to a worker, handshake included.
    pub connect_timeout: Duration,
    /// Hearing a client out after its answer, so that the answer arrives whole.
    pub linger_timeout: Duration,
    /// The same between two requests: nothing of an exchange is open then, and a drain waits.
    pub drain_linger_timeout: Duration,
    /// Body bytes that are read and dropped after a refusal to keep a connection; for more than
    /// this a new handshake is cheaper than the transfer (1 MiB takes about as much CPU as one).
    pub discard_bytes_max: u64,
}

impl ServerLimits {
    /// What a client may still send while it is heard out: a whole body, and TLS around it.
    #[must_use]
    pub fn linger_bytes_max(&self) -> u64 {
        self.body_bytes_max + self.body_bytes_max / 64 + MIB
    }

    /// How long a body of `bytes` may take.
    #[must_use]
    pub fn body_time(&self, bytes: u64) -> Duration {
        self.stall_timeout + Duration::from_secs(bytes / self.body_rate_min.max(1))
    }
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            body_bytes_max: 512 * MIB,
            bodies_bytes_max: 4096 * MIB,
            queue_bytes_max: 0,
            working_bytes_max: 4096 * MIB,
            strangers_requests_max: 4,
            connections_max: 16_384,
            handshake_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            stall_timeout: Duration::from_secs(30),
            body_rate_min: 4 * 1024,
            request_timeout: Duration::from_secs(300),
            convert_timeout: Duration::from_secs(120),
            queue_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(5),
            linger_timeout: Duration::from_secs(30),
            drain_linger_timeout: Duration::from_secs(1),
            discard_bytes_max: MIB,
        }
    }
}

/// How a master watches its workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FleetLimits {
    /// Between two checks of a worker. One costs a handshake on either side: about 1 ms of CPU.
    pub check_interval: Duration,
    /// One check, from connecting to the last byte of the answer.
    pub check_timeout: Duration,
    /// Failures in a row after which a worker is down: 3 within a second and a half do not happen
    /// by chance, and longer than that requests would find it out one by one.
    pub fails_to_down: u32,
    /// Answers in a row after which it is up again.
    pub passes_to_up: u32,
    /// Checks at once: more than that fall due together only where many workers hang.
    pub checks_max: usize,
    /// Between two look-ups of the name whose addresses are workers.
    pub lookup_interval: Duration,
    /// Longest answer to a check. Ours have under 1 KiB.
    pub report_bytes_max: u64,
    /// How long a worker is asked after the others because it had no room, whatever it says.
    pub busy_max: Duration,
    /// Workers that are asked for one request, one after the other.
    pub attempts_max: usize,
}

impl FleetLimits {
    /// The defaults, where a constant is needed.
    pub const DEFAULT: Self = Self {
        check_interval: Duration::from_secs(1),
        check_timeout: Duration::from_secs(2),
        fails_to_down: 3,
        passes_to_up: 2,
        checks_max: 32,
        lookup_interval: Duration::from_secs(10),
        report_bytes_max: 64 * 1024,
        busy_max: Duration::from_secs(2),
        attempts_max: 4,
    };
}

impl Default for FleetLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Limits of a file store beside those of its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreLimits {
    /// Bytes of one file. The size field of the protocol ends at 4 GiB - 1.
    pub file_bytes_max: u32,
    /// Files in all. Each takes an inode and a directory entry, about 600 bytes of a disk.
    pub files_max: u64,
    /// Bytes of all files, those on their way included.
    pub total_bytes_max: u64,
    /// Connections of one client address, over all threads. An idle one takes about 20 KiB, so that
    /// one address takes 20 MiB; many clients may stand behind one.
    pub connections_per_address_max: usize,
    /// What a transfer may take beside its size at [`Self::transfer_rate_min`].
    pub transfer_timeout: Duration,
    /// Bytes a second below which a peer holds a place rather than transfers a file.
    pub transfer_rate_min: u32,
    /// Unknown requests in a row: 16 bytes of noise are no client of this protocol.
    pub unknown_in_a_row_max: u32,
}

impl StoreLimits {
    /// How long a transfer of `bytes` may take.
    #[must_use]
    pub fn transfer_time(&self, bytes: u64) -> Duration {
        self.transfer_timeout
            + Duration::from_secs(bytes / u64::from(self.transfer_rate_min.max(1)))
    }
}

impl Default for StoreLimits {
    fn default() -> Self {
        Self {
            file_bytes_max: u32::MAX,
            files_max: 1_000_000,
            total_bytes_max: 1024 * 1024 * MIB,
            connections_per_address_max: 1024,
            transfer_timeout: Duration::from_secs(60),
            transfer_rate_min: 16 * 1024,
            unknown_in_a_row_max: 16,
        }
    }
}

/// What requests to a bucket may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BucketLimits {
    /// Bytes of one part of an upload, and of the largest file that is stored by one request. S3 wants
    /// 5 MiB at least, and 10,000 parts at most: 4 GiB make 512.
    pub part_bytes: usize,
    /// Parts in memory, of all uploads together: 128 MiB.
    pub parts_max: usize,
    /// One request with its repeats, and one wait for the next bytes of a file.
    pub request_timeout: Duration,
}

impl Default for BucketLimits {
    fn default() -> Self {
        Self {
            part_bytes: 8 * 1024 * 1024,
            parts_max: 16,
            request_timeout: Duration::from_secs(30),
        }
    }
}

/// What a batch may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// Bytes of one file; the same as of one body.
    pub body_bytes_max: u64,
    /// Bytes of all files that are in memory before they are converted: one of the largest, or 500 of
    /// a megabyte. Pictures take a multiple of it while they are decoded, one for each core.
    pub memory_bytes: u64,
    /// One conversion, waiting for a core included.
    pub convert_timeout: Duration,
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self {
            body_bytes_max: 512 * MIB,
            memory_bytes: 512 * MIB,
            convert_timeout: Duration::from_secs(120),
        }
    }
}

/// What a master keeps of its connections to workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpstreamLimits {
    /// Connections that each thread keeps. An idle one takes about 12 KiB here and as much at the
    /// worker, so that 64 of 16 threads take 12 MiB on either side.
    pub kept_max: usize,
    /// How long one is kept unused: less than a worker's own idle timeout of 60 seconds, so that the
    /// master is the one that ends it.
    pub idle_timeout: Duration,
    /// How old one may become. Names are resolved, and certificates looked at, when one is opened.
    pub age_max: Duration,
}

impl UpstreamLimits {
    /// What counts where nobody says otherwise.
    pub const DEFAULT: Self = Self {
        kept_max: 64,
        idle_timeout: Duration::from_secs(30),
        age_max: Duration::from_secs(600),
    };
}

/// What a client bears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientLimits {
    /// Bytes of one file that is read to be sent. The same as a server's own limit.
    pub body_bytes_max: u64,
    /// Bytes of one answer. The same as the limit of a conversion's result.
    pub answer_bytes_max: u64,
    /// Connecting to one address.
    pub connect_timeout: Duration,
    /// The TLS handshake as a whole.
    pub handshake_timeout: Duration,
    /// One write of the body, or one read of an answer that has begun.
    pub stall_timeout: Duration,
    /// A request as a whole, repeats to a busy server included.
    pub request_timeout: Duration,
    /// How often a busy server is asked again.
    pub busy_retries_max: u32,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            body_bytes_max: 512 * MIB,
            answer_bytes_max: 1024 * MIB,
            connect_timeout: Duration::from_secs(5),
            handshake_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(30),
            // A little more than the server's, so that the server is the one that gives up and says so.
            request_timeout: Duration::from_secs(310),
            busy_retries_max: 8,
        }
    }
}

/// Limits of the HTTP gateway towards browsers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WebLimits {
    /// Bytes of one upload. The same as a master's own limit.
    pub body_bytes_max: u64,
    /// Bytes of a request's head, and of one read of its body. A record of 64 KiB less would cost as
    /// many more system calls; a browser's head has about 1 KiB.
    pub head_bytes_max: usize,
    /// Headers of a request. Browsers send about 20.
    pub headers_max: usize,
    /// The head of a request; also between two requests of a connection.
    pub header_timeout: Duration,
    /// A browser that moves no byte of a body.
    pub stall_timeout: Duration,
    /// What an upload may take beside its size at [`Self::upload_rate_min`].
    pub upload_timeout: Duration,
    /// Bytes a second below which a browser holds a place rather than uploads a file: a modem of
    /// the last century had 4 KiB.
    pub upload_rate_min: u32,
    /// Hearing a browser out after a refusal, so that the answer arrives.
    pub linger_timeout: Duration,
    /// Connections of one thread. Each takes two buffers of 64 KiB at most while a file moves: 128
    /// MiB.
    pub connections_max: usize,
    /// Requests at once that move a file, over all threads. Each takes 64 KiB for a window in both
    /// directions towards the master, and as much again for pieces: 64 MiB in all.
    pub requests_max: usize,
    /// The same of one client address. A browser has six connections to a host.
    pub uploads_per_address_max: usize,
    /// Bytes of one form of many files. They are held until they have been sent on, since the wire
    /// wants sizes that a form does not say: 16 pictures of 4 MB.
    pub form_bytes_max: u64,
    /// The same of all forms at once: four of the largest.
    pub forms_bytes_max: u64,
    /// Files of a form. Each is a request to the master, one after another.
    pub form_files_max: usize,
    /// Pages that watch the status at once. Each asks the master once a second.
    pub listeners_max: usize,
}

impl WebLimits {
    /// How long an upload of `bytes` may take.
    #[must_use]
    pub fn upload_time(&self, bytes: u64) -> Duration {
        self.upload_timeout + Duration::from_secs(bytes / u64::from(self.upload_rate_min.max(1)))
    }
}

impl Default for WebLimits {
    fn default() -> Self {
        Self {
            body_bytes_max: 512 * MIB,
            head_bytes_max: 64 * 1024,
            headers_max: 64,
            header_timeout: Duration::from_secs(30),
            stall_timeout: Duration::from_secs(30),
            upload_timeout: Duration::from_secs(60),
            upload_rate_min: 4 * 1024,
            linger_timeout: Duration::from_secs(30),
            connections_max: 1024,
            requests_max: 256,
            uploads_per_address_max: 32,
            form_bytes_max: 64 * MIB,
            forms_bytes_max: 256 * MIB,
            form_files_max: 100,
            listeners_max: 16,
        }
    }
}
