//! The memory lock limit, which registered buffers are charged to.

use std::io::{BufRead as _, BufReader};

use super::pool::Class;

const MIB: usize = 1024 * 1024;

/// Memory is locked in whole pages.
pub(super) const PAGE_BYTES: usize = 4096;

/// What this process may lock: `None` is no limit.
pub(super) type LimitBytes = Option<usize>;

/// The soft RLIMIT_MEMLOCK, or no limit for whoever has CAP_IPC_LOCK. Both are read from /proc, so
/// that no call into the C library is needed.
pub(super) fn limit() -> LimitBytes {
    if may_lock_all() {
        return None;
    }
    let soft = proc_line("/proc/self/limits", "Max locked memory")?;
    soft.split_whitespace().next()?.parse().ok()
}

/// What a ring of ours is charged with before any buffer: 1,024 entries of 64 bytes, 4,096
/// completions of 16, the index of entries, and some pages beside.
const RING_BYTES: usize = 160 * 1024;

/// What each of `loops` may lock for its buffers.
pub(super) fn share(limit_bytes: usize, loops: usize) -> usize {
    (limit_bytes / loops.max(1)).saturating_sub(RING_BYTES)
}

/// Whether a ring could be had within the limit, if nothing else were charged to it.
pub(super) fn holds_a_ring() -> bool {
    limit().is_none_or(|limit| limit >= RING_BYTES)
}

/// The line that an operator reads: what was asked for, what it needs, what the limit is. The limit
/// counts all of a user's processes, so that less than it says may be left.
pub(super) fn warning(asked: Class, loops: usize, limit: LimitBytes, instead: &str) -> String {
    let limit = limit.map_or_else(
        || "the kernel refuses to lock that much".to_owned(),
        |limit| format!("the memlock limit is {} for all processes of a user", size(limit)),
    );
    let each = match loops {
        1 => String::new(),
        loops => format!(" for each of {loops} threads"),
    };
    format!(
        "cannot register {asked} ({}){each}: {limit}; {instead}; raise it with `ulimit -l` or \
         LimitMEMLOCK=, lower --buffers, or say \
         `--register-buffers false`",
        size(asked.total_bytes()),
    )
}

fn size(bytes: usize) -> String {
    if bytes.is_multiple_of(MIB) {
        format!("{} MiB", bytes / MIB)
    } else {
        format!("{} KiB", bytes / 1024)
    }
}

fn may_lock_all() -> bool {
    const CAP_IPC_LOCK: u32 = 14;
    proc_line("/proc/self/status", "CapEff:")
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & (1 << CAP_IPC_LOCK) != 0)
}

fn proc_line(path: &str, key: &str) -> Option<String> {
    let file = std::fs::File::open(path).ok()?;
    BufReader::new(file)
        .lines()
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix(key).map(|rest| rest.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_warning_names_what_was_asked_and_the_limit() {
        let asked = Class { count: 512, bytes: 64 * 1024 };
        let warning = warning(asked, 2, Some(8 * MIB), "120 are");
        assert!(warning.starts_with(
            "cannot register 512 buffers of 64 KiB (34 MiB) for each of 2 threads: the memlock limit is \
             8 MiB"
        ));
        assert!(warning.contains("; 120 are; ") && warning.contains("ulimit -l"));
    }

    #[test]
    fn all_loops_of_a_process_share_the_limit() {
        assert_eq!(share(8 * MIB, 1), 8 * MIB - RING_BYTES);
        assert_eq!(share(8 * MIB, 4), 2 * MIB - RING_BYTES);
        assert_eq!(share(RING_BYTES, 2), 0);
    }

    #[test]
    fn the_own_limit_is_readable() {
        assert!(proc_line("/proc/self/limits", "Max locked memory").is_some());
        assert!(proc_line("/proc/self/status", "CapEff:").is_some());
    }
}
