//! What a service manager is told: that a server is ready, that it stops, that its loops turn.
//!
//! The protocol of `sd_notify(3)`: a datagram to the socket that `NOTIFY_SOCKET` names. Without the
//! variable nobody asks, and nothing is said.

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use crate::metrics::Registry;

/// A loop that has not turned for so long is stuck: a manager may restart the server. It is longer
/// than what turns `/readyz`, which asks for nothing but to be left alone for a while.
const STUCK_MS: u64 = 20_000;

/// The server takes requests.
pub(super) fn ready() {
    tell("READY=1");
}

/// The server takes no more requests, and is about to end.
pub(super) fn stopping() {
    tell("STOPPING=1");
}

/// Tells a manager that watches this process that it lives, as long as its event loops turn.
pub(super) fn keep_watched(metrics: &Registry) {
    let Some(period) =
        period(std::env::var("WATCHDOG_USEC").ok(), std::env::var("WATCHDOG_PID").ok())
    else {
        return;
    };
    let metrics = metrics.clone();
    let watch = move || {
        loop {
            if metrics.reading("loop_age_ms").is_none_or(|age_ms| age_ms < STUCK_MS) {
                tell("WATCHDOG=1");
            }
            std::thread::sleep(period);
        }
    };
    if let Err(error) = std::thread::Builder::new().name("watchdog".to_owned()).spawn(watch) {
        tracing::warn!(%error, "cannot answer the watchdog of the service manager");
    }
}

/// Half of what the manager waits for, where it is this process that is meant.
fn period(usec: Option<String>, pid: Option<String>) -> Option<Duration> {
    let is_meant = pid.is_none_or(|pid| pid.parse() == Ok(std::process::id()));
    let usec: u64 = usec?.parse().ok().filter(|usec| *usec > 0)?;
    is_meant.then(|| Duration::from_micros(usec / 2))
}

fn tell(state: &str) {
    let Some(name) = std::env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(error) = send(name.as_encoded_bytes(), state) {
        tracing::debug!(%error, state, "the service manager is not told");
    }
}

/// A name that begins with `@` has no file.
fn send(name: &[u8], state: &str) -> io::Result<()> {
    let address = match name {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        path => SocketAddr::from_pathname(std::str::from_utf8(path).map_err(io::Error::other)?)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address).map(drop)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_state_goes_to_a_path_or_to_an_abstract_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let name = format!("fxsrv-test-{}", std::process::id());
        let named = SocketAddr::from_abstract_name(&name).unwrap();
        for (socket, name) in [
            (UnixDatagram::bind(&path).unwrap(), path.to_str().unwrap().to_owned()),
            (UnixDatagram::bind_addr(&named).unwrap(), format!("@{name}")),
        ] {
            send(name.as_bytes(), "READY=1").unwrap();
            let mut got = [0; 64];
            let bytes = socket.recv(&mut got).unwrap();
            assert_eq!(&got[..bytes], b"READY=1");
        }
        assert!(send(b"/nonexistent/socket", "READY=1").is_err());
    }

    #[test]
    fn the_watchdog_is_answered_twice_as_often_as_it_asks() {
        let own = Some(std::process::id().to_string());
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(period(text("30000000"), None), Some(Duration::from_secs(15)));
        assert_eq!(period(text("1000"), own), Some(Duration::from_micros(500)));
        assert_eq!(period(text("1000"), text("1")), None);
        assert_eq!(period(text("0"), None), None);
        assert_eq!(period(None, None), None);
    }
}
