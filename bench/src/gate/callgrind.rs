//! Counting instructions, by valgrind's callgrind.

use std::io;
use std::path::Path;
use std::process::Command;

use super::kernels::Kernel;

/// Why nothing was counted.
#[derive(Debug, thiserror::Error)]
pub enum CountError {
    /// valgrind cannot be run.
    #[error("cannot run valgrind: {0}")]
    Valgrind(io::Error),
    /// It ended without a count.
    #[error("{kernel} under valgrind: {said}")]
    NoCount {
        /// The kernel.
        kernel: &'static str,
        /// The end of what it said.
        said: String,
    },
}

/// Instructions of one operation: those of twice as many operations, less those of as many. What a
/// process does once, it does in both. `planted` makes the second run do so many percent more than it
/// says, to see the gate turn red.
///
/// # Errors
///
/// valgrind is missing, or the kernel fails.
pub fn instructions(program: &Path, kernel: Kernel, planted: u32) -> Result<f64, CountError> {
    let operations = kernel.operations();
    let more = operations * u64::from(planted) / 100;
    // Beside each other: what they count does not depend on it.
    let (once, twice) = std::thread::scope(|scope| {
        let once = scope.spawn(|| total(program, kernel, operations));
        let twice = total(program, kernel, 2 * operations + more);
        (once.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), twice)
    });
    let (once, twice) = (once?, twice?);
    Ok((twice as f64 - once as f64) / operations as f64)
}

fn total(program: &Path, kernel: Kernel, operations: u64) -> Result<u64, CountError> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args(["kernel", kernel.name(), &operations.to_string()])
        .output()
        .map_err(CountError::Valgrind)?;
    let said = String::from_utf8_lossy(&output.stderr);
    collected(&said).filter(|_| output.status.success()).ok_or_else(|| CountError::NoCount {
        kernel: kernel.name(),
        said: said.lines().rev().take(3).collect::<Vec<_>>().join("; "),
    })
}

/// The number behind `Collected :`.
fn collected(said: &str) -> Option<u64> {
    let line = said.lines().find(|line| line.contains("Collected :"))?;
    line.rsplit(':').next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_found_among_what_valgrind_says() {
        let said = "==7== Events    : Ir\n==7== Collected : 28149743\n==7== \n";
        assert_eq!(collected(said), Some(28_149_743));
        assert_eq!(collected("==7== bad\n"), None);
    }
}
