//! A server's numbers in the text format of Prometheus (version 0.0.4).

use std::fmt::Write as _;

use crate::metrics::{Ended, Latency, Reading, Snapshot};

/// Microseconds in a second: Prometheus counts time in seconds.
const US_PER_S: f64 = 1e6;

/// All of `snapshot`, with the server's role as a label of its version. `docs/metrics.md` has the
/// names.
pub(crate) fn render(snapshot: &Snapshot, role: &str) -> String {
    let mut text = String::with_capacity(16 * 1024);
    let version = env!("CARGO_PKG_VERSION");
    head(&mut text, "fxsrv_build_info", "gauge", "the role and version of this server");
    let _ = writeln!(text, "fxsrv_build_info{{role=\"{role}\",version=\"{version}\"}} 1");
    gauge(&mut text, "uptime_seconds", "seconds since the start", snapshot.uptime.as_secs());
    gauge(&mut text, "threads", "event loops that count", snapshot.threads as u64);
    gauge(&mut text, "connections_open", "connections of clients", snapshot.connections_open());
    gauge(&mut text, "in_flight", "requests on their way", snapshot.in_flight());
    gauge(
        &mut text,
        "in_flight_bytes",
        "announced bytes of their bodies",
        snapshot.in_flight_bytes(),
    );
    gauge(&mut text, "buffers_free", "pooled buffers that nobody holds", snapshot.buffers_free());
    for Reading { name, help, only_rises, value } in &snapshot.gauges {
        let show = if *only_rises { counter } else { gauge };
        show(&mut text, name, help, *value);
    }
    for (name, help, value) in snapshot.counts.each() {
        counter(&mut text, name, help, value);
    }
    head(&mut text, "fxsrv_requests_total", "counter", "answered requests by operation and code");
    for Ended { operation, code, count } in &snapshot.requests {
        let labels = format!("operation=\"{operation}\",code=\"{code}\"");
        let _ = writeln!(text, "fxsrv_requests_total{{{labels}}} {count}");
    }
    for (name, help, times) in snapshot.latencies() {
        let name = if name == "total" { "request" } else { name };
        histogram(&mut text, &format!("{name}_seconds"), help, times);
    }
    text
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    let help = help.trim().replace('\\', "\\\\").replace('\n', " ");
    // A string takes everything.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn gauge(text: &mut String, name: &str, help: &str, value: u64) {
    let name = format!("fxsrv_{name}");
    head(text, &name, "gauge", help);
    let _ = writeln!(text, "{name} {value}");
}

fn counter(text: &mut String, name: &str, help: &str, value: u64) {
    let name = format!("fxsrv_{name}_total");
    head(text, &name, "counter", help);
    let _ = writeln!(text, "{name} {value}");
}

#[allow(clippy::cast_precision_loss, reason = "seconds need no more digits than a double has")]
fn histogram(text: &mut String, name: &str, help: &str, times: &Latency) {
    let name = format!("fxsrv_{name}");
    head(text, &name, "histogram", help);
    for (bound_us, count) in times.cumulative() {
        let _ = writeln!(text, "{name}_bucket{{le=\"{}\"}} {count}", bound_us as f64 / US_PER_S);
    }
    let _ = writeln!(text, "{name}_bucket{{le=\"+Inf\"}} {}", times.count());
    let _ = writeln!(text, "{name}_sum {}", times.sum_us() as f64 / US_PER_S);
    let _ = writeln!(text, "{name}_count {}", times.count());
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::metrics::{Names, Registry, count};

    #[test]
    fn every_sample_has_a_type_and_a_value() {
        let registry = Registry::new(Names { operations: &["jpg"], codes: &["OK", "BUSY"] });
        registry.gauge("slots", "conversions at once", || 2);
        registry.counter("children_started", "children that were started", || 5);
        let there = registry.clone();
        let work = move || {
            there.enter();
            count(|here| {
                here.connections_accepted.add(3);
                here.ended(0, 1);
                here.total_us.record(1500);
            });
        };
        std::thread::spawn(work).join().unwrap();
        let text = render(&registry.snapshot(), "worker");
        for line in [
            "fxsrv_connections_open 3",
            "fxsrv_slots 2",
            "fxsrv_children_started_total 5",
            "fxsrv_connections_accepted_total 3",
            "fxsrv_requests_total{operation=\"jpg\",code=\"BUSY\"} 1",
            "fxsrv_request_seconds_bucket{le=\"+Inf\"} 1",
            "fxsrv_request_seconds_sum 0.0015",
        ] {
            assert!(text.lines().any(|own| own == line), "{line} in\n{text}");
        }
        let mut typed = Vec::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                typed.push(rest.split(' ').next().unwrap());
            } else if !line.starts_with('#') {
                let (name, value) = line.rsplit_once(' ').unwrap();
                assert!(value.parse::<f64>().is_ok(), "{line}");
                let last = typed.last().unwrap();
                assert!(name.starts_with(last), "{name} under {last}");
            }
        }
        let mut once = typed.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), typed.len(), "a name twice");
    }
}
