//! Counters of a process, from /proc.

use std::fs;
use std::ops::Sub;

/// Ticks of a second in /proc/PID/stat: USER_HZ, 100 on every Linux that this runs on. The kernel
/// rounds to a tick what it has measured exactly, so that a second of CPU is right within 1 %.
const TICKS_PER_SECOND: f64 = 100.0;

/// Counters that only grow.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Counters {
    /// User and system time of all threads.
    pub cpu_seconds: f64,
    /// Context switches of all threads, voluntary and not.
    pub context_switches: u64,
}

impl Sub for Counters {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            cpu_seconds: self.cpu_seconds - before.cpu_seconds,
            context_switches: self.context_switches.saturating_sub(before.context_switches),
        }
    }
}

impl Counters {
    /// Of a process; zeros where it is gone.
    #[must_use]
    pub fn of(pid: u32) -> Self {
        Self { cpu_seconds: cpu_seconds(pid).unwrap_or(0.0), context_switches: switches(pid) }
    }

    /// Of this process.
    #[must_use]
    pub fn own() -> Self {
        Self::of(std::process::id())
    }
}

/// Lets the peak of resident memory start over; without the right to it, it stays the peak since
/// the start.
pub fn reset_memory_peak(pid: u32) {
    let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
}

/// The peak of resident memory in bytes; 0 where the process is gone.
#[must_use]
pub fn memory_peak_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status_value(&status, "VmHWM:").unwrap_or(0) * 1024
}

fn cpu_seconds(pid: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold spaces; behind it, utime and stime are the 12th and 13th.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / TICKS_PER_SECOND)
}

fn switches(pid: u32) -> u64 {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return 0 };
    let statuses =
        tasks.flatten().filter_map(|task| fs::read_to_string(task.path().join("status")).ok());
    statuses
        .map(|status| {
            let value = |key| status_value(&status, key).unwrap_or(0);
            value("\nvoluntary_ctxt_switches:") + value("nonvoluntary_ctxt_switches:")
        })
        .sum()
}

fn status_value(status: &str, key: &str) -> Option<u64> {
    let (_, rest) = status.split_once(key)?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn own_counters_grow_with_work() {
        let before = Counters::own();
        let until = Instant::now() + Duration::from_millis(300);
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        std::thread::sleep(Duration::from_millis(1));
        let spent = Counters::own() - before;
        assert!(spent.cpu_seconds > 0.05, "{spent:?}");
        assert!(spent.context_switches >= 1, "{spent:?}");
        assert!(memory_peak_bytes(std::process::id()) > 1 << 20);
    }

    #[test]
    fn a_process_that_is_gone_counts_nothing() {
        assert_eq!(Counters::of(u32::MAX), Counters::default());
        assert_eq!(memory_peak_bytes(u32::MAX), 0);
    }
}
