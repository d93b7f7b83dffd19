//! The walls around a child, raised from the inside before it sees the first byte of a stranger.
//!
//! Each layer stands by itself. One that this kernel, or the container around it, does not grant is
//! reported, and the others are raised all the same.
#![allow(unsafe_code)]

use std::fmt::Display;
use std::io;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible as _, Ruleset, RulesetAttr as _,
    RulesetError, RulesetStatus, Scope,
};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Resource, Rlimit, Signal};
use rustix::thread::{Gid, Uid};

use super::message::Setup;
use super::{User, syscalls};
use crate::limits::CONVERT_STACK_BYTES;

/// Rules of the newest edition that is asked for; an older kernel enforces what it knows.
const EDITION: ABI = ABI::V6;

/// Descriptors that a child may have: socket, /dev/null twice, its arena; one more for Landlock's rules
/// while they are made.
const DESCRIPTORS_MAX: u64 = 8;

/// Where memory runs out the kernel takes a child first, and not the one that holds all requests.
const OOM_SCORE: &str = "500";

/// What a child's addresses take before its first job where /proc does not tell: the program, the C
/// library, stacks.
const BASE_BYTES: u64 = 256 * 1024 * 1024;

/// Closes every descriptor but the first three. All of the parent's are closed on exec anyway; this is
/// for what it was itself given by whoever started it.
pub(super) fn close_descriptors() {
    // SAFETY: this process has just begun, and nothing in it owns a descriptor above 2.
    let _ = unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, 0_u32) };
}

/// Has this process pass over the signals that a terminal or a service manager sends to all processes at
/// once: the worker heeds them, and needs its children while it drains.
pub(super) fn ignore_signals() {
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT] {
        // SAFETY: to ignore a signal is to run no code.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// Raises all layers, and returns what is missing of them, a line each.
///
/// # Errors
///
/// The parent is gone.
pub(super) fn close(setup: &Setup) -> io::Result<Vec<String>> {
    let mut missing = close_but_for_calls(setup)?;
    // Last: it allows nothing of the others.
    if let Err(reason) = syscalls::restrict() {
        missing.push(format!("the filter of system calls: {reason}"));
    }
    Ok(missing)
}

/// Raises all layers but the filter of system calls, behind which nobody could try the others.
pub(super) fn close_but_for_calls(setup: &Setup) -> io::Result<Vec<String>> {
    let mut missing = Vec::new();
    let mut layer = |name: &str, raised: Result<(), String>| {
        if let Err(reason) = raised {
            missing.push(format!("{name}: {reason}"));
        }
    };
    // Whole pictures are about to lie in memory.
    crate::io::use_huge_pages();
    let _ = std::env::set_current_dir("/");
    let _ = std::fs::write("/proc/self/oom_score_adj", OOM_SCORE);
    layer("an ordinary user", become_user(setup.user));
    layer("limits of resources", limit_resources(setup));
    layer(
        "no core dumps",
        told(rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)),
    );
    // After the change of user, which takes it back.
    layer(
        "an end with the parent",
        told(rustix::process::set_parent_process_death_signal(Some(Signal::KILL))),
    );
    let parent = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get().unsigned_abs());
    if parent != Some(setup.parent) {
        return Err(Errno::SRCH.into());
    }
    layer("no new privileges", told(rustix::thread::set_no_new_privs(true)));
    layer(
        "Landlock",
        give_up_files().map_err(|error| error.to_string()).and_then(|status| match status {
            RulesetStatus::NotEnforced => Err("this kernel does not have it".to_owned()),
            _ => Ok(()),
        }),
    );
    Ok(missing)
}

fn told<T, E: Display>(result: Result<T, E>) -> Result<(), String> {
    result.map(drop).map_err(|error| error.to_string())
}

/// Becomes `user` where this process is root's.
fn become_user(user: User) -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    // There is one thread, so that its rights are the process's.
    told(rustix::thread::set_thread_groups(&[]))?;
    told(rustix::thread::set_thread_res_gid(gid, gid, gid))?;
    told(rustix::thread::set_thread_res_uid(uid, uid, uid))
}

fn limit_resources(setup: &Setup) -> Result<(), String> {
    let memory = address_bytes().saturating_add(setup.memory_bytes_max);
    let limits = [
        (Resource::As, memory),
        (Resource::Stack, CONVERT_STACK_BYTES),
        (Resource::Fsize, setup.arena_bytes),
        (Resource::Nofile, DESCRIPTORS_MAX),
        (Resource::Nproc, 0),
        (Resource::Core, 0),
        (Resource::Memlock, 0),
        (Resource::Msgqueue, 0),
    ];
    for (resource, wanted) in limits {
        let maximum = rustix::process::getrlimit(resource).maximum;
        let bytes = maximum.map_or(wanted, |maximum| maximum.min(wanted));
        let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
        rustix::process::setrlimit(resource, limit)
            .map_err(|error| format!("{resource:?}: {error}"))?;
    }
    Ok(())
}

/// The addresses that this process takes now, most of which is the arena.
fn address_bytes() -> u64 {
    const PAGE_BYTES: u64 = 4096;
    let told = std::fs::read_to_string("/proc/self/statm").ok();
    let pages = told.and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
    pages.map_or(BASE_BYTES, |pages| pages.saturating_mul(PAGE_BYTES))
}

/// Gives up every file, every connection, and every signal to another process. There is no rule that
/// gives anything back.
fn give_up_files() -> Result<RulesetStatus, RulesetError> {
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(EDITION))?
        .handle_access(AccessNet::from_all(EDITION))?
        .scope(Scope::from_all(EDITION))?
        .create()?;
    Ok(ruleset.restrict_self()?.ruleset)
}
