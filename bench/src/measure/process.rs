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
        Self { cpu_seconds: cpu_seconds(pid, OWN).unwrap_or(0.0), context_switches: switches(pid) }
    }

    /// Of a process and of the processes that convert for it, those that have ended included.
    #[must_use]
    pub fn with_children(pid: u32) -> Self {
        let own = Self::of(pid);
        let ended = cpu_seconds(pid, ENDED).unwrap_or(0.0);
        children(pid).map(Self::of).fold(
            Self { cpu_seconds: own.cpu_seconds + ended, ..own },
            |sum, child| Self {
                cpu_seconds: sum.cpu_seconds + child.cpu_seconds,
                context_switches: sum.context_switches + child.context_switches,
            },
        )
    }

    /// Of this process.
    #[must_use]
    pub fn own() -> Self {
        Self::of(std::process::id())
    }
}

/// Lets the peak of resident memory start over, of a process and of those that convert for it; without
/// the right to it, it stays the peak since the start.
pub fn reset_memory_peak(pid: u32) {
    for pid in std::iter::once(pid).chain(children(pid)) {
        let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
    }
}

/// The peaks of resident memory in bytes, of a process and of those that convert for it, added up; 0
/// where the process is gone. What they share, such as the program, counts for each.
#[must_use]
pub fn memory_peak_bytes(pid: u32) -> u64 {
    let peak = |pid: u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status_value(&status, "VmHWM:").unwrap_or(0) * 1024
    };
    peak(pid) + children(pid).map(peak).sum::<u64>()
}

/// The living children of all threads of a process.
fn children(pid: u32) -> impl Iterator<Item = u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    lists.flat_map(|list| {
        list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<u32>>()
    })
}

/// Which times of /proc/PID/stat: utime and stime, or cutime and cstime, of children that have ended.
const OWN: usize = 11;
const ENDED: usize = 13;

fn cpu_seconds(pid: u32, place: usize) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold spaces; behind it, utime and stime are the 12th and 13th.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(place);
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
