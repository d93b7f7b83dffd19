//! A child from the inside: it closes itself off, and then does one job after another.

use std::env;
use std::io;
use std::os::fd::OwnedFd;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};

use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use rustix::stdio::stdin;

use super::arena::{Mapped, View};
use super::message::{self, BYTES_MAX, FILES_MAX, Order, Reply, Setup};
use super::{allocator, probe, sandbox};
use crate::convert::{self, ErrorKind, FontData, Password};
use crate::limits::ConvertLimits;

/// What the first argument of a child is. No person has a use for it, and no help page shows it.
pub(super) const ARGUMENT: &str = "conversion-child";

/// Tries one system call inside; `tests/isolation.rs` does.
const PROBE: &str = "probe";

/// The one line of a child's environment. mimalloc would take 1 GiB of addresses before anything of
/// ours runs, which the limit of memory could then not count; 32 MiB (in KiB) it can.
pub(super) const ALLOCATOR: (&str, &str) = ("MIMALLOC_ARENA_RESERVE", "32768");

/// Where the last panic was. Its message may quote the file, and is told to nobody.
static PANICKED_AT: Mutex<String> = Mutex::new(String::new());

/// Does what a child does, if this process is one. It is the first that a program asks.
#[must_use]
pub fn run_if_asked() -> Option<io::Result<()>> {
    let mut arguments = env::args_os().skip(1);
    if arguments.next()? != ARGUMENT {
        return None;
    }
    Some(match arguments.next() {
        Some(word) if word == PROBE => probe::run(arguments),
        _ => serve(),
    })
}

/// Does jobs until the parent is gone.
fn serve() -> io::Result<()> {
    remember_panics();
    sandbox::ignore_signals();
    sandbox::close_descriptors();
    let (setup, arena, fonts) = receive_setup()?;
    let mut arena = Mapped::new(arena, setup.arena_bytes)?;
    let views = fonts.iter().zip(&setup.fonts).map(|(file, at)| View::of_sealed(file, at.bytes));
    let views = views.collect::<io::Result<Vec<_>>>()?;
    drop(fonts);
    let fonts = views.iter().zip(&setup.fonts);
    let fonts: Vec<_> =
        fonts.map(|(view, at)| FontData { bytes: view.whole(), index: at.index }).collect();
    let missing = sandbox::close(&setup)?;
    say(&Reply::Ready(missing.join("\n")))?;
    allocator::tell_parent();
    let mut buffer = [0; BYTES_MAX];
    loop {
        let length = match rustix::io::read(stdin(), &mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => length,
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        };
        if buffer[..length] == message::REST {
            allocator::give_back();
            continue;
        }
        let order = Order::decode(&buffer[..length]).ok_or_else(message::broken)?;
        let reply = execute(order, &mut arena, &setup.limits, &fonts)?;
        say(&reply)?;
    }
}

/// Does a job: behind a wall, since a panic is an answer and not the end.
fn execute(
    order: Order,
    arena: &mut Mapped,
    limits: &ConvertLimits,
    fonts: &[FontData<'_>],
) -> io::Result<Reply> {
    let converted = {
        let Order { body_bytes, password_bytes, target, checksum, mut options } = order;
        let [body, password] = split(arena, body_bytes, password_bytes)?;
        options.password = str::from_utf8(password).ok().and_then(Password::new);
        let work = || {
            let result = convert::convert_with(body, target, &options, limits, fonts)?;
            let checksum = checksum.of(&result);
            Ok((result, checksum))
        };
        catch_unwind(AssertUnwindSafe(work))
    };
    Ok(match converted {
        Ok(Ok((result, checksum))) => match arena.write(&result) {
            Ok(()) => Reply::Done { bytes: result.len() as u64, checksum },
            Err(error) => Reply::Refused(convert::Error::new(
                ErrorKind::LimitExceeded,
                format!("no memory for the result of {} bytes: {error}", result.len()),
            )),
        },
        Ok(Err(error)) => Reply::Refused(error),
        Err(_) => Reply::Panicked(place().clone()),
    })
}

/// The body, and what follows it.
fn split(arena: &Mapped, body_bytes: u64, password_bytes: u64) -> io::Result<[&[u8]; 2]> {
    let parts = || {
        let body_bytes = usize::try_from(body_bytes).ok()?;
        let bytes = body_bytes.checked_add(usize::try_from(password_bytes).ok()?)?;
        let (body, password) = arena.head(bytes)?.split_at_checked(body_bytes)?;
        Some([body, password])
    };
    parts().ok_or_else(message::broken)
}

/// What is to be kept to, the arena, and the fonts.
fn receive_setup() -> io::Result<(Setup, OwnedFd, Vec<OwnedFd>)> {
    let mut buffer = [0; BYTES_MAX];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES_MAX))];
    let mut with = RecvAncillaryBuffer::new(&mut space);
    let mut slices = [io::IoSliceMut::new(&mut buffer)];
    let received = rustix::net::recvmsg(stdin(), &mut slices, &mut with, RecvFlags::CMSG_CLOEXEC)?;
    let files = with.drain().filter_map(|part| match part {
        RecvAncillaryMessage::ScmRights(files) => Some(files),
        _ => None,
    });
    let mut files = files.flatten();
    let arena = files.next().ok_or_else(message::broken)?;
    let fonts: Vec<_> = files.collect();
    let setup = Setup::decode(&buffer[..received.bytes]).ok_or_else(message::broken)?;
    if fonts.len() != setup.fonts.len() {
        return Err(message::broken());
    }
    Ok((setup, arena, fonts))
}

fn say(reply: &Reply) -> io::Result<()> {
    // One packet: it is sent whole or not at all.
    rustix::io::write(stdin(), &reply.encode())?;
    Ok(())
}

fn remember_panics() {
    panic::set_hook(Box::new(|info| {
        *place() = info.location().map_or_else(String::new, ToString::to_string);
    }));
}

fn place() -> std::sync::MutexGuard<'static, String> {
    PANICKED_AT.lock().unwrap_or_else(PoisonError::into_inner)
}
