//! A bar on the terminal: upload, conversion, download.

use std::io::{IsTerminal as _, stderr};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::client::Progress;

const TICK: Duration = Duration::from_millis(100);
const DRAWS_PER_SECOND: u8 = 15;

/// The bar of one file; nothing where stderr is no terminal.
pub(super) struct Bar {
    bar: Option<ProgressBar>,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Idle,
    Uploading,
    Converting,
    Downloading,
}

impl Bar {
    pub(super) fn new(name: &str) -> Self {
        let bar = stderr().is_terminal().then(|| {
            let target = ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SECOND);
            ProgressBar::with_draw_target(None, target).with_prefix(name.to_owned())
        });
        Self { bar, phase: Phase::Idle }
    }

    pub(super) fn update(&mut self, progress: Progress) {
        let Some(bar) = &self.bar else { return };
        let (phase, done, total) = match progress {
            Progress::Uploading { sent, total } => (Phase::Uploading, sent, total),
            Progress::Converting => (Phase::Converting, 0, 0),
            Progress::Downloading { got, total } => (Phase::Downloading, got, total),
        };
        if phase != self.phase {
            self.phase = phase;
            bar.set_style(style(phase));
            bar.enable_steady_tick(TICK);
        }
        bar.set_length(total);
        bar.set_position(done);
    }

    /// Takes the bar off the terminal.
    pub(super) fn clear(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

fn style(phase: Phase) -> ProgressStyle {
    let verb = match phase {
        Phase::Uploading | Phase::Idle => "sending",
        Phase::Converting => "converting",
        Phase::Downloading => "receiving",
    };
    let template = match phase {
        Phase::Converting => format!("{{prefix}}  {verb} {{spinner}} {{elapsed}}"),
        _ => format!("{{prefix}}  {verb} {{bar:24}} {{bytes}} of {{total_bytes}}"),
    };
    // The templates are constants; a wrong one shows the plain bar rather than nothing.
    ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_valid() {
        for phase in [Phase::Idle, Phase::Uploading, Phase::Converting, Phase::Downloading] {
            let verb = match phase {
                Phase::Converting => "{prefix}  x {spinner} {elapsed}",
                _ => "{prefix}  x {bar:24} {bytes} of {total_bytes}",
            };
            assert!(ProgressStyle::with_template(verb).is_ok(), "{phase:?}");
            let _ = style(phase);
        }
    }
}
