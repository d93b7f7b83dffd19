//! How much memory this process may have.

/// Bytes of memory of the machine, or of the control group that this process is in, whichever is
/// less; `None` where neither is told.
#[must_use]
pub fn memory_bytes() -> Option<u64> {
    let machine = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| total(&text));
    // Version 2, then version 1, as a container sees its own.
    let group = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let limit = |path: &str| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    group.into_iter().find_map(limit).into_iter().chain(machine).min()
}

fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_told_in_bytes() {
        let text = "MemTotal:       16303028 kB\nMemFree:         1000000 kB\n";
        assert_eq!(total(text), Some(16_303_028 * 1024));
        assert!(memory_bytes().is_some_and(|bytes| bytes > 1 << 24));
    }
}
