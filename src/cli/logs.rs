//! Log lines on stderr.

use std::panic;

use crate::config::LogLevel;

/// Starts logging. Only the first call of a process has an effect.
pub(super) fn start(level: LogLevel) {
    let logs = tracing_subscriber::fmt()
        .with_max_level(level.0)
        .with_target(false)
        .with_ansi(super::term::has_colours())
        .with_writer(std::io::stderr);
    let _ = logs.try_init();
}

/// Makes a panic tell its place and nothing else: its message may quote somebody's file.
pub(super) fn hide_panic_messages() {
    panic::set_hook(Box::new(|info| {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("unnamed");
        let place = info.location().map_or_else(String::new, |place| format!(" at {place}"));
        super::term::note(&format!("error: thread {name} panicked{place}"));
    }));
}
