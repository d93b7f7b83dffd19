//! `fxsrv top`.

use std::time::{Duration, Instant};

use super::fail::Fail;
use super::fleet::{Status, bytes};
use super::status::Reach;
use super::term;
use crate::client::{self, ClientConfig, Connection};
use crate::config::Period;
use crate::io::Driver;

/// Watch a server and its fleet
///
/// Every second: requests and bytes a second, times, what was refused, and each worker. Ctrl-C ends it.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  fxsrv top --server files.example.org:5000 --ca ca.pem --token-file token

  What went on within ten seconds, for a script:
      fxsrv top --once --interval 10s")]
pub(super) struct Args {
    #[command(flatten)]
    reach: Reach,

    /// Between two looks
    #[arg(long, value_name = "TIME", default_value = "1s")]
    interval: Period,

    /// Look twice, print what was between, and end
    #[arg(long)]
    once: bool,
}

/// A server's answer, and when it came.
struct Look {
    status: Status,
    at: Instant,
}

/// To the upper left, and away with everything below.
const HOME: &str = "\x1b[H\x1b[J";

pub(super) fn run(args: Args) -> Result<(), Fail> {
    let Args { reach, interval: Period(interval), once } = args;
    let (driver, config) = reach.config("top")?;
    let mut before = look(&config, driver)?;
    loop {
        std::thread::sleep(interval);
        let now = look(&config, driver)?;
        let screen = screen(&before, &now);
        if once {
            return term::out(&screen);
        }
        term::out(&format!("{HOME}{screen}"))?;
        before = now;
    }
}

/// Over a connection of its own, so that a server that was restarted is found again.
fn look(config: &ClientConfig, driver: Driver) -> Result<Look, Fail> {
    let text = client::blocking(driver, async {
        let mut connection = Connection::connect(config).await?;
        let status = connection.status().await?;
        connection.close().await;
        Ok(status)
    })?;
    Ok(Look { status: Status::parse(&text), at: Instant::now() })
}

/// What went on between two looks.
fn screen(before: &Look, now: &Look) -> String {
    let seconds = now.at.duration_since(before.at).max(Duration::from_millis(1)).as_secs_f64();
    let number = |look: &Look, key: &str| look.status.number(key).unwrap_or(0);
    #[allow(clippy::cast_precision_loss, reason = "a rate is shown in three digits")]
    let rate = |key: &str| number(now, key).saturating_sub(number(before, key)) as f64 / seconds;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "as above")]
    let volume = |key: &str| bytes(&(rate(key) as u64).to_string());
    let word = |key: &str| now.status.value(key).unwrap_or("?").to_owned();
    let health =
        now.status.value("health_reason").map_or_else(String::new, |why| format!(": {why}"));
    let lines = [
        format!(
            "{} {}, up for {} s, {}{health}",
            word("role"),
            word("version"),
            word("uptime_s"),
            now.status.value("health").unwrap_or("health unknown")
        ),
        format!(
            "requests {:.1}/s, {} in flight with {}; in {}/s, out {}/s",
            rate("requests_ended"),
            word("in_flight"),
            bytes(&word("in_flight_bytes")),
            volume("body_bytes_in"),
            volume("body_bytes_out"),
        ),
        format!(
            "times since the start: p50 {} us, p99 {} us; {} connections, {} of {} buffers free",
            word("total_us_p50"),
            word("total_us_p99"),
            word("connections_open"),
            word("buffers_free"),
            word("buffers_pooled"),
        ),
        format!("answers {}", answers(before, now, seconds)),
    ];
    let fleet = now.status.fleet();
    let end = if fleet.is_empty() { String::new() } else { format!("\n\n{fleet}") };
    lines.join("\n") + &end
}

/// Answers by code, the most frequent first.
fn answers(before: &Look, now: &Look, seconds: f64) -> String {
    let mut rates: Vec<(String, f64)> = Vec::new();
    for (key, value) in now.status.numbers() {
        // `requests_jpg_OK`: neither `requests_begun` nor `requests_ended` has a code.
        let Some(code) = key.strip_prefix("requests_").and_then(|rest| rest.split_once('_')) else {
            continue;
        };
        let more = value.saturating_sub(before.status.number(key).unwrap_or(0));
        #[allow(clippy::cast_precision_loss, reason = "a rate is shown in three digits")]
        let rate = more as f64 / seconds;
        match rates.iter_mut().find(|(own, _)| own == code.1) {
            Some((_, sum)) => *sum += rate,
            None => rates.push((code.1.to_owned(), rate)),
        }
    }
    rates.retain(|(_, rate)| *rate > 0.0);
    rates.sort_by(|one, other| other.1.total_cmp(&one.1));
    let shown: Vec<_> = rates.iter().map(|(code, rate)| format!("{code} {rate:.1}/s")).collect();
    if shown.is_empty() { "none".to_owned() } else { shown.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_between_two_looks_is_shown() {
        let at = Instant::now();
        let before =
            "role=master\nversion=1\nrequests_ended=10\nbody_bytes_in=0\nrequests_jpg_OK=10\n";
        let after = "role=master\nversion=1\nuptime_s=9\nhealth=degraded\nhealth_reason=a thing\n\
            requests_ended=30\nbody_bytes_in=4096\nrequests_jpg_OK=16\nrequests_png_OK=2\n\
            requests_jpg_BUSY=12\nin_flight=3\nworkers=1\nworkers_ready=1\nworker.1.address=a:1\n";
        let look = |text, seconds| Look {
            status: Status::parse(text),
            at: at + Duration::from_secs(seconds),
        };
        let screen = screen(&look(before, 0), &look(after, 2));
        for part in [
            "master 1, up for 9 s, degraded: a thing\n",
            "requests 10.0/s, 3 in flight",
            "in 2.0 KiB/s",
            "answers BUSY 6.0/s, OK 4.0/s\n",
            "a:1",
        ] {
            assert!(screen.contains(part), "{part:?} is not in\n{screen}");
        }
    }
}
