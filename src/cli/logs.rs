//! Log lines on stderr.

use std::panic;

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, Registry};

use super::otlp::Follower;
use crate::config::LogLevel;

/// Starts logging. Only the first call of a process has an effect.
pub(super) fn start(level: LogLevel) {
    let _ = tracing_subscriber::registry().with(lines(level)).try_init();
}

/// Starts logging, and has `follower` follow requests beside it.
pub(super) fn start_followed(level: LogLevel, follower: &Follower) {
    follower.install(lines(level));
}

fn lines(level: LogLevel) -> impl Layer<Registry> + Send + Sync {
    tracing_subscriber::fmt::layer()
        .with_target(false)
        .with_ansi(super::term::has_colours())
        .with_writer(std::io::stderr)
        .with_filter(LevelFilter::from_level(level.0))
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
