//! System calls of a process, counted from outside while a load runs.
//!
//! /proc has no such counter. `perf stat` reads the kernel's own tracepoint and hardly disturbs what it
//! counts; `strace` stops the process at each call, so that fewer events are handled at once and
//! more calls are made. So a result says which of the two it is of.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// What counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counter {
    /// The tracepoint raw_syscalls:sys_enter.
    Perf,
    /// Stops at each call.
    Strace,
}

/// Calls that wait, or wake who waits: how many of them there are depends on how busy the machine is.
const WAITING: [&str; 6] =
    ["epoll_wait", "epoll_pwait", "futex", "restart_syscall", "clock_nanosleep", "sched_yield"];

/// A count that is under way.
#[derive(Debug)]
pub struct Counting {
    counter: Counter,
    child: Child,
    output: PathBuf,
    _dir: TempDir,
}

const TRACEPOINT: &str = "raw_syscalls:sys_enter";

/// Says that it runs, which it does once the counter is on, and ends with its input. The read may have begun
/// before a counter attaches; what is said behind it is counted for sure.
const WAITER: &str = "echo ready; read _; echo heard";

impl Counter {
    /// The better of those that work here.
    #[must_use]
    pub fn find() -> Option<Self> {
        [Self::Perf, Self::Strace].into_iter().find(|counter| counter.works())
    }

    /// The name in results.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Perf => "perf stat, raw_syscalls:sys_enter",
            Self::Strace => "strace -c",
        }
    }

    /// Whether it is installed, and may look at other processes.
    #[must_use]
    pub fn works(self) -> bool {
        let Ok(mut waiter) = waiter(Command::new("sh").args(["-c", WAITER])) else {
            return false;
        };
        let counted = self.start(waiter.id()).and_then(|counting| {
            drop(waiter.stdin.take());
            let _ = waiter.wait();
            counting.end()
        });
        let _ = waiter.kill();
        let _ = waiter.wait();
        counted.is_ok_and(|calls| calls > 0)
    }

    /// Counts the calls of all threads of a process from now on.
    ///
    /// # Errors
    ///
    /// The tool is not there, or not permitted.
    pub fn start(self, pid: u32) -> io::Result<Counting> {
        let dir = tempfile::tempdir()?;
        let output = dir.path().join("count");
        let pid = pid.to_string();
        let mut command = match self {
            Self::Perf => Command::new("perf"),
            Self::Strace => Command::new("strace"),
        };
        match self {
            Self::Perf => command
                .args(["stat", "-x", ",", "-e", TRACEPOINT, "-p", &pid, "-o"])
                .arg(&output)
                .args(["--", "sh", "-c", WAITER]),
            Self::Strace => command.args(["-f", "-c", "-p", &pid, "-o"]).arg(&output),
        };
        let child = match self {
            Self::Perf => waiter(&mut command)?,
            Self::Strace => attached(&mut command)?,
        };
        Ok(Counting { counter: self, child, output, _dir: dir })
    }
}

impl Counting {
    /// Ends it, and says how many calls there were.
    ///
    /// # Errors
    ///
    /// The tool did not say.
    pub fn end(mut self) -> io::Result<u64> {
        match self.counter {
            Counter::Perf => drop(self.child.stdin.take()),
            Counter::Strace => {
                // It lets go of the process and writes its table; a kill would do neither.
                let pid = self.child.id().to_string();
                Command::new("kill").args(["-INT", &pid]).status()?;
            }
        }
        self.child.wait()?;
        let said = fs::read_to_string(&self.output)?;
        let calls = match self.counter {
            Counter::Perf => perf_calls(&said),
            Counter::Strace => strace_calls(&said),
        };
        calls.ok_or_else(|| io::Error::other(format!("{} said: {said}", self.counter.name())))
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Starts a command that ends in [`WAITER`], and returns once that runs.
fn waiter(command: &mut Command) -> io::Result<Child> {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let mut line = [0; 6];
    let ready = child.stdout.as_mut().map_or(Ok(()), |stdout| stdout.read_exact(&mut line));
    if let Err(error) = ready {
        let _ = child.kill();
        let _ = child.wait();
        return Err(error);
    }
    Ok(child)
}

/// Starts strace, and returns once it says that it has the process.
fn attached(command: &mut Command) -> io::Result<Child> {
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let mut line = String::new();
    if let Some(stderr) = child.stderr.as_mut() {
        BufReader::new(stderr).read_line(&mut line)?;
    }
    if line.contains(" attached") {
        return Ok(child);
    }
    let _ = child.kill();
    let _ = child.wait();
    Err(io::Error::other(line.trim().to_owned()))
}

/// `1234,,raw_syscalls:sys_enter,...`
fn perf_calls(said: &str) -> Option<u64> {
    let line = said.lines().find(|line| line.contains(TRACEPOINT))?;
    line.split(',').next()?.parse().ok()
}

/// `100.00    0.000120          12      1234         5 total`, where the errors may be missing.
fn strace_calls(said: &str) -> Option<u64> {
    let line = said.lines().find(|line| line.ends_with(" total"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}

/// The calls of a table of strace without those that wait.
#[must_use]
pub fn moving(table: &str) -> u64 {
    let calls = |line: &str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let name = fields.last()?;
        let waits = WAITING.contains(name) || *name == "total";
        fields.get(3)?.parse::<u64>().ok().filter(|_| !waits)
    };
    table.lines().filter_map(calls).sum()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_found_in_what_the_tools_write() {
        let perf = "# started on Sun\n\n1234,,raw_syscalls:sys_enter,2012,100.00,,\n";
        assert_eq!(perf_calls(perf), Some(1_234));
        assert_eq!(perf_calls("<not counted>,,raw_syscalls:sys_enter,0,,,"), None);
        let table = "% time     seconds  usecs/call     calls    errors syscall\n\
                     ------ ----------- ----------- --------- --------- ----------------\n\
                     100.00    0.000120          12        17         5 read\n\
                     ------ ----------- ----------- --------- --------- ----------------\n\
                     100.00    0.000120          12        17         5 total\n";
        assert_eq!(strace_calls(table), Some(17));
        assert_eq!(strace_calls(""), None);
    }

    #[test]
    fn what_waits_is_left_out() {
        let table = "% time     seconds  usecs/call     calls    errors syscall\n\
                     ------ ----------- ----------- --------- --------- ----------------\n\
                      60.00    0.000120          12        17         5 recvfrom\n\
                      30.00    0.000120          12        20           sendto\n\
                      10.00    0.000120          12        99           epoll_wait\n\
                     ------ ----------- ----------- --------- --------- ----------------\n\
                     100.00    0.000120          12       136         5 total\n";
        assert_eq!(moving(table), 37);
    }

    /// A shell that reads lines one byte a call makes about as many calls as it has bytes to read.
    #[test]
    fn a_process_is_counted_while_it_runs() {
        let Some(counter) = Counter::find() else {
            // To the test's output, as a sweep says it too.
            #[allow(clippy::print_stderr)]
            {
                eprintln!("NOT TESTED: neither perf nor strace may look at another process here");
            }
            return;
        };
        let count = |lines: usize| {
            let script = "echo ready; while read -r x; do :; done";
            let mut shell = waiter(Command::new("sh").args(["-c", script])).unwrap();
            let counting = counter.start(shell.id()).unwrap();
            let mut stdin = shell.stdin.take().unwrap();
            io::Write::write_all(&mut stdin, "x\n".repeat(lines).as_bytes()).unwrap();
            drop(stdin);
            shell.wait().unwrap();
            counting.end().unwrap()
        };
        let (few, many) = (count(10), count(1_010));
        assert!((2_000..2_100).contains(&(many - few)), "{few} and {many}");
    }
}
