//! The walls, tried from the inside. The exit code says what came of it; a call that the filter does
//! not let through ends the process before it has one. `tests/isolation.rs` asks.
//!
//! - `fxsrv conversion-child probe closed NUMBER [ARGUMENT...]` closes itself off and makes this system
//!   call.
//! - `... probe open NUMBER [ARGUMENT...]` makes it as it is, which shows that it would be made.
//! - `... probe files` closes itself off but for the filter, and tries what Landlock is there against.
#![allow(unsafe_code)]

use std::ffi::OsString;
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::exit;

use super::message::Setup;
use super::{User, sandbox, syscalls};
use crate::limits::ConvertLimits;

/// The call came back, with an error or without.
const CAME_BACK: i32 = 100;

/// There is a layer that this kernel does not grant.
const NOT_CLOSED: i32 = 101;

/// The call is one that is allowed with any arguments.
const ALLOWED: i32 = 102;

/// Something was to be had that was not to be.
const REACHED: i32 = 103;

/// What a call is given where nothing is said: no valid pointer and no descriptor.
const NOTHING: libc::c_long = -1;

pub(super) fn run(mut arguments: impl Iterator<Item = OsString>) -> io::Result<()> {
    let wrong = || io::Error::from(io::ErrorKind::InvalidInput);
    let how = arguments.next().ok_or_else(wrong)?;
    if how == "files" {
        exit(try_files()?);
    }
    let numbers: Option<Vec<libc::c_long>> =
        arguments.map(|argument| argument.to_str()?.parse().ok()).collect();
    let numbers = numbers.ok_or_else(wrong)?;
    let (number, given) = numbers.split_first().ok_or_else(wrong)?;
    if how == "closed" {
        if syscalls::is_plain(*number) {
            exit(ALLOWED);
        }
        sandbox::close_descriptors();
        if !sandbox::close(&setup())?.is_empty() {
            exit(NOT_CLOSED);
        }
    }
    let mut all = [NOTHING; 6];
    for (place, value) in all.iter_mut().zip(given) {
        *place = *value;
    }
    let [first, second, third, fourth, fifth, sixth] = all;
    // SAFETY: whoever starts this gives arguments that the kernel refuses, or that touch no memory of
    // this process; and it ends right after.
    unsafe { libc::syscall(*number, first, second, third, fourth, fifth, sixth) };
    exit(CAME_BACK)
}

/// Tries to read a file that everybody may read, to listen and to connect.
fn try_files() -> io::Result<i32> {
    let outside = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = outside.local_addr()?;
    let program = std::env::current_exe()?;
    if !sandbox::close_but_for_calls(&setup())?.is_empty() {
        return Ok(NOT_CLOSED);
    }
    let is_denied = [
        std::fs::File::open("/etc/passwd").map(drop),
        std::fs::read_dir("/").map(drop),
        std::fs::write("/tmp/fxsrv-probe", b"").map(drop),
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map(drop),
        TcpStream::connect(address).map(drop),
        std::process::Command::new(program).arg("--version").status().map(drop),
        std::thread::Builder::new().spawn(|| ()).map(drop),
    ]
    .iter()
    .all(Result::is_err);
    Ok(if is_denied { CAME_BACK } else { REACHED })
}

/// What a child is told, where this process's parent is whoever asks.
fn setup() -> Setup {
    let parent = rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get());
    Setup {
        parent: parent.unsigned_abs(),
        user: User::default(),
        memory_bytes_max: 1 << 30,
        arena_bytes: 1 << 20,
        limits: ConvertLimits::default(),
        fonts: Vec::new(),
    }
}
