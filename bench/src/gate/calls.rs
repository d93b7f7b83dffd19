//! System calls of the tunnel kernel, by strace, and the bytes that it copies, by its own count.
//!
//! Everything of the kernel is on one thread and in step, so that reads and writes are the same on any
//! machine, however busy. Waiting is not: a slow run has more ticks of the clock in it. So what waits
//! is left out, and what moves bytes is counted.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use fxsrv::io::Driver;
use fxsrv::metrics::{Names, Registry};

use super::kernels::Kernel;
use super::tunnel;
use crate::measure::syscalls::moving;

/// Operations of the smaller run, and how many more the larger one has.
const OPERATIONS: u64 = 400;

/// A run that is slow has more ticks of the clock in it, each with some calls: they only add. So the least
/// of so many runs counts.
const TURNS: u32 = 3;

/// System calls for a MB through the tunnel: of sender, relay and receiver together. `planted` makes the
/// larger run do so many percent more than it says.
///
/// # Errors
///
/// strace is missing or not permitted, or the kernel fails.
pub fn calls_a_mb(program: &Path, driver: Driver, planted: u32) -> io::Result<f64> {
    let more = OPERATIONS + OPERATIONS * u64::from(planted) / 100;
    let few = least(program, driver, OPERATIONS)?;
    let many = least(program, driver, OPERATIONS + more)?;
    let bytes = OPERATIONS * tunnel::BYTES as u64;
    Ok((many as f64 - few as f64) / bytes as f64 * 1e6)
}

/// Bytes that the code copies for a byte through the tunnel: in sender, relay and receiver together.
/// `planted` as of [`calls_a_mb`].
///
/// # Errors
///
/// The kernel fails.
pub fn copied_a_byte(driver: Driver, planted: u32) -> io::Result<f64> {
    let more = OPERATIONS + OPERATIONS * u64::from(planted) / 100;
    let few = copied(driver, OPERATIONS)?;
    let many = copied(driver, OPERATIONS + more)?;
    Ok((many as f64 - few as f64) / (OPERATIONS * tunnel::BYTES as u64) as f64)
}

/// Copied bytes are counted for a thread, so the kernel gets one of its own.
fn copied(driver: Driver, operations: u64) -> io::Result<u64> {
    let registry = Registry::new(Names { operations: &[], codes: &[] });
    let own = registry.clone();
    let kernel = move || {
        own.enter();
        tunnel::tunnel(driver, operations).map_err(|error| error.to_string())
    };
    match std::thread::spawn(kernel).join() {
        Ok(outcome) => outcome.map_err(io::Error::other)?,
        Err(panic) => std::panic::resume_unwind(panic),
    }
    let lines = registry.snapshot().lines();
    let count = lines.lines().find_map(|line| line.strip_prefix("copied_bytes=")?.parse().ok());
    count.ok_or_else(|| io::Error::other("the registry does not count copied bytes"))
}

fn least(program: &Path, driver: Driver, operations: u64) -> io::Result<u64> {
    let mut least = total(program, driver, operations)?;
    for _ in 1..TURNS {
        least = least.min(total(program, driver, operations)?);
    }
    Ok(least)
}

fn total(program: &Path, driver: Driver, operations: u64) -> io::Result<u64> {
    let table = tempfile::NamedTempFile::new()?;
    let output = Command::new("strace")
        .args(["-f", "-c", "-o"])
        .arg(table.path())
        .arg(program)
        .args(["kernel", Kernel::Tunnel.name(), &operations.to_string()])
        .args(["--io", &driver.to_string()])
        .stdin(Stdio::null())
        .output()?;
    let said = std::fs::read_to_string(table.path())?;
    if !output.status.success() || said.is_empty() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(io::Error::other(format!("the kernel under strace: {said}")));
    }
    Ok(moving(&said))
}
