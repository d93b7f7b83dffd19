//! The memory lock limit, which registered buffers are charged to.

use std::io::{BufRead as _, BufReader};

const MIB: usize = 1024 * 1024;

/// What this process may lock: `None` is no limit.
pub(super) type LimitBytes = Option<usize>;

/// How many buffers fit, and what was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) count: usize,
    asked: usize,
    buffer_bytes: usize,
    limit: LimitBytes,
}

/// The soft RLIMIT_MEMLOCK, or no limit for whoever has CAP_IPC_LOCK. Both are read from /proc, so
/// that no call into the C library is needed.
pub(super) fn limit() -> LimitBytes {
    if may_lock_all() {
        return None;
    }
    let soft = proc_line("/proc/self/limits", "Max locked memory")?;
    soft.split_whitespace().next()?.parse().ok()
}

/// How many of `count` buffers the limit holds. The limit counts all of a user's processes, so this
/// is the most that can work, and the kernel may still say no.
pub(super) fn plan(count: usize, buffer_bytes: usize, limit: LimitBytes) -> Plan {
    let fitting = limit.map_or(count, |limit| count.min(limit / buffer_bytes));
    Plan { count: fitting, asked: count, buffer_bytes, limit }
}

impl Plan {
    /// The line that an operator reads: what was asked for, what it needs, what the limit is.
    pub(super) fn warning(&self, registered: usize) -> String {
        let limit = self.limit.map_or_else(
            || "the kernel refuses to lock that much".to_owned(),
            |limit| format!("the memlock limit is {} for all processes of a user", size(limit)),
        );
        let instead = match registered {
            0 => "all stay unregistered".to_owned(),
            fewer => format!("{fewer} are"),
        };
        format!(
            "cannot register {} buffers of {} KiB ({}): {limit}; {instead}; raise it with \
             `ulimit -l` or LimitMEMLOCK=, or lower --buffers",
            self.asked,
            self.buffer_bytes / 1024,
            size(self.asked * self.buffer_bytes),
        )
    }
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
    fn the_default_limit_holds_128_aligned_buffers() {
        assert_eq!(plan(512, 65_536, Some(8 * MIB)).count, 128);
        assert_eq!(plan(100, 65_536, Some(8 * MIB)).count, 100);
        assert_eq!(plan(512, 65_536, None).count, 512);
        assert_eq!(plan(512, 65_536, Some(0)).count, 0);
    }

    #[test]
    fn the_warning_names_what_was_asked_and_the_limit() {
        let warning = plan(512, 65_536, Some(8 * MIB)).warning(128);
        assert!(warning.starts_with(
            "cannot register 512 buffers of 64 KiB (32 MiB): the memlock limit is 8 MiB"
        ));
        assert!(warning.contains("128 are") && warning.contains("ulimit -l"));
    }

    #[test]
    fn the_own_limit_is_readable() {
        assert!(proc_line("/proc/self/limits", "Max locked memory").is_some());
        assert!(proc_line("/proc/self/status", "CapEff:").is_some());
    }
}
