//! The walls around a conversion, tried from the inside: each probe is a process of the program that
//! closes itself off as a child does, and then does what a child must not do.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Exit codes of a probe; `src/isolation/probe.rs` has them.
const CAME_BACK: i32 = 100;
const NOT_CLOSED: i32 = 101;
const ALLOWED: i32 = 102;

/// Beyond the newest call of any kernel that there is.
const NUMBERS_END: i64 = 512;

/// uretprobe and uprobe, which the kernel lets through every filter: outside of a probe that root has
/// set they do nothing, or end the process.
const UNFILTERED: &[i64] = if cfg!(target_arch = "x86_64") { &[335, 336] } else { &[] };

/// What a child may call with any arguments, as docs/isolation.md has it.
const PLAIN: [i64; 23] = [
    libc::SYS_brk,
    libc::SYS_clock_gettime,
    libc::SYS_close,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_getcpu,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_madvise,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_pwrite64,
    libc::SYS_read,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_yield,
    libc::SYS_sigaltstack,
    libc::SYS_sysinfo,
    libc::SYS_write,
];

fn probe(how: &str, numbers: &[i64]) -> ExitStatus {
    Command::new(env!("CARGO_BIN_EXE_fxsrv"))
        .args(["conversion-child", "probe", how])
        .args(numbers.iter().map(ToString::to_string))
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap()
}

/// Whether this kernel, or the container around this test, grants every layer. Where it does not, that
/// is said; in CI it is an error.
fn is_closed_here() -> bool {
    let status = probe("closed", &[libc::SYS_prctl, 0x5356_4d41, -1]);
    let code = status.code();
    assert!(code == Some(CAME_BACK) || code == Some(NOT_CLOSED), "{status}");
    if code == Some(NOT_CLOSED) {
        assert!(std::env::var_os("CI").is_none(), "a layer is missing, and the tests need it");
        println!("SKIPPED: this kernel or container lacks seccomp or Landlock");
    }
    code == Some(CAME_BACK)
}

fn assert_ended(numbers: &[i64]) {
    let status = probe("closed", numbers);
    assert_eq!(status.signal(), Some(libc::SIGSYS), "{numbers:?} ended with {status}");
}

fn assert_comes_back(how: &str, numbers: &[i64]) {
    let status = probe(how, numbers);
    assert_eq!(status.code(), Some(CAME_BACK), "{how} {numbers:?} ended with {status}");
}

#[test]
fn every_system_call_that_is_not_on_the_list_ends_the_child() {
    if !is_closed_here() {
        return;
    }
    let (next, allowed) = (AtomicI64::new(0), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= NUMBERS_END {
                return;
            }
            if UNFILTERED.contains(&number) {
                continue;
            }
            let status = probe("closed", &[number]);
            match (status.signal(), status.code()) {
                (Some(libc::SIGSYS), _) => {}
                (_, Some(ALLOWED)) => {
                    allowed.lock().unwrap_or_else(PoisonError::into_inner).push(number);
                }
                _ => panic!("call {number} ended with {status}"),
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(work);
        }
    });
    let mut allowed = allowed.into_inner().unwrap();
    let mut listed = PLAIN.to_vec();
    allowed.sort_unstable();
    listed.sort_unstable();
    assert_eq!(allowed, listed);
}

/// The same calls outside of the walls: it is the walls that refuse, and not the call that fails.
#[test]
fn the_calls_that_matter_would_be_made_without_the_walls() {
    for number in [
        libc::SYS_openat,
        libc::SYS_openat2,
        libc::SYS_socket,
        libc::SYS_connect,
        libc::SYS_bind,
        libc::SYS_sendto,
        libc::SYS_sendmsg,
        libc::SYS_execve,
        libc::SYS_execveat,
        libc::SYS_clone3,
        libc::SYS_io_uring_setup,
        libc::SYS_io_uring_enter,
        libc::SYS_io_uring_register,
        libc::SYS_ptrace,
        libc::SYS_process_vm_readv,
        libc::SYS_pidfd_open,
        libc::SYS_memfd_create,
        libc::SYS_bpf,
        libc::SYS_unlinkat,
        libc::SYS_ftruncate,
        libc::SYS_fcntl,
        libc::SYS_ioctl,
    ] {
        assert_comes_back("open", &[number]);
        if is_closed_here() {
            assert_ended(&[number]);
        }
    }
}

#[test]
fn memory_is_neither_code_nor_shared_and_signals_go_nowhere() {
    if !is_closed_here() {
        return;
    }
    let (read, write, code) = (1, 2, 4);
    let (shared, private_new) = (0x21, 0x22);
    let map = |access, kind| [libc::SYS_mmap, 0, 4096, access, kind, -1, 0];
    assert_comes_back("closed", &map(read | write, private_new));
    assert_ended(&map(read | code, private_new));
    assert_ended(&map(read, shared));
    assert_ended(&map(read | write, shared));
    assert_comes_back("closed", &[libc::SYS_mprotect, 0, 0, read]);
    assert_ended(&[libc::SYS_mprotect, 0, 0, read | code]);
    assert_ended(&[libc::SYS_tgkill, 1, 1, 0]);
    assert_ended(&[libc::SYS_prctl, 4, 1]);
}

#[test]
fn without_the_filter_there_are_no_files_connections_or_processes_either() {
    let status = probe("files", &[]);
    if is_closed_here() {
        assert_eq!(status.code(), Some(CAME_BACK), "{status}");
    }
}

#[test]
fn nobody_starts_a_child_by_hand() {
    let done = Command::new(env!("CARGO_BIN_EXE_fxsrv"))
        .arg("conversion-child")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(done.status.code(), Some(2));
    let told = String::from_utf8(done.stderr).unwrap();
    assert!(told.contains("workers start this themselves"), "{told}");
}
