//! A network of its own.
//!
//! Loopback is shared with all else on the machine, and its congestion control may be one that is
//! erratic there (bbr is). In a network namespace both are ours.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// Set for the process inside, so that it does not go deeper.
const INSIDE_VARIABLE: &str = "FXSRV_BENCH_ISOLATED";

/// Brings loopback up, fixes the congestion control, and becomes the given command.
const SCRIPT: &str = "ip link set lo up \
    && echo reno > /proc/sys/net/ipv4/tcp_congestion_control \
    && exec \"$@\"";

/// Whether this process is in a network of its own.
#[must_use]
pub fn is_isolated() -> bool {
    std::env::var_os(INSIDE_VARIABLE).is_some()
}

/// Starts this program over in a network namespace of its own, where that is permitted; returns
/// where it is not, or where it is there already.
pub fn enter() {
    if is_isolated() {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["--net", "--", "sh", "-c", SCRIPT, "sh"]);
        command
    };
    let is_permitted = unshare().arg("true").output().is_ok_and(|output| output.status.success());
    if is_permitted {
        // Only a failure comes back, and then the run is not isolated and says so.
        let _failed = unshare()
            .arg(program)
            .args(std::env::args_os().skip(1))
            .env(INSIDE_VARIABLE, "1")
            .exec();
    }
}
