//! How far a batch is, for people on stderr and for programs on stdout.

use std::collections::BTreeMap;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use crate::batch::{Event, Landed, Tally};
use crate::cli::fail::Fail;
use crate::cli::term;

const DRAWS_PER_SECOND: u8 = 5;
const TEMPLATE: &str = "{bar:28} {human_pos} of {human_len}  {per_sec}  {eta} left  {msg}";

/// The bar says so every so many files while they are listed.
const LISTED_STEP: u64 = 1_000;

/// What is printed on stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A line for each failure.
    Failures,
    /// A line for each file, and one at the end.
    All,
}

/// What a person and a program see of a batch.
pub(super) struct View {
    form: Form,
    bar: ProgressBar,
}

impl View {
    pub(super) fn new(form: Form) -> Self {
        let target = if term::is_terminal() {
            ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SECOND)
        } else {
            ProgressDrawTarget::hidden()
        };
        Self { form, bar: ProgressBar::with_draw_target(None, target) }
    }

    /// So many files are known.
    pub(super) fn listing(&self, count: u64) {
        if count.is_multiple_of(LISTED_STEP) {
            self.bar.set_message(format!("{count} files listed"));
            self.bar.tick();
        }
    }

    /// The work begins.
    pub(super) fn begin(&mut self, total: u64, done: u64) {
        // The template is a constant; a wrong one shows the plain bar rather than nothing.
        let style = ProgressStyle::with_template(TEMPLATE);
        self.bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        self.bar.set_message("");
        self.bar.set_length(total);
        self.bar.set_position(done);
        self.bar.reset_eta();
        if done > 0 {
            term::note(&format!("{done} of {total} files have their results from an earlier run"));
        }
    }

    /// So many of them are through.
    pub(super) fn update(&self, decided: u64, failed: u64) {
        self.bar.set_position(decided);
        if failed > 0 {
            self.bar.set_message(format!("{failed} failed"));
        }
    }

    /// More files may have come.
    #[cfg(feature = "nats")]
    pub(super) fn set_total(&self, total: u64) {
        self.bar.set_length(total);
    }

    /// A line of data, above the bar.
    #[cfg(feature = "nats")]
    pub(super) fn print(&self, line: &str) -> Result<(), Fail> {
        self.bar.suspend(|| term::out(line))
    }

    /// Takes the bar away.
    #[cfg(feature = "nats")]
    pub(super) fn clear(self) {
        self.bar.finish_and_clear();
    }

    pub(super) fn tell(&self, event: &Event, tally: &Tally) -> Result<(), Fail> {
        self.update(tally.decided(), tally.failures());
        if event.outcome.is_ok() && self.form == Form::Failures {
            return Ok(());
        }
        let line = line(event).to_string();
        self.bar.suspend(|| term::out(&line))
    }

    pub(super) fn end(self, tally: &Tally, took: Duration) -> Result<(), Fail> {
        self.bar.finish_and_clear();
        let seconds = took.as_secs_f64();
        if self.form == Form::All {
            term::out(&summary(tally, seconds).to_string())?;
        }
        let done = tally.converted + tally.same;
        let same =
            if tally.same > 0 { format!(" ({} were there)", tally.same) } else { String::new() };
        let failed = codes(&tally.failed);
        term::note(&format!("{done} converted{same}, {failed} in {seconds:.1} s"));
        Ok(())
    }
}

/// Failures in words: `3 failed (NOT_FOUND 1, NO_TEXT 2)`.
pub(super) fn codes<K: std::fmt::Display>(failed: &BTreeMap<K, u64>) -> String {
    let all: u64 = failed.values().sum();
    if all == 0 {
        return "0 failed".to_owned();
    }
    let each: Vec<_> = failed.iter().map(|(code, count)| format!("{code} {count}")).collect();
    format!("{all} failed ({})", each.join(", "))
}

fn line(event: &Event) -> Value {
    let Event { source, outcome, bytes_in, bytes_out } = event;
    match outcome {
        Ok(landed) => json!({
            "file": source, "code": "OK", "new": *landed == Landed::New,
            "bytes_in": bytes_in, "bytes_out": bytes_out,
        }),
        Err(trouble) => json!({
            "file": source, "code": trouble.code, "message": trouble.message,
            "hint": trouble.hint, "bytes_in": bytes_in,
        }),
    }
}

fn summary(tally: &Tally, seconds: f64) -> Value {
    json!({
        "total": tally.total, "before": tally.before, "converted": tally.converted,
        "same": tally.same, "failed": tally.failed, "left": tally.left(),
        "bytes_in": tally.bytes_in, "bytes_out": tally.bytes_out, "seconds": seconds,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::batch::Trouble;

    #[test]
    fn the_template_is_valid() {
        assert!(ProgressStyle::with_template(TEMPLATE).is_ok());
    }

    #[test]
    fn a_failure_is_a_line_with_its_code() {
        let event = Event {
            source: "a\"b".to_owned(),
            outcome: Err(Trouble::exists()),
            bytes_in: 5,
            bytes_out: 0,
        };
        let line = line(&event).to_string();
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            (value["file"].as_str(), value["code"].as_str()),
            (Some("a\"b"), Some("EXISTS"))
        );
        assert!(!line.contains('\n'));
    }

    #[test]
    fn failures_are_counted_by_code() {
        let failed = BTreeMap::from([("A", 1_u64), ("B", 2)]);
        assert_eq!(codes(&failed), "3 failed (A 1, B 2)");
        assert_eq!(codes(&BTreeMap::<&str, u64>::new()), "0 failed");
    }
}
