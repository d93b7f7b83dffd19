//! One child, as its parent holds it.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags,
    SocketType,
};
use rustix::process::{Pid, Resource, Rlimit};

use super::Confines;
use super::arena::Arena;
use super::child::{ALLOCATOR, ARGUMENT};
use super::ended::{Cause, Fault};
use super::font::Font;
use super::message::{self, BYTES_MAX, FILES_MAX, Order, Reply, Setup};
use super::pool::{Job, Output};
use crate::convert::Options;
use crate::limits::ConvertLimits;

/// This program. The link leads to it also where its file has been replaced since.
const PROGRAM: &str = "/proc/self/exe";

/// How long a child may take to be ready. It takes some milliseconds; a machine that swaps may need
/// more.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// Conversions that a child does before another takes its place. A start costs as much CPU as a
/// small conversion, so that this costs a thousandth; and what a long life gathers is gone.
const JOBS_MAX: u32 = 1000;

/// What a job may take of a processor beside its time until the deadline, which ends it first.
const CPU_SLACK: Duration = Duration::from_secs(2);

/// What it may take of a processor to give memory back, and more: some milliseconds.
const REST_CPU: Duration = Duration::from_millis(20);

/// A child that is ready for a job, or has one. It ends with this.
pub(super) struct Child {
    process: std::process::Child,
    serial: u64,
    socket: Arc<OwnedFd>,
    arena: Arena,
    output_bytes_max: u64,
    /// Seconds of a processor that it may be granted at most.
    cpu_max: Option<u64>,
    jobs: u32,
    /// Time of all jobs so far: no less than what it has taken of a processor.
    worked: Duration,
    /// When its last job was over, where what that has left in memory is still there.
    free_since: Option<Instant>,
}

/// Why a job has not been done.
pub(super) enum Undone {
    /// The child was gone before it had the job: another can do it.
    Unsent(Cause),
    /// The child is gone with it.
    Lost(Cause),
    /// The child is well, and there is no result all the same.
    Fault(Fault),
}

impl Child {
    /// Starts a child and waits until it is closed off. Also tells what could not be closed. `serial`
    /// is a number of its own: those of processes come again.
    pub(super) fn start(
        serial: u64,
        confines: &Confines,
        limits: &ConvertLimits,
        fonts: &[Font],
    ) -> io::Result<(Self, String)> {
        let (ours, theirs) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        let password_bytes_max = crate::convert::Password::BYTES_MAX as u64;
        let arena_bytes =
            (confines.body_bytes_max + password_bytes_max).max(limits.output_bytes_max);
        let arena = Arena::new(arena_bytes.next_multiple_of(4096))?;
        let (variable, value) = ALLOCATOR;
        let mut command = Command::new(PROGRAM);
        command.arg0("fxsrv").arg(ARGUMENT).env_clear().env(variable, value);
        command.stdin(Stdio::from(theirs)).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn()?;
        // It has the other end of the socket, which must not stay open here.
        drop(command);
        let mut child = Self {
            process,
            serial,
            socket: Arc::new(ours),
            arena,
            output_bytes_max: limits.output_bytes_max,
            cpu_max: rustix::process::getrlimit(Resource::Cpu).maximum,
            jobs: 0,
            worked: Duration::ZERO,
            free_since: None,
        };
        let setup = Setup {
            parent: std::process::id(),
            user: confines.user,
            memory_bytes_max: confines.memory_bytes_max,
            arena_bytes: child.arena.bytes(),
            limits: *limits,
            fonts: fonts.iter().map(Font::place).collect(),
        };
        let mut files = vec![child.arena.file()];
        files.extend(fonts.iter().map(Font::file));
        send(&child.socket, &setup.encode(), &files)?;
        match child.hear(Instant::now() + START_TIMEOUT) {
            Ok(Reply::Ready(missing)) => Ok((child, missing)),
            Ok(_) => Err(message::broken()),
            Err(cause) => Err(io::Error::other(format!("a child did not become ready: {cause:?}"))),
        }
    }

    /// The number that it was given.
    pub(super) fn serial(&self) -> u64 {
        self.serial
    }

    /// Hangs up when the child is gone.
    pub(super) fn socket(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.socket)
    }

    /// Whether another is to take its place.
    pub(super) fn is_worn(&self) -> bool {
        self.jobs >= JOBS_MAX
    }

    /// Has it do `job`. After anything but a result or a fault it is of no use any more.
    pub(super) fn convert(
        &mut self,
        job: &mut Job<'_>,
        deadline: Instant,
    ) -> Result<Output, Undone> {
        self.hand_over(job, deadline)?;
        job.body = Vec::new();
        let started = Instant::now();
        let reply = self.hear_answer(deadline).map_err(Undone::Lost);
        self.worked += started.elapsed();
        self.jobs += 1;
        match reply? {
            Reply::Done { bytes, checksum } if bytes <= self.output_bytes_max => {
                let bytes = self.arena.read(bytes).map_err(|error| {
                    Undone::Fault(Fault::Unserved(format!("no memory for the result: {error}")))
                })?;
                Ok(Output { bytes, checksum })
            }
            Reply::Refused(error) => Err(Undone::Fault(Fault::Refused(error))),
            Reply::Panicked(place) => Err(Undone::Fault(Fault::Panicked(place))),
            Reply::Done { .. } | Reply::Ready(_) | Reply::ShortOfMemory => {
                Err(Undone::Lost(Cause::Astray))
            }
        }
    }

    /// Makes it ready for the next job, of which it must see nothing of this one.
    pub(super) fn wipe(&mut self) -> io::Result<()> {
        self.free_since = Some(Instant::now());
        self.arena.wipe()
    }

    /// When its last job was over, where it has not come to [rest](Self::rest) since.
    pub(super) fn free_since(&self) -> Option<Instant> {
        self.free_since
    }

    /// Has the memory go back that is kept for a next job.
    pub(super) fn rest(&mut self) -> io::Result<()> {
        self.free_since = None;
        self.worked += REST_CPU;
        // One that is gone is found by its socket, as ever.
        let _ = send(&self.socket, &message::REST, &[]);
        self.arena.empty()
    }

    /// Ends it, and says what it had come to by then: a signal changes nothing for one that has
    /// ended.
    pub(super) fn end(&mut self) -> Cause {
        let _ = self.process.kill();
        self.process.wait().map_or(Cause::Astray, Cause::of)
    }

    fn hand_over(&mut self, job: &Job<'_>, deadline: Instant) -> Result<(), Undone> {
        let options = Options { password: None, ..job.options.clone() };
        let password = job.options.password.as_ref().map_or("", |password| password.reveal());
        let no_memory = |error: io::Error| {
            Undone::Fault(Fault::Unserved(format!("no memory to hand over the file: {error}")))
        };
        self.arena.write(&[&job.body, password.as_bytes()]).map_err(no_memory)?;
        let order = Order {
            body_bytes: job.body.len() as u64,
            password_bytes: password.len() as u64,
            target: job.target,
            checksum: job.checksum,
            options,
        };
        self.grant_cpu(deadline);
        send(&self.socket, &order.encode(), &[]).map_err(|_| Undone::Unsent(self.end()))
    }

    /// A second line behind the deadline, for the case that this process does not get to run.
    fn grant_cpu(&self, deadline: Instant) {
        let left = deadline.saturating_duration_since(Instant::now());
        let seconds = (self.worked + left + CPU_SLACK).as_secs();
        let current = Some(self.cpu_max.map_or(seconds, |max| seconds.min(max)));
        let limit = Rlimit { current, maximum: self.cpu_max };
        let pid = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw);
        // It is denied where this process is root without its powers: then the deadline is all.
        let _ = rustix::process::prlimit(pid, Resource::Cpu, limit);
    }

    /// Waits for an answer. One that ends without it has ended for want of memory if it said so.
    fn hear_answer(&mut self, deadline: Instant) -> Result<Reply, Cause> {
        let mut was_denied = false;
        loop {
            match self.hear(deadline) {
                Ok(Reply::ShortOfMemory) => was_denied = true,
                Err(Cause::Crash(_)) if was_denied => return Err(Cause::Memory),
                heard => return heard,
            }
        }
    }

    /// Waits for one message. An error is the child's end.
    fn hear(&mut self, deadline: Instant) -> Result<Reply, Cause> {
        let mut buffer = [0; BYTES_MAX];
        match receive(&self.socket, &mut buffer, deadline) {
            Ok(0) => Err(self.end()),
            Ok(length) => Reply::decode(&buffer[..length]).ok_or_else(|| {
                self.end();
                Cause::Astray
            }),
            Err(Errno::TIMEDOUT) => {
                self.end();
                Err(Cause::Deadline)
            }
            // A reset comes from a child that ended with a message unread.
            Err(_) => Err(self.end()),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.end();
    }
}

/// Sends a message whole, and descriptors with it. Never waits: there is one message at a time.
pub(super) fn send(socket: &OwnedFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES_MAX))];
    let mut with = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !with.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let slices = [io::IoSlice::new(bytes)];
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    rustix::net::sendmsg(socket, &slices, &mut with, flags)?;
    Ok(())
}

/// Receives a message until `deadline`; 0 is the end. What comes with it is dropped by the kernel.
fn receive(socket: &OwnedFd, buffer: &mut [u8], deadline: Instant) -> Result<usize, Errno> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(|_| Errno::INVAL)?;
        let mut polled = [PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::IN)];
        match rustix::event::poll(&mut polled, Some(&left)) {
            Ok(0) => return Err(Errno::TIMEDOUT),
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error),
        }
        match rustix::net::recv(socket, &mut *buffer, RecvFlags::DONTWAIT) {
            Ok((length, _)) => return Ok(length),
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(error) => return Err(error),
        }
    }
}
