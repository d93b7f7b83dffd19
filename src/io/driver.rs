//! The two drivers, and the choice between them.

use std::fmt;
use std::io;
use std::str::FromStr;
use std::time::{Duration, Instant};

use super::memlock;

/// Submission entries of a ring. A connection has at most two operations in flight, so 1,024
/// entries take a batch from 512 connections before one submits early.
const RING_ENTRIES: u32 = 1024;

/// Four completions for each submission entry: completions wait while the loop is busy, and an
/// overflowing queue costs a system call for each entry that did not fit.
const COMPLETION_ENTRIES: u32 = 4 * RING_ENTRIES;

/// What carries the input and output of a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// `io_uring`, through tokio-uring.
    Uring,
    /// `epoll`, through plain tokio: for kernels and sandboxes without `io_uring`.
    Epoll,
}

/// The driver that serves, and why it is not the one that was wanted.
#[derive(Debug)]
pub struct Choice {
    /// What to run on.
    pub driver: Driver,
    /// One line for the operator where `io_uring` was refused.
    pub fallback: Option<String>,
}

impl Driver {
    /// The wanted driver where the kernel grants it. Without a wish: `io_uring`, or `epoll` where
    /// the kernel, a sysctl or a seccomp profile refuses a ring.
    ///
    /// # Errors
    ///
    /// A ring was asked for by name, and the kernel refuses it.
    pub fn choose(wish: Option<Self>) -> io::Result<Choice> {
        if wish == Some(Self::Epoll) {
            return Ok(Choice { driver: Self::Epoll, fallback: None });
        }
        match start_ring() {
            Ok(_) => Ok(Choice { driver: Self::Uring, fallback: None }),
            Err(error) if wish.is_none() => Ok(Choice {
                driver: Self::Epoll,
                fallback: Some(format!("{}, so the epoll driver serves", explain_refusal(&error))),
            }),
            Err(error) => Err(io::Error::new(
                error.kind(),
                format!("io_uring is refused: {error}{}", reason(&error)),
            )),
        }
    }
}

/// Why an event loop cannot be set up, with what can be done about it.
#[must_use]
pub fn explain_refusal(error: &io::Error) -> String {
    format!("io_uring is refused ({error}{})", reason(error))
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Uring => "uring",
            Self::Epoll => "epoll",
        })
    }
}

impl FromStr for Driver {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "uring" => Ok(Self::Uring),
            "epoll" => Ok(Self::Epoll),
            other => Err(format!("'{other}' is no driver; there are uring and epoll")),
        }
    }
}

/// How long what an earlier ring was charged with may take to be given back.
const RING_PATIENCE: Duration = Duration::from_millis(200);
const RING_PAUSE: Duration = Duration::from_millis(10);

/// A ring of this thread. The kernel charges it to the memlock limit and gives back late what earlier
/// ones took, so that a refusal which the limit does not explain is tried again for a while.
pub(super) fn start_ring() -> io::Result<tokio_uring::Runtime> {
    let ends = Instant::now() + RING_PATIENCE;
    loop {
        let started = tokio_uring::Runtime::new(&ring(Ring::Tuned))
            .or_else(|_| tokio_uring::Runtime::new(&ring(Ring::Plain)));
        match started {
            Err(error)
                if error.raw_os_error() == Some(libc::ENOMEM)
                    && memlock::holds_a_ring()
                    && Instant::now() < ends =>
            {
                std::thread::sleep(RING_PAUSE);
            }
            started => return started,
        }
    }
}

/// How a ring is set up.
#[derive(Clone, Copy)]
enum Ring {
    /// As measured to be best.
    Tuned,
    /// As kernels before 6.0 know it.
    Plain,
}

/// `COOP_TASKRUN | SINGLE_ISSUER` saves interrupts and locks (Linux 6.0); `DEFER_TASKRUN` would
/// hang tokio-uring, which waits on the ring's descriptor and not in `io_uring_enter`; SQPOLL
/// costs twice the CPU.
fn ring(kind: Ring) -> tokio_uring::Builder {
    let mut setup = tokio_uring::uring_builder();
    setup.setup_cqsize(COMPLETION_ENTRIES);
    if matches!(kind, Ring::Tuned) {
        setup.setup_coop_taskrun().setup_single_issuer();
    }
    let mut builder = tokio_uring::builder();
    builder.entries(RING_ENTRIES).uring_builder(&setup);
    builder
}

fn reason(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EPERM) => {
            ": the sysctl kernel.io_uring_disabled or a seccomp profile, such as a container's \
             default one, forbids it"
        }
        Some(libc::ENOSYS) => ": this kernel has none",
        // The kernel charges a ring's queues to the same limit as its buffers: 1,024 entries of 64
        // bytes and 4,096 completions of 16, which are 128 KiB.
        Some(libc::ENOMEM) => {
            ": the memlock limit may be too low for a ring; raise it with `ulimit -l` or \
             LimitMEMLOCK="
        }
        _ => "",
    }
}
