//! Whether a server does what it is for, and why not.

use std::fmt;

use crate::metrics::Registry;
use crate::server::{Phase, Stop};

/// A loop that has not turned for so long serves nobody: it turns twice a second, and the longest that
/// one turn may take on a machine that is busy is a fraction of this.
const LOOP_MS_MAX: u64 = 10_000;

/// How a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// All is well.
    Ready,
    /// It serves, and an operator should look: why.
    Degraded(String),
    /// It should get no requests: why.
    Unready(String),
}

/// As lines of a status answer.
impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready => writeln!(f, "health=ready"),
            Self::Degraded(reason) => writeln!(f, "health=degraded\nhealth_reason={reason}"),
            Self::Unready(reason) => writeln!(f, "health=unready\nhealth_reason={reason}"),
        }
    }
}

/// What a server counts, judged.
///
/// Everything is told by what is really the matter, and not by a flag that somebody would have to set:
/// the age of the oldest request, the turns of the loops, the memory that is left.
#[must_use]
pub fn judge(metrics: &Registry, stop: &Stop) -> Health {
    if stop.phase() != Phase::Serving {
        return Health::Unready("about to stop".to_owned());
    }
    let read = |name: &str| metrics.reading(name);
    if let Some(reason) = why_unready(&read) {
        return Health::Unready(reason);
    }
    why_degraded(&read).map_or(Health::Ready, Health::Degraded)
}

fn why_unready(read: &dyn Fn(&str) -> Option<u64>) -> Option<String> {
    if let Some(age_ms) = read("loop_age_ms").filter(|age_ms| *age_ms > LOOP_MS_MAX) {
        return Some(format!("an event loop has not turned for {} s", age_ms / 1000));
    }
    if read("certificate_seconds_left") == Some(0) {
        return Some("the certificate is over; `fxsrv certs renew` makes another".to_owned());
    }
    // A master that has nobody to convert is of no use to clients.
    if read("workers_ready") == Some(0) {
        return Some(super::NO_WORKER.to_owned());
    }
    if let (Some(slots), Some(lost)) = (read("slots"), read("lost"))
        && slots > 0
        && lost >= slots
    {
        return Some(format!("{lost} conversions are stuck, as many as there are slots"));
    }
    let limit_ms = read("queue_timeout_ms")?;
    let waiting_ms = read("oldest_waiting_ms").unwrap_or(0);
    if waiting_ms > limit_ms {
        return Some(format!("a conversion has waited for {waiting_ms} ms, over {limit_ms}"));
    }
    None
}

fn why_degraded(read: &dyn Fn(&str) -> Option<u64>) -> Option<String> {
    if let Some(lost) = read("lost").filter(|lost| *lost > 0) {
        return Some(format!("{lost} conversions are stuck"));
    }
    if let (Some(workers), Some(ready)) = (read("workers"), read("workers_ready"))
        && ready < workers
    {
        return Some(format!("{ready} of {workers} workers are ready"));
    }
    for (left, all, what) in [
        ("memory_budget_left", "memory_budget", "files"),
        ("working_budget_left", "working_budget", "conversions"),
    ] {
        if let (Some(left), Some(all)) = (read(left), read(all))
            && left < all / 10
        {
            return Some(format!("{left} of {all} bytes of memory for {what} are left"));
        }
    }
    let days = read("certificate_seconds_left")? / 86_400;
    (days < 7).then(|| format!("the certificate ends in {days} days"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Names;
    use crate::server::Lifecycle;

    fn health(gauges: &[(&'static str, u64)]) -> Health {
        let metrics = Registry::new(Names { operations: &["x"], codes: &["OK"] });
        for (name, value) in gauges.iter().copied() {
            metrics.gauge(name, "", move || value);
        }
        judge(&metrics, &Lifecycle::default().stop())
    }

    fn unready(gauges: &[(&'static str, u64)], part: &str) {
        let health = health(gauges);
        assert!(matches!(&health, Health::Unready(why) if why.contains(part)), "{health:?}");
    }

    fn degraded(gauges: &[(&'static str, u64)], part: &str) {
        let health = health(gauges);
        assert!(matches!(&health, Health::Degraded(why) if why.contains(part)), "{health:?}");
    }

    #[test]
    fn each_fault_turns_it_and_nothing_else_does() {
        assert_eq!(health(&[]), Health::Ready);
        let well = [
            ("loop_age_ms", 700),
            ("slots", 2),
            ("lost", 0),
            ("workers", 2),
            ("workers_ready", 2),
            ("memory_budget", 100),
            ("memory_budget_left", 10),
            ("working_budget", 100),
            ("working_budget_left", 10),
            ("queue_timeout_ms", 1000),
            ("oldest_waiting_ms", 1000),
            ("certificate_seconds_left", 8 * 86_400),
        ];
        assert_eq!(health(&well), Health::Ready);
        unready(&[("loop_age_ms", 10_001)], "has not turned for 10 s");
        unready(&[("certificate_seconds_left", 0)], "the certificate is over");
        unready(&[("workers", 1), ("workers_ready", 0)], "no worker");
        unready(&[("slots", 2), ("lost", 2)], "2 conversions are stuck, as many");
        unready(&[("queue_timeout_ms", 10), ("oldest_waiting_ms", 11)], "has waited for 11 ms");
        degraded(&[("slots", 2), ("lost", 1)], "1 conversions are stuck");
        degraded(&[("workers", 3), ("workers_ready", 2)], "2 of 3 workers");
        degraded(&[("memory_budget", 100), ("memory_budget_left", 9)], "9 of 100 bytes");
        degraded(&[("working_budget", 100), ("working_budget_left", 0)], "for conversions");
        degraded(&[("certificate_seconds_left", 3 * 86_400)], "ends in 3 days");
    }

    #[test]
    fn a_server_that_stops_is_not_ready() {
        let metrics = Registry::new(Names { operations: &["x"], codes: &["OK"] });
        let life = Lifecycle::default();
        life.request(Phase::Leaving);
        assert_eq!(judge(&metrics, &life.stop()), Health::Unready("about to stop".to_owned()));
    }
}
