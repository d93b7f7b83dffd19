//! The system calls that a child may make: all others end it.
//!
//! What decoders, the allocator and the C library use for computing and for memory; reading an order
//! and writing an answer through descriptors that are there. Nothing that opens, connects, starts,
//! signals, maps code or shares memory. `docs/isolation.md` has the list for readers, and
//! `tests/isolation.rs` tries every other number.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

/// Calls that are allowed with any arguments.
const PLAIN: &[i64] = &[
    // Orders, answers, results, through what is open.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_pwrite64,
    libc::SYS_close,
    // Memory.
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    // How much there is, which the C library's qsort asks before it sorts a kilobyte or more.
    libc::SYS_sysinfo,
    // Locks of the C library and of Rust; there is one thread, so that none waits.
    libc::SYS_futex,
    libc::SYS_sched_yield,
    // Seeds of hash tables, clocks, and on which processor the allocator is.
    libc::SYS_getrandom,
    libc::SYS_clock_gettime,
    libc::SYS_getcpu,
    // Handling of signals, which tells a stack that ran over, and abort().
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_restart_syscall,
    // The end.
    libc::SYS_exit,
    libc::SYS_exit_group,
];

const PROT_EXEC: u64 = libc::PROT_EXEC as u64;
const MAP_SHARED: u64 = libc::MAP_SHARED as u64;

/// prctl(2): the allocator names its memory, which is seen in /proc and nowhere else.
const PR_SET_VMA: u64 = 0x5356_4d41;

/// The calls that are allowed without conditions, for those who try all others.
pub(super) fn is_plain(number: i64) -> bool {
    PLAIN.contains(&number)
}

/// Holds this thread, which must be the only one, to the list from now on.
///
/// # Errors
///
/// Why the kernel does not, or that nobody has written the list for this processor.
pub(super) fn restrict() -> Result<(), String> {
    let program = compile().map_err(|error| error.to_string())?;
    seccompiler::apply_filter(&program).map_err(|error| error.to_string())
}

fn compile() -> Result<BpfProgram, seccompiler::BackendError> {
    let own_pid = u64::from(std::process::id());
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        PLAIN.iter().map(|number| (*number, Vec::new())).collect();
    let conditional = [
        // Memory that is no code and shared with nobody: what the arena shows stays read-only.
        (libc::SYS_mmap, vec![without(2, PROT_EXEC)?, without(3, MAP_SHARED)?]),
        (libc::SYS_mprotect, vec![without(2, PROT_EXEC)?]),
        (libc::SYS_tgkill, vec![equal(0, own_pid)?]),
        (libc::SYS_prctl, vec![equal(0, PR_SET_VMA)?]),
    ];
    for (number, conditions) in conditional {
        rules.insert(number, vec![SeccompRule::new(conditions)?]);
    }
    let architecture = TargetArch::try_from(std::env::consts::ARCH)?;
    let filter =
        SeccompFilter::new(rules, SeccompAction::KillProcess, SeccompAction::Allow, architecture)?;
    filter.try_into()
}

/// None of the bits of `mask` is set in the argument.
fn without(argument: u8, mask: u64) -> Result<SeccompCondition, seccompiler::BackendError> {
    let compared = SeccompCmpOp::MaskedEq(mask);
    SeccompCondition::new(argument, SeccompCmpArgLen::Qword, compared, 0)
}

fn equal(argument: u8, value: u64) -> Result<SeccompCondition, seccompiler::BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_list_compiles_and_stays_short() {
        // A program may have 4,096 instructions; a short one costs each call little.
        let length = compile().unwrap().len();
        assert!(length < 512, "{length}");
    }

    #[test]
    fn nothing_that_reaches_out_is_on_it() {
        for number in [
            libc::SYS_openat,
            libc::SYS_socket,
            libc::SYS_connect,
            libc::SYS_execve,
            libc::SYS_clone,
            libc::SYS_clone3,
            libc::SYS_io_uring_setup,
            libc::SYS_ptrace,
            libc::SYS_kill,
            libc::SYS_ioctl,
            libc::SYS_fcntl,
        ] {
            assert!(!is_plain(number), "{number}");
        }
    }
}
